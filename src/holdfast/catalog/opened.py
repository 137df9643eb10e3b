"""Open files of a catalog: a few kept open, each shared by all who read it, none closed under a reader.

Owns their life; decides nothing about what may be read.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from holdfast.formats.base import OpenFile

__all__ = ["OpenFiles", "Shared"]

_CACHES: weakref.WeakSet[OpenFiles] = weakref.WeakSet()


@dataclass(eq=False)
class Shared:
    """An open file with the number of those who use it."""

    token: Hashable
    file: OpenFile
    is_verified: bool
    users: int = 0
    is_retired: bool = False


class OpenFiles:
    """A bounded set of open files; safe across threads and forks.

    Parameters
    ----------
    limit : int
        How many are kept open when nobody uses them.
    """

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._files: OrderedDict[Hashable, Shared] = OrderedDict()
        self._lock = threading.Lock()
        _CACHES.add(self)

    def take(self, key: Hashable, token: Hashable, make: Callable[[], tuple[OpenFile, bool]]) -> Shared:
        """Return the open file of a key as long as its token is the same, else a new one; in use from now on.

        Parameters
        ----------
        key : hashable
            Which file.
        token : hashable
            Which content of it: another one retires what is open.
        make : callable
            Opens it; answers with the file and whether its bytes are verified.
        """
        with self._lock:
            shared = self._files.get(key)
            if shared is not None and shared.token == token:
                self._files.move_to_end(key)
                shared.users += 1
                return shared
            stale = [] if shared is None else [self._retire(key)]
        # HDF5 would answer a second opening from what it remembers of the first.
        _close(stale)
        made = Shared(token, *make(), users=1)
        with self._lock:
            stale = [self._retire(key)] if key in self._files else []
            self._files[key] = made
            while len(self._files) > self._limit:
                stale.append(self._retire(next(iter(self._files))))
        _close(stale)
        return made

    def give_back(self, shared: Shared) -> None:
        """End one use; a retired file is closed by its last user."""
        with self._lock:
            shared.users -= 1
            is_last = shared.is_retired and not shared.users
        if is_last:
            shared.file.close()

    def close(self) -> None:
        """Retire all files: those in use are closed by their last user."""
        with self._lock:
            stale = [self._retire(key) for key in list(self._files)]
        _close(stale)

    def _retire(self, key: Hashable) -> Shared | None:
        """Take a file out; return it if nobody uses it."""
        shared = self._files.pop(key)
        shared.is_retired = True
        return None if shared.users else shared

    def forget(self) -> None:
        """Start anew in a child process: what is open there is the parent's too."""
        self._files, self._lock = OrderedDict(), threading.Lock()


def _close(stale: list[Shared | None]) -> None:
    for shared in stale:
        if shared is not None:
            shared.file.close()


def _forget_all() -> None:
    for cache in list(_CACHES):
        cache.forget()


os.register_at_fork(after_in_child=_forget_all)
