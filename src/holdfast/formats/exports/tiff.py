"""Arrays as TIFF: a page for each plane, uncompressed, values exactly as they are.

Owns the few entries of a page's directory; every position is known before a value is read. The elements of
all pages lie in one run behind the first directory, where tifffile reads them at once; the other directories
follow.

References
----------
TIFF 6.0; BigTIFF; tifffile's ``shaped`` series, whose description gives back the shape.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from holdfast.formats.exports.base import ArrayExport, ArrayPart, Exported
from holdfast.formats.exports.drain import joined
from holdfast.formats.exports.npy import raw_bytes
from holdfast.types import Buffer

__all__ = ["TIFF", "TiffExport"]

_SAMPLE_FORMATS = {"u": 1, "b": 1, "i": 2, "f": 3, "c": 6}
_LARGEST = {"u": 8, "b": 1, "i": 8, "f": 8, "c": 16}
_COLORS = (3, 4)
_COLORED_BYTES = 2
_PLANE = 2
_MOST_PAGES = 1_000_000
_MOST_ALONG_AXIS = 2**31 - 1
_STRIP_BYTES = 256 * 1024
_CLASSIC_BYTES = 2**32 - 2**16
_SHORT, _LONG, _ASCII, _LONG8 = 3, 4, 2, 16
_Entry = tuple[int, int, "list[int] | bytes"]
"""The tag, the type and the values of one entry of a directory."""
_TYPE_CODES = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}


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
        layout = _Layout.of(part)
        if layout.pages > _MOST_PAGES or max(layout.rows, layout.columns) > _MOST_ALONG_AXIS:
            return f"an array of shape {part.shape} needs more than {_MOST_PAGES} pages of TIFF; slice it"
        return None

    def export(self, part: ArrayPart) -> Exported:
        """Return a TIFF file."""
        layout = _Layout.of(part)
        return Exported(joined(_pieces(layout, part)), layout.size)


@dataclass(frozen=True)
class _Layout:
    """Where everything lies in a file of equal pages."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    colors: int
    is_big: bool = False

    @classmethod
    def of(cls, part: ArrayPart) -> _Layout:
        shape = (1,) * (_PLANE - part.ndim) + part.shape
        may_be_colored = part.dtype.kind == "u" and part.dtype.itemsize <= _COLORED_BYTES
        is_colored = may_be_colored and len(shape) > _PLANE and shape[-1] in _COLORS
        colors = shape[-1] if is_colored else 1
        if part.nbytes < _CLASSIC_BYTES and cls(part.dtype, shape, colors).size < _CLASSIC_BYTES:
            return cls(part.dtype, shape, colors)
        return cls(part.dtype, shape, colors, is_big=True)

    @property
    def plane(self) -> tuple[int, ...]:
        """The shape without the axis of colours."""
        return self.shape if self.colors == 1 else self.shape[:-1]

    @property
    def rows(self) -> int:
        return self.plane[-2]

    @property
    def columns(self) -> int:
        return self.plane[-1]

    @property
    def pages(self) -> int:
        return math.prod(self.plane[:-_PLANE])

    @property
    def row_bytes(self) -> int:
        return self.columns * self.colors * self.dtype.itemsize

    @property
    def page_bytes(self) -> int:
        return self.rows * self.row_bytes

    @property
    def order(self) -> str:
        return ">" if self.dtype.str.startswith(">") else "<"

    @property
    def header(self) -> bytes:
        mark = b"MM" if self.order == ">" else b"II"
        if self.is_big:
            return mark + struct.pack(f"{self.order}HHHQ", 43, 8, 0, 16)
        return mark + struct.pack(f"{self.order}HI", 42, 8)

    @cached_property
    def data_at(self) -> int:
        """Where the elements begin: behind the first directory, which alone has a description."""
        return len(self.header) + len(self._directory(0, 0, 0))

    @cached_property
    def step(self) -> int:
        """The distance of the directories behind the elements, all of one size."""
        return len(self._directory(1, 0, 0))

    @property
    def data_bytes(self) -> int:
        """The size of all elements; directories begin at even positions."""
        size = self.pages * self.page_bytes
        return size + size % 2

    @property
    def size(self) -> int:
        return self.data_at + self.data_bytes + (self.pages - 1) * self.step

    def directory(self, page: int) -> bytes:
        """Return the directory of a page."""
        behind = self.data_at + self.data_bytes
        at = len(self.header) if page == 0 else behind + (page - 1) * self.step
        following = behind + page * self.step if page + 1 < self.pages else 0
        return self._directory(page, at, following)

    def _directory(self, page: int, at: int, following: int) -> bytes:
        pointer = _LONG8 if self.is_big else _LONG
        rows = max(1, min(self.rows, _STRIP_BYTES // max(1, self.row_bytes)))
        starts = range(0, self.rows, rows)
        sizes = [min(rows, self.rows - start) * self.row_bytes for start in starts]
        first = self.data_at + page * self.page_bytes if at else 0
        offsets = [first + start * self.row_bytes for start in starts]
        entries: list[_Entry] = [
            (256, _LONG, [self.columns]),
            (257, _LONG, [self.rows]),
            (258, _SHORT, [self.dtype.itemsize * 8] * self.colors),
            (259, _SHORT, [1]),
            (262, _SHORT, [1 if self.colors == 1 else 2]),
            *([(270, _ASCII, self._description)] if page == 0 else []),
            (273, pointer, offsets),
            (277, _SHORT, [self.colors]),
            (278, _LONG, [rows]),
            (279, pointer, sizes),
            (284, _SHORT, [1]),
            *([(338, _SHORT, [2])] if self.colors == _COLORS[1] else []),
            (339, _SHORT, [_SAMPLE_FORMATS[self.dtype.kind]] * self.colors),
        ]
        return self._encoded(entries, at, following)

    @property
    def _description(self) -> bytes:
        return json.dumps({"shape": self.shape}).encode() + b"\0"

    def _encoded(self, entries: list[_Entry], at: int, following: int) -> bytes:
        """Return entries, and behind them the values that do not fit into them."""
        number, cell = ("Q", 8) if self.is_big else ("I", 4)
        head = struct.pack(self.order + ("Q" if self.is_big else "H"), len(entries))
        behind = at + len(head) + len(entries) * (4 + 2 * cell) + cell
        table, rest = b"", b""
        for tag, kind, values in entries:
            code = _TYPE_CODES.get(kind, "")
            value = values if isinstance(values, bytes) else self._packed(code, values)
            table += struct.pack(f"{self.order}HH{number}", tag, kind, len(values))
            if len(value) <= cell:
                table += value.ljust(cell, b"\0")
            else:
                table += struct.pack(self.order + number, behind + len(rest))
                rest += value + b"\0" * (len(value) % 2)
        return head + table + struct.pack(self.order + number, following) + rest

    def _packed(self, code: str, values: Sequence[int]) -> bytes:
        return struct.pack(f"{self.order}{len(values)}{code}", *values)


def _pieces(layout: _Layout, part: ArrayPart) -> Iterator[Buffer]:
    yield layout.header + layout.directory(0)
    yield from map(raw_bytes, part.slabs())
    yield bytes(layout.data_bytes - part.nbytes)
    yield from (layout.directory(page) for page in range(1, layout.pages))


TIFF = TiffExport()
