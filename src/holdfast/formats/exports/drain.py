"""What is written to a file-like object, taken off it piece by piece while the writer goes on.

Owns the sink of writers that only know files; it can tell where it is, but never goes back.

>>> def write(sink):
...     sink.write(b"ab")
...     yield
...     sink.write(b"c")
>>> list(drained(write))
[b'ab', b'c']
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from holdfast.types import Buffer

__all__ = ["Drain", "drained", "joined"]

_PIECE_BYTES = 256 * 1024


class Drain(io.RawIOBase):
    """A file that is written from start to end and holds nothing for longer than until `take`."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        """Tell that it can be written."""
        return True

    def write(self, data: Any, /) -> int:
        """Keep bytes until they are taken."""
        piece = bytes(data)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        """Return how much was written."""
        return self._at

    def take(self) -> bytes:
        """Return what was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def drained(write: Callable[[Drain], Iterator[object]]) -> Iterator[bytes]:
    """Give what a writer writes.

    Parameters
    ----------
    write : callable
        Takes the sink; a generator that pauses where what was written may leave.
    """
    sink = Drain()
    for _ in write(sink):
        if piece := sink.take():
            yield piece
    if piece := sink.take():
        yield piece


def joined(pieces: Iterable[Buffer]) -> Iterator[Buffer]:
    """Give pieces, small ones joined to some of 256 KiB."""
    small: list[Buffer] = []
    size = 0
    for piece in pieces:
        length = memoryview(piece).nbytes
        if not small and length >= _PIECE_BYTES:
            yield piece
            continue
        small.append(piece)
        size += length
        if size >= _PIECE_BYTES:
            yield b"".join(small)
            small, size = [], 0
    if small:
        yield b"".join(small)
