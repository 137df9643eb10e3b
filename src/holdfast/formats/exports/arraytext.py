"""Arrays as text: nested JSON lists, and comma-separated lines.

Owns the two notations in pieces of bounded size, however long a row is; what a value says is `plain`'s.

References
----------
RFC 8259; RFC 4180; Tiled 0.2.20 for media types, and for lines without a head.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np

from holdfast.formats.base import SLAB_BYTES
from holdfast.formats.exports.base import ArrayExport, ArrayPart, Exported
from holdfast.formats.exports.plain import cells, is_plain, plain, to_json, why_not_plain

__all__ = ["CSV", "JSON", "TEXT", "CsvExport", "JsonExport", "TextExport", "csv_lines"]

_TEXT_ITEMS, _TEXT_BYTES = 1 << 15, 1 << 20
"""How many elements, of how many bytes, become text at once."""
_MOST_ELEMENTS = 1 << 30
_TABLE_AXES = 2


class JsonExport(ArrayExport):
    """Nested lists; numbers that are not finite are null."""

    media_types = ("application/json",)
    suffixes = ("json",)
    is_shown = True

    def refusal(self, part: ArrayPart) -> str | None:
        """Refuse types without a plain value, and what no reader of JSON could hold."""
        return _refused(part, "JSON")

    def export(self, part: ArrayPart) -> Exported:
        """Return nested lists."""
        return Exported(_nested(part))


class CsvExport(ArrayExport):
    """A line for each row without a head; of records a head line with the names of their fields."""

    media_types: ClassVar[tuple[str, ...]] = ("text/csv", "text/x-comma-separated-values")
    suffixes: ClassVar[tuple[str, ...]] = ("csv",)

    def refusal(self, part: ArrayPart) -> str | None:
        """Refuse what has no rows and columns, and types without a plain value."""
        names = part.dtype.names
        if part.ndim > (_TABLE_AXES if names is None else 1):
            kind = f"an array of {part.ndim} axes" if names is None else f"records along {part.ndim} axes"
            return f"{kind} has no form as CSV; slice it"
        if not all(is_plain(part.dtype[name]) for name in names or ()):
            return "records whose fields are no single numbers or texts have no form as CSV"
        return _refused(part, "CSV")

    def export(self, part: ArrayPart) -> Exported:
        """Return lines."""
        return Exported(_records(part) if part.dtype.names is not None else _rows(part))


class TextExport(CsvExport):
    """The same lines as CSV, for who asks for plain text."""

    media_types = ("text/plain",)
    suffixes = ("txt", "text")
    is_shown = True


def csv_lines(rows: Iterable[Iterable[Any]]) -> bytes:
    """Return rows of cells as comma-separated lines; None is an empty cell."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("utf-8", "backslashreplace")


def _refused(part: ArrayPart, name: str) -> str | None:
    reason = why_not_plain(part.dtype)
    if reason:
        return reason
    # Axes without elements are written too, as empty lists.
    elements = math.prod(max(length, 1) for length in part.shape)
    if elements > _MOST_ELEMENTS:
        return f"{elements} elements are too many for {name}; slice it to at most {_MOST_ELEMENTS}"
    return None


Part = ArrayPart | np.ndarray[Any, Any]


class _Run(NamedTuple):
    """Rows that are text at once."""

    rows: np.ndarray[Any, Any]


class _Row(NamedTuple):
    """One row that must be cut itself."""

    row: Part


def _in_memory(part: Part) -> Part:
    """Read a part as soon as it is small enough."""
    return part.read() if isinstance(part, ArrayPart) and part.nbytes <= SLAB_BYTES else part


def _items_at_once(part: Part) -> int:
    return max(1, min(_TEXT_ITEMS, _TEXT_BYTES // max(1, part.dtype.itemsize)))


def _cuts(part: Part) -> Iterator[_Run | _Row]:
    """Give a part along its first axis: runs of rows that may be text at once, or single rows."""
    part = _in_memory(part)
    if not part.ndim:
        yield _Run(_array(part).reshape(1))
        return
    rows = _items_at_once(part) // math.prod(max(length, 1) for length in part.shape[1:])
    if not rows:
        yield from (_Row(part[row]) for row in range(part.shape[0]))
        return
    for block in part.row_blocks() if isinstance(part, ArrayPart) else (part,):
        for start in range(0, block.shape[0], rows):
            yield _Run(block[start : start + rows])


def _array(part: Part) -> np.ndarray[Any, Any]:
    return part.read() if isinstance(part, ArrayPart) else part


def _nested(part: Part) -> Iterator[bytes]:
    """Give JSON, cut along the first axis that makes pieces small."""
    part = _in_memory(part)
    if not part.ndim:
        yield to_json(plain(_array(part)))
        return
    yield b"["
    comma = b""
    for cut in _cuts(part):
        if isinstance(cut, _Run):
            yield comma + to_json(plain(cut.rows))[1:-1]
        else:
            yield comma
            yield from _nested(cut.row)
        comma = b","
    yield b"]"


def _records(part: ArrayPart) -> Iterator[bytes]:
    names = part.dtype.names or ()
    yield csv_lines([names])
    for rows in _runs(part):
        yield csv_lines(zip(*(_spelled(rows[name]) for name in names), strict=True))


def _rows(part: ArrayPart) -> Iterator[bytes]:
    if part.ndim < _TABLE_AXES:
        for rows in _runs(part):
            yield _lines(rows.reshape(-1, 1))
        return
    for cut in _cuts(part):
        if isinstance(cut, _Run):
            yield _lines(cut.rows)
        else:
            yield from _long_row(cut.row)


def _runs(part: Part) -> Iterator[np.ndarray[Any, Any]]:
    """Give a part of at most one axis: its rows are single elements, which are always small enough."""
    for cut in _cuts(part):
        yield cut.rows if isinstance(cut, _Run) else _array(cut.row).reshape(1)


def _long_row(row: Part) -> Iterator[bytes]:
    """Give one line whose cells are too many to be written at once."""
    comma = b""
    for rows in _runs(row):
        yield comma + _lines(rows.reshape(1, -1))[:-1]
        comma = b","
    yield b"\n"


def _lines(rows: np.ndarray[Any, Any]) -> bytes:
    """Return the lines of rows; numbers take the short way through JSON, which spells them alike."""
    if not rows.shape[1]:
        return b"\n" * len(rows)
    if rows.dtype.kind in "iu" or (rows.dtype.kind == "f" and np.isfinite(rows).all()):
        if rows.shape[1] == 1:
            text = to_json(rows.reshape(-1).tolist())[1:-1].replace(b",", b"\n")
        else:
            text = to_json(rows.tolist())[2:-2].replace(b"],[", b"\n")
        return text + b"\n" if len(rows) else b""
    flat = iter(_spelled(rows.reshape(-1)))
    return csv_lines(zip(*[flat] * rows.shape[1], strict=True))


def _spelled(column: np.ndarray[Any, Any]) -> list[Any]:
    """Return cells; times that are none are spelled as NumPy does, so that no cell is empty."""
    values = cells(column)
    return ["NaT" if cell is None else cell for cell in values] if column.dtype.kind in "Mm" else values


JSON, CSV, TEXT = JsonExport(), CsvExport(), TextExport()
