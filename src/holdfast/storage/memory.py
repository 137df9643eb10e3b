"""Own the storage that forgets: objects in a dictionary, for tests and caches.

>>> MemoryStorage().put("a", b"x").size
1
"""

from __future__ import annotations

import bisect
import io
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import BinaryIO

from holdfast.errors import AlreadyExistsError, InvalidInputError
from holdfast.hashing import hash_bytes
from holdfast.storage.base import Data, Stat, checked_key, checked_prefix, checked_range, missing, pieces

__all__ = ["MemoryStorage"]


class MemoryStorage:
    """Keep objects in memory; the contract is `holdfast.storage.Storage`."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, Stat]] = {}
        self._order: list[str] = []
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes:
        """Return the whole object."""
        return self._found(key)[0]

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Return a part of the object."""
        content = self._found(key)[0]
        start, end = checked_range(key, len(content), start, end)
        return content[start:end]

    def open(self, key: str) -> BinaryIO:
        """Return the object as a file."""
        return io.BytesIO(self._found(key)[0])

    def put(self, key: str, data: Data, *, if_absent: bool = False) -> Stat:
        """Store an object."""
        key = checked_key(key)
        content = b"".join(pieces(data))
        stat = Stat(key, len(content), datetime.now(UTC), hash_bytes(content).hex)
        with self._lock:
            self._make_room(key, if_absent)
            self._objects[key] = (content, stat)
        return stat

    def _make_room(self, key: str, if_absent: bool) -> None:
        if key in self._objects:
            if if_absent:
                raise AlreadyExistsError(f"{key!r} is stored already and is never replaced; choose another")
            return
        parts = key.split("/")
        parents = ["/".join(parts[:length]) for length in range(1, len(parts))]
        if any(parent in self._objects for parent in parents):
            raise InvalidInputError(f"a part of {key!r} is an object itself; choose another key")
        if self._below(key + "/"):
            raise InvalidInputError(f"other objects lie below {key!r}; choose another key")
        bisect.insort(self._order, key)

    def head(self, key: str) -> Stat:
        """Return what is known about an object."""
        return self._found(key)[1]

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """Go through the objects below a prefix."""
        with self._lock:
            stats = [self._objects[key][1] for key in self._below(checked_prefix(prefix))]
        return iter(stats)

    def delete(self, key: str) -> None:
        """Delete an object."""
        with self._lock:
            if self._objects.pop(checked_key(key), None) is None:
                raise missing(key)
            del self._order[bisect.bisect_left(self._order, key)]

    def copy(self, source: str, target: str, *, if_absent: bool = False) -> Stat:
        """Store the content of one key under another."""
        return self.put(target, self.get(source), if_absent=if_absent)

    def _found(self, key: str) -> tuple[bytes, Stat]:
        try:
            return self._objects[checked_key(key)]
        except KeyError:
            raise missing(key) from None

    def _below(self, prefix: str) -> Sequence[str]:
        start = bisect.bisect_left(self._order, prefix)
        end = bisect.bisect_left(self._order, prefix + "\U0010ffff") if prefix else len(self._order)
        return self._order[start:end]
