"""Images of FITS files: plain ones read in place and scaled by the standard, compressed ones by astropy.

Owns reading pixels; finds no units.

References
----------
FITS Standard 4.0, sections 4.4.2.4 (BSCALE, BZERO, BLANK), 5.2.5 (unsigned integers), 10 (compressed images).
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.base import ArrayReader
from holdfast.formats.fits.hdus import Hdu, fits_errors
from holdfast.formats.rawarray import RawArray, Segment
from holdfast.formats.slicing import Selection
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure

__all__ = ["CompressedImage", "ScaledArray", "Scaling", "image_structure", "open_image"]

_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_MAX_TILE_BYTES = 256 << 20
# No stream of deflate is longer than so many times its size; below this nothing can grow large.
_DEFLATE = 1032
_HARMLESS_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Scaling:
    """What turns stored numbers into values: ``zero + scale * stored``, NaN where `blank` is stored.

    Parameters
    ----------
    stored : numpy.dtype
        Type as stored.
    scale, zero : float
        BSCALE and BZERO.
    blank : int, optional
        The stored integer that stands for no value.
    """

    stored: np.dtype
    scale: float = 1.0
    zero: float = 0.0
    blank: int | None = None

    @classmethod
    def of(cls, header: Any) -> Scaling:
        """Read the header of an image.

        Raises
        ------
        ValueError, TypeError, KeyError
            It says nonsense.
        """
        bits = int(header["BITPIX"])
        blank = header.get("BLANK") if bits > 0 else None
        return cls(
            np.dtype(_TYPES[bits]),
            float(header.get("BSCALE", 1)),
            float(header.get("BZERO", 0)),
            None if blank is None else int(blank),
        )

    @property
    def is_none(self) -> bool:
        """Whether values are what is stored."""
        return self.scale == 1 and self.zero == 0 and self.blank is None

    @property
    def is_flipped_sign(self) -> bool:
        """Whether this is how FITS spells unsigned integers, and signed bytes."""
        half = float(1 << (8 * self.stored.itemsize - 1))
        if self.stored.kind not in "iu" or self.scale != 1 or self.blank is not None:
            return False
        return self.zero == (-half if self.stored.itemsize == 1 else half)

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        if self.is_none:
            return self.stored
        if self.is_flipped_sign:
            return np.dtype(f"{'i' if self.stored.itemsize == 1 else 'u'}{self.stored.itemsize}")
        if self.stored.kind == "f":
            return self.stored.newbyteorder("=")
        return np.dtype("f4" if self.stored.itemsize < 4 else "f8")

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Return the values of stored numbers."""
        if self.is_none:
            return raw
        if self.is_flipped_sign:
            native = raw.astype(raw.dtype.newbyteorder("="))
            unsigned = native.view(f"u{native.itemsize}")
            unsigned ^= unsigned.dtype.type(1 << (8 * native.itemsize - 1))
            return unsigned.view(self.dtype)
        out = raw.astype(self.dtype)
        if self.scale != 1:
            out *= self.scale
        if self.zero:
            out += self.zero
        if self.blank is not None:
            out[raw == self.blank] = np.nan
        return out


def image_structure(hdu: Hdu) -> ArrayStructure:
    """Return type and shape of an image.

    Raises
    ------
    UnreadableError
        Its header says nonsense.
    """
    header = hdu.header
    with fits_errors(hdu.name):
        shape = tuple(int(header[f"NAXIS{n}"]) for n in range(int(header["NAXIS"]), 0, -1))
        if any(length < 0 for length in shape):
            raise UnreadableError(f"{hdu.name}: the image has the impossible shape {shape}")
        scaling = Scaling.of(header)
        if hdu.kind != "compressed":
            return ArrayStructure.build(scaling.dtype, shape)
        tile = _tile(hdu, shape, scaling)
        return ArrayStructure.build(scaling.dtype.newbyteorder("="), shape, stored=tile)


