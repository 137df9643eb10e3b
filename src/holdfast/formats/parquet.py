"""Parquet tables: row groups are partitions, columns are read alone.

Owns what is read of a file and how much of it at once; pyarrow decodes. What a file claims is compared with
the headers of its pages before anything is unpacked, so that a small file cannot ask for much memory.

References
----------
Apache Parquet, ``parquet.thrift``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from holdfast.errors import TooLargeError, UnreadableError
from holdfast.formats.arrowcolumns import MAX_ROW_BYTES, import_pyarrow, plain_batches
from holdfast.formats.arrowtables import MAX_PARTITIONS, ArrowTable, arrow_errors, schema_metadata
from holdfast.formats.base import Described, Description, Format, OpenFile, TableReader
from holdfast.formats.parquetfooter import Footer, import_parquet
from holdfast.formats.parquetpages import PageSizes, sizes
from holdfast.formats.source import Source, SourceStream

if TYPE_CHECKING:
    import pyarrow

__all__ = ["PARQUET", "ParquetFile", "ParquetFormat", "ParquetTable"]

_MAGICS = (b"PAR1", b"PARE")
_BUFFER_BYTES = 1 << 20
_BATCH_BYTES = 256 << 20
_MAX_SIZES = 10_000


class ParquetFormat(Format):
    """A table in a Parquet file."""

    name = "parquet"
    media_types = ("application/x-parquet", "application/vnd.apache.parquet")
    suffixes = (".parquet", ".pq")

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the magic bytes."""
        return head.startswith(_MAGICS)

    def describe(self, source: Source) -> Description:
        """Return columns, row groups and what the file says of itself.

        Raises
        ------
        UnreadableError
            No Parquet file, a damaged or encrypted one, or one of a type that is not read.
        """
        footer = Footer.of(source)
        stored = footer.metadata
        with arrow_errors(source.name):
            facts = {
                "rows": stored.num_rows,
                "row_groups": stored.num_row_groups,
                "format_version": stored.format_version,
                "created_by": stored.created_by,
            }
            metadata = schema_metadata(footer.stored, facts, stored.metadata or {})
        table = ParquetTable(source, footer)
        table.check()
        structure = table.structure
        return Description(Described("", "table", metadata, structure.to_json()), self.media_types[0])

    def open(self, source: Source) -> OpenFile:
        """Open the table."""
        with source.closed_on_failure():
            return ParquetFile(source)


