"""Tables: columns of equal length, held as arrays, with no library needed.

Owns the value and its conversions; pandas and pyarrow are imported only by the methods that name them.

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
from holdfast.formats.structures import TableStructure

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = ["Table"]


class Table:
    """Named columns of equal length.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_rows,)
        The columns, in order. Text may be an array of ``U`` or of str objects, None where absent.

    Raises
    ------
    InvalidInputError
        Columns of different lengths, or not one-dimensional.
    """

    __slots__ = ("_columns", "_rows")

    def __init__(self, columns: Mapping[str, np.ndarray]) -> None:
        self._columns = {str(name): np.asarray(column) for name, column in columns.items()}
        shapes = {column.shape for column in self._columns.values()}
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
        return {name: column.dtype for name, column in self._columns.items()}

    def structure(self) -> TableStructure:
        """Return names and types as a structure."""
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
        try:
            return self._columns[key]
        except KeyError:
            raise NotFoundError(f"no column {key!r}; there are {', '.join(self._columns)}") from None

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
        return self if columns is None else Table({name: self[name] for name in columns})

    def to_rows(self) -> list[dict[str, Any]]:
        """Return rows ready for JSON: NaN as None, bytes and times as text."""
        values = [[_plain(value) for value in column.tolist()] for column in self._columns.values()]
        return [dict(zip(self._columns, row, strict=True)) for row in zip(*values, strict=True)]

    def to_csv(self) -> str:
        """Return the table as comma-separated text with a header line."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self._columns)
        writer.writerows(
            zip(*(map(_cell, column.tolist()) for column in self._columns.values()), strict=True)
        )
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
        return pandas.DataFrame(
            {
                name: column.astype(object) if column.dtype.kind == "U" else column
                for name, column in self._columns.items()
            }
        )

    def to_arrow(self) -> pyarrow.Table:
        """Return an Arrow table.

        Raises
        ------
        MissingDependencyError
            pyarrow is not installed.
        """
        pyarrow = _pyarrow()
        arrays = [_arrow_array(pyarrow, column) for column in self._columns.values()]
        return pyarrow.Table.from_arrays(arrays, names=list(self._columns))

    def to_ipc(self) -> bytes:
        """Return the bytes of an Arrow IPC file.

        Raises
        ------
        MissingDependencyError
            pyarrow is not installed.
        """
        table = self.to_arrow()
        sink = io.BytesIO()
        with _pyarrow().ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue()

    @classmethod
    def from_arrow(cls, table: pyarrow.Table) -> Table:
        """Take the columns of an Arrow table."""
        return cls({name: _from_arrow(table.column(name)) for name in table.column_names})

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
        pyarrow = _pyarrow()
        try:
            return cls.from_arrow(pyarrow.ipc.open_file(io.BytesIO(data)).read_all())
        except pyarrow.ArrowInvalid as error:
            raise InvalidInputError(f"these bytes are no Arrow file: {error}") from error


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise MissingDependencyError("Arrow data needs pyarrow: pip install 'holdfast[tables]'") from error
    return pyarrow


def _arrow_array(pyarrow: Any, column: np.ndarray) -> Any:
    if column.dtype.kind in "UO":
        return pyarrow.array(column.tolist(), type=pyarrow.string())
    if column.dtype.kind == "S":
        return pyarrow.array(column.tolist(), type=pyarrow.binary())
    return pyarrow.array(column.astype(column.dtype.newbyteorder("="), copy=False))


def _from_arrow(column: Any) -> np.ndarray:
    if _pyarrow().types.is_string(column.type) or _pyarrow().types.is_large_string(column.type):
        values = column.to_pylist()
        return np.array(values, dtype=object if None in values or not values else str)
    return np.asarray(column.to_numpy())


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _cell(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
