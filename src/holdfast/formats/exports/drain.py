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
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from holdfast.types import Buffer

__all__ = ["Drain", "FilePieces", "drained", "joined"]

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


class FilePieces(Iterator[bytes]):
    """The bytes of a temporary file; it is closed after the last one, and by `close` also before the first.

    Parameters
    ----------
    file : binary file
        The file.

    Attributes
    ----------
    size : int
        How many there are.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        file.seek(0)

    def __next__(self) -> bytes:
        piece = b"" if self._file.closed else self._file.read(_PIECE_BYTES)
        if not piece:
            self.close()
            raise StopIteration
        return piece

    def close(self) -> None:
        """Give the file back; a second time does nothing."""
        self._file.close()


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
