"""Arrow tables: IPC files, which Feather (version 2) is too, and IPC streams; record batches are partitions.

Owns which messages are read; both forms are read by walking along their messages, so a table of any length
is read batch by batch. pyarrow decodes one batch at a time.

References
----------
Apache Arrow columnar format, "Serialization and interprocess communication".
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.errors import TooLargeError, UnreadableError
from holdfast.formats.arrowcolumns import import_pyarrow, plain_batches, plain_schema
from holdfast.formats.arrowmessages import DICTIONARY, RECORDS, SCHEMA, Message, claimed_bytes, messages
from holdfast.formats.arrowtables import ArrowTable, arrow_errors, schema_metadata
from holdfast.formats.base import Described, Description, Format, OpenFile, TableReader
from holdfast.formats.source import Source

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ARROW", "ArrowFile", "ArrowFormat", "ArrowStreamTable"]

MAX_BATCH_BYTES = 1 << 30
"""The largest record batch that is read, unpacked, in bytes."""

_MAGIC = b"ARROW1"
_OLD_FEATHER = b"FEA1"
_STREAM = b"\xff\xff\xff\xff"
# A column takes a bit a row at least; of types that take none, so many rows are believed.
_ROWS_OF_NOTHING = 1 << 20


class ArrowFormat(Format):
    """A table in an Arrow IPC file or stream, or in a Feather file."""

    name = "arrow"
    media_types = ("application/vnd.apache.arrow.file", "application/vnd.apache.arrow.stream")
    suffixes = (".arrow", ".feather", ".ipc", ".arrows")

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the magic bytes of a file; a stream begins with a message that describes a schema."""
        return head.startswith(_MAGIC + b"\0\0") or (head.startswith(_STREAM) and _is_stream(source))

    def describe(self, source: Source) -> Description:
        """Return columns, batches and what the schema says.

        Raises
        ------
        UnreadableError
            No Arrow file, a damaged one, or one with types that are not read.
        """
        layout = _Layout.of(source)
        facts = {"rows": sum(message.rows for message in layout.batches), "batches": len(layout.batches)}
        with arrow_errors(source.name):
            metadata = schema_metadata(layout.stored, facts, {})
        structure = ArrowStreamTable(source, layout).structure
        media_type = self.media_types[0 if _is_file(source) else 1]
        return Description(Described("", "table", metadata, structure.to_json()), media_type)

    def open(self, source: Source) -> OpenFile:
        """Open the table."""
        with source.closed_on_failure():
            return ArrowFile(source)


def _is_file(source: Source) -> bool:
    return source.head().startswith(_MAGIC)


def _is_stream(source: Source) -> bool:
    try:
        first = next(messages(source, 0, source.size), None)
    except UnreadableError:
        return False
    return first is not None and first.kind == SCHEMA


