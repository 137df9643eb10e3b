"""Own the seam between clients and the wire: what a transport does and what it answers.

It does not open anything: ``tcp`` and ``inprocess`` do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from holdfast.http.request import Headers
from holdfast.types import Buffer

__all__ = ["Answer", "Outgoing", "Stream", "Transport"]


@dataclass(frozen=True, slots=True)
class Stream:
    """Be a body that is sent piece by piece.

    Parameters
    ----------
    pieces : iterable of bytes-like
        About 1 MiB each is best.
    size : int or None
        Their exact sum, bytes; None sends chunks.
    """

    pieces: Iterable[Buffer]
    size: int | None = None


Outgoing: TypeAlias = "Buffer | Stream | None"
"""The body of a request."""


class Answer(Protocol):
    """Be an answer whose body is still on its way; a context manager that gives it up."""

    status: int
    reason: str
    headers: Headers

    def read(self, limit: int = -1) -> bytes:
        """Return the rest of the body, at most ``limit`` bytes of it.

        Raises
        ------
        TransportError
            When the body breaks off.
        """
        ...

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes of the body into a buffer; 0 at its end."""
        ...

    def fill(self, view: memoryview, /) -> Iterator[memoryview]:
        """Put the whole rest of the body into a buffer and give its parts as they are filled.

        Yields
        ------
        memoryview
            Consecutive parts of ``view``.

        Raises
        ------
        TransportError
            When the body breaks off, and when it is longer than the buffer.
        """
        ...

    def arrivals(self) -> Iterator[Buffer]:
        """Give the rest of the body as it arrives, in pieces of any size."""
        ...

    def close(self) -> None:
        """Give up the rest of the body."""
        ...

    def __enter__(self) -> Answer: ...

    def __exit__(self, *exc: object) -> None: ...


class Transport(Protocol):
    """Bring requests to a server and answers back; safe across threads and fork."""

    @property
    def address(self) -> str:
        """The address of the server, without a slash at its end and without a key."""
        ...

    def open(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: Outgoing = None, /
    ) -> Answer:
        """Send a request and return its answer as soon as its head is there.

        Parameters
        ----------
        method : str
            In capitals.
        target : str
            The quoted path and query.
        headers : sequence of (str, str)
            Fields.
        body : bytes-like or Stream, optional
            The body.

        Returns
        -------
        Answer
            Of any status.

        Raises
        ------
        TransportError
            When the server cannot be reached or does not answer in time.
        """
        ...

    def close(self) -> None:
        """Close all connections."""
        ...
