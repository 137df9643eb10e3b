"""Chunks of Zarr arrays: the parts that a slice touches, decoded into place.

Owns going through chunks, shards and their parts; opens no file.

Notes
-----
Chunks stored as they are (no codec, or a whole shard part) are read in place, only what is needed of them.
What is absent is filled; what is there and does not decode to exactly a chunk is an error.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import ChangedError, UnreadableError
from holdfast.formats.chunks import parts
from holdfast.formats.metadata import clean_text
from holdfast.formats.rawarray import RawArray, Segment
from holdfast.formats.slicing import Axis, Selection
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure
from holdfast.formats.zarr.metadata import Chain
from holdfast.formats.zarr.types import BYTES, TEXT

__all__ = ["MAX_CHUNK_BYTES", "Window", "is_texts", "read_window"]

MAX_CHUNK_BYTES = 512 << 20
"""Chunks that are larger when decoded are not decoded at all."""

_ABSENT = (1 << 64) - 1
_MAX_TEXT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes of a file that are one chunk as stored."""

    source: Source
    offset: int
    size: int

    def read(self) -> bytes:
        """Return all of them."""
        return bytes(self.source.read(self.offset, self.size))


def read_window(window: Window, chain: Chain, axes: Sequence[Axis], out: np.ndarray, fill: Any) -> None:
    """Read a slice of one chunk into place.

    Parameters
    ----------
    window : Window
        Its bytes.
    chain : Chain
        How it is encoded.
    axes : sequence of Axis
        The slice.
    out : ndarray
        As large as the slice.
    fill : object
        What absent parts of a shard are filled with.

    Raises
    ------
    UnreadableError
        It is damaged.
    """
    if chain.serial == "shards":
        _read_shard(window, chain, axes, out, fill)
    elif chain.serial == "bytes" and not chain.steps and chain.order in (None, _reversed(chain)):
        _read_raw(window, chain, axes, out)
    else:
        try:
            chunk = _decoded(window.read(), chain)
        except UnreadableError as error:
            raise UnreadableError(
                f"{window.source.name} is damaged: {error}; restore it from a copy"
            ) from error
        _put(out, chunk[tuple(axis.as_slice() for axis in axes)])


def _reversed(chain: Chain) -> tuple[int, ...]:
    return tuple(reversed(range(len(chain.chunks))))


def _read_raw(window: Window, chain: Chain, axes: Sequence[Axis], out: np.ndarray) -> None:
    """Read only what is needed of a chunk that is stored as it is."""
    if window.size != chain.nbytes:
        raise UnreadableError(
            f"{window.source.name} is damaged: a chunk of it has {window.size} bytes instead of "
            f"{chain.nbytes}; restore it from a copy"
        )
    structure = ArrayStructure.build(chain.dtype, chain.chunks)
    segment = Segment(window.source, window.offset, window.size)
    is_fortran = chain.order is not None and len(chain.chunks) > 1
    RawArray(structure, [segment], is_fortran=is_fortran).read_into(Selection(tuple(axes), chain.chunks), out)


def _decoded(data: bytes, chain: Chain) -> np.ndarray:
    """Undo every step and return the whole chunk."""
    if chain.serial.startswith("vlen"):
        return np.array(_texts(_undone(data, chain, _MAX_TEXT_BYTES), chain), object).reshape(chain.chunks)
    if chain.nbytes > MAX_CHUNK_BYTES:
        raise UnreadableError(
            f"its chunks have {chain.nbytes} bytes; those over {MAX_CHUNK_BYTES >> 20} MiB are not decoded, "
            "store it in smaller ones"
        )
    # Filters may widen numbers in between, at most eightfold.
    has_filters = any(step.name not in _EXACT for step in chain.steps)
    data = _undone(data, chain, chain.nbytes * (8 if has_filters else 1) + 64)
    if len(data) != chain.nbytes:
        raise UnreadableError(f"it decodes to {len(data)} bytes instead of {chain.nbytes}")
    stored = np.frombuffer(data, chain.dtype)
    if chain.order is None:
        return stored.reshape(chain.chunks)
    shape = tuple(chain.chunks[axis] for axis in chain.order)
    return stored.reshape(shape).transpose(np.argsort(chain.order))


