"""The layout of a TIFF page: shape and type of its array, and where its strips or tiles lie.

Owns what the tags of a page mean for its pixels; decodes none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.tiff.ifd import Tags, TiffHeader

__all__ = ["JPEG", "MAX_SEGMENT_BYTES", "PACKINGS", "PICTURES", "Page", "read_page"]

MAX_SEGMENT_BYTES = 512 << 20
"""The largest strip or tile that is decoded: it must fit into memory as a whole."""

PACKINGS = frozenset({1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000})
"""None, CCITT, LZW, deflate, PackBits, LZMA, Zstandard: they unpack to as many bytes as they are told to."""

JPEG = 7
PICTURES = frozenset({JPEG, 22610, 33003, 33004, 33005, 34712, 34933, 34934, 50001, 50002})
"""JPEG, JPEG 2000, PNG, JPEG XR, WebP, JPEG XL: whole pictures, which say themselves how large they are."""

Full = tuple[int, int, int, int, int]
Tile = tuple[int, int, int, int]

_RGB = 2
_MAX_LENGTH = 1 << 40


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Parameters
    ----------
    offset : int
        Where its header is.
    full : tuple of int
        Shape as (planes, depth, length, width, samples); the array's shape leaves out what is 1.
    shape : tuple of int
        Shape of the array.
    dtype : numpy.dtype
        Type of an element, as it is read.
    tile : tuple of int
        Shape of a strip or tile as (depth, length, width, samples).
    is_raw : bool
        Whether the elements lie in the file as they are read.
    segments : numpy.ndarray of int64, shape (n, 2)
        Offset and size of each strip or tile, in order.
    run : int, optional
        Where the array starts, if all its bytes lie one behind the other as they are read.
    packing : int
        How segments are packed, by its number in TIFF; 1 where they are not.
    """

    offset: int
    full: Full
    shape: tuple[int, ...]
    dtype: np.dtype
    tile: Tile
    is_raw: bool
    segments: np.ndarray
    run: int | None
    packing: int

    @property
    def nbytes(self) -> int:
        """Size of the array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def grid(self) -> tuple[int, int, int, int]:
        """How many segments there are along planes, depth, length and width."""
        return _grid(self.full, self.tile)


def read_page(header: TiffHeader, name: str, size: int, offset: int, tags: Tags) -> Page:
    """Work out the layout of a page.

    Parameters
    ----------
    header : TiffHeader
        Reads the values of tags.
    name : str
        What errors call the file.
    size : int
        Size of the file in bytes.
    offset : int
        Where the page's header is.
    tags : dict
        Its tags.

    Raises
    ------
    UnreadableError
        The tags make no image, or its data is not in the file.
    """
    reader = _Reader(header, name, tags)
    length, width = reader.length(257), reader.length(256)
    depth = reader.one(32997, 1)
    samples = reader.one(277, 1)
    bits, dtype = reader.type(samples)
    is_planar = reader.one(284, 1) == 2 and samples > 1
    full = (samples, depth, length, width, 1) if is_planar else (1, depth, length, width, samples)
    has_samples = samples > 1 or reader.one(262, 1) == _RGB
    kept = (is_planar, depth > 1, True, True, has_samples and not is_planar)
    shape = tuple(count for count, is_kept in zip(full, kept, strict=True) if is_kept)
    tile = reader.tile(full)
    packing = reader.packing()
    is_plain = packing == 1 and reader.one(317, 1) == 1 and reader.one(266, 1) == 1
    is_raw = is_plain and bits == dtype.itemsize * 8 and dtype.kind != "b" and reader.one(339, 1) != 5
    dtype = dtype.newbyteorder(header.order) if is_raw else dtype.newbyteorder("<")
    needed = math.prod(shape) * dtype.itemsize
    if is_raw and needed > size:
        raise UnreadableError(f"{name} claims {needed} bytes of data and has {size}: it is truncated")
    segments = reader.segments(full, tile, size, dtype.itemsize if is_raw else 0)
    run = _run(full, tile, segments) if is_raw else None
    unpacked = math.prod(tile) * dtype.itemsize
    if run is None and unpacked > MAX_SEGMENT_BYTES:
        raise UnreadableError(
            f"{name} has strips or tiles of {unpacked} bytes; at most {MAX_SEGMENT_BYTES} are decoded at once"
        )
    return Page(offset, full, shape, dtype, tile, is_raw, segments, run, packing)


def _grid(full: Full, tile: Tile) -> tuple[int, int, int, int]:
    return full[0], -(-full[1] // tile[0]), -(-full[2] // tile[1]), -(-full[3] // tile[2])


def _run(full: Full, tile: Tile, segments: np.ndarray) -> int | None:
    """Return where the strips start, if they follow each other."""
    if tile[2] != full[3]:
        return None
    if len(segments) > 1 and not np.array_equal(segments[:-1, 0] + segments[:-1, 1], segments[1:, 0]):
        return None
    return int(segments[0, 0])


class _Reader:
    """Read the tags of one page."""

    def __init__(self, header: TiffHeader, name: str, tags: Tags) -> None:
        self._header, self._name, self._tags = header, name, tags

    def one(self, code: int, default: int) -> int:
        return self._header.integer(self._tags, code, default)

    def length(self, code: int) -> int:
        value = self.one(code, 0)
        if not 0 < value < _MAX_LENGTH:
            raise UnreadableError(f"{self._name} has a page of length {value}")
        return value

    def type(self, samples: int) -> tuple[int, np.dtype]:
        """Return the bits and the type of an element."""
        bits, formats = self._all(258), self._all(339)
        if not 0 < samples <= 1 << 16 or len({*bits[:samples]}) > 1 or len({*formats[:samples]}) > 1:
            raise UnreadableError(
                f"{self._name} has {samples} samples of {bits[:8]} bits, which is not supported"
            )
        dtype = _dtype(formats[0], bits[0])
        if dtype is None:
            raise UnreadableError(
                f"{self._name} has elements of {bits[0]} bits in format {formats[0]}, which are not supported"
            )
        return bits[0], dtype

    def _all(self, code: int) -> list[int]:
        """Return what a tag says of each sample; most images have one."""
        tag = self._tags.get(code)
        return (
            [self.one(code, 1)] if tag is None or tag.amount == 1 else self._header.integers(self._tags, code)
        )

    def packing(self) -> int:
        """Return how strips and tiles are packed."""
        packing = self.one(259, 1)
        if packing not in PACKINGS | PICTURES:
            raise UnreadableError(f"{self._name} is packed in a way (number {packing}) that is not supported")
        return packing

    def tile(self, full: Full) -> Tile:
        _, _, length, width, samples = full
        if 322 in self._tags:
            return max(self.one(32998, 1), 1), self.length(323), self.length(322), samples
        rows = self.one(278, length)
        return 1, min(rows, length) if rows else length, width, samples

    def segments(self, full: Full, tile: Tile, size: int, itemsize: int) -> np.ndarray:
        """Return offset and size of every segment, all in the file; `itemsize` is 0 where they are packed."""
        tiled = 324 in self._tags
        count = math.prod(_grid(full, tile))
        if count == 1:
            offset = self._single(324 if tiled else 273)
            length = math.prod(tile) * itemsize or self._single(325 if tiled else 279)
            offsets, sizes = np.array([offset]), np.array([length])
        else:
            offsets = self._numbers(324 if tiled else 273, count)
            sizes = (
                self._numbers(325 if tiled else 279, count)
                if not itemsize
                else _raw_sizes(full, tile, itemsize, count)
            )
        self._check(offsets, sizes, size, is_packed=not itemsize)
        return np.stack([offsets, sizes], axis=1)

    def _single(self, code: int) -> int:
        """Return the offset or size of the only segment, as every frame of a detector has it."""
        tag = self._tags.get(code)
        if tag is None or tag.amount != 1:
            return int(self._numbers(code, 1)[0])
        return min(self.one(code, 0), 1 << 62)

    def _check(self, offsets: np.ndarray, sizes: np.ndarray, size: int, *, is_packed: bool) -> None:
        """Refuse segments that are not in the file, or too large to be unpacked."""
        if is_packed and sizes.max() > MAX_SEGMENT_BYTES:
            raise UnreadableError(f"{self._name} has a strip or tile of {sizes.max()} packed bytes")
        if min(offsets.min(), sizes.min()) <= 0 or (offsets + sizes).max() > size:
            raise UnreadableError(f"{self._name} is truncated: strips or tiles of a page are not in the file")

    def _numbers(self, code: int, count: int) -> np.ndarray:
        """Return exactly as many offsets or sizes as there are segments."""
        tag = self._tags.get(code)
        found = 0 if tag is None else tag.amount
        if tag is None or found < count:
            raise UnreadableError(
                f"{self._name} has {found} of {count} strips or tiles of a page: it is damaged"
            )
        values = self._header.offsets(tag)[:count]
        if values.max() > 1 << 62:
            raise UnreadableError(f"{self._name} has strips or tiles outside the file")
        return values.astype(np.int64)


def _raw_sizes(full: Full, tile: Tile, itemsize: int, count: int) -> np.ndarray:
    """Return the sizes of segments that are not packed: what writers say of them is often wrong."""
    depth, length, width, samples = tile
    row = width * samples * itemsize
    sizes = np.full(count, depth * length * row, np.int64)
    rows, last = -(-full[2] // length), full[2] % length
    if width == full[3] and last:
        # The last strip of each plane holds the rows that are left.
        sizes[rows - 1 :: rows] = last * row
    return sizes


@cache
def _dtype(form: int, bits: int) -> np.dtype | None:
    """Return the type of elements of a format and so many bits; None where there is none."""
    if form in (1, 4):
        if bits == 1:
            return np.dtype(np.bool_)
        fitting = next((size for size in (8, 16, 32) if bits <= size), 64 if bits == 64 else 0)
        return np.dtype(f"u{fitting // 8}") if fitting and bits > 1 else None
    kinds = {2: ("i", (8, 16, 32, 64)), 3: ("f", (16, 32, 64)), 6: ("c", (64, 128))}
    kind, sizes = kinds.get(form, ("", ()))
    return np.dtype(f"{kind}{bits // 8}") if bits in sizes else None
