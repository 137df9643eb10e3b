"""Excel workbooks: a container of sheets, each a table whose first row names its columns.

Owns which cells make which columns, and how much is unpacked; openpyxl reads the cells.

References
----------
ECMA-376, SpreadsheetML.
"""

from __future__ import annotations

import datetime as dt
import struct
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast.errors import (
    HoldfastError,
    InvalidInputError,
    MissingDependencyError,
    NotFoundError,
    OutOfRangeError,
    UnreadableError,
)
from holdfast.formats.archives import archive_stream, directory, opened_archive
from holdfast.formats.base import Described, Description, Format, OpenFile, TableReader
from holdfast.formats.cells import MAX_CELLS, table_of
from holdfast.formats.metadata import Metadata
from holdfast.formats.source import Source
from holdfast.formats.tables import Table
from holdfast.paths import check_name

__all__ = ["EXCEL", "ExcelFile", "ExcelFormat", "SheetTable"]

_MAX_SHEETS = 1000
_MAX_SHEET_BYTES = 128 << 20
_MAX_TEXTS_BYTES = 64 << 20
_MAX_PART_BYTES = 8 << 20
# A cell is written with at most so many tags.
_MAX_TAGS = 7 * MAX_CELLS
_PIECE_BYTES = 1 << 20

_OLE = b"\xd0\xcf\x11\xe0"
# What openpyxl and what it stands on raise for damaged files.
_FAILURES = (
    LookupError, ValueError, TypeError, AttributeError, ArithmeticError, AssertionError, OSError, EOFError,
    RuntimeError, SyntaxError, MemoryError, zlib.error, struct.error, zipfile.BadZipFile,
)  # fmt: skip


class ExcelFormat(Format):
    """The sheets of a workbook as Excel has saved it since 2007."""

    name = "excel"
    media_types = (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.ms-excel.sheet.macroEnabled.12",
    )
    suffixes = (".xlsx", ".xlsm")

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the members of the archive."""
        return head.startswith(b"PK") and b"xl/workbook.xml" in (directory(source) or b"")

    def describe(self, source: Source) -> Description:
        """Return the columns of every sheet and what the workbook says of itself.

        Raises
        ------
        UnreadableError
            No workbook, a damaged or encrypted one, or one that is too large.
        """
        workbook = _Workbook(source)
        root = Described("", "container", workbook.metadata())
        unlisted = []
        for name in workbook.names:
            try:
                check_name(name, "name", reserved=True)
            except InvalidInputError:
                unlisted.append(name)
                continue
            root.children.append(_described(workbook, name))
        if unlisted:
            root.metadata["holdfast"] = {**root.metadata.get("holdfast", {}), "unlisted": unlisted}
        return Description(root, self.media_types[0])

    def open(self, source: Source) -> OpenFile:
        """Open the sheets."""
        with source.closed_on_failure():
            return ExcelFile(source)


def _described(workbook: _Workbook, name: str) -> Described:
    """Describe a sheet; one that cannot be read is listed with the reason."""
    try:
        table = workbook.sheet(name)
    except UnreadableError as error:
        return Described(name, "bytes", {"error": str(error)})
    structure = table.structure().to_json()
    return Described(name, "table", {"rows": len(table)}, structure, parameters={"sheet": name})


class ExcelFile(OpenFile):
    """An open workbook; it keeps the sheet that was read last."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._workbook = _Workbook(source)
        self._last: tuple[str, Table] | None = None

    def table(self, parameters: Mapping[str, Any]) -> TableReader:
        """Return a sheet.

        Raises
        ------
        NotFoundError
            There is none of this name.
        """
        name = parameters.get("sheet")
        if name not in self._workbook.names:
            raise NotFoundError(f"{self._source.name} has no sheet {name!r}")
        return SheetTable(self._source, self._sheet(str(name)))

    def _sheet(self, name: str) -> Table:
        with self._lock:
            if self._last is None or self._last[0] != name:
                self._last = name, self._workbook.sheet(name)
            return self._last[1]

    def close(self) -> None:
        """Give the descriptor back."""
        self._source.close()