class ParquetFile(OpenFile):
    """An open Parquet file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._table = ParquetTable(source, Footer.of(source))

    def table(self, parameters: Mapping[str, Any]) -> TableReader:
        """Return the table."""
        return self._table

    def close(self) -> None:
        """Give the descriptor back."""
        self._source.close()


class ParquetTable(ArrowTable):
    """The table of a Parquet file.

    Parameters
    ----------
    source : Source
        The file.
    footer : Footer
        What stands at its end.
    """

    def __init__(self, source: Source, footer: Footer) -> None:
        super().__init__(
            source.name, footer.schema, footer.metadata.num_row_groups, is_verified=source.is_verified
        )
        self._source, self._footer = source, footer
        self._sizes: dict[tuple[int, int], PageSizes] = {}

    def lengths(self) -> list[int]:
        """Return the number of rows of each row group."""
        return [self._footer.metadata.row_group(group).num_rows for group in range(self._pieces)]

    def is_full(self, position: int) -> bool:
        """Whether the statistics of every row group count no absent value of a column."""
        leaves = [number for number, leaf in enumerate(self._footer.leaves) if leaf.field == position]
        if len(leaves) != 1:
            return False
        counts = (self._statistics(group, leaves[0]) for group in range(self._pieces))
        return not self._schema.field(position).nullable or all(count == 0 for count in counts)

    def _statistics(self, group: int, leaf: int) -> int | None:
        chunk = self._footer.metadata.row_group(group).column(leaf)
        if not chunk.num_values:
            return 0
        found = chunk.statistics
        return found.null_count if found is not None and found.has_null_count else None

    def record_batches(self, piece: int, positions: list[int], rows: int) -> Iterator[pyarrow.RecordBatch]:
        """Yield the rows of a row group; only the chosen columns are read.

        Raises
        ------
        UnreadableError
            It is damaged, or has other rows than it says.
        TooLargeError
            It would take more memory than there may be.
        """
        stream = SourceStream(self._source)
        expected, seen = self._footer.metadata.row_group(piece).num_rows, 0
        with arrow_errors(self._what, stream):
            for batch in self._decoded(stream, piece, positions, rows):
                seen += len(batch)
                schema = import_pyarrow().schema([self._schema.field(position) for position in positions])
                yield from plain_batches(batch, schema, self._what)
        if positions and seen != expected:
            raise UnreadableError(f"{self._what} has {seen} rows in row group {piece} that says {expected}")

    def _decoded(self, stream: SourceStream, group: int, positions: list[int], rows: int) -> Iterator[Any]:
        chosen = set(positions)
        leaves = [number for number, leaf in enumerate(self._footer.leaves) if leaf.field in chosen]
        found = {number: self._measured(group, number) for number in leaves}
        coded = [
            self._footer.leaves[number].path for number, size in found.items() if self._is_coded(number, size)
        ]
        opened = import_parquet().ParquetFile(
            stream,
            metadata=self._footer.metadata,
            read_dictionary=coded,
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
        )
        size = min(rows, self._rows_at_once(group, found))
        # Each column by itself: the library ends the process where those of one batch differ in length.
        parts = [self._column(opened, group, position, size) for position in positions]
        for columns in itertools.zip_longest(*parts):
            if len({None if column is None else len(column) for column in columns}) > 1:
                raise UnreadableError(f"{self._what} has columns of different lengths in row group {group}")
            yield import_pyarrow().RecordBatch.from_arrays(list(columns), names=list(map(str, positions)))

    def _column(self, opened: Any, group: int, position: int, rows: int) -> Iterator[Any]:
        """Yield the arrays of one column; of a name given twice both are read."""
        names = self._footer.stored.names
        name = names[position]
        before = names[:position].count(name)
        for batch in opened.iter_batches(rows, row_groups=[group], columns=[name], use_threads=False):
            yield batch.column(
                [place for place, came in enumerate(batch.schema.names) if came == name][before]
            )

    def check(self) -> None:
        """Look at what the footer says of every chunk, some of which ends the process where it is damaged.

        Files are described in worker processes, so that only a worker is lost.
        """
        for group in range(min(self._pieces, MAX_PARTITIONS)):
            for leaf in range(len(self._footer.leaves)):
                self._statistics(group, leaf)

    def _measured(self, group: int, leaf: int) -> PageSizes:
        """Return the sizes of the pages of a chunk; looked at once."""
        if (group, leaf) not in self._sizes:
            chunk = self._footer.metadata.row_group(group).column(leaf)
            if not chunk.num_values:
                return PageSizes(0, 0, 0, has_dictionary=False, is_delta=False)
            if chunk.file_path:
                raise UnreadableError(
                    f"{self._what} keeps its data in another file, {chunk.file_path[:80]!r}"
                )
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and chunk.dictionary_page_offset:
                start = min(start, chunk.dictionary_page_offset)
            stop = start + chunk.total_compressed_size
            if not 0 < start <= stop <= self._source.size:
                raise UnreadableError(f"{self._what} is no whole file: a column lies outside of it")
            if len(self._sizes) > _MAX_SIZES:
                self._sizes.clear()
            self._sizes[group, leaf] = sizes(self._source, start, stop, chunk.num_values)
        return self._sizes[group, leaf]

    def _is_coded(self, leaf: int, size: PageSizes) -> bool:
        """Whether a column of text is best read as numbers into its dictionary, which take little memory."""
        return self._footer.leaves[leaf].width is None and size.has_dictionary and not size.is_delta

    def _rows_at_once(self, group: int, found: dict[int, PageSizes]) -> int:
        """Return how many rows fit into memory, whatever the values that the pages hold."""
        count = max(self._footer.metadata.row_group(group).num_rows, 1)
        whole = row = 0
        for number, size in found.items():
            leaf = self._footer.leaves[number]
            total = self._total(number, size)
            if leaf.is_nested and total > MAX_ROW_BYTES:
                raise TooLargeError(
                    f"{self._what} has up to {total} bytes of {leaf.path} in a row group; write smaller ones"
                )
            whole += total
            row += max(self._widest(number, size, total // count), 1)
        return count if whole <= _BATCH_BYTES else max(_BATCH_BYTES // row, 1)

    def _total(self, number: int, size: PageSizes) -> int:
        """Return what a chunk takes in memory at most."""
        width = self._footer.leaves[number].width
        if width is not None:
            return size.values * width
        return size.values * (size.largest if size.is_delta else 8) + size.unpacked

    def _widest(self, number: int, size: PageSizes, average: int) -> int:
        """Return what one row of a chunk takes at most; of lists, whose chunks are small, on average."""
        leaf = self._footer.leaves[number]
        if leaf.is_nested:
            return average
        return leaf.width or (8 if self._is_coded(number, size) else size.largest)


PARQUET = ParquetFormat()
