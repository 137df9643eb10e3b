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
from collections.abc import Iterator, Mapping, Sequence
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
        columns = layout.read(_sample(source, layout), range(len(layout.names)))
        structure = TableStructure.from_dtypes({name: column.dtype for name, column in columns.items()})
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

    def table(self, parameters: Mapping[str, Any]) -> TableReader:
        """Return the table."""
        return CsvTable(self._source)

    def close(self) -> None:
        """Give the descriptor back."""
        self._source.close()


class CsvTable(TableReader):
    """The one table of a CSV file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._layout = _Layout.of(source)
        self.is_verified = source.is_verified

    @property
    def structure(self) -> TableStructure:  # type: ignore[override]  # computed when asked for
        """The columns and their types."""
        return TableStructure.from_dtypes(self.read().dtypes)

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
        if partition not in (None, 0):
            raise OutOfRangeError(f"{self._source.name} has one partition, number 0")
        names = self._layout.names
        missing = [name for name in columns or () if name not in names]
        if missing:
            raise NotFoundError(f"no column {missing[0]!r}; there are {', '.join(names)}")
        chosen = range(len(names)) if columns is None else [names.index(name) for name in columns]
        return Table(self._layout.read(_lines(self._source, self._layout.encoding), chosen))


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

    def read(self, lines: Iterator[str], chosen: Sequence[int]) -> dict[str, np.ndarray]:
        """Convert the chosen columns of all rows, some thousand rows at a time."""
        rows = _rows(lines, self.separator, self.path)
        next(row for row in rows if row)
        parts: list[list[np.ndarray]] = [[] for _ in chosen]
        width, number = len(self.names), 2
        while batch := list(itertools.islice(rows, _ROWS)):
            self._check(batch, width, number)
            number += len(batch)
            batch = [row for row in batch if row]
            for part, at in zip(parts, chosen, strict=True):
                part.append(_convert([row[at] for row in batch]))
        return {self.names[at]: _joined(part) for part, at in zip(parts, chosen, strict=True)}

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


def _convert(cells: list[str]) -> np.ndarray:
    """Turn the cells of a column into the narrowest of int64, float64, bool and text."""
    if not any("_" in cell for cell in cells):
        try:
            return np.array(list(map(int, cells)), np.int64)
        except (ValueError, OverflowError):
            pass
        try:
            return np.array([float(cell) if cell.strip() else np.nan for cell in cells], np.float64)
        except ValueError:
            pass
    booleans = [_BOOLEANS.get(cell.strip().lower()) for cell in cells]
    if None not in booleans:
        return np.array(booleans, np.bool_)
    return np.array(cells, np.str_)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Join the parts of a column; where they differ in kind, all become text unless all are numbers."""
    kinds = {part.dtype.kind for part in parts}
    if not parts:
        return np.empty(0, np.float64)
    if len(kinds) > 1 and not kinds <= set("if"):
        parts = [part.astype(np.str_) for part in parts]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


CSV = CsvFormat()
