"""Own a subtree of a catalog as exports walk it: nodes that open their data when they are asked.

It does not decide what an export holds.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.database import AssetRow, NodeRow
from holdfast.errors import NotAcceptableError
from holdfast.formats.base import ArrayReader, TableReader
from holdfast.formats.exports.base import ArrayPart, HeldTable, TablePart
from holdfast.formats.slicing import Selection
from holdfast.formats.structures import TableStructure
from holdfast.formats.tables import Table
from holdfast.http.limits import Limits
from holdfast.types import Buffer

if TYPE_CHECKING:
    from holdfast.catalog.tree import Catalog

__all__ = ["CatalogNode", "DatasetTable"]

PAGE_ITEMS = 300


class CatalogNode:
    """A node of a catalog for an export.

    Parameters
    ----------
    catalog : Catalog
        Where it is.
    row : NodeRow
        The node.
    chosen : collection of str
        The keys of its children that are wanted; all of them when empty.
    """

    def __init__(self, catalog: Catalog, row: NodeRow, chosen: Collection[str] = ()) -> None:
        self._catalog = catalog
        self._row = row
        self._chosen = chosen
        self.key = row.key
        # What is stored of a sparse array is the rows of a table.
        self.family: str = "table" if row.family == "sparse" else row.family
        self.specs = [spec["name"] for spec in json.loads(row.specs or "[]")]

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """What is known of it."""
        known: dict[str, Any] = json.loads(self._row.metadata or "{}")
        return known

    def children(self) -> Iterator[CatalogNode]:
        """Give the nodes below, those of a container only."""
        cursor = None
        while self.family == "container":
            page = self._catalog.search(self._row, None, cursor=cursor, limit=PAGE_ITEMS, count=False)
            for row in page.rows:
                if not self._chosen or row.key in self._chosen:
                    yield CatalogNode(self._catalog, row)
            cursor = page.cursor
            if cursor is None:
                return

    @contextmanager
    def array(self) -> Iterator[ArrayPart]:
        """Open it as an array."""
        with self._catalog.array(self._row) as reader:
            yield ArrayPart.of(reader, metadata=self.metadata)

    @contextmanager
    def table(self) -> Iterator[TablePart]:
        """Open it as a table."""
        if self._row.family == "sparse":
            with self._catalog.sparse(self._row) as sparse:
                whole = Selection.of(..., sparse.structure.shape)
                found = sparse.select(whole, Limits().answer_bytes)
            yield TablePart.of(HeldTable(found.to_table()), metadata=self.metadata)
            return
        with self._catalog.table(self._row) as reader:
            yield TablePart.of(reader, metadata=self.metadata)

    def content(self) -> Iterator[Buffer] | None:
        """Return the bytes of its file; None for what lies in the file of another node."""
        sources = self._catalog.sources([self._row]).get(self._row.id, [])
        own = (asset for source in sources for asset in source.assets if not asset.is_directory)
        asset = next((asset for asset in own if asset.location.rpartition("/")[2] == self.key), None)
        return None if asset is None else self._bytes(asset)

    def _bytes(self, asset: AssetRow) -> Iterator[Buffer]:
        source = self._catalog.open_asset(asset)
        try:
            yield from source.pieces()
        finally:
            source.close()


class DatasetTable(TableReader):
    """Variables of a data set as the columns of one table.

    Parameters
    ----------
    arrays : mapping of str to ArrayReader
        One-dimensional arrays of one length; they are not closed here.

    Raises
    ------
    NotAcceptableError
        There is another one among them.
    """

    def __init__(self, arrays: Mapping[str, ArrayReader]) -> None:
        self._arrays = dict(arrays)
        self._rows: int | None = None
        for name, reader in self._arrays.items():
            shape = reader.structure.shape
            if len(shape) != 1 or shape[0] != (shape[0] if self._rows is None else self._rows):
                raise NotAcceptableError(
                    f"{name!r} of shape {shape} is no column beside {', '.join(self._arrays)}; name "
                    "one-dimensional variables of one length with field=, or read it as an array"
                )
            self._rows = shape[0]
        self.structure = TableStructure.from_dtypes(
            {name: reader.structure.dtype for name, reader in self._arrays.items()}
        )

    def read(self, columns: Any = None, partition: int | None = None) -> Table:
        """Return variables as columns."""
        names = self._arrays if columns is None else columns
        return Table({name: self._arrays[name].read() for name in names})

    def batches(
        self, columns: Any = None, partition: int | None = None, rows: int = 1 << 16
    ) -> Iterator[Table]:
        """Give variables as columns, some rows at a time."""
        names = list(self._arrays if columns is None else columns)
        for start in range(0, max(self._rows or 0, 1), rows):
            parts: dict[str, np.ndarray[Any, Any]] = {
                name: self._arrays[name].read(slice(start, start + rows)) for name in names
            }
            yield Table(parts)
