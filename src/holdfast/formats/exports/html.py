"""Arrays and tables as pages that a browser shows.

Owns the pages: a picture where an array is one, else rows of values; every text is escaped.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from holdfast.errors import NotAcceptableError
from holdfast.formats.exports.arraytext import CSV
from holdfast.formats.exports.base import ArrayExport, ArrayPart, Exported, TableExport, TablePart
from holdfast.formats.exports.picture import as_picture, why_no_picture
from holdfast.formats.exports.plain import cells
from holdfast.formats.exports.png import PNG
from holdfast.formats.exports.tabletext import count_rows, plain_batches, row_cells
from holdfast.types import Buffer

__all__ = ["ARRAY", "TABLE", "HtmlArrayExport", "HtmlTableExport"]

MOST_CELLS = 1_000_000
_PICTURE_EDGE = 32
_PLANE = 2
_HEAD = (
    '<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>Holdfast</title><style>'
    "body{font-family:sans-serif}table{border-collapse:collapse}"
    "td,th{padding:.1em .6em;border:1px solid #ddd;text-align:right}"
    "img{image-rendering:pixelated;max-width:100%}"
    "</style></head><body>\n"
)
_END = "</body></html>\n"


class HtmlArrayExport(ArrayExport):
    """A picture of what is one and at least 32 pixels high and wide, else a table of the values."""

    media_types = ("text/html",)
    suffixes = ("html", "htm")
    is_shown = True

    def refusal(self, part: ArrayPart) -> str | None:
        """Refuse what is neither a picture nor rows and columns, or too large for a page."""
        if _is_picture(part):
            return PNG.refusal(part)
        reason = CSV.refusal(part)
        if reason is None and part.size > MOST_CELLS:
            return f"{part.size} values are too many for a page, which shows {MOST_CELLS}; slice it"
        return reason and reason.replace("CSV", "HTML")

    def export(self, part: ArrayPart) -> Exported:
        """Return a page."""
        return Exported(_picture(part) if _is_picture(part) else _values(part))


class HtmlTableExport(TableExport):
    """A table with the names of the columns above; what is absent is an empty cell."""

    media_types = ("text/html",)
    suffixes = ("html", "htm")
    is_shown = True

    def export(self, part: TablePart) -> Exported:
        """Return a page.

        Raises
        ------
        NotAcceptableError
            For more cells than a page shows, and values without a form as text.
        """
        batches = plain_batches(part, "HTML")
        if count_rows(part, MOST_CELLS // max(1, len(part.columns))) is None:
            raise NotAcceptableError(
                f"this table has more than the {MOST_CELLS} cells that a page shows; choose columns, or "
                "ask for csv, arrow or parquet"
            )
        return Exported(_page(_table(part.columns, (row for batch in batches for row in row_cells(batch)))))


def _is_picture(part: ArrayPart) -> bool:
    picture = as_picture(part) if why_no_picture(part) is None else None
    return picture is not None and picture.ndim >= _PLANE and min(picture.shape[:_PLANE]) >= _PICTURE_EDGE


def _picture(part: ArrayPart) -> Iterator[Buffer]:
    yield f'{_HEAD}<img alt="{html.escape(str(part.shape))}" src="data:image/png;base64,'.encode()
    left = b""
    for piece in PNG.export(part).pieces:
        data = left + bytes(piece)
        # Three bytes are four characters: what is left waits for the next piece.
        whole = len(data) - len(data) % 3
        left = data[whole:]
        yield base64.b64encode(data[:whole])
    yield base64.b64encode(left) + f'">\n{_END}'.encode()


def _values(part: ArrayPart) -> Iterator[Buffer]:
    array = part.read()
    names = array.dtype.names
    if names is not None:
        columns = [cells(np.atleast_1d(array[name])) for name in names]
        return _page(_table(names, zip(*columns, strict=True)))
    rows = array if array.ndim == _PLANE else array.reshape(-1, 1)
    return _page(_table((), (cells(row) for row in rows)))


def _page(lines: Iterable[str]) -> Iterator[Buffer]:
    yield _HEAD.encode()
    gathered: list[str] = []
    length = 0
    for line in lines:
        gathered.append(line)
        length += len(line)
        if length > 1 << 18:
            yield "".join(gathered).encode()
            gathered, length = [], 0
    yield ("".join(gathered) + _END).encode()


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    yield "<table>\n"
    names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    if names:
        yield f"<thead><tr>{names}</tr></thead>\n"
    yield "<tbody>\n"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>\n"
    yield "</tbody></table>\n"


def _cell(value: Any) -> str:
    return "" if value is None else html.escape(str(value))


ARRAY, TABLE = HtmlArrayExport(), HtmlTableExport()
