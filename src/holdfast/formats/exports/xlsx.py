"""Tables as Excel workbooks of one sheet, through openpyxl and a temporary file.

References
----------
Excel's specifications and limits; Tiled 0.2.20 for the media type.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime
from typing import Any, BinaryIO

import numpy as np

from holdfast.errors import MissingDependencyError, NotAcceptableError
from holdfast.formats.exports.base import Exported, TableExport, TablePart
from holdfast.formats.exports.holes import FilledFile
from holdfast.formats.exports.plain import cells
from holdfast.formats.exports.tabletext import column_cells, plain_batches
from holdfast.formats.tables import Table

__all__ = ["XLSX", "XlsxExport"]

_MOST_ROWS = 1_048_576 - 1
_MOST_COLUMNS = 16_384
_MOST_CELLS = 3_000_000
"""The library makes some 100,000 cells a second, and nothing can be sent before the last one."""
_LONGEST_TEXT = 32_767
_LARGEST_INTEGER = 10**15
# Excel believes that 1900 had a 29th of February; from March on its days are right.
_FIRST_DAY, _LAST_DAY = np.datetime64("1900-03-01", "ms"), np.datetime64("9999-12-31", "ms")
_NOT_IN_XML = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")


class XlsxExport(TableExport):
    """One sheet with a head row; what is absent is an empty cell.

    Notes
    -----
    Excel keeps 15 digits and milliseconds: integers and times that need more are text, as are numbers that
    are infinite and times before March 1900. A text is never a formula. Control characters, which a workbook
    cannot hold, are written like ``_x0007_``.
    """

    media_types = ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",)
    suffixes = ("xlsx",)

    def refusal(self, part: TablePart) -> str | None:
        """Refuse more columns than a sheet has."""
        if len(part.columns) > _MOST_COLUMNS:
            return (
                f"{len(part.columns)} columns are too many for Excel, which has {_MOST_COLUMNS}; choose some"
            )
        return None

    def export(self, part: TablePart) -> Exported:
        """Return a workbook.

        Raises
        ------
        NotAcceptableError
            For more rows than a sheet has, more cells than can be made in time, texts that are too long for a
            cell, and values without a form as text.
        MissingDependencyError
            openpyxl is not installed.
        """
        try:
            import openpyxl
        except ImportError as error:
            raise MissingDependencyError(
                "Excel files need openpyxl, at the server: pip install 'holdfast[tables]'"
            ) from error
        first = next(plain_batches(part, "Excel"))
        _check(part, [name for name, dtype in first.dtypes.items() if dtype.kind in "SUO"])
        with ExitStack() as stack:
            file = stack.enter_context(tempfile.TemporaryFile())
            _write(openpyxl, part, file)
            stack.pop_all()
        pieces = FilledFile(file)
        return Exported(pieces, pieces.size)


def _check(part: TablePart, texts: list[str]) -> None:
    """Read what decides whether the table fits: the number of rows, and the texts in them."""
    most = min(_MOST_ROWS, _MOST_CELLS // max(1, len(part.columns)))
    count = 0
    for batch in part.batches(texts or part.columns[:1]):
        count += len(batch)
        if count > most:
            raise NotAcceptableError(
                f"this table has more than {most} rows, the most of {len(part.columns)} columns in Excel "
                f"(at most {_MOST_ROWS} rows, {_MOST_CELLS} cells); choose columns, or ask for csv or parquet"
            )
        for name in texts:
            longest = max((len(str(value)) for value in cells(batch[name]) if value is not None), default=0)
            if longest > _LONGEST_TEXT:
                raise NotAcceptableError(
                    f"the column {name!r} has a text of {longest} characters and a cell of Excel holds "
                    f"{_LONGEST_TEXT}; choose other columns, or ask for csv or parquet"
                )


def _write(openpyxl: Any, part: TablePart, file: BinaryIO) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Sheet1")

    def text_cell(text: str) -> Any:
        """Return a cell that is text, whatever it begins with."""
        cell = openpyxl.cell.WriteOnlyCell(sheet, text)
        cell.data_type = "s"
        return cell

    with ExitStack() as stack:
        # The library removes its own temporary file when it saves, and otherwise only when the process ends.
        sheet.append([_cell(name, text_cell) for name in part.columns])
        stack.callback(sheet._writer.cleanup)
        stack.callback(sheet.close)
        for batch in part.batches():
            for row in _rows(batch):
                sheet.append([_cell(value, text_cell) for value in row])
        stack.pop_all()
    with closing(book):
        book.save(file)


def _rows(batch: Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(_column(batch, name) for name in batch.columns), strict=True)


def _column(batch: Table, name: str) -> list[Any]:
    column = batch[name]
    if column.dtype.kind == "M":
        return [_time(*pair) for pair in zip(column, cells(column), strict=True)]
    return column_cells(batch, name)


def _cell(value: Any, text_cell: Any) -> Any:
    """Return what the library makes the right cell of."""
    if value is None or isinstance(value, bool | datetime):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST_INTEGER:
        return value
    if isinstance(value, float) and not math.isinf(value):
        return None if math.isnan(value) else value
    return text_cell(_NOT_IN_XML.sub(lambda match: f"_x{ord(match[0]):04X}_", str(value)))


def _time(value: np.datetime64, text: str | None) -> datetime | str | None:
    """Return a time; as text where Excel's own form would change it."""
    rounded = value.astype("M8[ms]")
    if text is None or rounded != value or not _FIRST_DAY <= rounded <= _LAST_DAY:
        return text
    found: datetime = rounded.item()
    return found


XLSX = XlsxExport()
