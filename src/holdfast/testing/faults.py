"""Own back ends that fail on purpose, for tests of what stands on them.

>>> from holdfast.storage import MemoryStorage
>>> storage = FaultyStorage(MemoryStorage(), failing={"put": 2})
>>> _ = storage.put("a", b"first works")
>>> storage.put("b", b"second does not")
Traceback (most recent call last):
...
holdfast.errors.StorageError: put 'b' fails on purpose
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from holdfast.errors import StorageError
from holdfast.storage import Stat, Storage
from holdfast.storage.base import Data, pieces

__all__ = ["FaultyStorage"]


class FaultyStorage:
    """A storage whose n-th call of a verb fails, and which can damage what it reads.

    Parameters
    ----------
    storage : Storage
        What does the work.
    failing : mapping of str to int, optional
        Verb to the number of the call that fails, counted from 1: ``{"put": 2}``. A failing ``put`` reads
        half of its data first and stores nothing.
    flipped : int, optional
        The number of the byte whose lowest bit is flipped in all that is read.
    error : Exception, optional
        What is raised; a `StorageError` by default.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        failing: Mapping[str, int] | None = None,
        flipped: int | None = None,
        error: Exception | None = None,
    ) -> None:
        self.storage = storage
        self.calls: dict[str, int] = {}
        self._failing = dict(failing or {})
        self._flipped = flipped
        self._error = error

    def get(self, key: str) -> bytes:
        """Return the whole object."""
        self._count("get", key)
        return self._damaged(self.storage.get(key), 0)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Return a part of the object."""
        self._count("get_range", key)
        return self._damaged(self.storage.get_range(key, start, end), start)

    def open(self, key: str) -> BinaryIO:
        """Return the object as a file, which is never damaged."""
        self._count("open", key)
        return self.storage.open(key)

    def put(self, key: str, data: Data, *, if_absent: bool = False) -> Stat:
        """Store an object."""
        if self._is_due("put"):
            next(iter(pieces(data)), None)
            raise self._failure("put", key)
        return self.storage.put(key, data, if_absent=if_absent)

    def head(self, key: str) -> Stat:
        """Return what is known about an object."""
        self._count("head", key)
        return self.storage.head(key)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """Go through the objects below a prefix."""
        self._count("list", prefix)
        return self.storage.list(prefix)

    def delete(self, key: str) -> None:
        """Delete an object."""
        self._count("delete", key)
        self.storage.delete(key)

    def copy(self, source: str, target: str, *, if_absent: bool = False) -> Stat:
        """Store the content of one key under another."""
        self._count("copy", source)
        return self.storage.copy(source, target, if_absent=if_absent)

    def _is_due(self, verb: str) -> bool:
        self.calls[verb] = self.calls.get(verb, 0) + 1
        return self._failing.get(verb) == self.calls[verb]

    def _count(self, verb: str, key: str) -> None:
        if self._is_due(verb):
            raise self._failure(verb, key)

    def _failure(self, verb: str, key: str) -> Exception:
        return self._error or StorageError(f"{verb} {key!r} fails on purpose")

    def _damaged(self, content: bytes, start: int) -> bytes:
        if self._flipped is None or not start <= self._flipped < start + len(content):
            return content
        place = self._flipped - start
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
