"""What a TIFF file says of itself in words: its tags as metadata, and the shapes that programs write down.

Owns names of tags and the notes of ImageJ and tifffile; reads no pixels.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.metadata import Metadata
from holdfast.formats.tiff.ifd import Tag, Tags, TiffHeader

__all__ = ["Note", "metadata_of"]

_DESCRIPTION = 270
_MAX_TEXT = 64 << 10
_MAX_VALUES = 64
_MAX_PAGES = 1 << 20
_RATIONALS = (5, 10)
_ASCII = 2

# Names as the specification and its supplements have them; others are named by number.
_NAMES = {
    254: "NewSubfileType", 255: "SubfileType", 256: "ImageWidth", 257: "ImageLength", 258: "BitsPerSample",
    259: "Compression", 262: "PhotometricInterpretation", 266: "FillOrder", 269: "DocumentName",
    270: "ImageDescription", 271: "Make", 272: "Model", 274: "Orientation", 277: "SamplesPerPixel",
    278: "RowsPerStrip", 280: "MinSampleValue", 281: "MaxSampleValue", 282: "XResolution", 283: "YResolution",
    284: "PlanarConfiguration", 285: "PageName", 286: "XPosition", 287: "YPosition", 296: "ResolutionUnit",
    297: "PageNumber", 305: "Software", 306: "DateTime", 315: "Artist", 316: "HostComputer", 317: "Predictor",
    322: "TileWidth", 323: "TileLength", 338: "ExtraSamples", 339: "SampleFormat", 340: "SMinSampleValue",
    341: "SMaxSampleValue", 700: "XMP", 32997: "ImageDepth", 32998: "TileDepth", 33432: "Copyright",
    33550: "ModelPixelScale", 33922: "ModelTiepoint", 34735: "GeoKeyDirectory", 34736: "GeoDoubleParams",
    34737: "GeoAsciiParams", 42112: "GDALMetadata", 42113: "GDALNoData",
    33434: "ExposureTime", 33437: "FNumber", 34850: "ExposureProgram", 34855: "ISOSpeed",
    36864: "ExifVersion", 36867: "DateTimeOriginal", 36868: "DateTimeDigitized",
    37377: "ShutterSpeedValue", 37378: "ApertureValue", 37386: "FocalLength", 40961: "ColorSpace",
    42036: "LensModel",
}  # fmt: skip
# Where the bytes are, and bytes for decoders: nothing that says something.
_LEFT_OUT = frozenset({273, 279, 288, 289, 301, 320, 324, 325, 330, 347, 34665, 34853, 34675, 50838, 50839})
_EXIF = 34665


def metadata_of(header: TiffHeader, tags: Tags) -> dict[str, Any]:
    """Return the tags of a page as JSON values, bounded.

    Parameters
    ----------
    header : TiffHeader
        Reads their values.
    tags : dict
        The tags.
    """
    found = Metadata()
    _collect(found, header, tags)
    if _EXIF in tags:
        try:
            below, _ = header.tags(header.integers(tags, _EXIF)[0])
            _collect(found, header, below, "Exif")
        except UnreadableError as error:
            found.note("exif", str(error))
    notes = _imagej(header.text(tags, _DESCRIPTION, _MAX_TEXT))
    for name, value in notes.items():
        found.put(("ImageJ", name), value)
    return found.to_json()


def _collect(found: Metadata, header: TiffHeader, tags: Tags, *above: str) -> None:
    for code, tag in tags.items():
        if code in _LEFT_OUT:
            continue
        name = _NAMES.get(code, f"Tag{code}")
        try:
            value = _value(header, tags, tag)
        except UnreadableError as error:
            found.note(name, str(error))
            continue
        if value is not None:
            found.put((*above, name), value)


def _value(header: TiffHeader, tags: Tags, tag: Tag) -> Any:
    """Return a tag's value; None for a long list of numbers."""
    if tag.type == _ASCII:
        return header.text(tags, tag.code, _MAX_TEXT)
    if not 0 < tag.amount <= _MAX_VALUES:
        return None
    values = header.values(tag)
    if tag.type in _RATIONALS:
        pairs = values.reshape(-1, 2).tolist()
        values = np.array([top / bottom if bottom else math.nan for top, bottom in pairs])
    if values.dtype.kind == "V":
        return values.tobytes()
    plain = values.tolist()
    return plain[0] if len(plain) == 1 else plain


@dataclass(frozen=True, slots=True)
class Note:
    """What a program wrote down of the shape of all its images.

    Parameters
    ----------
    shape : tuple of int
        As tifffile writes it; empty when it did not.
    imagej : dict of str to str
        As ImageJ writes it.
    """

    shape: tuple[int, ...]
    imagej: dict[str, str]

    @classmethod
    def of(cls, header: TiffHeader, tags: Tags) -> Note:
        """Read the description of a page."""
        text = header.text(tags, _DESCRIPTION, _MAX_TEXT)
        return cls(_shape_in(text), _imagej(text))

    def images(self, shape: tuple[int, ...]) -> int:
        """Return how many images of some shape there are, if there is more than one."""
        leading = self._leading(shape)
        return math.prod(leading) if leading else min(_count(self.imagej.get("images")), _MAX_PAGES)

    def leading(self, pages: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape in front of that of a page: the number of pages, or what a program wrote down.

        Parameters
        ----------
        pages : int
            How many there are.
        shape : tuple of int
            Shape of each.

        Returns
        -------
        tuple of int
            As many elements as there are pages; empty for a single page.
        """
        said = self._leading(shape)
        if said and math.prod(said) == pages:
            return said
        counts = [_count(self.imagej.get(name)) for name in ("frames", "slices", "channels")]
        said = tuple(count for count in counts if count > 1)
        if pages > 1 and math.prod(said) == pages:
            return said
        return (pages,) if pages > 1 else ()

    def _leading(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.shape[: -len(shape)] if self.shape[-len(shape) :] == shape else ()


def _imagej(text: str) -> dict[str, str]:
    """Return the notes that ImageJ keeps in the description."""
    if not text.startswith("ImageJ="):
        return {}
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, is_note, value in pairs if is_note}


def _shape_in(text: str) -> tuple[int, ...]:
    """Return the shape that tifffile writes into the description; empty when there is none."""
    if not text.startswith('{"shape"') or len(text) > 4096:
        return ()
    try:
        shape = json.loads(text)["shape"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ()
    is_shape = isinstance(shape, list) and all(type(each) is int and 0 < each < 1 << 40 for each in shape)
    return tuple(shape) if is_shape and len(shape) <= 32 else ()


def _count(text: str | None) -> int:
    return int(text) if text and re.fullmatch("[0-9]{1,7}", text.strip()) else 1
