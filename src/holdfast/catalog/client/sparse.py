"""Sparse arrays: stored values with their coordinates, read as far as they are looked at."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from holdfast.catalog.client.indexing import written
from holdfast.catalog.client.node import Node
from holdfast.catalog.client.session import Pairs
from holdfast.errors import InvalidInputError
from holdfast.formats.slicing import Index, Selection
from holdfast.formats.sparse import Coo, SparseStructure
from holdfast.formats.tables import Table

__all__ = ["SparseNode"]

_ARROW = "application/vnd.apache.arrow.file"


class SparseNode(Node):
    """Be a sparse array of a catalog.

    Examples
    --------
    ``node[100:200].to_scipy()``, ``node.read_block((3, 0)).nnz``
    """

    _label = "Sparse"

    @cached_property
    def _layout(self) -> SparseStructure:
        return SparseStructure.from_json(self._attributes["structure"])

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self._layout.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._layout.dtype

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """The lengths of the blocks along each axis."""
        return self._layout.chunks

    def read(self, index: Index = ...) -> Coo:
        """Return a slice.

        Parameters
        ----------
        index : int, slice, Ellipsis or tuple of them
            As NumPy has it; integers drop their axis.

        Returns
        -------
        Coo
            Coordinates and values; ``to_scipy``, ``to_sparse`` and ``to_dense`` make others of it.

        Raises
        ------
        TooLargeError
            When more is stored there than an answer may have; read blocks or smaller slices then.
        """
        selection = Selection.of(index, self.shape)
        wire = written(index, self.shape)
        return self._fetched("array/full", [("slice", wire)] if wire else [], selection.shape)

    __getitem__ = read

    def read_block(self, block: tuple[int, ...]) -> Coo:
        """Return one block; its coordinates count from the block's own corner.

        Parameters
        ----------
        block : tuple of int
            The number of the block along each axis; `chunks` says how many there are.

        Raises
        ------
        InvalidInputError
            When there is no such block.
        """
        if len(block) != self.ndim or any(
            not 0 <= number < len(lengths) for number, lengths in zip(block, self.chunks, strict=False)
        ):
            raise InvalidInputError(f"{self!r} has no block {block}; it has {tuple(map(len, self.chunks))}")
        shape = tuple(lengths[number] for number, lengths in zip(block, self.chunks, strict=True))
        return self._fetched("array/block", [("block", ",".join(map(str, block)))], shape)

    def _fetched(self, route: str, query: Pairs, shape: tuple[int, ...]) -> Coo:
        asked = [*query, ("format", _ARROW)]
        pieces = self.session.connection.pieces(self.session.route(route, self.path), asked)
        return Coo.from_table(Table.from_ipc(b"".join(pieces)), shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.asarray(self.read(), dtype=dtype)

    def _export_query(self, options: dict[str, Any]) -> Pairs:
        wire = written(options.pop("slice", ...), self.shape)
        return [*([("slice", wire)] if wire else []), *super()._export_query(options)]

    @property
    def _export_route(self) -> str:
        return "array/full"

    def _summary(self) -> str:
        return f" {self.dtype} {self.shape}"

    def _facts(self) -> dict[str, object]:
        return {"shape": str(self.shape), "dtype": str(self.dtype), **super()._facts()}
