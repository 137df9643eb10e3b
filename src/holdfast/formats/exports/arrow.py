"""Tables as Arrow files and as Parquet, batch by batch, through pyarrow.

References
----------
Apache Arrow columnar format, "IPC file format"; Tiled 0.2.20 for media types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from holdfast.errors import MissingDependencyError, UnreadableError
from holdfast.formats.exports.base import Exported, TableExport, TablePart
from holdfast.formats.exports.drain import Drain, drained

if TYPE_CHECKING:
    import pyarrow

__all__ = ["ARROW", "PARQUET", "ArrowExport", "ParquetExport"]

_GROUP_BYTES = 16 << 20


class ArrowExport(TableExport):
    """An Arrow IPC file, a record batch for each batch of rows."""

    media_types = ("application/vnd.apache.arrow.file",)
    suffixes = ("arrow", "feather")

    def export(self, part: TablePart) -> Exported:
        """Return an Arrow file.

        Raises
        ------
        MissingDependencyError
            pyarrow is not installed.
        """
        pyarrow = _pyarrow("Arrow files")
        return Exported(drained(lambda sink: _ipc(pyarrow, part, sink)))


class ParquetExport(TableExport):
    """A Parquet file, a row group for each 16 MiB or more of rows."""

    media_types = ("application/x-parquet", "application/vnd.apache.parquet")
    suffixes = ("parquet",)

    def export(self, part: TablePart) -> Exported:
        """Return a Parquet file.

        Raises
        ------
        MissingDependencyError
            pyarrow is not installed.
        """
        pyarrow = _pyarrow("Parquet files")
        return Exported(drained(lambda sink: _parquet(pyarrow, part, sink)))


def _pyarrow(what: str) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"{what} need pyarrow, at the server: pip install 'holdfast[tables]'"
        ) from error
    return pyarrow


def _ipc(pyarrow: Any, part: TablePart, sink: Drain) -> Iterator[None]:
    tables = _tables(pyarrow, part)
    first = next(tables)
    with pyarrow.ipc.new_file(sink, first.schema) as writer:
        writer.write_table(first)
        yield
        for table in tables:
            writer.write_table(table)
            yield


def _parquet(pyarrow: Any, part: TablePart, sink: Drain) -> Iterator[None]:
    tables = _tables(pyarrow, part)
    first = next(tables)
    with pyarrow.parquet.ParquetWriter(sink, first.schema) as writer:
        waiting = [first]
        for table in tables:
            if sum(each.nbytes for each in waiting) >= _GROUP_BYTES:
                writer.write_table(pyarrow.concat_tables(waiting))
                waiting = []
                yield
            waiting.append(table)
        writer.write_table(pyarrow.concat_tables(waiting))
        yield


def _tables(pyarrow: Any, part: TablePart) -> Iterator[pyarrow.Table]:
    """Give the batches as Arrow tables of one schema, that of the first one."""
    schema = None
    for batch in part.batches():
        table = batch.to_arrow()
        if schema is None:
            schema = table.schema
        try:
            yield table.cast(schema)
        except pyarrow.ArrowInvalid as error:
            raise UnreadableError(f"the rows of this table change their types: {error}") from error


ARROW, PARQUET = ArrowExport(), ParquetExport()
