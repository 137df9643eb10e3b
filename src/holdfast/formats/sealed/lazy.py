"""Own what a lazy array can do, whatever its origin: slices, slabs, Dask, iteration.

It does not read: subclasses give a box of elements.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np

from holdfast.errors import MissingDependencyError
from holdfast.formats.sealed.selection import basic_ranges, forward

__all__ = ["ArrayView"]

_SLAB_BYTES = 8 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024 * 1024


class ArrayView(ABC):
    """Be what a lazy array of any origin can do; subclasses give ``shape``, ``dtype`` and ``_take``.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
        ``object`` for strings, whose elements are `str`.
    sealed : bool
        Whether digests exist: if so, every byte that is read is verified.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    sealed: bool = False

    @abstractmethod
    def _take(self, ranges: list[range]) -> np.ndarray[Any, Any]:
        """Return a box, given by what to take of each axis in rising order."""

    @abstractmethod
    def close(self) -> None:
        """Close the files."""

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def nbytes(self) -> int:
        """The size of the elements in memory, bytes; for strings, of their references."""
        return self.size * self.dtype.itemsize

    def read(self) -> Any:
        """Return all values, as they were given when they were written.

        Returns
        -------
        ndarray, scalar, str or bytes
            A scalar for an array without axes.

        Raises
        ------
        HashError
            When bytes are not what was written.
        """
        return self[...] if self.shape else self[()]

    def __getitem__(self, index: Any) -> Any:
        taken = basic_ranges(index, self.shape)
        if taken is None:
            return np.asarray(self)[index]
        array = self._take([forward(each) for each in taken])
        backward = tuple(
            0 if isinstance(each, int) else slice(None, None, -1 if each.step < 0 else 1) for each in taken
        )
        found = array[backward]
        return (
            found if isinstance(found, np.ndarray) and (found.shape or index is Ellipsis) else _scalar(found)
        )

    def slabs(self, limit_bytes: int = _SLAB_BYTES) -> Iterator[np.ndarray[Any, Any]]:
        """Yield all rows in order, in arrays of bounded size."""
        if not self.shape:
            yield np.asarray(self)
            return
        row_bytes = max(1, self.nbytes // max(1, self.shape[0]))
        step = max(1, limit_bytes // row_bytes)
        for start in range(0, self.shape[0], step):
            yield self._take([range(start, min(start + step, self.shape[0])), *map(range, self.shape[1:])])

    def to_dask(self) -> Any:
        """Return a Dask array that reads through this view, which must stay open.

        Returns
        -------
        dask.array.Array
            In chunks of about 64 MiB along the first axis.

        Raises
        ------
        MissingDependencyError
            When Dask is not installed.
        """
        try:
            import dask.array  # a heavy optional library
        except ImportError as error:
            raise MissingDependencyError("Dask is not installed: pip install 'holdfast[dask]'") from error
        rows = self.shape[0] if self.shape else 1
        step = max(1, min(rows, _CHUNK_BYTES * max(1, rows) // max(1, self.nbytes)))
        chunks: Any = (step, *self.shape[1:]) if self.shape else ()
        from_array: Any = dask.array.from_array
        return from_array(self, chunks=chunks, asarray=True, name=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self._take([*map(range, self.shape)])
        return array if dtype is None else array.astype(dtype, copy=False)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a view without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self.shape:
            raise TypeError("iteration over a view without axes")
        for slab in self.slabs():
            yield from slab

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        origin = "sealed" if self.sealed else "foreign"
        return f"<{type(self).__name__} {origin} shape={self.shape} dtype={self.dtype}>"


def _scalar(value: Any) -> Any:
    return value[()] if isinstance(value, np.ndarray) else value
