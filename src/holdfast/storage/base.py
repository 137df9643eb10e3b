"""Own the contract of a storage back end; `holdfast.testing.StorageTests` proves it.

>>> checked_range("a", 10, 2, 99)
(2, 10)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol

from holdfast.errors import NotFoundError, RangeNotSatisfiableError
from holdfast.paths import parse_key
from holdfast.types import Buffer

__all__ = ["Data", "Stat", "Storage", "checked_key", "checked_prefix", "checked_range", "missing", "pieces"]

Data = Buffer | Iterable[Buffer]


@dataclass(frozen=True, slots=True)
class Stat:
    """Say what is known about a stored object without reading it.

    Parameters
    ----------
    key : str
        Its name, parts separated by slashes.
    size : int
        Bytes.
    modified_at : datetime
        When it was put, UTC.
    etag : str
        Changes whenever the content does.
    """

    key: str
    size: int
    modified_at: datetime
    etag: str


class Storage(Protocol):
    """Keep bytes by key. Objects appear, change and vanish as a whole; safe across threads.

    Keys are relative paths, checked by `holdfast.paths`: a bad one is an `InvalidInputError`. A key cannot
    be the parent of another: what a directory cannot hold, no back end does.
    """

    def get(self, key: str) -> bytes:
        """Return the whole object; `NotFoundError` if there is none."""
        ...

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Return bytes ``start`` to ``end`` (exclusive, cut to the size).

        Raises
        ------
        NotFoundError
            There is no such object.
        RangeNotSatisfiableError
            ``start`` is negative or beyond the end, or ``end`` is before it.
        """
        ...

    def open(self, key: str) -> BinaryIO:
        """Return the object as a seekable binary file; a later put or delete does not change it."""
        ...

    def put(self, key: str, data: Data, *, if_absent: bool = False) -> Stat:
        """Store an object as a whole, in place of an earlier one.

        Parameters
        ----------
        key : str
            Its name.
        data : bytes-like or iterable of bytes-like
            Its content; an iterable is never held in memory as a whole by durable back ends.
        if_absent : bool, optional
            If true, of many concurrent puts exactly one wins.

        Raises
        ------
        AlreadyExistsError
            There is one already and `if_absent` is true.
        InvalidInputError
            The key is not acceptable, or is (or lies below) the parent of another.
        """
        ...

    def head(self, key: str) -> Stat:
        """Return what is known about an object; `NotFoundError` if there is none."""
        ...

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """Go through all objects whose key is below a prefix (parts, not characters), sorted by key."""
        ...

    def delete(self, key: str) -> None:
        """Delete an object; `NotFoundError` if there is none."""
        ...

    def copy(self, source: str, target: str, *, if_absent: bool = False) -> Stat:
        """Store the content of one key under another; errors as for `get` and `put`."""
        ...


def checked_key(key: str) -> str:
    """Return a key that `holdfast.paths` accepts, as it stands.

    Parameters
    ----------
    key : str
        Outside text.

    Returns
    -------
    str
        The same.

    Raises
    ------
    InvalidInputError
        It is not acceptable.
    """
    return "/".join(parse_key(key))


def checked_prefix(prefix: str) -> str:
    """Return a prefix with a slash at its end, or nothing for all keys.

    Parameters
    ----------
    prefix : str
        Empty, or a key under which others lie.

    Returns
    -------
    str
        What the keys start with.

    Raises
    ------
    InvalidInputError
        It is not acceptable.
    """
    prefix = prefix.removesuffix("/")
    return checked_key(prefix) + "/" if prefix else ""


def checked_range(key: str, size: int, start: int, end: int) -> tuple[int, int]:
    """Cut a range of bytes to the size of an object.

    Parameters
    ----------
    key : str
        For the message.
    size, start, end : int
        Bytes.

    Returns
    -------
    tuple of int
        Start and end, ``0 <= start <= end <= size``.

    Raises
    ------
    RangeNotSatisfiableError
        It lies outside.
    """
    if start < 0 or end < start or start > size:
        raise RangeNotSatisfiableError(f"range {start}-{end} of {key!r} lies outside its {size} bytes")
    return start, min(end, size)


def missing(key: str) -> NotFoundError:
    """Return the error that says that there is no such object."""
    return NotFoundError(f"nothing is stored under {key!r}; list() shows what is")


def pieces(data: Data) -> Iterable[Buffer]:
    """Return data as pieces, whichever form it has."""
    return (data,) if isinstance(data, bytes | bytearray | memoryview) else data
