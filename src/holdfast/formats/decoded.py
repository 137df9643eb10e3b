"""Parts of compressed files that were decoded lately, so that reading on in one does not decode it again.

Owns a bounded memory of arrays, shared by all open files; decodes nothing.

>>> decoded = Decoded(max_bytes=100)
>>> decoded.get(1, 0, lambda: np.zeros(3)) is decoded.get(1, 0, lambda: np.ones(3))
True
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np

__all__ = ["DECODED", "Decoded"]

MAX_BYTES = 64 << 20


class Decoded:
    """Arrays by owner and part; safe across threads and forks.

    Parameters
    ----------
    max_bytes : int
        How large they may be together; the last one is kept whatever its size.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._owners = itertools.count()
        self.clear()

    def clear(self) -> None:
        """Forget everything; also how a forked process starts."""
        self._lock = threading.Lock()
        self._arrays: OrderedDict[tuple[int, Hashable], np.ndarray] = OrderedDict()
        self._bytes = 0

    def owner(self) -> int:
        """Return a name for a file that was opened, which no other has."""
        return next(self._owners)

    def get(self, owner: int, part: Hashable, decode: Callable[[], np.ndarray]) -> np.ndarray:
        """Return a part of a file, decoded when it is not remembered; the array is never written to.

        Parameters
        ----------
        owner : int
            Whose part it is.
        part : hashable
            Which one.
        decode : callable
            Decodes it.
        """
        key = (owner, part)
        with self._lock:
            found = self._arrays.get(key)
            if found is not None:
                self._arrays.move_to_end(key)
                return found
        made = decode()
        with self._lock:
            replaced = self._arrays.pop(key, None)
            self._bytes += made.nbytes - (0 if replaced is None else replaced.nbytes)
            self._arrays[key] = made
            while self._bytes > self._max_bytes and len(self._arrays) > 1:
                self._bytes -= self._arrays.popitem(last=False)[1].nbytes
        return made

    def forget(self, owner: int) -> None:
        """Forget all parts of a file that is closed."""
        with self._lock:
            for key in [key for key in self._arrays if key[0] == owner]:
                self._bytes -= self._arrays.pop(key).nbytes


DECODED = Decoded()
"""The memory of this process."""

os.register_at_fork(after_in_child=DECODED.clear)
