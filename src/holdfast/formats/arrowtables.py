"""Tables that an Arrow library reads batch by batch: what Parquet and Arrow files have in common.

Owns the choice of columns and partitions, the metadata of schemas, and whose fault an error is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from holdfast.errors import HoldfastError, NotFoundError, OutOfRangeError, UnreadableError
from holdfast.formats.arrowcolumns import import_pyarrow, to_numpy
from holdfast.formats.base import ArrayReader, TableReader
from holdfast.formats.columns import SlicedColumn
from holdfast.formats.metadata import Metadata
from holdfast.formats.source import SourceStream
from holdfast.formats.structures import TableStructure
from holdfast.formats.tables import Table

if TYPE_CHECKING:
    import pyarrow

__all__ = ["MAX_PARTITIONS", "ArrowTable", "arrow_errors", "schema_metadata"]

MAX_PARTITIONS = 4096
"""Into how many partitions a table is cut; more pieces than that are put together."""

_MAX_JSON_BYTES = 256 << 10
# What only repeats the schema, or numbers its fields.
_UNTOLD = frozenset({b"ARROW:schema", b"PARQUET:field_id"})


class ArrowTable(TableReader):
    """A table made of pieces, each of which an Arrow library turns into record batches.

    Parameters
    ----------
    what : str
        What errors call the file.
    schema : pyarrow.Schema
        The plain schema.
    pieces : int
        Number of row groups or record batches.
    is_verified : bool
        Whether bytes are checked against digests.
    """

    def __init__(self, what: str, schema: pyarrow.Schema, pieces: int, *, is_verified: bool) -> None:
        self._what, self._schema, self._pieces = what, schema, pieces
        self._each = max(-(-pieces // MAX_PARTITIONS), 1)
        partitions = max(-(-pieces // self._each), 1)
        message = bytes(schema.serialize())
        self.structure = TableStructure.from_schema(message, schema.names, partitions)
        self.is_verified = is_verified

    @abstractmethod
    def record_batches(self, piece: int, positions: list[int], rows: int) -> Iterator[pyarrow.RecordBatch]:
        """Yield the rows of a piece, columns by position, with plain types, at most `rows` at once."""

    @abstractmethod
    def lengths(self) -> list[int]:
        """Return the number of rows of each piece, as far as the file says it."""

    @abstractmethod
    def is_full(self, position: int) -> bool:
        """Whether a column surely has a value in every row."""

    def read(self, columns: Sequence[str] | None = None, partition: int | None = None) -> Table:
        """Return columns of the table.

        Raises
        ------
        NotFoundError
            There is no such column.
        OutOfRangeError
            There is no such partition.
        UnreadableError
            The file is damaged.
        """
        return Table.joined(list(self.batches(columns, partition)))

    def batches(
        self, columns: Sequence[str] | None = None, partition: int | None = None, rows: int = 1 << 16
    ) -> Iterator[Table]:
        """Give columns of the table in batches of rows; memory holds one of them.

        Parameters
        ----------
        columns, partition
            As `read`.
        rows : int
            The most rows of a batch; rows that are large come fewer at once.
        """
        positions = self._positions(columns)
        chosen = import_pyarrow().schema([self._schema.field(position) for position in positions])
        is_empty = True
        for piece in self._pieces_of(partition):
            for batch in self.record_batches(piece, positions, rows):
                is_empty = False
                yield Table.from_arrow(import_pyarrow().Table.from_batches([batch], chosen))
        if is_empty:
            yield Table.from_arrow(chosen.empty_table())

    def column(self, name: str) -> ArrayReader | None:
        """Return a column that is sliced piece by piece; None if its type depends on its values."""
        (position,) = self._positions([name])
        empty = to_numpy(self._schema.empty_table().column(position))
        if empty.dtype.kind not in "biufmM" or not self.is_full(position):
            return None
        lengths = self.lengths()
        partitions = [sum(lengths[at : at + self._each]) for at in range(0, len(lengths), self._each)]
        return SlicedColumn(self, name, empty.dtype, partitions or [0])

    def _positions(self, columns: Sequence[str] | None) -> list[int]:
        names = {name: position for position, name in enumerate(self._schema.names)}
        for name in columns or ():
            if name not in names:
                known = ", ".join(self._schema.names[:20])
                raise NotFoundError(f"no column {name!r} in {self._what}; there are {known}")
        return list(names.values()) if columns is None else [names[name] for name in columns]

    def _pieces_of(self, partition: int | None) -> range:
        if partition is None:
            return range(self._pieces)
        if not 0 <= partition < self.structure.npartitions:
            raise OutOfRangeError(
                f"{self._what} has no partition {partition}; it has {self.structure.npartitions}, from 0 on"
            )
        return range(partition * self._each, min((partition + 1) * self._each, self._pieces))


def schema_metadata(
    schema: pyarrow.Schema, facts: Mapping[str, Any], more: Mapping[bytes, bytes]
) -> dict[str, Any]:
    """Return what a schema says beside names and types, bounded.

    Parameters
    ----------
    schema : pyarrow.Schema
        As the file has it.
    facts : mapping
        What is known of the file itself, kept under ``file``.
    more : mapping of bytes to bytes
        Further pairs that the file holds.
    """
    collected = Metadata()
    collected.put(("file",), dict(facts))
    for key, value in {**(schema.metadata or {}), **more}.items():
        if key not in _UNTOLD:
            collected.put((key.decode("utf-8", "backslashreplace"),), _decoded(value))
    for name, field in zip(schema.names, schema, strict=True):
        for key, value in (field.metadata or {}).items():
            if key not in _UNTOLD:
                collected.put(("columns", name, key.decode("utf-8", "backslashreplace")), _decoded(value))
    return collected.to_json()


def _decoded(value: bytes) -> Any:
    """Return the JSON in a text that is some, else the text."""
    if value[:1] in (b"{", b"[") and len(value) <= _MAX_JSON_BYTES:
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return value
    return value


@contextmanager
def arrow_errors(what: str, stream: SourceStream | None = None) -> Iterator[None]:
    """Raise our own errors for what an Arrow library says of a file.

    Parameters
    ----------
    what : str
        What errors call the file.
    stream : SourceStream, optional
        What the library reads through: an error of ours from there comes first.

    Raises
    ------
    UnreadableError
        The library refuses the file.
    """
    pyarrow = import_pyarrow()
    try:
        yield
    except HoldfastError:
        raise
    except (
        pyarrow.ArrowException,
        OSError,
        MemoryError,
        ValueError,
        OverflowError,
        TypeError,
        KeyError,
    ) as error:
        if stream is not None and stream.failure is not None:
            raise stream.failure from error
        said = " ".join(str(error).split())[:200]
        raise UnreadableError(f"{what} cannot be read: {said or type(error).__name__}") from error
