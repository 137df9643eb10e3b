"""Reading the arrays of TIFF pages: only the strips, tiles and pages that a slice touches.

Owns which segments that are and putting them together; unpacking one is left to tifffile and imagecodecs.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.base import ArrayReader
from holdfast.formats.decoded import DECODED
from holdfast.formats.libraries import decoding, image_library
from holdfast.formats.rawarray import RawArray, Segment
from holdfast.formats.slicing import Axis, Selection
from holdfast.formats.source import Source, SourceStream
from holdfast.formats.structures import ArrayStructure
from holdfast.formats.tiff.layout import JPEG, PICTURES, Page

__all__ = ["Decoder", "PageArray", "page_reader"]

_KEPT_PAGES = 64
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_PADDING = 64
_VENDORS = (
    "is_eer", "is_indica", "is_lsm", "is_ndpi", "is_ome", "is_philips", "is_scanimage", "is_stk", "is_vista",
)  # fmt: skip


def page_reader(page: Page, source: Source, decoder: Decoder) -> ArrayReader:
    """Return what reads a page: straight from the file where its bytes lie there as they are."""
    structure = _structure(page.dtype, page.shape, _stored(page))
    if page.run is not None:
        return RawArray(structure, [Segment(source, page.run, page.nbytes)])
    return PageArray(structure, page, source, decoder)


# Thousands of frames have the same.
_structure = lru_cache(256)(lambda dtype, shape, stored: ArrayStructure.build(dtype, shape, stored=stored))


def _stored(page: Page) -> tuple[int, ...]:
    """Return the shape of a strip or tile along the axes that the array has."""
    tile = (1, *page.tile)
    return tuple(min(tile[axis], page.full[axis]) for axis in _axes(page))


def _axes(page: Page) -> list[int]:
    """Return which of (planes, depth, length, width, samples) are axes of the array."""
    found = [axis for axis in (0, 1) if page.full[axis] > 1] + [2, 3]
    return found if len(found) == len(page.shape) else [*found, 4]


class PageArray(ArrayReader):
    """The array of one page that is packed, or lies in the file in pieces.

    Parameters
    ----------
    structure : ArrayStructure
        Type and shape.
    page : Page
        The page.
    source : Source
        The file.
    decoder : Decoder
        Unpacks strips and tiles.
    """

    def __init__(self, structure: ArrayStructure, page: Page, source: Source, decoder: Decoder) -> None:
        self.structure = structure
        self.is_verified = source.is_verified
        self._page, self._source, self._decoder = page, source, decoder

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements.

        Raises
        ------
        UnreadableError
            A strip or tile is damaged.
        """
        out = np.empty(selection.kept_shape, self.structure.dtype)
        self.read_into(selection, out)
        return out

    def read_into(self, selection: Selection, out: np.ndarray) -> None:
        """Fill an array of shape `selection.kept_shape`, segment by segment."""
        if not selection.size:
            return
        whole = [Axis(0, 1, 1)] * 5
        for at, axis in zip(_axes(self._page), selection.axes, strict=True):
            whole[at] = axis
        target = out.reshape(tuple(axis.count for axis in whole))
        tile = (1, *self._page.tile)
        parts = [list(_parts(axis, step)) for axis, step in zip(whole, tile, strict=True)]
        for places in itertools.product(*parts):
            segment = self._segment(tuple(place.number for place in places[:4]))
            target[tuple(place.target for place in places)] = segment[tuple(place.taken for place in places)]

    def _segment(self, place: tuple[int, ...]) -> np.ndarray:
        """Return the segment at a place of the grid, as (1, depth, length, width, samples)."""
        number = int(np.ravel_multi_index(place, self._page.grid))
        if self._page.is_raw:
            return self._raw(number)
        return DECODED.get(
            self._decoder.owner, (self._page.offset, number), lambda: self._decoder.decode(self._page, number)
        )

    def _raw(self, number: int) -> np.ndarray:
        offset, size = self._page.segments[number].tolist()
        depth, _, width, samples = self._page.tile
        data = np.frombuffer(self._source.read(offset, size), self._page.dtype)
        return data.reshape(1, depth, -1, width, samples)


class _Part:
    """What of one axis lies in one segment: where it goes, and what is taken."""

    __slots__ = ("number", "taken", "target")

    def __init__(self, number: int, target: slice, taken: slice) -> None:
        self.number, self.target, self.taken = number, target, taken


