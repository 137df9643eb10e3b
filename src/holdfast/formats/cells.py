"""Cells of a sheet: the rows of values that a library yields, made into the columns of a table.

Owns which row names the columns and what type a column has; reads no files.

>>> table_of([["n", "x"], [1, 0.5], [2, None]]).dtypes
{'n': dtype('int64'), 'x': dtype('float64')}
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.arrowcolumns import text_column, unique_names
from holdfast.formats.tables import Table

__all__ = ["MAX_CELLS", "table_of"]

MAX_CELLS = 2_000_000
"""The largest sheet that is read: openpyxl needs 6 µs for a cell."""

_MAX_ROWS = 1 << 20
_ERRORS = frozenset({"#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!", "#GETTING_DATA"})


def table_of(rows: Iterable[Sequence[Any]]) -> Table:
    """Return the table of a sheet; its first row that is not empty names the columns.

    Parameters
    ----------
    rows : iterable of sequences
        The values of each row, None where a cell is empty.

    Raises
    ------
    UnreadableError
        There are more than `MAX_CELLS`.
    """
    return _table(_filled(rows))


def _filled(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """Return the rows from the first to the last that is not empty."""
    found: list[Sequence[Any]] = []
    cells = last = 0
    for number, row in enumerate(rows):
        is_empty = not any(value is not None for value in row)
        cells += len(row)
        if cells > MAX_CELLS or number > _MAX_ROWS:
            raise _too_large()
        if found or not is_empty:
            found.append(row)
            last = last if is_empty else len(found)
    return found[:last]


def _table(rows: list[Sequence[Any]]) -> Table:
    """Return the columns under the names of the first row; those without name and cells are left out."""
    if not rows:
        return Table({})
    width = max(map(len, rows))
    if width * len(rows) > MAX_CELLS:
        raise _too_large()
    columns = []
    names = []
    for number in range(width):
        header, *values = (row[number] if number < len(row) else None for row in rows)
        if header is not None or any(value is not None for value in values):
            names.append(f"column {number}" if header is None else str(header).strip() or f"column {number}")
            columns.append(_column(values))
    return Table(dict(zip(unique_names(names), columns, strict=True)))


def _too_large() -> UnreadableError:
    return UnreadableError(f"the sheet has more than {MAX_CELLS} cells; save it as CSV or Parquet")


def _column(values: list[Any]) -> np.ndarray:
    """Turn the cells of a column into numbers, truth values, times or text, absent ones as each has it."""
    kinds = {_kind(value) for value in values} - {None}
    has_gaps = any(_kind(value) is None for value in values)
    if kinds <= {int, float}:
        return _numbers(values, is_whole=kinds == {int} and not has_gaps)
    if kinds == {bool} and not has_gaps:
        return np.array(values, np.bool_)
    if kinds == {dt.datetime}:
        return np.array([value if _kind(value) else None for value in values], "M8[us]")
    if kinds == {dt.timedelta}:
        return np.array([value if _kind(value) else None for value in values], "m8[us]")
    return text_column([None if value is None else str(value) for value in values])


def _kind(value: Any) -> type | None:
    """Return the type of a cell; None where there is no value, or only the error of a formula."""
    return None if value is None or value in _ERRORS else type(value)


def _numbers(values: list[Any], *, is_whole: bool) -> np.ndarray:
    if is_whole:
        try:
            return np.array(values, np.int64)
        except OverflowError:
            pass
    return np.array([np.nan if _kind(value) is None else float(value) for value in values], np.float64)