def _tile(hdu: Hdu, shape: tuple[int, ...], scaling: Scaling) -> tuple[int, ...]:
    """Return the shape of a tile, after a look at whether there can be that many of that size."""
    table = hdu.unit._bintable.header
    rank = len(shape)
    lengths = [int(table.get(f"ZTILE{n}", shape[-1] if n == 1 else 1)) for n in range(rank, 0, -1)]
    if any(length < 1 for length in lengths):
        raise UnreadableError(f"{hdu.name}: the compressed image has tiles of the impossible shape {lengths}")
    tile = tuple(min(step, length) for step, length in zip(lengths, shape, strict=True))
    if math.prod(tile) * max(scaling.stored.itemsize, 4) > _MAX_TILE_BYTES:
        raise UnreadableError(
            f"{hdu.name}: the compressed image has tiles of {tile} pixels; those over "
            f"{_MAX_TILE_BYTES >> 20} MiB are not decompressed; compress it again with smaller tiles"
        )
    count = math.prod(-(-length // step) for step, length in zip(lengths, shape, strict=True))
    if int(table["NAXIS2"]) != count:
        raise UnreadableError(
            f"{hdu.name}: the compressed image needs {count} tiles and has {table['NAXIS2']}: it is damaged"
        )
    return tile


def open_image(source: Source, hdu: Hdu) -> ArrayReader:
    """Return the reader of an image."""
    structure = image_structure(hdu)
    if hdu.kind == "compressed":
        return CompressedImage(source, hdu, structure)
    scaling = Scaling.of(hdu.header)
    raw = RawArray(
        ArrayStructure.build(scaling.stored, structure.shape),
        [Segment(source, hdu.offset, structure.size * scaling.stored.itemsize)],
    )
    return raw if scaling.is_none else ScaledArray(raw, scaling)


class ScaledArray(ArrayReader):
    """An array whose values are computed from what is stored.

    Parameters
    ----------
    raw : ArrayReader
        What is stored.
    scaling : Scaling
        How it becomes values.
    """

    def __init__(self, raw: ArrayReader, scaling: Scaling) -> None:
        self._raw = raw
        self._scaling = scaling
        self.structure = ArrayStructure.build(scaling.dtype, raw.structure.shape)
        self.is_verified = raw.is_verified

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected values."""
        return self._scaling.apply(self._raw.fetch(selection))


class CompressedImage(ArrayReader):
    """An image compressed in tiles; only those that a slice touches are decompressed.

    Parameters
    ----------
    source : Source
        The file.
    hdu : Hdu
        The unit.
    structure : ArrayStructure
        What `image_structure` returned.
    """

    def __init__(self, source: Source, hdu: Hdu, structure: ArrayStructure) -> None:
        self.structure = structure
        self.is_verified = source.is_verified
        self._source = source
        self._hdu = hdu
        _check_tiles(source, hdu, structure)

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected pixels."""
        out = np.empty(selection.kept_shape, self.structure.dtype)
        if not out.size:
            return out
        index = tuple(slice(axis.low, axis.high, abs(axis.step)) for axis in selection.axes)
        flips = tuple(slice(None, None, -1 if axis.step < 0 else 1) for axis in selection.axes)
        with fits_errors(self._source.name):
            out[...] = self._hdu.unit.section[index][flips]
        return out


def _check_tiles(source: Source, hdu: Hdu, structure: ArrayStructure) -> None:
    """Refuse tiles that lie outside the file, or would grow far beyond their size when decompressed."""
    with fits_errors(source.name):
        table = hdu.unit._bintable
        heap = hdu.offset + int(table._theap)
        algorithm = str(table.header["ZCMPTYPE"])
        tile = math.prod(_tile(hdu, structure.shape, Scaling.of(hdu.header)))
        most = tile * 8 + 1024
        for name in ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA"):
            if name not in table.columns.names:
                continue
            code = table.columns[name].format
            itemsize = {"I": 2, "J": 4, "K": 8, "E": 4, "D": 8}.get(code.split("(")[0][-1], 1)
            places = np.array(table.data[name])
            for count, offset in places.reshape(-1, 2).tolist():
                size = count * itemsize
                if count < 0 or offset < 0 or heap + offset + size > hdu.offset + hdu.size:
                    raise UnreadableError(
                        f"{source.name} has a tile of {hdu.key} outside its data: it is damaged"
                    )
                if "GZIP" in name or algorithm.startswith("GZIP"):
                    _check_stream(source, heap + offset, size, most)


def _check_stream(source: Source, offset: int, size: int, most: int) -> None:
    """Refuse a gzip stream that gives more than a tile can hold; small ones cannot do harm."""
    if size * _DEFLATE <= max(most, _HARMLESS_BYTES):
        return
    stream, data, found = zlib.decompressobj(47), bytes(source.read(offset, size)), 0
    while data and not stream.eof:
        found += len(stream.decompress(data, 1 << 20))
        data = stream.unconsumed_tail
        if found > most:
            raise UnreadableError(
                f"{source.name} has a tile that decompresses to more than its {most} bytes: refused"
            )