def _parts(axis: Axis, step: int) -> Iterator[_Part]:
    """Cut the elements taken along an axis at the bounds of segments, `step` elements each."""
    first = 0
    while first < axis.count:
        at = axis.start + first * axis.step
        number = at // step
        low, high = number * step, (number + 1) * step
        left = (high - 1 - at) // axis.step if axis.step > 0 else (at - low) // -axis.step
        count = min(left + 1, axis.count - first)
        taken = Axis(at - low, axis.step, count).as_slice()
        yield _Part(number, slice(first, first + count), taken)
        first += count


class Decoder:
    """Unpack the strips and tiles of one file with tifffile; safe across threads.

    Parameters
    ----------
    source : Source
        The file; closed by its owner.
    """

    def __init__(self, source: Source) -> None:
        self.owner = DECODED.owner()
        self._source = source
        self._stream = SourceStream(source)
        self._pages: OrderedDict[int, Any] = OrderedDict()
        self._file: Any = None
        self._lock = threading.Lock()

    def decode(self, page: Page, number: int) -> np.ndarray:
        """Return one segment as (1, depth, length, width, samples).

        Raises
        ------
        UnreadableError
            It is damaged, or packed in a way that is not supported.
        MissingDependencyError
            The libraries that unpack it are not installed.
        """
        offset, size = page.segments[number].tolist()
        data = bytes(self._source.read(offset, size))
        with decoding(self._source, self._stream):
            known = self._known(page)
            if page.packing in PICTURES and page.packing != JPEG:
                return _picture(page, number, data)
            if page.packing == JPEG:
                _check_jpeg(data, page.tile)
            unpacked: np.ndarray | None = known.decode(data, number, jpegtables=known.jpegtables)[0]
            if unpacked is None or unpacked.dtype != page.dtype or unpacked.ndim != 4:
                raise UnreadableError(
                    f"{self._source.name}: a strip or tile holds something else than its page says"
                )
            return unpacked[np.newaxis]

    def _known(self, page: Page) -> Any:
        """Return tifffile's own idea of a page, which must be ours."""
        with self._lock:
            known = self._pages.get(page.offset)
            if known is None:
                known = self._pages[page.offset] = self._load(page)
                if len(self._pages) > _KEPT_PAGES:
                    self._pages.popitem(last=False)
            return known

    def _load(self, page: Page) -> Any:
        tifffile = image_library("tifffile")
        image_library("imagecodecs")
        if self._file is None:
            # No vendor's own rules: they open other files, and follow offsets without end.
            self._file = tifffile.TiffFile(self._stream, name="image.tif", **dict.fromkeys(_VENDORS, False))
        self._file.filehandle.seek(page.offset)
        known = tifffile.TiffPage(self._file, 0)
        if (known.shaped, known.dtype) != (page.full, page.dtype):
            raise UnreadableError(
                f"{self._source.name} has a page of {known.shape} {known.dtype} that should be "
                f"{page.shape} {page.dtype}"
            )
        known.init_decode()
        return known

    def close(self) -> None:
        """Forget what was unpacked."""
        DECODED.forget(self.owner)
        with self._lock:
            self._pages.clear()
            self._file = None


def _picture(page: Page, number: int, data: bytes) -> np.ndarray:
    """Return a segment that is a picture; one of another size is refused before memory is taken for it."""
    _, length, width, samples = page.tile
    if page.tile[2] == page.full[3]:
        first = number % page.grid[2] * length
        length = min(length, page.full[2] - first)
    out = np.empty((length, width, samples) if samples > 1 else (length, width), page.dtype)
    decoders = image_library("tifffile").TIFF.DECOMPRESSORS
    decoders[page.packing](data, out=out)
    return out.reshape(1, 1, length, width, samples)


def _check_jpeg(data: bytes, tile: Sequence[int]) -> None:
    """Refuse a JPEG picture that is larger than its strip or tile: it says so near its start."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _JPEG_FRAMES:
            rows, columns = (int.from_bytes(data[place : place + 2], "big") for place in (at + 5, at + 7))
            if rows > tile[1] + _JPEG_PADDING or columns > tile[2] + _JPEG_PADDING:
                raise UnreadableError(
                    f"a picture of {columns} x {rows} pixels is larger than its strip or tile"
                )
            return
        at += 2 + size
    raise UnreadableError("a strip or tile holds no JPEG picture")
