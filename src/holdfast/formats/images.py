"""Common images: PNG, JPEG, BMP, GIF, WebP, JPEG 2000, AVIF and PNM, read by pillow.

Owns what their pixels are as arrays, and how large they may be; one that is larger than memory bears is an
error before anything is decoded.

Notes
-----
A picture is decoded as a whole, since its format allows nothing else; a moving one frame by frame. Colours by
palette become red, green and blue. Nothing is turned as EXIF says: an array is what the file holds.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.base import ArrayReader, Described, Description, Format, OpenFile
from holdfast.formats.decoded import DECODED
from holdfast.formats.libraries import decoding, image_library
from holdfast.formats.metadata import Metadata
from holdfast.formats.slicing import Selection
from holdfast.formats.source import Source, SourceStream
from holdfast.formats.structures import ArrayStructure

__all__ = ["IMAGE", "ImageArray", "ImageFile", "ImageFormat"]

MAX_FRAME_BYTES = 512 << 20
"""The largest picture that is decoded: it must fit into memory as a whole."""

_MAX_FRAMES = 1 << 16
_MAX_TEXT = 64 << 10
_SAID = frozenset({"dpi", "gamma", "comment", "duration", "loop"})


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of picture: pillow's name for its reader, media type, and how a file of it begins."""

    reader: str
    media_type: str
    is_it: Callable[[bytes, str], bool]


def _starts(*magics: bytes) -> Callable[[bytes, str], bool]:
    return lambda head, suffix: head.startswith(magics)


def _is_webp(head: bytes, suffix: str) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _is_bmp(head: bytes, suffix: str) -> bool:
    # Two letters begin many a text: the size of the second header must be a known one.
    return head[:2] == b"BM" and head[14:18] in {bytes([n, 0, 0, 0]) for n in (12, 40, 52, 56, 64, 108, 124)}


def _is_avif(head: bytes, suffix: str) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis")


def _is_pnm(head: bytes, suffix: str) -> bool:
    return head[:2] in _PNM and head[2:3].isspace() and suffix in (".pbm", ".pgm", ".ppm", ".pnm", ".pfm")