class ArrowFile(OpenFile):
    """An open Arrow file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._table = ArrowStreamTable(source, _Layout.of(source))

    def table(self, parameters: Mapping[str, Any]) -> TableReader:
        """Return the table."""
        return self._table

    def close(self) -> None:
        """Give the descriptor back."""
        self._source.close()


@dataclass(frozen=True, slots=True)
class _Layout:
    """The messages of a file, its schema as it is stored, and the plain one."""

    head: bytes
    dictionaries: list[Message]
    batches: list[Message]
    stored: pyarrow.Schema
    schema: pyarrow.Schema

    @classmethod
    def of(cls, source: Source) -> _Layout:
        found = list(messages(source, *_bounds(source)))
        others = found[1:]
        if [each.kind for each in found[:1]] != [SCHEMA] or {each.kind for each in others} - {
            DICTIONARY,
            RECORDS,
        }:
            raise UnreadableError(f"{source.name} holds something else than one table")
        head = bytes(source.read(found[0].offset, found[0].head))
        with arrow_errors(source.name):
            stored = import_pyarrow().ipc.read_schema(import_pyarrow().py_buffer(head))
            schema = plain_schema(stored, source.name)
        dictionaries = [message for message in others if message.kind == DICTIONARY]
        return cls(
            head, dictionaries, [message for message in others if message.kind == RECORDS], stored, schema
        )


def _bounds(source: Source) -> tuple[int, int]:
    """Return where the messages lie; a file has its magic bytes around them, and a list of its own behind."""
    head = source.head()
    if head.startswith(_OLD_FEATHER):
        raise UnreadableError(
            f"{source.name} is Feather of version 1; write it again with a pyarrow of today"
        )
    if head.startswith(_STREAM):
        return 0, source.size
    if not head.startswith(_MAGIC) or source.size < 22:
        raise UnreadableError(f"{source.name} is no Arrow file")
    end = bytes(source.read(source.size - 10, 10))
    stop = source.size - 10 - int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC or stop < 8:
        raise UnreadableError(f"{source.name} is no whole Arrow file: it does not end as one")
    return 8, stop


class ArrowStreamTable(ArrowTable):
    """The table of an Arrow file or stream.

    Parameters
    ----------
    source : Source
        The file.
    layout : _Layout
        Its messages.
    """

    def __init__(self, source: Source, layout: _Layout) -> None:
        super().__init__(source.name, layout.schema, len(layout.batches), is_verified=source.is_verified)
        self._source, self._layout = source, layout
        counts = [_nodes(field.type) for field in layout.stored]
        # Where the nodes of each column begin among those of a batch.
        self._nodes = list(itertools.accumulate(counts, initial=0))

    def lengths(self) -> list[int]:
        """Return the number of rows of each batch."""
        return [message.rows for message in self._layout.batches]

    def is_full(self, position: int) -> bool:
        """Whether every batch counts no absent value of a column."""
        node = self._nodes[position]
        return all(message.nulls[node : node + 1] == (0,) for message in self._layout.batches)

    def record_batches(self, piece: int, positions: list[int], rows: int) -> Iterator[pyarrow.RecordBatch]:
        """Yield the rows of a batch; only the chosen columns are decoded.

        Raises
        ------
        UnreadableError
            It is damaged, or says more than it holds.
        TooLargeError
            It takes more memory than there may be.
        """
        pyarrow = import_pyarrow()
        chosen = sorted(set(positions))
        schema = pyarrow.schema([self._schema.field(position) for position in positions])
        with arrow_errors(self._what):
            options = pyarrow.ipc.IpcReadOptions(included_fields=chosen)
            reader = pyarrow.ipc.open_stream(pyarrow.py_buffer(self._bytes(piece)), options=options)
            batch = reader.read_next_batch()
            if len(batch) != self._layout.batches[piece].rows:
                raise UnreadableError(
                    f"{self._what} has a batch of {len(batch)} rows that says another number"
                )
            batch = batch.select([chosen.index(position) for position in positions])
            for part in plain_batches(batch, schema, self._what):
                for start in range(0, len(part), rows):
                    yield part.slice(start, rows)

    def _bytes(self, piece: int) -> bytes:
        """Return a stream of one batch with the dictionaries before it."""
        message = self._layout.batches[piece]
        needed = [each for each in self._layout.dictionaries if each.offset < message.offset]
        self._check([*needed, message])
        parts = (self._source.read(each.offset, each.head + each.body) for each in [*needed, message])
        return b"".join([self._layout.head, *parts])

    def _check(self, needed: list[Message]) -> None:
        """Check what messages ask for before they are unpacked."""
        claimed = sum(claimed_bytes(self._source, each) for each in needed)
        if claimed > MAX_BATCH_BYTES:
            raise TooLargeError(
                f"{self._what} has a batch of {claimed} bytes; batches of up to {MAX_BATCH_BYTES} are read"
            )
        for each in needed:
            if each.rows > max(8 * claimed, _ROWS_OF_NOTHING):
                raise UnreadableError(f"{self._what} says {each.rows} rows in a batch of {claimed} bytes")


def _nodes(kind: Any) -> int:
    """Return how many nodes a type has in a record batch."""
    pyarrow = import_pyarrow()
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _nodes(kind.storage_type)
    if pyarrow.types.is_dictionary(kind):
        return 1
    return 1 + sum(_nodes(kind.field(number).type) for number in range(kind.num_fields))


ARROW = ArrowFormat()
