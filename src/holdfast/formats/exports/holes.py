"""Files that a library lays out and that are sent without being written: elements are read into their holes.

Owns a temporary file whose large parts were never written (holes of a sparse file, which take no room), and
the sending of it with something else in them. It knows no format.

>>> import tempfile
>>> file = tempfile.TemporaryFile()
>>> _ = file.write(b"head----tail")
>>> b"".join(FilledFile(file, [Hole(4, 4, lambda: iter([b"da", b"ta"]))]))
b'headdatatail'
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from holdfast.errors import ChangedError, StorageError
from holdfast.types import Buffer

__all__ = ["FilledFile", "Hole"]

_PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Hole:
    """A part of a file that is not in it.

    Parameters
    ----------
    offset, size : int
        Where it is, bytes.
    fill : callable
        Gives its bytes when they are sent.
    """

    offset: int
    size: int
    fill: Callable[[], Iterable[Buffer]]


class FilledFile(Iterator[Buffer]):
    """The bytes of a temporary file with its holes filled.

    Parameters
    ----------
    file : binary file
        The file; it is closed after the last piece, and by `close` also before the first one.
    holes : sequence of Hole
        They do not overlap.

    Attributes
    ----------
    size : int
        How many bytes there are.
    """

    def __init__(self, file: BinaryIO, holes: Sequence[Hole] = ()) -> None:
        file.flush()
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        self._pieces = _pieces(file, sorted(holes, key=lambda hole: hole.offset), self.size)

    def __next__(self) -> Buffer:
        return next(self._pieces)

    def close(self) -> None:
        """Give the file back; a second time does nothing."""
        self._pieces.close()
        self._file.close()


def _pieces(file: BinaryIO, holes: Sequence[Hole], size: int) -> Generator[Buffer]:
    at = 0
    with file:
        for hole in holes:
            yield from _written(file, at, hole.offset)
            yield from _filled(hole)
            at = hole.offset + hole.size
        yield from _written(file, at, size)


def _written(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    while start < stop:
        piece = os.pread(file.fileno(), min(_PIECE_BYTES, stop - start), start)
        if not piece:
            raise StorageError("the temporary file of an export was cut short; ask again")
        start += len(piece)
        yield piece


def _filled(hole: Hole) -> Iterator[Buffer]:
    left = hole.size
    for piece in hole.fill():
        left -= memoryview(piece).nbytes
        if left < 0:
            break
        yield piece
    if left:
        raise ChangedError("an array changed its size while it was exported; ask again")
