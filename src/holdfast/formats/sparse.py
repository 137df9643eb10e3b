"""Sparse arrays: the values that are not zero, each with its coordinates.

Owns the structure, the value and the contract of readers; the layouts that files use stand in `layouts`.

>>> import numpy as np
>>> found = Coo(np.array([[0, 1], [2, 0]]), np.array([5.0, 7.0]), (2, 3))
>>> found.to_dense().tolist()
[[0.0, 0.0, 5.0], [7.0, 0.0, 0.0]]
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import InvalidInputError, MissingDependencyError, TooLargeError
from holdfast.formats.slicing import Index, Selection
from holdfast.formats.structures import ArrayStructure, DataType
from holdfast.formats.tables import Table

__all__ = ["MOST_BYTES", "VALUE_KINDS", "Coo", "SparseReader", "SparseStructure"]

MOST_BYTES = 300_000_000
"""The most that one read returns unless the caller says otherwise."""

VALUE_KINDS = frozenset("biuf")
"""The kinds of values that travel in Arrow columns."""

_COORDINATES = DataType("little", "i", 8)
_BLOCK_BYTES = 16 << 20
_MAX_BLOCKS = 1024


@dataclass(frozen=True, slots=True)
class SparseStructure:
    """Shape, type and blocks of a sparse array.

    Parameters
    ----------
    data_type : DataType
        Type of a value.
    shape : tuple of int
        Length along each axis.
    chunks : tuple of tuple of int
        Lengths of the blocks along each axis.
    dims : tuple of str, optional
        Names of the axes.
    """

    data_type: DataType
    shape: tuple[int, ...]
    chunks: tuple[tuple[int, ...], ...]
    dims: tuple[str, ...] | None = None

    @classmethod
    def build(cls, dtype: np.dtype, shape: Sequence[int], stored: int) -> SparseStructure:
        """Describe a sparse array with blocks of rows that hold about 16 MiB of what is stored.

        Parameters
        ----------
        dtype : numpy.dtype
            Type of a value.
        shape : sequence of int
            Length along each axis.
        stored : int
            Number of values that are stored.
        """
        shape = tuple(int(length) for length in shape)
        size = stored * (dtype.itemsize + len(shape) * _COORDINATES.itemsize)
        blocks = min(max(math.ceil(size / _BLOCK_BYTES), 1), _MAX_BLOCKS)
        rows = max(math.ceil(shape[0] / blocks), 1)
        first = (rows,) * (shape[0] // rows) + ((shape[0] % rows,) if shape[0] % rows else ())
        chunks = (first or (0,), *((length,) for length in shape[1:]))
        return cls(DataType.from_numpy(dtype), shape, chunks)

    @property
    def dtype(self) -> np.dtype:
        """Type of a value, as NumPy has it."""
        return self.data_type.to_numpy()

    def to_json(self) -> dict[str, Any]:
        """Return the wire form."""
        return {
            "shape": list(self.shape),
            "chunks": [list(lengths) for lengths in self.chunks],
            "data_type": self.data_type.to_json(),
            "coord_data_type": _COORDINATES.to_json(),
            "dims": None if self.dims is None else list(self.dims),
            "resizable": False,
            "layout": "COO",
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SparseStructure:
        """Read the wire form.

        Raises
        ------
        InvalidInputError
            Another layout than COO, an impossible type, or blocks that do not make up the shape.
        """
        if value.get("layout", "COO") != "COO":
            raise InvalidInputError(f"sparse arrays of layout {value['layout']!r} cannot be read, only COO")
        plain = ArrayStructure.from_json(value)
        if not isinstance(plain.data_type, DataType):
            raise InvalidInputError("the values of a sparse array have no fields")
        return cls(plain.data_type, plain.shape, plain.chunks, plain.dims)


@dataclass(frozen=True, slots=True, eq=False)
class Coo:
    """A sparse array in memory; what is stored twice counts as its sum.

    Parameters
    ----------
    coords : ndarray of int64, shape (n_axes, n_stored)
        Where each value is.
    data : ndarray, shape (n_stored,)
        The values.
    shape : tuple of int
        Length along each axis.
    """

    coords: np.ndarray
    data: np.ndarray
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of a value."""
        return self.data.dtype

    @property
    def nnz(self) -> int:
        """Number of values that are stored."""
        return len(self.data)

    def to_dense(self) -> np.ndarray:
        """Return the same numbers as an ordinary array, zeros included; it may be large."""
        out = np.zeros(self.shape, self.data.dtype)
        add = np.logical_or if out.dtype.kind == "b" else np.add
        where = (
            np.ravel_multi_index(tuple(self.coords), self.shape) if self.shape else np.zeros(self.nnz, int)
        )
        add.at(out.reshape(-1), where, self.data)
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.to_dense(), dtype=dtype)

    def to_table(self) -> Table:
        """Return one row for each stored value: columns ``dim0``, ``dim1`` …, and ``data``."""
        return Table({**{f"dim{n}": where for n, where in enumerate(self.coords)}, "data": self.data})

    @classmethod
    def from_table(cls, table: Table, shape: Sequence[int]) -> Coo:
        """Take the columns that `to_table` makes.

        Raises
        ------
        NotFoundError
            A column is not there.
        """
        coords = [table[f"dim{n}"].astype(np.int64) for n in range(len(shape))]
        return cls(np.array(coords, np.int64).reshape(len(shape), len(table)), table["data"], tuple(shape))

    def to_scipy(self) -> Any:
        """Return a ``scipy.sparse.coo_array``.

        Raises
        ------
        MissingDependencyError
            SciPy is not installed.
        """
        try:
            from scipy.sparse import coo_array
        except ImportError as error:
            raise MissingDependencyError("to_scipy needs SciPy: pip install 'holdfast[sparse]'") from error
        return coo_array((self.data, tuple(self.coords)), shape=self.shape)

    def to_sparse(self) -> Any:
        """Return a ``sparse.COO``, which has any number of axes.

        Raises
        ------
        MissingDependencyError
            The package ``sparse`` is not installed.
        """
        try:
            from sparse import COO
        except ImportError as error:
            raise MissingDependencyError("to_sparse needs sparse: pip install 'holdfast[sparse]'") from error
        return COO(self.coords, self.data, shape=self.shape)