_PNM = frozenset({b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf", b"PF"})
_PNG = b"\x89PNG\r\n\x1a\n"
_KINDS = (
    _Kind("PNG", "image/png", _starts(_PNG)),
    _Kind("JPEG", "image/jpeg", _starts(b"\xff\xd8\xff")),
    _Kind("GIF", "image/gif", _starts(b"GIF87a", b"GIF89a")),
    _Kind("BMP", "image/bmp", _is_bmp),
    _Kind("WEBP", "image/webp", _is_webp),
    _Kind("JPEG2000", "image/jp2", _starts(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    _Kind("AVIF", "image/avif", _is_avif),
    _Kind("PPM", "image/x-portable-anymap", _is_pnm),
)


class ImageFormat(Format):
    """A picture is an array (rows, columns) or (rows, columns, colours); a moving one has frames first."""

    name = "image"
    media_types = tuple(kind.media_type for kind in _KINDS)
    suffixes = (
        ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".jp2", ".avif", ".pbm", ".pgm", ".ppm", ".pnm",
    )  # fmt: skip
    is_frame = True

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the first bytes."""
        return _kind_of(head, source) is not None

    def describe(self, source: Source) -> Description:
        """Return shape, type and what the file says in words: EXIF, text, resolution.

        Raises
        ------
        UnreadableError
            A damaged file, or a picture that does not fit into memory.
        """
        with _opened(source) as picture:
            structure = picture.structure.to_json()
            with decoding(source):
                metadata = _metadata(picture.image)
            return Description(Described("", "array", metadata, structure), picture.kind.media_type)

    def outline(self, source: Source) -> Description:
        """Return shape and type."""
        with _opened(source) as picture:
            return Description(
                Described("", "array", {}, picture.structure.to_json()), picture.kind.media_type
            )

    def open(self, source: Source) -> OpenFile:
        """Open a picture."""
        with source.closed_on_failure(), _opened(source) as picture:
            return ImageFile(source, picture.structure)


class ImageFile(OpenFile):
    """An open picture."""

    def __init__(self, source: Source, structure: ArrayStructure) -> None:
        self._source = source
        self._owner = DECODED.owner()
        self._array = ImageArray(source, structure, self._owner)

    def array(self, parameters: Mapping[str, Any]) -> ArrayReader:
        """Return the picture."""
        return self._array

    def close(self) -> None:
        """Give everything back; a second time does nothing."""
        DECODED.forget(self._owner)
        self._source.close()


class ImageArray(ArrayReader):
    """The array of a picture.

    Parameters
    ----------
    source : Source
        The file.
    structure : ArrayStructure
        Shape and type.
    owner : int
        Under which name decoded frames are remembered.
    """

    def __init__(self, source: Source, structure: ArrayStructure, owner: int) -> None:
        self.structure = structure
        self.is_verified = source.is_verified
        self._source, self._owner = source, owner

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements.

        Raises
        ------
        UnreadableError
            The picture is damaged.
        """
        out = np.empty(selection.kept_shape, self.structure.dtype)
        self.read_into(selection, out)
        return out

    def read_into(self, selection: Selection, out: np.ndarray) -> None:
        """Fill an array of shape `selection.kept_shape`, decoding each frame that it touches once."""
        if not selection.size:
            return
        with _opened(self._source) as picture:
            if not picture.is_moving:
                out[...] = self._frame(picture, 0)[selection.index]
                return
            first, inner = selection.axes[0], selection.index[1:]
            order = range(first.count) if first.step > 0 else range(first.count - 1, -1, -1)
            # A frame is what changed since the one before it: forward is quick, back begins anew.
            for at in order:
                out[at] = self._frame(picture, first.start + at * first.step)[inner]

    def _frame(self, picture: _Picture, number: int) -> np.ndarray:
        return DECODED.get(self._owner, number, lambda: picture.decode(number))


class _Picture:
    """A picture that pillow has open."""

    def __init__(self, source: Source, stream: SourceStream, kind: _Kind, image: Any) -> None:
        self.kind, self.image = kind, image
        self._source, self._stream = source, stream
        self._is_deep = kind.reader == "PNG" and _is_deep_png(source)
        self.frames = min(int(getattr(image, "n_frames", 1)), _MAX_FRAMES) if kind.reader != "JPEG" else 1
        self.mode = _plain_mode(image, is_moving=self.is_moving)
        if self._is_deep:
            self._bands = {2: "RGB", 4: "LA", 6: "RGBA"}[source.head()[25]]

    @property
    def is_moving(self) -> bool:
        """Whether there is more than one frame."""
        return self.frames > 1

    @property
    def structure(self) -> ArrayStructure:
        """Shape and type."""
        width, height = self.image.size
        dtype, bands = (np.dtype("<u2"), len(self._bands)) if self._is_deep else _MODES[self.mode]
        shape = (height, width, bands) if bands > 1 else (height, width)
        if not math.prod(shape):
            raise UnreadableError(f"{self._source.name} has no pixels")
        size = math.prod(shape) * dtype.itemsize
        if size > MAX_FRAME_BYTES:
            raise UnreadableError(
                f"{self._source.name} claims a picture of {width} x {height} pixels, {size} bytes; at most "
                f"{MAX_FRAME_BYTES} are decoded"
            )
        if not self.is_moving:
            return ArrayStructure.build(dtype, shape)
        return ArrayStructure.build(dtype, (self.frames, *shape), stored=(1, *shape))

    def decode(self, number: int) -> np.ndarray:
        """Return one frame."""
        with decoding(self._source, self._stream):
            if self._is_deep:
                # Pillow keeps the upper eight bits of such a picture only.
                return _decoded_png(bytes(self._source.read()), self.structure)
            if self.is_moving:
                self.image.seek(number)
            plain = self.image if self.image.mode == self.mode else self.image.convert(self.mode)
            array = np.asarray(plain)
        shape = self.structure.shape[1:] if self.is_moving else self.structure.shape
        if array.shape != shape:
            raise UnreadableError(f"{self._source.name} has a frame of shape {array.shape}, not {shape}")
        return array.astype(self.structure.dtype, copy=False)


# The type and the number of colours of each of pillow's kinds of pixels that are taken as they are.
_MODES: dict[str, tuple[np.dtype, int]] = {
    "1": (np.dtype(np.bool_), 1),
    "L": (np.dtype("u1"), 1),
    "LA": (np.dtype("u1"), 2),
    "RGB": (np.dtype("u1"), 3),
    "RGBA": (np.dtype("u1"), 4),
    "CMYK": (np.dtype("u1"), 4),
    "YCbCr": (np.dtype("u1"), 3),
    "LAB": (np.dtype("u1"), 3),
    "I;16": (np.dtype("<u2"), 1),
    "I;16B": (np.dtype("<u2"), 1),
    "I": (np.dtype("<i4"), 1),
    "F": (np.dtype("<f4"), 1),
}


def _plain_mode(image: Any, *, is_moving: bool) -> str:
    """Return pixels of which kind a picture is read as."""
    if is_moving and image.mode not in ("RGB", "RGBA"):
        # Frames of one file may have different palettes, and what none of them covers is transparent.
        return "RGBA"
    if image.mode in ("P", "PA"):
        return "RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB"
    if image.mode == "RGBX":
        return "RGB"
    return str(image.mode) if image.mode in _MODES else "RGBA"


def _is_deep_png(source: Source) -> bool:
    """Whether a PNG file has colours, or transparency, of 16 bits."""
    head = source.head()
    return len(head) > 25 and head[24] == 16 and head[25] in (2, 4, 6)


def _decoded_png(data: bytes, structure: ArrayStructure) -> np.ndarray:
    array: np.ndarray = image_library("imagecodecs").png_decode(data)
    if (array.shape, array.dtype) != (structure.shape, np.dtype(np.uint16)):
        raise UnreadableError(f"it decodes to {array.dtype} of shape {array.shape}, not {structure.shape}")
    return array


def _kind_of(head: bytes, source: Source) -> _Kind | None:
    suffix = source.path.suffix.lower()
    return next((kind for kind in _KINDS if kind.is_it(head, suffix)), None)


@contextmanager
def _opened(source: Source) -> Iterator[_Picture]:
    """Open a picture with pillow's reader of its kind; only its headers are read."""
    kind = _kind_of(source.head(), source)
    if kind is None:
        raise UnreadableError(f"{source.name} is no picture of a known kind: it begins with something else")
    library = image_library("PIL.Image")
    stream = SourceStream(source)
    with decoding(source, stream):
        library.preinit()
        if kind.reader not in library.OPEN:
            library.init()
        # Not Image.open: it warns of large pictures, and tries readers of other kinds.
        image = library.OPEN[kind.reader][0](io.BufferedReader(stream), source.path.name)
        picture = _Picture(source, stream, kind, image)
    with image:
        yield picture


def _metadata(image: Any) -> dict[str, Any]:
    """Return what a picture says in words, bounded."""
    found = Metadata()
    found.put(("format",), image.format)
    found.put(("mode",), image.mode)
    for name, value in image.info.items():
        if name in _SAID:
            found.put((name,), value)
        elif isinstance(value, str):
            found.put(("text", str(name)), value[:_MAX_TEXT])
    if isinstance(image.info.get("exif"), bytes):
        _put_exif(found, image.info["exif"])
    return found.to_json()


def _put_exif(found: Metadata, data: bytes) -> None:
    """Keep the EXIF tags by name; asked of the bytes, for asking a PNG for its EXIF would decode it."""
    names = image_library("PIL.ExifTags")
    exif = image_library("PIL.Image").Exif()
    try:
        exif.load(data)
        camera, place = exif.get_ifd(names.IFD.Exif), exif.get_ifd(names.IFD.GPSInfo)
        groups = [("Exif", exif, names.TAGS), ("Exif", camera, names.TAGS), ("GPS", place, names.GPSTAGS)]
        items = [
            (group, known.get(code, f"Tag{code}"), value)
            for group, values, known in groups
            for code, value in values.items()
        ]
    except (ArithmeticError, LookupError, OSError, SyntaxError, TypeError, ValueError, Warning) as error:
        found.note("exif", f"cannot be read: {error}"[:200])
        return
    for group, name, value in items:
        if name not in ("ExifOffset", "GPSInfo", "MakerNote", "UserComment"):
            found.put((group, name), _plain(value))


def _plain(value: Any) -> Any:
    """Turn pillow's fractions into numbers, and long bytes into their size."""
    if isinstance(value, bytes) and len(value) > 256:
        return f"{len(value)} bytes"
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if hasattr(value, "numerator") and not isinstance(value, int | np.generic):
        return float(value) if value.denominator else math.nan
    return value


IMAGE = ImageFormat()
