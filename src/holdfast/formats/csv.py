"""Comma-separated tables.

Owns reading rows, finding types and choosing columns; the table itself is `tables.Table`.

References
----------
RFC 4180.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from holdfast.errors import InvalidTypeError, NotFoundError, OutOfRangeError, UnreadableError
from holdfast.files import write_atomic
from holdfast.formats.base import Described, Description, Format, OpenFile, TableReader
from holdfast.formats.source import Source, SourceStream
from holdfast.formats.structures import TableStructure
from holdfast.formats.tables import Table
from holdfast.types import PathLike

__all__ = ["CSV", "CsvFile", "CsvFormat", "CsvTable"]

_ROWS = 1 << 16
_LONGEST_PADDED = 256
_SAMPLE_BYTES = 32 << 20
_HEADER_CHARACTERS = 1 << 20
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_BOOLEANS = {"true": True, "false": False}


class CsvFormat(Format):
    """A table in text, one header line, separated by commas, semicolons or tabs."""

    name = "csv"
    media_types = ("text/csv", "text/tab-separated-values")
    suffixes = (".csv", ".tsv")

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the suffix; text only."""
        return source.path.suffix.lower() in self.suffixes and (
            b"\0" not in head or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        )

    def describe(self, source: Source) -> Description:
        """Return the columns and their types.

        Notes
        -----
        Types are those of all rows, of very large files those of the first 32 MiB.

        Raises
        ------
        UnreadableError
            No header, rows of different lengths, or broken quotes.
        """
        layout = _Layout.of(source)
        structure = layout.structure(_sample(source, layout))
        parameters = {"encoding": layout.encoding, "separator": layout.separator}
        return Description(
            Described("", "table", {}, structure.to_json(), parameters=parameters), self.media_types[0]
        )

    def open(self, source: Source) -> OpenFile:
        """Open the table."""
        return CsvFile(source)

    def write(self, path: PathLike, value: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Write a table in one step.

        Raises
        ------
        InvalidTypeError
            The value is no `Table`.
        """
        if not isinstance(value, Table):
            raise InvalidTypeError(f"{path}: a Table is needed, not {type(value).__name__}")
        write_atomic(path, value.to_csv().encode("utf-8"))


class CsvFile(OpenFile):
    """An open CSV file; its type and header are read when first asked for."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._table: CsvTable | None = None

    def table(self, parameters: Mapping[str, Any]) -> TableReader:
        """Return the table."""
        if self._table is None:
            self._table = CsvTable(self._source)
        return self._table

    def close(self) -> None:
        """Give the descriptor back."""
        self._source.close()


class CsvTable(TableReader):
    """The one table of a CSV file; the types of its columns are found once, in all rows."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._layout = _Layout.of(source)
        self.is_verified = source.is_verified

    @cached_property
    def structure(self) -> TableStructure:  # type: ignore[override]  # computed when asked for
        """The columns and their types."""
        return TableStructure.from_dtypes({name: np.dtype(kind) for name, kind in self._kinds.items()})

    @cached_property
    def _kinds(self) -> dict[str, str]:
        return self._layout.kinds(self._lines())

    def _lines(self) -> Iterator[str]:
        return _lines(self._source, self._layout.encoding)

    def read(self, columns: Sequence[str] | None = None, partition: int | None = None) -> Table:
        """Return columns of the table; only these are converted.

        Raises
        ------
        NotFoundError
            There is no such column.
        OutOfRangeError
            The partition is not 0.
        UnreadableError
            Rows of different lengths, or broken quotes.
        """
        return Table.joined(list(self.batches(columns, partition)))

    def batches(
        self, columns: Sequence[str] | None = None, partition: int | None = None, rows: int = _ROWS
    ) -> Iterator[Table]:
        """Give columns of the table in batches of rows; memory holds one of them.

        Parameters
        ----------
        columns, partition
            As `read`.
        rows : int
            The most rows of a batch.
        """
        if partition not in (None, 0):
            raise OutOfRangeError(f"{self._source.name} has one partition, number 0")
        names = self._layout.names
        missing = [name for name in columns or () if name not in names]
        if missing:
            raise NotFoundError(f"no column {missing[0]!r}; there are {', '.join(names)}")
        chosen = {name: names.index(name) for name in (names if columns is None else columns)}
        yield from self._tables(chosen, rows)

    def _tables(self, chosen: Mapping[str, int], rows: int) -> Iterator[Table]:
        is_empty = True
        for batch in self._layout.batches(self._lines(), rows):
            is_empty = False
            yield Table({name: self._column([row[at] for row in batch], name) for name, at in chosen.items()})
        if is_empty:
            yield Table({name: np.empty(0, self._kinds[name]) for name in chosen})

    def _column(self, cells: list[str], name: str) -> np.ndarray:
        try:
            return _CONVERSIONS[self._kinds[name]](cells)
        except (ValueError, OverflowError, KeyError) as error:
            raise UnreadableError(f"{self._source.name} changed while it was read; ask again") from error


class _Layout:
    """Encoding, separator and column names of a file."""

    def __init__(self, path: str, encoding: str, separator: str, names: list[str]) -> None:
        self.path = path
        self.encoding = encoding
        self.separator = separator
        self.names = names

    @classmethod
    def of(cls, source: Source) -> _Layout:
        encoding = _encoding(source)
        separator = _separator(_first_line(source, encoding), source)
        rows = _rows(_lines(source, encoding), separator, source.name)
        header = next((row for row in rows if row), None)
        if header is None:
            raise UnreadableError(f"{source.name} is empty: a table needs a header line")
        return cls(source.name, encoding, separator, _unique(header))

    def structure(self, lines: Iterator[str]) -> TableStructure:
        """Return the columns and the types of some lines."""
        kinds = self.kinds(lines)
        return TableStructure.from_dtypes({name: np.dtype(kind) for name, kind in kinds.items()})

    def kinds(self, lines: Iterator[str]) -> dict[str, str]:
        """Return the narrowest of int64, float64, bool and text that holds all cells of each column."""
        kinds: list[str | None] = [None] * len(self.names)
        for batch in self.batches(lines, _ROWS):
            for at, known in enumerate(kinds):
                if known != _TEXT:
                    kinds[at] = _common(known, _kind([row[at] for row in batch]))
        return {name: kind or "f8" for name, kind in zip(self.names, kinds, strict=True)}

    def batches(self, lines: Iterator[str], size: int) -> Iterator[list[list[str]]]:
        """Give the rows below the header, blank lines left out, at most `size` at once."""
        rows = _rows(lines, self.separator, self.path)
        next(row for row in rows if row)
        width, number = len(self.names), 2
        while batch := list(itertools.islice(rows, min(size, _ROWS))):
            self._check(batch, width, number)
            number += len(batch)
            filled = [row for row in batch if row]
            if filled:
                yield filled

    def _check(self, batch: list[list[str]], width: int, number: int) -> None:
        for offset, row in enumerate(batch):
            if len(row) != width and row:
                raise UnreadableError(
                    f"{self.path} has {len(row)} cells in row {number + offset} and {width} columns"
                )


def _encoding(source: Source) -> str:
    """Return the encoding by the byte order mark; else UTF-8 if the file is that, else Latin-1."""
    head = source.head()
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in source.pieces():
            decoder.decode(bytes(piece))
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _lines(source: Source, encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(SourceStream(source), 1 << 16), encoding=encoding, newline="")


def _first_line(source: Source, encoding: str) -> str:
    """Return the start of the file, up to the first line's end."""
    try:
        return _lines(source, encoding).readline(_HEADER_CHARACTERS)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{source.name} is not {error.encoding}: {error.reason}") from error


def _sample(source: Source, layout: _Layout) -> Iterator[str]:
    """Yield lines up to the size that types are taken from; whole rows, if no cell spans lines."""
    seen = 0
    for line in _lines(source, layout.encoding):
        yield line
        seen += len(line)
        if seen > _SAMPLE_BYTES:
            return


def _separator(line: str, source: Source) -> str:
    if source.path.suffix.lower() == ".tsv":
        return "\t"
    return max(",;\t", key=line.count)


def _rows(lines: Iterator[str], separator: str, path: str) -> Iterator[list[str]]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise UnreadableError(f"{path} has a broken row at line {reader.line_num}: {error}") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{path} is not {error.encoding}: {error.reason}") from error


def _unique(header: list[str]) -> list[str]:
    """Name every column: blank ones by number, repeated ones with a count."""
    names: list[str] = []
    for number, cell in enumerate(header):
        name = base = cell.strip() or f"column {number}"
        count = 0
        while name in names:
            count += 1
            name = f"{base}.{count}"
        names.append(name)
    return names


def _integers(cells: list[str]) -> np.ndarray:
    return np.array(list(map(int, cells)), np.int64)


def _floats(cells: list[str]) -> np.ndarray:
    return np.array([float(cell) if cell.strip() else np.nan for cell in cells], np.float64)


def _booleans(cells: list[str]) -> np.ndarray:
    return np.array([_BOOLEANS[cell.strip().lower()] for cell in cells], np.bool_)


def _texts(cells: list[str]) -> np.ndarray:
    # NumPy pads every text to the longest one: a long cell among many short ones would fill the memory.
    if max(map(len, cells), default=0) <= _LONGEST_PADDED:
        return np.array(cells, np.str_)
    texts = np.empty(len(cells), object)
    texts[:] = cells
    return texts


_TEXT = "U1"
# The narrower ones are tried first.
_CONVERSIONS: dict[str, Callable[[list[str]], np.ndarray]] = {
    "i8": _integers,
    "f8": _floats,
    "?": _booleans,
    _TEXT: _texts,
}


def _kind(cells: list[str]) -> str:
    """Return the narrowest type that holds all cells."""
    # Python reads 1_000 as a number; nobody who writes tables does.
    has_marks = any("_" in cell for cell in cells)
    for kind, convert in _CONVERSIONS.items():
        if not (has_marks and kind in ("i8", "f8")):
            try:
                convert(cells)
            except (ValueError, OverflowError, KeyError):
                continue
            return kind
    return _TEXT


def _common(known: str | None, kind: str) -> str:
    """Return the type of a column of which one part is of one type, and one of another."""
    if known in (None, kind):
        return kind
    return "f8" if {known, kind} == {"i8", "f8"} else _TEXT


CSV = CsvFormat()