class SheetTable(TableReader):
    """The table of a sheet, which is read whole when it is opened.

    Parameters
    ----------
    source : Source
        The file.
    table : Table
        What was read.
    """

    def __init__(self, source: Source, table: Table) -> None:
        self._name, self._table = source.name, table
        self.structure = table.structure()
        self.is_verified = source.is_verified

    def read(self, columns: Sequence[str] | None = None, partition: int | None = None) -> Table:
        """Return columns of the sheet.

        Raises
        ------
        NotFoundError
            There is no such column.
        OutOfRangeError
            The partition is not 0.
        """
        if partition not in (None, 0):
            raise OutOfRangeError(f"a sheet of {self._name} has one partition, number 0")
        return self._table.select(columns)


class _Workbook:
    """A workbook with what its archive claims checked; every reading opens it anew."""

    def __init__(self, source: Source) -> None:
        if source.head().startswith(_OLE):
            raise UnreadableError(
                f"{source.name} is encrypted or of before 2007; save it as .xlsx without a password"
            )
        self._source = source
        _check_parts(source)
        with self._opened() as workbook:
            self.names = [sheet.title for sheet in workbook.worksheets][:_MAX_SHEETS]

    def metadata(self) -> dict[str, Any]:
        """Return title, author and the like, as far as they are given."""
        collected = Metadata()
        with self._opened() as workbook:
            properties = workbook.properties
            for name in ("title", "subject", "creator", "description", "keywords", "created", "modified"):
                value = getattr(properties, name)
                if value:
                    text = value.isoformat() if isinstance(value, dt.datetime) else str(value)
                    collected.put((name,), text)
        return collected.to_json()

    def sheet(self, name: str) -> Table:
        """Read a sheet.

        Raises
        ------
        UnreadableError
            It is damaged or too large.
        """
        with self._opened() as workbook:
            sheet = workbook[name]
            # What a sheet says of its size may be wrong, and would cut it.
            sheet.reset_dimensions()
            return table_of(sheet.iter_rows(values_only=True))

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        load = _library().load_workbook
        with _excel_errors(self._source.name):
            workbook = load(archive_stream(self._source), read_only=True, data_only=True, keep_links=False)
            try:
                yield workbook
            finally:
                workbook.close()


def _library() -> Any:
    try:
        import defusedxml  # noqa: F401  # openpyxl takes it where it is: entities that multiply are refused
        import openpyxl
    except ImportError as error:
        raise MissingDependencyError("Excel needs openpyxl: pip install 'holdfast[tables]'") from error
    # It tells of fonts and styles that it does not know; nothing here depends on them.
    warnings.filterwarnings("ignore", module="openpyxl")
    return openpyxl


@contextmanager
def _excel_errors(what: str) -> Iterator[None]:
    try:
        yield
    except HoldfastError:
        raise
    except _FAILURES as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableError(f"{what} cannot be read: {said}") from error


def _check_parts(source: Source) -> None:
    """Check the sizes of what will be unpacked, and the number of tags in what becomes a tree in memory."""
    with opened_archive(source) as archive, _excel_errors(source.name):
        for part in archive.infolist():
            limit = _limit(part.filename)
            if limit and part.file_size > limit:
                raise UnreadableError(
                    f"{source.name} unpacks {part.filename[:80]!r} to {part.file_size} bytes, not {limit}"
                )
            if limit > _MAX_PART_BYTES:
                _check_tags(archive, part, source.name)


def _limit(name: str) -> int:
    """Return how large a part may be; 0 for pictures and others that are never unpacked."""
    if name.startswith("xl/worksheets/") and name.endswith(".xml"):
        return _MAX_SHEET_BYTES
    if name.lower() == "xl/sharedstrings.xml":
        return _MAX_TEXTS_BYTES
    return _MAX_PART_BYTES if name.endswith((".xml", ".rels")) else 0


def _check_tags(archive: zipfile.ZipFile, part: zipfile.ZipInfo, what: str) -> None:
    tags = 0
    with archive.open(part) as unpacked:
        while piece := unpacked.read(_PIECE_BYTES):
            tags += piece.count(b"<")
            if tags > _MAX_TAGS:
                raise UnreadableError(
                    f"{part.filename[:80]!r} of {what} has over {MAX_CELLS} cells; save it as CSV or Parquet"
                )


EXCEL = ExcelFormat()
