"""Own the taking of pieces from bodies: warm and cold file reads, and small pieces put together.

It does not send them: the edge does.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Final

from holdfast.buffers import aligned_bytes
from holdfast.errors import ChangedError, StorageError
from holdfast.http.limits import PIECE_BYTES, SHARED_PIECE_BYTES
from holdfast.http.reply import FileRange
from holdfast.types import Buffer

__all__ = ["gather", "place", "read_cold", "read_warm"]

_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)
_CANNOT = frozenset({errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


def read_warm(span: FileRange, at: int, count: int) -> memoryview | None:
    """Read what the system has in memory, without waiting for a disk.

    Parameters
    ----------
    span : FileRange
        The file.
    at, count : int
        The position and the number of bytes.

    Returns
    -------
    memoryview or None
        A fresh buffer (the server may still hold earlier ones), or None when not all is in memory.
    """
    if not _NOWAIT:
        return None
    piece = aligned_bytes(count)
    try:
        got = os.preadv(span.fd, [piece], at, _NOWAIT)
    except OSError as error:
        if error.errno in _CANNOT:
            return None
        raise _unreadable(error) from error
    return piece if got == count else None


def read_cold(span: FileRange, at: int, count: int) -> memoryview:
    """Read, waiting for the disk.

    Parameters
    ----------
    span : FileRange
        The file.
    at, count : int
        The position and the number of bytes.

    Returns
    -------
    memoryview
        Exactly ``count`` bytes.

    Raises
    ------
    ChangedError
        When the file has become shorter.
    StorageError
        When the disk fails.
    """
    piece = aligned_bytes(count)
    _fill(span, at, piece)
    return piece


def place(span: FileRange, target: memoryview) -> Iterator[memoryview]:
    """Read a range straight into a buffer of the caller.

    Parameters
    ----------
    span : FileRange
        The file.
    target : memoryview
        At least as long as the range.

    Yields
    ------
    memoryview
        The parts of the buffer that are filled, in order.
    """
    for start in range(0, span.size, PIECE_BYTES):
        part = target[start : min(start + PIECE_BYTES, span.size)]
        _fill(span, span.start + start, part)
        yield part


def _fill(span: FileRange, at: int, target: memoryview) -> None:
    filled = 0
    while filled < len(target):
        try:
            got = os.preadv(span.fd, [target[filled:]], at + filled)
        except OSError as error:
            raise _unreadable(error) from error
        if got == 0:
            raise ChangedError(
                f"the file ended at byte {at + filled}, before {span.stop}: it was changed meanwhile"
            )
        filled += got


def _unreadable(error: OSError) -> StorageError:
    return StorageError(f"the file cannot be read: {error.strerror}; check the disk")


def gather(pieces: Iterator[Buffer]) -> list[Buffer] | None:
    """Take pieces until there are enough for one turn on the wire.

    Parameters
    ----------
    pieces : iterator of bytes-like
        A body.

    Returns
    -------
    list of bytes-like or None
        At least 256 KiB where there is that much left; small pieces are joined, large ones are not copied;
        None when nothing is left.
    """
    taken: list[Buffer] = []
    small, total = bytearray(), 0
    for piece in pieces:
        view = memoryview(piece).cast("B")
        total += len(view)
        if len(view) < SHARED_PIECE_BYTES:
            small += view
        else:
            taken += [small, view] if small else [view]
            small = bytearray()
        if total >= SHARED_PIECE_BYTES:
            break
    if small:
        taken.append(small)
    return taken or None
