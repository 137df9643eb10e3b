"""The contract of a format: recognise a file, describe it, open it, write one.

Owns what every format has in common; no format itself.

>>> Described("", "bytes").family
'bytes'
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from holdfast.errors import InvalidTypeError, NotFoundError
from holdfast.formats.awkward import AwkwardReader
from holdfast.formats.slicing import Index, Selection, slabs
from holdfast.formats.source import Extent, Source
from holdfast.formats.sparse import SparseReader
from holdfast.formats.structures import ArrayStructure, Family, TableStructure
from holdfast.formats.tables import Table
from holdfast.types import PathLike

__all__ = [
    "ArrayReader",
    "Described",
    "Description",
    "Format",
    "Linked",
    "OpenFile",
    "TableReader",
]

SLAB_BYTES = 8 << 20
"""How much is read at once, so that other threads get their turn and memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Linked:
    """A file that another one names: what it was called there, and where it is.

    Parameters
    ----------
    name : str
        As written in the file.
    kind : "external", "virtual" or "storage"
        Link, source of a virtual data set, or raw bytes of one.
    path : str
        Where it was looked for or found.
    is_present : bool
        Whether it is there.
    """

    name: str
    kind: str
    path: str
    is_present: bool


@dataclass(slots=True)
class Described:
    """One node found in a file.

    Parameters
    ----------
    key : str
        Name among its siblings; empty for the file itself.
    family : "array", "table", "container", "sparse", "awkward" or "bytes"
        Kind of structure.
    metadata : dict
        JSON values only.
    structure : dict, optional
        Structure in the wire form; None for containers and bytes.
    specs : list of str
        Names of specs.
    parameters : dict
        What `OpenFile.array` or `OpenFile.table` needs to find it again.
    linked : list of Linked
        Other files that reading it opens.
    children : list of Described
        Nodes below.
    """

    key: str
    family: Family
    metadata: dict[str, Any] = field(default_factory=dict)
    structure: dict[str, Any] | None = None
    specs: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)
    linked: list[Linked] = field(default_factory=list)
    children: list[Described] = field(default_factory=list)


@dataclass(slots=True)
class Description:
    """What a file holds; the root's `linked` names every other file that reading any of it opens."""

    root: Described
    media_type: str


