"""Own how all the data of a value leave: into memory, or into a file, verified beside the copying.

>>> from holdfast.store.value import held_value
>>> bytes_of(held_value(b"abc", "{}", modified=0.0), 2, lambda done: None)
b'abc'
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from holdfast.buffers import aligned_bytes
from holdfast.errors import ChangedError
from holdfast.files import AtomicWriter
from holdfast.store.fresh import fresh_bytes
from holdfast.store.moving import PIECE_BYTES, BlockVerifier, Steps, fill, move
from holdfast.store.value import HeldReader, Value

__all__ = ["bytes_of", "write_out"]

Progress: TypeAlias = Callable[[int], object]


def bytes_of(value: Value, buffer_size: int, progress: Progress) -> bytes:
    """Return all the data of a value.

    Parameters
    ----------
    value : Value
        The value.
    buffer_size : int
        Bytes between two calls of `progress`.
    progress : callable
        Takes the bytes so far.

    Returns
    -------
    bytes
        The data.

    Raises
    ------
    HashError
        They are damaged.
    ChangedError
        Data of unknown digest became shorter.
    """
    reader = value.reader
    if type(reader) is HeldReader and value.digests is None:
        progress(value.size)
        return bytes(reader.data)

    def fill_in(view: memoryview) -> None:
        """Read piece by piece."""
        if value.digests is None or value.size <= PIECE_BYTES:
            _stream_out(
                value, lambda stream, done: stream.readinto(view[done : done + buffer_size]), progress
            )
            return
        steps = Steps(buffer_size, progress)
        _require_all(value, fill(reader.read_into, view, _verifier(value), steps))

    return fresh_bytes(value.size, fill_in)


def write_out(value: Value, out: AtomicWriter, buffer_size: int, progress: Progress) -> None:
    """Write all the data of a value to a file.

    Parameters
    ----------
    value : Value
        The value.
    out : AtomicWriter
        The file, at its beginning.
    buffer_size : int
        Bytes between two calls of `progress`.
    progress : callable
        Takes the bytes so far.

    Raises
    ------
    HashError
        They are damaged.
    ChangedError
        Data of unknown digest became shorter.
    StorageFullError, StorageError
        The file cannot be written.
    """
    if value.digests is None or value.size <= PIECE_BYTES:
        buffer = aligned_bytes(max(1, min(buffer_size, value.size)))
        _stream_out(value, lambda stream, done: out.write(buffer[: stream.readinto(buffer)]), progress)
        return
    reader, size = value.reader, value.size

    def read(view: memoryview, offset: int) -> int:
        """Read no further than the value goes, whatever is appended to its file."""
        return reader.read_into(view[: size - offset], offset)

    steps = Steps(buffer_size, progress)
    _require_all(value, move(read, out.write, _verifier(value), steps))


def _verifier(value: Value) -> BlockVerifier:
    assert value.digests is not None
    return BlockVerifier(value.digests, f"the data of key {value.key!r:.200}")


def _stream_out(value: Value, step: Callable[[Any, int], int], progress: Progress) -> None:
    """Move data that their stream verifies; `step` takes the bytes so far and moves some more."""
    stream, done = value.range(), 0
    while count := step(stream, done):
        done += count
        progress(done)
    _require_all(value, done)


def _require_all(value: Value, done: int) -> None:
    if done != value.size:
        raise ChangedError(f"the data of key {value.key!r:.200} changed their size while they were read")
