"""Packed chunks of HDF5 data sets: none may unpack to more than a chunk.

Owns looking at chunks before HDF5 unpacks them, and unpacking deflate within bounds; finds no data sets.

Notes
-----
HDF5 gives its filters whatever memory they ask for: a chunk that declares 80 bytes may unpack to gigabytes.
So stored sizes are compared first, sizes that packed data itself declares (Blosc, LZ4, bitshuffle, Zstandard)
too, and what deflate (above 64 KiB) or bzip2 packed is unpacked here, where it ends at a chunk's size. What
is left to HDF5 stays below 64 MiB; of Blosc2 and filters not known here only the stored size is bounded.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from h5py import h5d, h5z

from holdfast.errors import UnreadableError
from holdfast.formats.chunks import Part, parts
from holdfast.formats.hdf5.links import Place
from holdfast.formats.slicing import Axis
from holdfast.formats.zstd import frame_size

__all__ = ["PackedChunks"]

# What deflate makes of a byte at most (RFC 1951: 258 bytes of two bits), and so the chunks HDF5 may unpack.
_DEFLATE_RATIO = 1032
_SMALL_BYTES = (64 << 20) // _DEFLATE_RATIO
# The last chunk is kept unpacked as HDF5 keeps it, for readers that go through it in small steps.
_KEPT_BYTES = 1 << 20
# HDF5 walks all chunks to find one: from so many on their sizes are taken in one walk, if there is room.
_MANY, _MAX_GRID, _MAX_SIZE = 8, 16 << 20, (1 << 32) - 1
# Registered numbers of filters that others brought; the first say in front of the data what it becomes.
_BLOSC, _LZ4, _BITSHUFFLE, _ZSTD = _CLAIMING = (32001, 32004, 32008, 32015)
_BZIP2, _BLOSC2, _LZF = 307, 32026, 32000
_PACKERS = {h5z.FILTER_DEFLATE, h5z.FILTER_SZIP, _LZF, _BZIP2, _BLOSC2, *_CLAIMING}
# Options of bitshuffle that pack too: by LZ4, by Zstandard.
_BITSHUFFLE_PACKS = (2, 3)


class PackedChunks:
    """The chunks of one data set that has filters.

    Parameters
    ----------
    place : Place
        The data set.
    dtype : numpy.dtype
        Its elements as they lie in a chunk.
    """

    def __init__(self, place: Place, dtype: np.dtype) -> None:
        self._place, self._dtype = place, dtype
        self._dataset: h5d.DatasetID = place.object
        created = self._dataset.get_create_plist()
        self._shape: tuple[int, ...] = created.get_chunk()
        self._nbytes = math.prod(self._shape) * self._dataset.get_type().get_size()
        # Filters that find nothing to pack add a header and little more.
        self._limit = self._nbytes + self._nbytes // 16 + 4096
        pipeline = [created.get_filter(n) for n in range(created.get_nfilters())]
        self._filters = [each[0] for each in pipeline]
        self._options = [each[2] for each in pipeline]
        self._packers = [n for n in range(len(pipeline)) if _packs(self._filters[n], self._options[n])]
        self._kept: tuple[tuple[int, bytes], np.ndarray] | None = None
        self._kept_sizes: tuple[int, np.ndarray] | None = None
        self._fill = np.zeros((), dtype)
        self._is_filled = created.fill_value_defined() != h5d.FILL_VALUE_UNDEFINED
        if self._is_filled and dtype.kind in "iufc":
            created.get_fill_value(self._fill)

    @classmethod
    def of(cls, place: Place, dtype: np.dtype) -> PackedChunks | None:
        """Return the packed chunks of a data set, or None if it has no filters."""
        created = place.object.get_create_plist()
        is_packed = created.get_layout() == h5d.CHUNKED and created.get_nfilters() > 0
        return cls(place, dtype) if is_packed else None

    @property
    def is_ours(self) -> bool:
        """Whether chunks of numbers are unpacked here: by deflate, with bytes shuffled or not."""
        pack, size = [h5z.FILTER_DEFLATE], self._dtype.itemsize
        is_shuffled = self._filters == [h5z.FILTER_SHUFFLE, *pack] and self._options[0][:1] == (size,)
        return self._is_filled and self._nbytes > _SMALL_BYTES and (is_shuffled or self._filters == pack)

    def read(self, axes: Sequence[Axis], out: np.ndarray) -> bool:
        """Read a slice of a data set whose chunks are unpacked here (`is_ours`).

        Parameters
        ----------
        axes : sequence of Axis
            The slice.
        out : ndarray
            As large as the slice, of numbers that lie in the file as they do here.

        Returns
        -------
        bool
            Whether it was filled; else it is HDF5 that has to read.

        Raises
        ------
        UnreadableError
            A chunk is damaged, or would unpack to more than a chunk.
        """
        for part, start, size in self._touched(axes):
            if not size:
                out[part.target] = self._fill
            elif self._may_be_bare(start, size):
                return False
            else:
                chunk = self._unpacked(start, *self._dataset.read_direct_chunk(start))
                out[part.target] = chunk[tuple(axis.as_slice() for axis in part.inside)]
        return True

    def check(self, axes: Sequence[Axis]) -> None:
        """See that HDF5 may unpack the chunks that a slice touches.

        Raises
        ------
        UnreadableError
            One is damaged, or would unpack to more than a chunk.
        """
        self._check_order()
        kind = self._filters[self._packers[0]] if self._packers else None
        is_looked_into = kind in _CLAIMING or kind == _BZIP2
        is_looked_into = is_looked_into or (kind == h5z.FILTER_DEFLATE and self._nbytes > _SMALL_BYTES)
        sizes = self._sizes(axes)
        if not is_looked_into and sizes is not None and int(sizes.max()) <= self._limit:
            return
        # What so few bytes can become HDF5 may unpack, whatever it is.
        harmless = _SMALL_BYTES if kind == h5z.FILTER_DEFLATE else 0
        for _, start, size in self._touched(axes):
            if size > harmless and is_looked_into:
                mask, data = self._dataset.read_direct_chunk(start)
                if not mask >> self._packers[0] & 1:
                    self._check_packed(start, data)

    def _check_order(self) -> None:
        """Refuse data that would have to be unpacked before it could be told to what it unpacks."""
        last = self._packers[0] if self._packers else len(self._filters)
        if len(self._packers) > 1 or any(each != h5z.FILTER_FLETCHER32 for each in self._filters[last + 1 :]):
            raise UnreadableError(
                f"{self._place.opened.name} has data that passed through the filters {self._filters}: what "
                "packs must come once, and last but for a checksum; write it anew so"
            )

    def _touched(self, axes: Sequence[Axis]) -> Iterator[tuple[Part, tuple[int, ...], int]]:
        """Yield what a slice takes of each chunk, where that begins, and its size in the file (0: none)."""
        sizes = self._sizes(axes)
        for part in parts(axes, self._shape):
            start = tuple(n * length for n, length in zip(part.numbers, self._shape, strict=True))
            size = self._dataset.get_chunk_info_by_coord(start).size if sizes is None else sizes[part.numbers]
            if size > self._limit:
                raise self._damage(start, f"has {size} bytes where {self._nbytes} are unpacked at most")
            yield part, start, int(size)

    def _sizes(self, axes: Sequence[Axis]) -> np.ndarray | None:
        """Return the sizes of all chunks, which HDF5 gives much quicker than those of many one by one."""
        kept, count = self._kept_sizes, self._dataset.get_num_chunks()
        grid = tuple(-(-n // length) for n, length in zip(self._dataset.shape, self._shape, strict=True))
        if kept is not None and kept[0] == count and kept[1].shape == grid:
            return kept[1]
        touched = math.prod(_touched_along(axis, n) for axis, n in zip(axes, self._shape, strict=True))
        if touched < _MANY or math.prod(grid) > _MAX_GRID:
            return None
        sizes = np.zeros(grid, np.uint32)

        def put(stored: h5d.StoreInfo) -> None:
            number = tuple(at // n for at, n in zip(stored.chunk_offset, self._shape, strict=True))
            sizes[number] = min(stored.size, _MAX_SIZE)

        self._dataset.chunk_iter(put)
        self._kept_sizes = count, sizes
        return sizes

    def _check_packed(self, start: tuple[int, ...], data: bytes) -> None:
        """Refuse a chunk that HDF5 would unpack to more than its size, or that says so itself."""
        kind = self._filters[self._packers[0]]
        if kind not in _CLAIMING:
            self._expanded(kind, data, start, self._limit)
            return
        try:
            claim, most = _claim(kind, data), self._limit
            if kind == _ZSTD and not frame_size(data)[1]:
                most = max(4 * most, _SMALL_BYTES * _DEFLATE_RATIO)
        except (ValueError, EOFError, struct.error) as error:
            raise self._damage(start, f"does not unpack ({error})") from error
        if claim > most:
            raise self._damage(start, f"claims to unpack to {claim} bytes instead of {self._nbytes}")

    def _may_be_bare(self, start: tuple[int, ...], size: int) -> bool:
        """Whether a chunk at the edge may be stored without filters, which only HDF5 knows (libver v110)."""
        edges = zip(start, self._shape, self._dataset.shape, strict=True)
        return size == self._nbytes and any(at + length > end for at, length, end in edges)

    def _unpacked(self, start: tuple[int, ...], mask: int, data: bytes) -> np.ndarray:
        """Return a chunk's elements."""
        stored, kept = (mask, data), self._kept
        if kept is not None and kept[0] == stored:
            return kept[1]
        for number in reversed(range(len(self._filters))):
            if mask >> number & 1:
                continue
            if self._filters[number] == h5z.FILTER_DEFLATE:
                data = self._expanded(h5z.FILTER_DEFLATE, data, start, self._nbytes)
            elif len(data) == self._nbytes:
                data = _unshuffled(data, self._dtype.itemsize)
        if len(data) != self._nbytes:
            raise self._damage(start, f"has {len(data)} bytes instead of {self._nbytes}")
        chunk = np.frombuffer(data, self._dtype).reshape(self._shape)
        if self._nbytes <= _KEPT_BYTES:
            self._kept = (stored, chunk)
        return chunk

    def _expanded(self, kind: int, data: bytes, start: tuple[int, ...], most: int) -> bytes:
        """Unpack a chunk, at most to so many bytes."""
        stream = _stream(kind)
        try:
            out: bytes = stream.decompress(data, most + 1)
        except (zlib.error, OSError, ValueError, EOFError) as error:
            raise self._damage(start, f"does not unpack ({error})") from error
        if len(out) > most:
            raise self._damage(start, f"unpacks to more than its {self._nbytes} bytes")
        if not stream.eof:
            raise self._damage(start, "ends early")
        return out

    def _damage(self, start: tuple[int, ...], what: str) -> UnreadableError:
        return UnreadableError(
            f"{self._place.opened.name} is damaged: the chunk at {list(start)} {what}; restore it from a copy"
        )


def _touched_along(axis: Axis, length: int) -> int:
    """Return at most how many chunks lie below an axis of a slice."""
    return min(axis.count, (axis.high - 1) // length - axis.low // length + 1)


def _packs(kind: int, options: tuple[int, ...]) -> bool:
    """Whether a filter packs, as far as is known; bitshuffle does where its options say so."""
    is_packing = len(options) > 4 and options[4] in _BITSHUFFLE_PACKS
    return is_packing if kind == _BITSHUFFLE else kind in _PACKERS


def _unshuffled(data: bytes, itemsize: int) -> bytes:
    """Put the bytes of elements together again: HDF5 stores all first bytes, then all second ones."""
    return np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes()


def _stream(kind: int) -> Any:
    if kind == h5z.FILTER_DEFLATE:
        return zlib.decompressobj()
    import bz2

    return bz2.BZ2Decompressor()


def _claim(kind: int, data: bytes) -> int:
    """Return how many bytes packed data itself says it becomes."""
    if kind == _ZSTD:
        return frame_size(data)[0]
    return int.from_bytes(data[4:8], "little") if kind == _BLOSC else int.from_bytes(data[:8], "big")