class ArrayReader(ABC):
    """One array of an open file; safe across threads.

    Attributes
    ----------
    structure : ArrayStructure
        Type, shape and blocks.
    is_verified : bool
        Whether what is read is checked against digests.
    """

    structure: ArrayStructure
    is_verified: bool = False

    @abstractmethod
    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements as a C-contiguous array of shape `selection.kept_shape`.

        Called with selections of about `SLAB_BYTES` at most.
        """

    def extent(self, index: Index = ...) -> Extent | None:
        """Return where the bytes of a slice lie, if they are one run of one file in C order."""
        return None

    def read(self, index: Index = ...) -> np.ndarray:
        """Return a slice of the array.

        Parameters
        ----------
        index : int, slice, Ellipsis or tuple of them
            As NumPy has it, negative steps included.

        Returns
        -------
        ndarray of structure.dtype, C-contiguous
            Integers drop their axis.

        Raises
        ------
        InvalidInputError, OutOfRangeError
            The index does not fit the array.
        HashError
            The bytes are not those that were recorded.
        MissingFileError
            A file that holds the data is absent.
        UnreadableError
            The file is damaged.
        """
        selection = Selection.of(index, self.structure.shape)
        out = np.empty(selection.kept_shape, self.structure.dtype)
        self.read_into(selection, out)
        return out.reshape(selection.shape)

    def read_into(self, selection: Selection, out: np.ndarray) -> None:
        """Fill an array of shape `selection.kept_shape` slab by slab."""
        flat = out.reshape(-1)
        done = 0
        for part in slabs(selection, out.dtype.itemsize, SLAB_BYTES):
            flat[done : done + part.size] = self.fetch(part).reshape(-1)
            done += part.size

    def slabs(self, index: Index = ...) -> Iterator[np.ndarray]:
        """Yield a slice in consecutive flat pieces of C order, each at most `SLAB_BYTES` large."""
        selection = Selection.of(index, self.structure.shape)
        for part in slabs(selection, self.structure.dtype.itemsize, SLAB_BYTES):
            yield self.fetch(part).reshape(-1)


class TableReader(ABC):
    """One table of an open file; safe across threads."""

    structure: TableStructure
    is_verified: bool = False

    @abstractmethod
    def read(self, columns: Sequence[str] | None = None, partition: int | None = None) -> Table:
        """Return columns of the table.

        Parameters
        ----------
        columns : sequence of str, optional
            Names; all when None.
        partition : int, optional
            Number of one piece; all pieces when None.

        Raises
        ------
        NotFoundError
            There is no such column.
        OutOfRangeError
            There is no such partition.
        """

    def batches(
        self, columns: Sequence[str] | None = None, partition: int | None = None, rows: int = 1 << 16
    ) -> Iterator[Table]:
        """Give columns of the table in batches of rows, in order; a table without rows is one empty batch.

        Parameters
        ----------
        columns, partition
            As `read`.
        rows : int
            The most rows of a batch.

        Notes
        -----
        Memory holds one partition at a time; a format that can read less at once does so by its own
        `batches`.
        """
        for number in range(self.structure.npartitions) if partition is None else (partition,):
            table = self.read(columns, number)
            for start in range(0, max(len(table), 1), rows):
                yield table[start : start + rows]

    def column(self, name: str) -> ArrayReader | None:
        """Return a column as an array that is sliced without reading all of it; None where that cannot be.

        Parameters
        ----------
        name : str
            The column.

        Raises
        ------
        NotFoundError
            There is no such column.
        """
        return None


class OpenFile(ABC):
    """A file that was opened by its format; a context manager, safe across threads."""

    def array(self, parameters: Mapping[str, Any]) -> ArrayReader:
        """Return the array that `parameters` of a `Described` name.

        Raises
        ------
        NotFoundError
            The file holds no such array.
        """
        raise NotFoundError(f"{self} holds no array")

    def table(self, parameters: Mapping[str, Any]) -> TableReader:
        """Return the table that `parameters` of a `Described` name.

        Raises
        ------
        NotFoundError
            The file holds no such table.
        """
        raise NotFoundError(f"{self} holds no table")

    def sparse(self, parameters: Mapping[str, Any]) -> SparseReader:
        """Return the sparse array that `parameters` of a `Described` name.

        Raises
        ------
        NotFoundError
            The file holds no such array.
        """
        raise NotFoundError(f"{self} holds no sparse array")

    def awkward(self, parameters: Mapping[str, Any]) -> AwkwardReader:
        """Return the awkward array that `parameters` of a `Described` name.

        Raises
        ------
        NotFoundError
            The file holds no such array.
        """
        raise NotFoundError(f"{self} holds no awkward array")

    @abstractmethod
    def close(self) -> None:
        """Give back what is open; a second time does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Format(ABC):
    """One file format; stateless, one instance in the registry.

    Attributes
    ----------
    name : str
        Short name, as in error messages.
    media_types : tuple of str
        The first one is recorded; the others are understood.
    suffixes : tuple of str
        Lower-case, with the dot.
    entries : tuple of str
        Names of files by which a directory is one node of this format; it is described and opened by the
        first of them that is there. Empty for formats of single files.
    is_frame : bool
        Whether numbered files of this format may be the frames of one array.
    """

    name: ClassVar[str]
    media_types: ClassVar[tuple[str, ...]]
    suffixes: ClassVar[tuple[str, ...]] = ()
    entries: ClassVar[tuple[str, ...]] = ()
    is_frame: ClassVar[bool] = False

    @abstractmethod
    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell from its content whether a file is of this format."""

    @abstractmethod
    def describe(self, source: Source) -> Description:
        """Return structure and metadata of everything in a file, bounded, without reading arrays.

        Raises
        ------
        UnreadableError
            The file is truncated, damaged or of another kind.
        """

    def outline(self, source: Source) -> Description:
        """Return what `describe` returns, perhaps without metadata: of a frame only shape and type count.

        Raises
        ------
        UnreadableError
            As `describe`.
        """
        return self.describe(source)

    def open(self, source: Source) -> OpenFile:
        """Open a file for reading; the opened file owns and closes the source.

        Raises
        ------
        UnreadableError
            As `describe`.
        """
        raise InvalidTypeError(f"files of format {self.name} hold no arrays or tables")

    def change_token(self, path: Path) -> Hashable:
        """Return what differs when the content of a file changed in another file beside it; None if never."""
        return None

    def layout_files(self, parameters: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the files, relative to a directory of this format, that say what shape an array has."""
        return self.entries

    def write(self, path: PathLike, value: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Write a new file in one step.

        Raises
        ------
        InvalidTypeError
            This format cannot hold such a value.
        """
        raise InvalidTypeError(f"the format {self.name} cannot write {type(value).__name__} to {Path(path)}")
