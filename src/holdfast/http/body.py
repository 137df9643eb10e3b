r"""Own the kinds of bodies: bytes, a range of a file, pieces that are made, and events without an end.

It does not send them and does not read files: the edge does.

>>> from holdfast.http.body import ServerEvent
>>> ServerEvent("a", id="1").encode()
b'id: 1\ndata: a\n\n'
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from holdfast.errors import ChangedError
from holdfast.types import Buffer, PathLike

__all__ = ["Body", "FileRange", "Live", "LiveSource", "ServerEvent"]


@dataclass(slots=True)
class FileRange:
    """Be the bytes of a file from ``start`` up to ``stop``.

    Parameters
    ----------
    fd : int
        An open descriptor; `close` closes it.
    start, stop : int
        Bytes.
    """

    fd: int
    start: int
    stop: int

    @classmethod
    def open(cls, path: PathLike, start: int = 0, stop: int | None = None) -> FileRange:
        """Open a regular file.

        Parameters
        ----------
        path : path-like
            The file.
        start : int, default 0
            The first byte.
        stop : int, optional
            The byte after the last; default the size of the file.

        Returns
        -------
        FileRange
            The open range.

        Raises
        ------
        ChangedError
            When the file is shorter than ``stop``.
        """
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        size = os.fstat(fd).st_size
        if stop is not None and stop > size:
            os.close(fd)
            raise ChangedError(
                f"{os.fspath(path)!r} has {size} bytes and {stop} were expected; index it again"
            )
        return cls(fd, start, size if stop is None else stop)

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.stop - self.start

    def close(self) -> None:
        """Close the descriptor; more than once is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """Be one Server-Sent Event; ``data`` is text without carriage returns."""

    data: str
    id: str | None = None
    event: str | None = None

    def encode(self) -> bytes:
        """Return the event as it stands on the wire."""
        lines = [f"event: {self.event}"] if self.event else []
        lines += [f"id: {self.id}"] if self.id is not None else []
        lines += [f"data: {line}" for line in self.data.split("\n")]
        return ("\n".join(lines) + "\n\n").encode()


class LiveSource(Protocol):
    """Be what a listener follows; a waiting one holds no thread."""

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have ``wake`` called, from any thread, when there may be news; return what ends that."""
        ...

    def take(self) -> list[ServerEvent] | None:
        """Return what is new since the last call without waiting, or None when nothing will come."""
        ...


@dataclass(frozen=True, slots=True)
class Live:
    """Be a body without an end: what a source tells, as Server-Sent Events."""

    source: LiveSource
    poll_s: float


Body: TypeAlias = "bytes | bytearray | memoryview | FileRange | Live | Iterable[Buffer]"
