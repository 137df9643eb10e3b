"""Arrays that are read as far as they are looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from holdfast.arraymemory import large_array
from holdfast.catalog.client.indexing import Cut, pieces, plan, written
from holdfast.catalog.client.node import Node
from holdfast.catalog.client.session import Pairs
from holdfast.errors import InvalidTypeError, MissingDependencyError
from holdfast.formats.structures import ArrayStructure

__all__ = ["ArrayNode"]

PIECE_BYTES = 64 << 20
"""The most that one request asks for, bytes: also what a broken connection can cost."""


class ArrayNode(Node):
    """Be an array of a catalog: sliced like numpy's, read only where it is looked at.

    Notes
    -----
    Every answer is verified on arrival where the server sends digests; a mismatch is a HashError, never a
    wrong number. Memory is bounded by the selection itself.
    """

    _label = "Array"

    @cached_property
    def _layout(self) -> ArrayStructure:
        return ArrayStructure.from_json(self._attributes["structure"])

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self._layout.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements."""
        return self._layout.dtype

    @property
    def nbytes(self) -> int:
        """Size of all elements, bytes."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """The lengths of the chunks along each axis."""
        return self._layout.chunks

    @property
    def dims(self) -> tuple[str, ...] | None:
        """The names of the axes, where they have any."""
        return self._layout.dims

    def read(self, index: Any = ...) -> Any:
        """Return elements.

        Parameters
        ----------
        index : numpy index, default everything
            Integers, slices with any step, ``...``, None, arrays of integers or booleans. What lies between
            the first and the last position of an array of positions travels too.

        Returns
        -------
        ndarray of the node's dtype, or a scalar
            Exactly what numpy gives for this index.

        Raises
        ------
        OutOfRangeError
            For an index outside the array (an IndexError).
        HashError
            When bytes are not what was recorded.
        MissingFileError
            When the array's file, or one that it refers to, is not there.
        """
        cut = plan(index, self.shape)
        return self._fetched(cut)[cut.local]

    __getitem__ = read

    def _fetched(self, cut: Cut) -> np.ndarray[Any, Any]:
        answer = large_array(cut.shape, self.dtype)
        if answer.nbytes == 0:
            return answer
        view = memoryview(answer.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # an array is a buffer
        rows = self.chunks[0][0] if self.chunks and self.chunks[0] else 1
        for slices, start, stop in pieces(cut.slices, self.dtype.itemsize, PIECE_BYTES, rows):
            whole = cut.is_whole and (start, stop) == (0, answer.nbytes)
            part = Cut(slices, (), whole)
            self.session.connection.read_into(self._route, view[start:stop], _asked(part))
        return answer

    @property
    def _route(self) -> str:
        return self.session.route("array/full", self.path)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise InvalidTypeError(f"{self!r} lies elsewhere; it cannot become an array without being read")
        return np.asarray(self.read(), dtype=dtype)

    def __len__(self) -> int:
        if not self.shape:
            raise InvalidTypeError("an array without axes has no length; read it with array.read()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        for row in range(len(self)):
            yield self.read(row)

    def to_dask(self) -> Any:
        """Return a dask array whose chunks are read when it is computed.

        Returns
        -------
        dask.array.Array
            With this array's chunks.

        Raises
        ------
        MissingDependencyError
            When dask is not installed.
        """
        try:
            import dask.array
        except ImportError as error:
            raise MissingDependencyError("to_dask needs dask: pip install 'holdfast[dask]'") from error
        return dask.array.from_array(self, chunks=self.chunks, name=None, asarray=True, lock=False)  # type: ignore[no-untyped-call]  # dask is untyped

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return *self._identity, repr(self._attributes.get("structure"))

    def _export_query(self, options: dict[str, Any]) -> Pairs:
        index = options.pop("slice", ...)
        wire = written(index, self.shape)
        return [*([("slice", wire)] if wire else []), *super()._export_query(options)]

    def _summary(self) -> str:
        return f" {self.dtype} {self.shape}"

    def _facts(self) -> dict[str, object]:
        facts = {"shape": str(self.shape), "dtype": str(self.dtype), "bytes": self.nbytes, "dims": self.dims}
        return {**facts, **super()._facts()}


def _asked(cut: Cut) -> Pairs:
    """Return the query of one request: the shape that is expected of the answer, and the slices."""
    expected = ",".join(map(str, cut.shape)) or "scalar"
    return [("expected_shape", expected), *([("slice", cut.wire)] if cut.wire else [])]
