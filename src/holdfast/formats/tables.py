"""Tables: columns of equal length, held as arrays, with no library needed.

Owns the value and its conversions; pandas and pyarrow are imported only by the methods that name them. What
came from Arrow stays Arrow, with types that NumPy does not know, and becomes an array when it is looked at.

>>> import numpy as np
>>> table = Table({"x": np.arange(3), "color": np.array(["red", "green", "blue"])})
>>> len(table), table.columns, table[1:].to_rows()[0]
(3, ('x', 'color'), {'x': 1, 'color': 'green'})
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from holdfast.errors import InvalidInputError, MissingDependencyError, NotFoundError
from holdfast.formats.arrowcolumns import from_numpy, import_pyarrow, is_arrow, to_numpy
from holdfast.formats.structures import TableStructure

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = ["Table"]


class Table:
    """Named columns of equal length.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_rows,) or pyarrow.ChunkedArray
        The columns, in order. Text may be an array of ``U`` or of str objects, None where absent.

    Raises
    ------
    InvalidInputError
        Columns of different lengths, or not one-dimensional.
    """

    __slots__ = ("_arrays", "_columns", "_rows")

    def __init__(self, columns: Mapping[str, np.ndarray | pyarrow.ChunkedArray]) -> None:
        self._columns: dict[str, Any] = {
            str(name): column if is_arrow(column) else np.asarray(column) for name, column in columns.items()
        }
        # What was looked at of Arrow columns.
        self._arrays: dict[str, np.ndarray] = {}
        shapes = {(len(column),) if is_arrow(column) else column.shape for column in self._columns.values()}
        if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
            raise InvalidInputError(f"columns of a table have one axis of one length, not {sorted(shapes)}")
        self._rows = next(iter(shapes))[0] if shapes else 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self._columns)

    @property
    def dtypes(self) -> dict[str, np.dtype]:
        """The types of the columns."""
        return {name: self[name].dtype for name in self}

    @property
    def nbytes(self) -> int:
        """How much memory the columns take, in bytes."""
        return sum(column.nbytes for column in self._columns.values())

    def structure(self) -> TableStructure:
        """Return names and types as a structure."""
        if any(map(is_arrow, self._columns.values())):
            return TableStructure.from_schema(bytes(self.to_arrow().schema.serialize()), self.columns)
        return TableStructure.from_dtypes(self.dtypes)

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    @overload
    def __getitem__(self, key: str) -> np.ndarray: ...
    @overload
    def __getitem__(self, key: slice) -> Table: ...
    def __getitem__(self, key: str | slice) -> np.ndarray | Table:
        if isinstance(key, slice):
            return Table({name: column[key] for name, column in self._columns.items()})
        column = self._column(key)
        if not is_arrow(column):
            return np.asarray(column)
        if key not in self._arrays:
            self._arrays[key] = to_numpy(column)
        return self._arrays[key]

    def values(self, name: str) -> list[Any]:
        """Return a column as Python's values, None where one is absent: integers stay integers."""
        column = self._column(name)
        kept: list[Any] = column.to_pylist() if is_arrow(column) else np.asarray(column).tolist()
        return kept

    def is_integer(self, name: str) -> bool:
        """Whether a column is of integers, also one whose array holds floats because some are absent."""
        column = self._column(name)
        return bool(
            import_pyarrow().types.is_integer(column.type) if is_arrow(column) else column.dtype.kind in "iu"
        )

    def _column(self, name: str) -> Any:
        try:
            return self._columns[name]
        except KeyError:
            raise NotFoundError(f"no column {name!r}; there are {', '.join(self._columns)}") from None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Table):
            return NotImplemented
        return self.columns == other.columns and all(
            np.array_equal(self[name], other[name], equal_nan=self[name].dtype.kind in "fcmM")
            for name in self
        )

    __hash__ = None  # type: ignore[assignment]  # columns can be changed in place

    def __repr__(self) -> str:
        return f"<Table {self._rows} rows: {', '.join(self._columns)}>"

    def select(self, columns: Sequence[str] | None) -> Table:
        """Return the table of the named columns, in that order; None means all.

        Raises
        ------
        NotFoundError
            There is no such column.
        """
        return self if columns is None else Table({name: self._column(name) for name in columns})

    @classmethod
    def joined(cls, parts: Sequence[Table]) -> Table:
        """Return the rows of some tables of the same columns, one behind the other; there is at least one."""
        if len(parts) == 1:
            return parts[0]
        return cls({name: _joined([part._column(name) for part in parts]) for name in parts[0]})

    def to_rows(self) -> list[dict[str, Any]]:
        """Return rows ready for JSON: NaN as None, bytes, times and decimals as text."""
        values = [list(map(_plain, _values(self[name]))) for name in self]
        return [dict(zip(self._columns, row, strict=True)) for row in zip(*values, strict=True)]

    def to_csv(self) -> str:
        """Return the table as comma-separated text with a header line."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self._columns)
        writer.writerows(zip(*(map(_cell, _values(self[name])) for name in self), strict=True))
        return out.getvalue()

    def to_pandas(self) -> pandas.DataFrame:
        """Return a pandas data frame.

        Raises
        ------
        MissingDependencyError
            pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingDependencyError("data frames need pandas: pip install 'holdfast[tables]'") from error
        return pandas.DataFrame({name: self._series(name) for name in self})

    def _series(self, name: str) -> Any:
        """Return a column as pandas takes it: text as objects, times with the zone that they have."""
        column = self._columns[name]
        if is_arrow(column) and getattr(column.type, "tz", None):
            return column.to_pandas()
        return self[name].astype(object) if self[name].dtype.kind == "U" else self[name]

    def to_arrow(self) -> pyarrow.Table:
        """Return an Arrow table.

        Raises
        ------
        MissingDependencyError
            pyarrow is not installed.
        """
        arrays = [column if is_arrow(column) else from_numpy(column) for column in self._columns.values()]
        return import_pyarrow().Table.from_arrays(arrays, names=list(self._columns))

    def to_ipc(self) -> bytes:
        """Return the bytes of an Arrow IPC file.

        Raises
        ------
        MissingDependencyError
            pyarrow is not installed.
        """
        table = self.to_arrow()
        sink = io.BytesIO()
        with import_pyarrow().ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue()

    @classmethod
    def from_arrow(cls, table: pyarrow.Table) -> Table:
        """Take the columns of an Arrow table as they are."""
        return cls(dict(zip(table.column_names, table.columns, strict=True)))

    @classmethod
    def from_ipc(cls, data: bytes) -> Table:
        """Read the bytes of an Arrow IPC file.

        Raises
        ------
        MissingDependencyError
            pyarrow is not installed.
        InvalidInputError
            The bytes are not such a file.
        """
        pyarrow = import_pyarrow()
        try:
            return cls.from_arrow(pyarrow.ipc.open_file(io.BytesIO(data)).read_all())
        except pyarrow.ArrowInvalid as error:
            raise InvalidInputError(f"these bytes are no Arrow file: {error}") from error


def _joined(columns: list[Any]) -> Any:
    """Join the parts of a column: as Arrow if all are, else as arrays."""
    if all(map(is_arrow, columns)):
        chunks = [chunk for column in columns for chunk in column.chunks]
        return import_pyarrow().chunked_array(chunks, columns[0].type)
    return np.concatenate([to_numpy(column) if is_arrow(column) else column for column in columns])


def _values(column: np.ndarray) -> list[Any]:
    """Return the values of a column as Python has them, times as text."""
    if column.dtype.kind not in "mM":
        return list(column.tolist())
    return [None if text == "NaT" else text for text in column.astype(str).tolist()]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list | tuple | dict):
        return _plain_nested(value)
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _plain_nested(value: list[Any] | tuple[Any, ...] | dict[Any, Any]) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(below) for key, below in value.items()}
    return [_plain(below) for below in value]


def _cell(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