_EXACT = frozenset(
    {"gzip", "zlib", "bz2", "lzma", "blosc", "zstd", "lz4", "crc32c", "crc32", "adler32", "fletcher32"}
)


def _undone(data: bytes, chain: Chain, limit: int) -> bytes:
    for step in chain.steps:
        data = step.decode(data, limit)
    return data


def _texts(data: bytes, chain: Chain) -> list[Any]:
    """Return the texts, or byte strings, of a chunk: a count, then each with its length before it.

    Raises
    ------
    UnreadableError
        They are damaged.
    """
    wanted = int(np.prod(chain.chunks, dtype=object))
    found: list[Any] = []
    try:
        [count] = struct.unpack_from("<I", data)
        if count != wanted or count > len(data) // 4:
            raise UnreadableError(f"it has {count} texts instead of {wanted}")
        at = 4
        for _ in range(count):
            [length] = struct.unpack_from("<I", data, at)
            at += 4 + length
            if at > len(data):
                raise UnreadableError("a text ends behind its chunk")
            found.append(data[at - length : at])
    except struct.error as error:
        raise UnreadableError("its texts end early") from error
    return [clean_text(text) for text in found] if chain.dtype == TEXT else found


def _put(out: np.ndarray, values: np.ndarray) -> None:
    """Put values into place; texts only if they fit."""
    if values.dtype.kind == "O" and out.dtype.kind != "O":
        room = out.dtype.itemsize // (4 if out.dtype.kind == "U" else 1)
        if max(map(len, values.reshape(-1)), default=0) > room:
            raise ChangedError("a text is longer than when the store was opened; index it again")
    out[...] = values


# -- shards --------------------------------------------------------------------------------------------


def _read_shard(window: Window, chain: Chain, axes: Sequence[Axis], out: np.ndarray, fill: Any) -> None:
    """Read a slice of a shard part by part."""
    assert chain.inner is not None
    index = _shard_index(window, chain)
    for part in parts(axes, chain.inner.chunks):
        offset, size = (int(number) for number in index[part.numbers])
        if (offset, size) == (_ABSENT, _ABSENT):
            out[part.target] = fill
            continue
        if offset + size > window.size:
            raise UnreadableError(
                f"{window.source.name} is damaged: part {part.numbers} ends at byte {offset + size} of "
                f"{window.size}; restore it from a copy"
            )
        inner = Window(window.source, window.offset + offset, size)
        read_window(inner, chain.inner, part.inside, out[part.target], fill)


def _shard_index(window: Window, chain: Chain) -> np.ndarray:
    """Return where the parts of a shard lie: offset and size of each."""
    assert chain.index is not None
    checksums = sum(step.name == "crc32c" for step in chain.index.steps)
    size = chain.index.nbytes + 4 * checksums
    if len(chain.index.steps) != checksums:
        raise UnreadableError(f"{window.source.name} has a compressed index, which is not read")
    if size > window.size:
        raise UnreadableError(
            f"{window.source.name} is damaged: it has {window.size} bytes, its index alone {size}; "
            "restore it from a copy"
        )
    start = 0 if chain.is_index_first else window.size - size
    place = Window(window.source, window.offset + start, size)
    index = np.empty(chain.index.chunks, chain.index.dtype)
    whole = [Axis(0, 1, length) for length in chain.index.chunks]
    read_window(place, chain.index, whole, index, 0)
    return index


def is_texts(chain: Chain) -> bool:
    """Whether elements are texts or byte strings of any length."""
    return chain.dtype in (TEXT, BYTES) and chain.serial.startswith("vlen")
