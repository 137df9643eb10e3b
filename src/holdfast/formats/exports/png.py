"""Pictures as PNG, row by row.

Owns the few chunks of the format; what is seen is `picture`'s.

References
----------
W3C, Portable Network Graphics, third edition.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from holdfast.formats.exports.base import ArrayExport, ArrayPart, Exported
from holdfast.formats.exports.picture import as_picture, levels, scaled, why_no_picture

__all__ = ["PNG", "PngExport"]

_MOST_PIXELS = 1 << 27
_PIXELS_AT_ONCE = 1 << 19
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 3: 2, 4: 6}
_LEVEL = 3
_UP = 2


class PngExport(ArrayExport):
    """Grey pictures of 8 bits, scaled between two percentiles; colours of uint8 as they are.

    Notes
    -----
    The 1st percentile is black and the 99th white; what is no number is black, False is black and True white.
    For the values themselves take TIFF or npy.
    """

    media_types = ("image/png",)
    suffixes = ("png",)
    is_shown = True

    def refusal(self, part: ArrayPart) -> str | None:
        """Refuse what is no picture, or too large for one."""
        reason = why_no_picture(part)
        if reason is None and part.size > _MOST_PIXELS:
            return (
                f"a picture of {part.size} pixels is over the limit of {_MOST_PIXELS}; slice it, as ::4,::4"
            )
        return reason

    def export(self, part: ArrayPart) -> Exported:
        """Return a PNG file."""
        picture = as_picture(part)
        assert picture is not None
        return Exported(_pieces(picture))


def _pieces(picture: ArrayPart) -> Iterator[bytes]:
    rows, columns, colors = (*((1,) * (2 - picture.ndim)), *picture.shape, 1)[:3]
    yield _SIGNATURE + _chunk(
        b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, _COLOR_TYPES[colors], 0, 0, 0)
    )
    squeeze = zlib.compressobj(_LEVEL)
    above = np.zeros(columns * colors, np.uint8)
    for block in _bright(picture):
        lines = block.reshape(-1, columns * colors)
        # Each line says how it differs from the one above, which most images make small.
        filtered = np.empty((len(lines), 1 + columns * colors), np.uint8)
        filtered[:, 0] = _UP
        filtered[:, 1:] = lines
        filtered[0, 1:] -= above
        filtered[1:, 1:] -= lines[:-1]
        above = lines[-1]
        if data := squeeze.compress(filtered.data):
            yield _chunk(b"IDAT", data)
    yield _chunk(b"IDAT", squeeze.flush()) + _chunk(b"IEND", b"")


def _bright(picture: ArrayPart) -> Iterator[np.ndarray[Any, Any]]:
    """Give the brightness of rows, some at a time."""
    blocks = _few_rows(picture) if picture.ndim > 1 else iter((picture.read(),))
    if picture.ndim > 2:  # colours
        yield from blocks
    elif picture.dtype.kind == "b":
        for block in blocks:
            yield block.view(np.uint8) * np.uint8(255)
    else:
        shown = levels(picture)
        for block in blocks:
            yield scaled(block, shown)


def _few_rows(picture: ArrayPart) -> Iterator[np.ndarray[Any, Any]]:
    rows = max(1, _PIXELS_AT_ONCE // max(1, picture.shape[1]))
    for block in picture.row_blocks():
        for start in range(0, len(block), rows):
            yield block[start : start + rows]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = PngExport()