class SparseReader(ABC):
    """One sparse array of an open file; safe across threads.

    Attributes
    ----------
    structure : SparseStructure
        Type, shape and blocks.
    is_verified : bool
        Whether what is read is checked against digests.
    """

    structure: SparseStructure
    is_verified: bool = False

    @abstractmethod
    def pieces(self, selection: Selection) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield coordinates in the whole array and values, a bounded number at a time.

        Everything inside `selection` is among them; what lies outside may be.

        Raises
        ------
        UnreadableError
            Coordinates outside the array.
        """

    def read(self, index: Index = ..., most_bytes: int = MOST_BYTES) -> Coo:
        """Return a slice of the array.

        Parameters
        ----------
        index : int, slice, Ellipsis or tuple of them
            As NumPy has it; integers drop their axis.
        most_bytes : int
            The most that is returned.

        Raises
        ------
        InvalidInputError, OutOfRangeError
            The index does not fit the array.
        TooLargeError
            More is stored there than `most_bytes`.
        """
        return self.select(Selection.of(index, self.structure.shape), most_bytes)

    def select(self, selection: Selection, most_bytes: int = MOST_BYTES) -> Coo:
        """Return what a selection takes; see `read`."""
        coords = [np.empty((len(selection.shape), 0), np.int64)]
        data = [np.empty(0, self.structure.dtype)]
        size = 0
        for where, values in self.pieces(selection) if selection.size else ():
            taken, kept = _taken(where, selection)
            coords.append(taken)
            data.append(values[kept])
            size += coords[-1].nbytes + data[-1].nbytes
            if size > most_bytes:
                raise TooLargeError(
                    f"more than {most_bytes} bytes are stored in this part of the array; "
                    "ask for single blocks or a smaller slice"
                )
        return Coo(np.concatenate(coords, axis=1), np.concatenate(data), selection.shape)


def _taken(coords: np.ndarray, selection: Selection) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates inside a selection, counted in it, and which ones these are."""
    kept = np.ones(coords.shape[1], bool)
    places = []
    for axis, where in zip(selection.axes, coords, strict=True):
        place, between = np.divmod(where - axis.start, axis.step)
        kept &= (between == 0) & (place >= 0) & (place < axis.count)
        if not axis.dropped:
            places.append(place)
    taken = np.array(places, np.int64).reshape(len(places), coords.shape[1])
    return taken[:, kept], kept
