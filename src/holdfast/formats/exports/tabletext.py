"""Tables as text: comma-separated lines, JSON by columns, and a sequence of JSON rows.

Owns the notations, batch by batch; what a value says is `plain`'s.

References
----------
RFC 4180, RFC 8259, RFC 7464; Tiled 0.2.20 for the forms of the two JSONs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from holdfast.errors import NotAcceptableError
from holdfast.formats.exports.arraytext import csv_lines
from holdfast.formats.exports.base import Exported, TableExport, TablePart
from holdfast.formats.exports.plain import cells, is_plain, plain, to_json, to_json_lines
from holdfast.formats.tables import Table

__all__ = [
    "CSV",
    "JSON",
    "JSON_SEQ",
    "TEXT",
    "CsvExport",
    "JsonExport",
    "JsonSeqExport",
    "TextExport",
    "column_cells",
    "count_rows",
    "plain_batches",
    "row_cells",
]


class CsvExport(TableExport):
    """A head line with the names of the columns, and a line for each row; what is absent is an empty cell."""

    media_types: ClassVar[tuple[str, ...]] = ("text/csv", "text/x-comma-separated-values")
    suffixes: ClassVar[tuple[str, ...]] = ("csv",)

    def export(self, part: TablePart) -> Exported:
        """Return lines.

        Raises
        ------
        NotAcceptableError
            For columns whose values have no form as text.
        """
        head = csv_lines([part.columns])
        return Exported(itertools.chain((head,), map(_lines, plain_batches(part, "CSV"))))


class TextExport(CsvExport):
    """The same lines as CSV, for who asks for plain text."""

    media_types = ("text/plain",)
    suffixes = ("txt", "text")
    is_shown = True


class JsonExport(TableExport):
    """One object with a list for each column; what is absent, and numbers that are not finite, are null."""

    media_types = ("application/json",)
    suffixes = ("json",)
    is_shown = True

    def export(self, part: TablePart) -> Exported:
        """Return an object of lists.

        Raises
        ------
        NotAcceptableError
            For columns whose values have no form as text.
        """
        return Exported(_by_columns(part, plain_batches(part, "JSON")))


class JsonSeqExport(TableExport):
    """An object for each row between a record separator (1E) and a line's end."""

    media_types = ("application/json-seq",)
    suffixes = ("json-seq", "jsonl")

    def export(self, part: TablePart) -> Exported:
        """Return a sequence of objects.

        Raises
        ------
        NotAcceptableError
            For columns whose values have no form as text.
        """
        return Exported(map(_sequence, plain_batches(part, "JSON")))


def plain_batches(part: TablePart, name: str) -> Iterator[Table]:
    """Return the batches of a table all of whose values have a form as text; looks at the first one at once.

    Raises
    ------
    NotAcceptableError
        There is a column whose values have none.
    """
    batches = part.batches()
    first = next(batches)
    odd = [column for column, dtype in first.dtypes.items() if not is_plain(dtype)]
    if odd:
        raise NotAcceptableError(
            f"the column {odd[0]!r} of type {first.dtypes[odd[0]]} has no form in {name}; "
            "choose other columns, or ask for h5"
        )
    return itertools.chain((first,), batches)


def row_cells(batch: Table) -> Iterator[tuple[Any, ...]]:
    """Give the rows of a batch as cells; None where a value is absent, not a number or not a time."""
    return zip(*(map(_present, column_cells(batch, name)) for name in batch.columns), strict=True)


def column_cells(batch: Table, name: str) -> list[Any]:
    """Return a column as cells; integers stay integers where some are absent."""
    column = batch[name]
    return batch.values(name) if batch.is_integer(name) else cells(column)


def count_rows(part: TablePart, most: int) -> int | None:
    """Return how many rows a table has, reading one column of it; None if they are more than `most`."""
    count = 0
    for batch in part.reader.batches(part.columns[:1], part.partition):
        count += len(batch)
        if count > most:
            return None
    return count


def _present(value: Any) -> Any:
    # What is not a number is not equal to itself.
    return None if value != value else value


def _lines(batch: Table) -> bytes:
    columns = [batch[name] for name in batch.columns]
    if len(batch) and all(_is_finite(column) for column in columns):
        # JSON spells numbers as CSV does, and is ten times as quick.
        rows = to_json(list(zip(*(column.tolist() for column in columns), strict=True)))
        return rows[2:-2].replace(b"],[", b"\n") + b"\n"
    return csv_lines(row_cells(batch))


def _is_finite(column: np.ndarray[Any, Any]) -> bool:
    return column.dtype.kind in "iu" or (column.dtype.kind == "f" and bool(np.isfinite(column).all()))


def _sequence(batch: Table) -> bytes:
    columns = (_json_values(batch, name) for name in batch.columns)
    rows = (dict(zip(batch.columns, row, strict=True)) for row in zip(*columns, strict=True))
    lines = to_json_lines(rows)
    # A line's end within a text is escaped, so that each one here ends a row.
    return b"\x1e" + lines[:-1].replace(b"\n", b"\n\x1e") + b"\n" if lines else b""


def _by_columns(part: TablePart, batches: Iterable[Table]) -> Iterator[bytes]:
    """Give a list for each column; of a table of several batches each column is read on its own."""
    batches = iter(batches)
    first = next(batches)
    is_small = next(batches, None) is None
    for number, name in enumerate(part.columns):
        yield (b"," if number else b"{") + to_json(name) + b":["
        comma = b""
        for batch in (first,) if is_small else part.batches([name]):
            text = to_json(_json_values(batch, name))[1:-1]
            if text:
                yield comma + text
                comma = b","
        yield b"]"
    yield b"}" if part.columns else b"{}"


def _json_values(batch: Table, name: str) -> list[Any]:
    return batch.values(name) if batch.is_integer(name) else list(plain(batch[name]))


CSV, TEXT, JSON, JSON_SEQ = CsvExport(), TextExport(), JsonExport(), JsonSeqExport()
