"""Packed chunks of HDF5 data sets: none may unpack to more than a chunk.

Owns looking at chunks before HDF5 unpacks them, and unpacking deflate within bounds; finds no data sets.

Notes
-----
HDF5 gives its filters whatever memory they ask for: a chunk that declares 80 bytes may unpack to gigabytes.
So stored sizes are compared first, sizes that packed data itself declares (Blosc, LZ4, bitshuffle) too, and
larger chunks that were packed by deflate are unpacked here, where it ends at a chunk's size. What is left to
HDF5 stays below 64 MiB or is packed by a filter that cannot make much of little.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from h5py import h5d, h5z

from holdfast.errors import UnreadableError
from holdfast.formats.chunks import Part, parts
from holdfast.formats.hdf5.links import Place
from holdfast.formats.slicing import Axis

__all__ = ["PackedChunks"]

# What deflate makes of a byte at most (RFC 1951: 258 bytes of two bits), and so the chunks HDF5 may unpack.
_DEFLATE_RATIO = 1032
_SMALL_BYTES = (64 << 20) // _DEFLATE_RATIO
# The last chunk is kept unpacked as HDF5 keeps it, for readers that go through it in small steps.
_KEPT_BYTES = 1 << 20
# HDF5 walks all chunks to find one: from so many on their sizes are taken in one walk, if there is room.
_MANY, _MAX_GRID, _MAX_SIZE = 8, 16 << 20, (1 << 32) - 1
_STREAM_BYTES = 256 << 10
_BLOSC, _LZ4, _BITSHUFFLE = _CLAIMING = (32001, 32004, 32008)
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
        if self._filters.count(h5z.FILTER_DEFLATE) > 1:
            raise UnreadableError(f"{self._place.opened.name} has data that was packed by deflate twice")
        is_looked_into = self._filters[-1] in _CLAIMING or (
            h5z.FILTER_DEFLATE in self._filters and self._nbytes > _SMALL_BYTES
        )
        sizes = self._sizes(axes)
        if not is_looked_into and sizes is not None and int(sizes.max()) <= self._limit:
            return
        for _, start, size in self._touched(axes):
            if size and is_looked_into:
                mask, data = self._dataset.read_direct_chunk(start)
                self._check_claim(start, mask, data)
                self._check_deflated(start, mask, data)

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
        if kept is not None and kept[0] == count:
            return kept[1]
        grid = [-(-n // length) for n, length in zip(self._dataset.shape, self._shape, strict=True)]
        touched = math.prod(-(-axis.count // length) for axis, length in zip(axes, self._shape, strict=True))
        if touched < _MANY or math.prod(grid) > _MAX_GRID:
            return None
        sizes = np.zeros(grid, np.uint32)

        def put(stored: h5d.StoreInfo) -> None:
            number = tuple(at // n for at, n in zip(stored.chunk_offset, self._shape, strict=True))
            sizes[number] = min(stored.size, _MAX_SIZE)

        self._dataset.chunk_iter(put)
        self._kept_sizes = count, sizes
        return sizes

    def _check_claim(self, start: tuple[int, ...], mask: int, data: bytes) -> None:
        """Refuse a chunk whose own header says that it unpacks to more."""
        last, options = self._filters[-1], self._options[-1]
        if last == _BITSHUFFLE and not (len(options) > 4 and options[4] in _BITSHUFFLE_PACKS):
            return
        if last not in _CLAIMING or mask:
            return
        claim = int.from_bytes(data[4:8], "little") if last == _BLOSC else int.from_bytes(data[:8], "big")
        if claim > self._nbytes:
            raise self._damage(start, f"claims to unpack to {claim} bytes instead of {self._nbytes}")

    def _check_deflated(self, start: tuple[int, ...], mask: int, data: bytes) -> None:
        """Unpack a chunk piece by piece, keeping none, where HDF5 is to unpack it."""
        if (
            mask
            or len(data) < _SMALL_BYTES
            or self._filters[-1] not in (h5z.FILTER_DEFLATE, h5z.FILTER_FLETCHER32)
        ):
            return
        stream, found = zlib.decompressobj(), 0
        while data and not stream.eof and found <= self._nbytes:
            try:
                found += len(stream.decompress(data, _STREAM_BYTES))
            except zlib.error as error:
                raise self._damage(start, f"does not unpack ({error})") from error
            data = stream.unconsumed_tail
        if found > self._nbytes:
            raise self._damage(start, f"unpacks to more than its {self._nbytes} bytes")

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
                data = self._inflated(data, start)
            elif len(data) == self._nbytes:
                data = _unshuffled(data, self._dtype.itemsize)
        if len(data) != self._nbytes:
            raise self._damage(start, f"has {len(data)} bytes instead of {self._nbytes}")
        chunk = np.frombuffer(data, self._dtype).reshape(self._shape)
        if self._nbytes <= _KEPT_BYTES:
            self._kept = (stored, chunk)
        return chunk

    def _inflated(self, data: bytes, start: tuple[int, ...]) -> bytes:
        stream = zlib.decompressobj()
        try:
            out = stream.decompress(data, self._nbytes + 1)
        except zlib.error as error:
            raise self._damage(start, f"does not unpack ({error})") from error
        if len(out) > self._nbytes:
            raise self._damage(start, f"unpacks to more than its {self._nbytes} bytes")
        if not stream.eof:
            raise self._damage(start, "ends early")
        return out

    def _damage(self, start: tuple[int, ...], what: str) -> UnreadableError:
        return UnreadableError(
            f"{self._place.opened.name} is damaged: the chunk at {list(start)} {what}; restore it from a copy"
        )


def _unshuffled(data: bytes, itemsize: int) -> bytes:
    """Put the bytes of elements together again: HDF5 stores all first bytes, then all second ones."""
    return np.frombuffer(data, np.uint8).reshape(itemsize, -1).T.tobytes()
