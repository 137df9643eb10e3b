"""The contract of an export: say whether it can hold something, then give its bytes piece by piece.

Owns what all targets share; no target itself.

>>> from holdfast.formats.exports.npy import NPY
>>> NPY.media_types[0], NPY.suffixes
('application/x-npy', ('npy',))
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from holdfast.errors import NotFoundError, OutOfRangeError
from holdfast.formats.base import SLAB_BYTES, ArrayReader, TableReader
from holdfast.formats.slicing import Index, Selection
from holdfast.formats.tables import Table
from holdfast.types import Buffer

__all__ = [
    "ArrayExport",
    "ArrayPart",
    "ContainerExport",
    "Export",
    "ExportNode",
    "Exported",
    "HeldTable",
    "TableExport",
    "TablePart",
]

T = TypeVar("T")

_CELLS_AT_ONCE = 1 << 18
_FEWEST_ROWS = 64


@dataclass(frozen=True, slots=True)
class Exported:
    """The bytes of an export.

    Parameters
    ----------
    pieces : iterator of bytes-like
        In order; an error while one is made means that the whole is worthless.
    size : int, optional
        The exact sum of their sizes, where it is known before.
    """

    pieces: Iterator[Buffer]
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ArrayPart:
    """An array, or the part of it that is exported; nothing is read before it is asked for.

    Parameters
    ----------
    reader : ArrayReader
        What reads the array.
    selection : Selection
        The part.
    metadata : mapping
        What is known of the array, JSON values.
    """

    reader: ArrayReader
    selection: Selection
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, reader: ArrayReader, index: Index = ..., metadata: Mapping[str, Any] | None = None
    ) -> ArrayPart:
        """Return the part of an array that an index takes."""
        return cls(reader, Selection.of(index, reader.structure.shape), metadata or {})

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an element."""
        return self.reader.structure.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each axis that is left."""
        return self.selection.shape

    @property
    def ndim(self) -> int:
        """Number of axes that are left."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.selection.size

    @property
    def nbytes(self) -> int:
        """Size of all elements, bytes."""
        return self.size * self.dtype.itemsize

    @property
    def dims(self) -> tuple[str, ...] | None:
        """Names of the axes that are left, where they have any."""
        names = self.reader.structure.dims
        if names is None:
            return None
        return tuple(name for name, axis in zip(names, self.selection.axes, strict=True) if not axis.dropped)

    def __getitem__(self, index: Index) -> ArrayPart:
        """Return a part of the part."""
        return ArrayPart(self.reader, self.selection.narrowed(index), self.metadata)

    def read(self) -> np.ndarray[Any, Any]:
        """Return all elements, C-contiguous."""
        out = np.empty(self.selection.kept_shape, self.dtype)
        self.reader.read_into(self.selection, out)
        return out.reshape(self.shape)

    def slabs(self) -> Iterator[np.ndarray[Any, Any]]:
        """Give all elements in C order in flat pieces of at most 8 MiB."""
        return self.reader.slabs(self.selection.reduced_index)

    def row_blocks(self) -> Iterator[np.ndarray[Any, Any]]:
        """Give the rows along the first axis in order, as many at once as 8 MiB hold, at least one."""
        rows = max(1, SLAB_BYTES // max(1, math.prod(self.shape[1:]) * self.dtype.itemsize))
        for start in range(0, self.shape[0], rows):
            yield self[start : start + rows].read()


@dataclass(frozen=True, slots=True)
class TablePart:
    """A table, or the columns and the partition of it that are exported.

    Parameters
    ----------
    reader : TableReader
        What reads the table.
    columns : sequence of str
        The columns, in order.
    partition : int, optional
        Number of one piece; all of them when None.
    metadata : mapping
        What is known of the table, JSON values.
    """

    reader: TableReader
    columns: Sequence[str]
    partition: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        reader: TableReader,
        columns: Iterable[str] | None = None,
        partition: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> TablePart:
        """Return the part of a table; all columns when they are None, one that is named twice only once.

        Raises
        ------
        NotFoundError
            There is no such column.
        OutOfRangeError
            There is no such partition.
        """
        structure = reader.structure
        names = list(structure.columns) if columns is None else list(dict.fromkeys(columns))
        missing = [name for name in names if name not in structure.columns]
        if missing:
            raise NotFoundError(f"no column {missing[0]!r}; there are {', '.join(structure.columns)}")
        if partition is not None and not 0 <= partition < structure.npartitions:
            raise OutOfRangeError(
                f"there is no partition {partition}; the table has {structure.npartitions}, from 0 on"
            )
        return cls(reader, names, partition, metadata or {})

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Table]:
        """Give the rows in order, as many at once as memory should hold."""
        names = self.columns if columns is None else columns
        rows = max(_FEWEST_ROWS, _CELLS_AT_ONCE // max(1, len(names)))
        return self.reader.batches(names, self.partition, rows)


class HeldTable(TableReader):
    """A table that memory holds already.

    Parameters
    ----------
    table : Table
        The table.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self.structure = table.structure()

    def read(self, columns: Sequence[str] | None = None, partition: int | None = None) -> Table:
        """Return columns of the table."""
        return self._table.select(columns)


class ExportNode(Protocol):
    """A node of a tree that is exported: what a catalog shows of it."""

    key: str
    family: str
    specs: Sequence[str]

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What is known of it, JSON values."""
        ...

    def children(self) -> Iterator[ExportNode]:
        """Give the nodes below, those of a container only."""
        ...

    def array(self) -> AbstractContextManager[ArrayPart]:
        """Open it as an array."""
        ...

    def table(self) -> AbstractContextManager[TablePart]:
        """Open it as a table."""
        ...

    def content(self) -> Iterator[Buffer] | None:
        """Return the bytes of its file; None where it has none of its own."""
        ...


class Export(ABC, Generic[T]):
    """One target: a media type for one kind of structure; stateless, one instance in the registry.

    Attributes
    ----------
    families : tuple of str
        What it is for: ``array``, ``table``, ``sparse``, ``container``, or the name of a spec of containers.
    media_types : tuple of str
        The first one is announced and sent; the others are understood.
    suffixes : tuple of str
        Short names without the dot; the first one ends the name of a file.
    is_shown : bool
        Whether a browser shows it, instead of saving it as a file.
    """

    families: ClassVar[tuple[str, ...]]
    media_types: ClassVar[tuple[str, ...]]
    suffixes: ClassVar[tuple[str, ...]]
    is_shown: ClassVar[bool] = False

    def refusal(self, part: T) -> str | None:
        """Return why this target cannot hold something, and the remedy; None when it can.

        Decides by type, shape and size alone: it is asked of every target when one refuses, to say which ones
        are possible.
        """
        return None

    @abstractmethod
    def export(self, part: T) -> Exported:
        """Return the bytes of something that is not refused.

        Raises
        ------
        NotAcceptableError
            What it holds, not its type, has no form here.
        MissingDependencyError
            The library that writes it is not installed.
        """


class ArrayExport(Export[ArrayPart]):
    """A target for arrays."""

    families = ("array",)


class TableExport(Export[TablePart]):
    """A target for tables, for the stored values of sparse arrays, and for data sets of columns."""

    families = ("table", "sparse", "xarray_dataset")


class ContainerExport(Export[ExportNode]):
    """A target for trees of nodes."""

    families = ("container",)
