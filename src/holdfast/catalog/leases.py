"""Arrays and tables on lease: readers of a shared open file that is not closed while they are used.

Owns the lease and the readers around it; opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

import numpy as np

from holdfast.catalog.opened import OpenFiles, Shared
from holdfast.database import AssetRow
from holdfast.errors import TooLargeError
from holdfast.formats.awkward import AwkwardReader, Buffer
from holdfast.formats.base import ArrayReader, TableReader
from holdfast.formats.slicing import Index, Selection
from holdfast.formats.source import Extent
from holdfast.formats.sparse import SparseReader
from holdfast.formats.structures import ArrayStructure
from holdfast.formats.tables import Table

__all__ = ["ColumnArray", "Lease", "LeasedArray", "LeasedAwkward", "LeasedSparse", "LeasedTable"]

_COLUMN_BYTES = 512 << 20


class Lease:
    """The right to use a shared open file until `close`.

    Parameters
    ----------
    files : OpenFiles
        Whose file it is.
    shared : Shared
        The file, already counted as in use.
    """

    def __init__(self, files: OpenFiles, shared: Shared) -> None:
        self._files = files
        self._shared: Shared | None = shared
        self.file = shared.file
        self.is_verified = shared.is_verified

    def close(self) -> None:
        """End the lease; a second time does nothing."""
        shared, self._shared = self._shared, None
        if shared is not None:
            self._files.give_back(shared)

    @contextmanager
    def closed_on_failure(self) -> Iterator[None]:
        """End the lease if the block raises."""
        with ExitStack() as stack:
            stack.callback(self.close)
            yield
            stack.pop_all()

    def __del__(self) -> None:
        self.close()


class _Leased:
    """What a leased array and a leased table share."""

    def __init__(self, lease: Lease | None, asset: AssetRow) -> None:
        self.lease = lease
        self.asset = asset

    def close(self) -> None:
        """End the lease; a second time does nothing."""
        if self.lease is not None:
            self.lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LeasedArray(_Leased, ArrayReader):
    """An array of a shared open file.

    Parameters
    ----------
    reader : ArrayReader
        What reads it.
    lease : Lease or None
        Kept until `close`; None for a sequence, which opens its files when they are read.
    asset : AssetRow
        The file it is in; of a sequence the first.
    """

    def __init__(self, reader: ArrayReader, lease: Lease | None, asset: AssetRow) -> None:
        super().__init__(lease, asset)
        self._reader = reader
        self.structure = reader.structure
        self.is_verified = reader.is_verified

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements."""
        return self._reader.fetch(selection)

    def read_into(self, selection: Selection, out: np.ndarray) -> None:
        """Fill an array of shape `selection.kept_shape`."""
        self._reader.read_into(selection, out)

    def slabs(self, index: Index = ...) -> Iterator[np.ndarray]:
        """Yield a slice in consecutive flat pieces of C order."""
        return self._reader.slabs(index)

    def extent(self, index: Index = ...) -> Extent | None:
        """Return where the bytes of a slice lie, if they are one run of one file in C order."""
        return self._reader.extent(index)


class LeasedTable(_Leased, TableReader):
    """A table of a shared open file.

    Parameters
    ----------
    reader : TableReader
        What reads it.
    lease : Lease
        Kept until `close`.
    asset : AssetRow
        The file it is in.
    """

    def __init__(self, reader: TableReader, lease: Lease, asset: AssetRow) -> None:
        super().__init__(lease, asset)
        self._reader = reader
        self.structure = reader.structure
        self.is_verified = reader.is_verified

    def read(self, columns: Sequence[str] | None = None, partition: int | None = None) -> Table:
        """Return columns of the table."""
        return self._reader.read(columns, partition)

    def batches(
        self, columns: Sequence[str] | None = None, partition: int | None = None, rows: int = 1 << 16
    ) -> Iterator[Table]:
        """Give columns of the table in batches of rows, in order."""
        return self._reader.batches(columns, partition, rows)

    def column(self, name: str) -> ArrayReader:
        """Return a column as an array; one that cannot be sliced in the file is read whole."""
        return self._reader.column(name) or ColumnArray(self._reader, name)


class LeasedSparse(_Leased, SparseReader):
    """A sparse array of a shared open file.

    Parameters
    ----------
    reader : SparseReader
        What reads it.
    lease : Lease
        Kept until `close`.
    asset : AssetRow
        The file it is in.
    """

    def __init__(self, reader: SparseReader, lease: Lease, asset: AssetRow) -> None:
        super().__init__(lease, asset)
        self._reader = reader
        self.structure = reader.structure
        self.is_verified = reader.is_verified

    def pieces(self, selection: Selection) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield coordinates in the whole array and values."""
        return self._reader.pieces(selection)


class LeasedAwkward(_Leased, AwkwardReader):
    """An awkward array of a shared open file.

    Parameters
    ----------
    reader : AwkwardReader
        What reads it.
    lease : Lease
        Kept until `close`.
    asset : AssetRow
        The file it is in.
    """

    def __init__(self, reader: AwkwardReader, lease: Lease, asset: AssetRow) -> None:
        super().__init__(lease, asset)
        self._reader = reader
        self.structure = reader.structure
        self.is_verified = reader.is_verified

    def buffer(self, buffer: Buffer, most_bytes: int) -> np.ndarray:
        """Return one buffer in the type that the form says."""
        return self._reader.buffer(buffer, most_bytes)


class ColumnArray(ArrayReader):
    """A column of a table as an array; read whole when first asked for.

    Parameters
    ----------
    table : TableReader
        The table.
    name : str
        The column.

    Raises
    ------
    TooLargeError
        It does not fit into memory as an array of one type.

    Notes
    -----
    Text is padded to the longest, absent text is empty; what has no NumPy type becomes text.
    """

    def __init__(self, table: TableReader, name: str) -> None:
        parts, size = [], 0
        for batch in table.batches([name]):
            parts.append(batch)
            size += batch.nbytes
            if size > _COLUMN_BYTES:
                raise _too_large(name)
        self._column = _fixed(Table.joined(parts)[name], name)
        self.structure = ArrayStructure.from_array(self._column)
        self.is_verified = table.is_verified

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements."""
        return np.ascontiguousarray(self._column[selection.index])


def _fixed(column: np.ndarray, name: str) -> np.ndarray:
    """Return a column of objects as text of one width."""
    if column.dtype.kind != "O":
        return column
    texts = ["" if value is None else _text(value) for value in column.tolist()]
    if 4 * max(map(len, texts), default=0) * len(texts) > _COLUMN_BYTES:
        raise _too_large(name)
    return np.array(texts, np.str_)


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _too_large(name: str) -> TooLargeError:
    return TooLargeError(
        f"column {name!r} takes more than {_COLUMN_BYTES} bytes as an array; read it as a column of the table"
    )
