"""Arrays as TIFF: a page for each plane, uncompressed, values exactly as they are; laid out by tifffile.

References
----------
TIFF 6.0; BigTIFF; tifffile's ``shaped`` series, whose description gives back the shape.
"""

from __future__ import annotations

import math
import tempfile
from contextlib import ExitStack
from typing import Any

import numpy as np

from holdfast.errors import MissingDependencyError
from holdfast.formats.exports.base import ArrayExport, ArrayPart, Exported
from holdfast.formats.exports.holes import FilledFile, Hole
from holdfast.formats.exports.npy import raw_bytes

__all__ = ["TIFF", "TiffExport"]

_LARGEST = {"u": 8, "b": 1, "i": 8, "f": 8, "c": 16}
_COLORS = {3: [], 4: ["unassalpha"]}
_COLORED_BYTES = 2
_PLANE = 2
_MOST_PAGES = 100_000
_MOST_ALONG_AXIS = 2**31 - 1
_STRIP_BYTES = 256 * 1024
_CLASSIC_BYTES = 2**32 - 2**25


class TiffExport(ArrayExport):
    """Pages of any number type; a last axis of 3 or 4 uint8 or uint16 is colour; False is 0 and True 1."""

    media_types = ("image/tiff",)
    suffixes = ("tiff", "tif")

    def refusal(self, part: ArrayPart) -> str | None:
        """Refuse types without numbers, arrays without elements, and too many pages."""
        kind = part.dtype.kind
        if part.dtype.names is not None or part.dtype.itemsize > _LARGEST.get(kind, 0):
            return f"elements of type {part.dtype} have no form in TIFF; choose a field, or another format"
        if not part.size:
            return f"an array of shape {part.shape} has no pixels"
        *pages, rows, columns = _plane(part)
        if math.prod(pages) > _MOST_PAGES or max(rows, columns) > _MOST_ALONG_AXIS:
            return f"an array of shape {part.shape} needs more than {_MOST_PAGES} pages of TIFF; slice it"
        return None

    def export(self, part: ArrayPart) -> Exported:
        """Return a TIFF file.

        Raises
        ------
        MissingDependencyError
            tifffile is not installed.
        """
        try:
            import tifffile
        except ImportError as error:
            raise MissingDependencyError(
                "TIFF files need tifffile, at the server: pip install 'holdfast[images]'"
            ) from error
        with ExitStack() as stack:
            file = stack.enter_context(tempfile.TemporaryFile())
            offset = _lay_out(tifffile, part, file)
            stack.pop_all()
        filled = FilledFile(file, [Hole(offset, part.nbytes, lambda: map(raw_bytes, part.slabs()))])
        return Exported(filled, filled.size)


def _lay_out(tifffile: Any, part: ArrayPart, file: Any) -> int:
    """Write everything but the elements, which lie in one run, and return where that begins."""
    *_, rows, columns = _plane(part)
    colors = part.shape[-1] if _is_colored(part) else 1
    row_bytes = max(1, columns * colors * part.dtype.itemsize)
    # A temporary file has no name, and the library asks for one.
    named = tifffile.FileHandle(file, name="export.tiff")
    with tifffile.TiffWriter(
        named, bigtiff=part.nbytes > _CLASSIC_BYTES, byteorder=_byte_order(part.dtype)
    ) as writer:
        offset, _ = writer.write(
            None,
            shape=_plane(part) + ((colors,) if colors > 1 else ()),
            dtype=np.dtype(np.uint8) if part.dtype.kind == "b" else part.dtype,
            photometric="rgb" if colors > 1 else "minisblack",
            extrasamples=_COLORS.get(colors, []),
            planarconfig="contig" if colors > 1 else None,
            rowsperstrip=max(1, min(rows, _STRIP_BYTES // row_bytes)),
            contiguous=True,
            returnoffset=True,
        )
    return int(offset)


def _plane(part: ArrayPart) -> tuple[int, ...]:
    """Return the shape without the axis of colours, with rows and columns."""
    shape = part.shape[:-1] if _is_colored(part) else part.shape
    return (1,) * (_PLANE - len(shape)) + shape


def _is_colored(part: ArrayPart) -> bool:
    may_be = part.dtype.kind == "u" and part.dtype.itemsize <= _COLORED_BYTES
    return may_be and part.ndim > _PLANE and part.shape[-1] in _COLORS


def _byte_order(dtype: np.dtype[Any]) -> str:
    return ">" if dtype.str.startswith(">") else "<"


TIFF = TiffExport()
