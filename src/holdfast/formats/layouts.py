"""The layouts in which files store sparse arrays: coordinates, compressed rows, blocks, diagonals.

Owns their arithmetic over the arrays that a file has; opens no file. Nothing in these arrays is believed:
what points outside is an error.

References
----------
SciPy's ``save_npz``, pydata/sparse's ``save_npz`` (COO and GCXS), AnnData's encoding of sparse matrices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.base import ArrayReader
from holdfast.formats.slicing import Selection
from holdfast.formats.sparse import VALUE_KINDS, SparseReader, SparseStructure

__all__ = ["open_layout"]

_PIECE = 1 << 18
"""How many values are looked at at once."""

_MAX_AXES = 32
Pieces = Iterator[tuple[np.ndarray, np.ndarray]]


def open_layout(
    layout: str, shape: Sequence[int], parts: Mapping[str, ArrayReader], compressed: Sequence[int] = (0,)
) -> SparseReader:
    """Return the reader of a sparse array.

    Parameters
    ----------
    layout : {"coo", "csr", "csc", "gcxs", "bsr", "dia"}
        How it is stored.
    shape : sequence of int
        Length along each axis.
    parts : mapping of str to ArrayReader
        The arrays, by SciPy's names: ``data``; ``coords``, or ``row`` and ``col``; ``indices`` and
        ``indptr``; ``offsets``.
    compressed : sequence of int
        The compressed axes of ``gcxs``.

    Raises
    ------
    UnreadableError
        Arrays are missing, do not fit each other, or hold values that have no sparse form here.
    """
    shape = tuple(int(length) for length in shape)
    if not 0 < len(shape) <= _MAX_AXES or not all(0 <= length < 1 << 62 for length in shape):
        raise UnreadableError(f"{shape} is no shape of a sparse array")
    if math.prod(shape) >= 1 << 63 and layout == "gcxs":
        raise UnreadableError(f"a sparse array of shape {shape} has too many places to count")
    stored = _part(parts, "data", {"bsr": 3, "dia": 2}.get(layout, 1))
    if stored.structure.dtype.kind not in VALUE_KINDS:
        raise UnreadableError(f"sparse arrays of {stored.structure.dtype} are not read")
    if layout == "coo":
        return _Coordinates(shape, stored, parts)
    axes = {"csc": (1,), "gcxs": tuple(compressed)}.get(layout, (0,))
    if layout == "gcxs":
        _check_axes(axes, len(shape))
    elif len(shape) != 2:
        raise UnreadableError(f"a sparse array of layout {layout} has 2 axes, not {len(shape)}")
    kinds = {"csr": _Compressed, "csc": _Compressed, "gcxs": _Compressed, "bsr": _Blocks, "dia": _Diagonals}
    if layout not in kinds:
        raise UnreadableError(f"sparse arrays of layout {layout[:20]!r} are not read")
    return kinds[layout](shape, stored, parts, axes)


def _check_axes(axes: tuple[int, ...], ndim: int) -> None:
    if not axes or len(set(axes)) != len(axes) or not all(0 <= axis < ndim for axis in axes):
        raise UnreadableError(f"an array of {ndim} axes cannot be compressed along {axes}")


def _part(parts: Mapping[str, ArrayReader], name: str, ndim: int = 1, kinds: str = "") -> ArrayReader:
    if name not in parts:
        raise UnreadableError(f"a sparse array lacks its part {name!r}")
    structure = parts[name].structure
    if len(structure.shape) != ndim or (kinds and structure.dtype.kind not in kinds):
        raise UnreadableError(
            f"the part {name!r} of a sparse array is of type {structure.dtype} and shape {structure.shape}"
        )
    return parts[name]


def _runs(start: int, stop: int, step: int = _PIECE) -> Iterator[tuple[int, int]]:
    for at in range(start, stop, max(step, 1)):
        yield at, min(at + max(step, 1), stop)


def _integers(reader: ArrayReader, start: int, stop: int) -> np.ndarray:
    return reader.read(slice(start, stop)).astype(np.int64)


def _inside(where: np.ndarray, length: int) -> np.ndarray:
    if where.size and not (where.min() >= 0 and where.max() < length):
        raise UnreadableError(f"a sparse array has values outside its axis of {length}: it is damaged")
    return where


class _Coordinates(SparseReader):
    """Every value with its coordinates, in any order."""

    def __init__(self, shape: tuple[int, ...], data: ArrayReader, parts: Mapping[str, ArrayReader]) -> None:
        self._data, self._shape = data, shape
        self._joint = _part(parts, "coords", 2, "iu") if "coords" in parts else None
        self._single = [] if self._joint else [_part(parts, name, 1, "iu") for name in ("row", "col")]
        (count,) = data.structure.shape
        found = [self._joint.structure.shape] if self._joint else [p.structure.shape for p in self._single]
        if found != ([(len(shape), count)] if self._joint else [(count,)] * len(shape)):
            raise UnreadableError(f"{count} values of shape {shape} cannot have coordinates of shape {found}")
        self.structure = SparseStructure.build(data.structure.dtype, shape, count)
        self.is_verified = data.is_verified

    def pieces(self, selection: Selection) -> Pieces:
        """Yield all values: they are in no order."""
        (count,) = self._data.structure.shape
        for start, stop in _runs(0, count):
            if self._joint is not None:
                coords = self._joint.read((slice(None), slice(start, stop))).astype(np.int64)
            else:
                coords = np.array([_integers(reader, start, stop) for reader in self._single])
            for where, length in zip(coords, self._shape, strict=True):
                _inside(where, length)
            yield coords, self._data.read(slice(start, stop))


class _Compressed(SparseReader):
    """Values row by row with their columns; several axes may be folded into the rows and the columns."""

    def __init__(
        self,
        shape: tuple[int, ...],
        data: ArrayReader,
        parts: Mapping[str, ArrayReader],
        axes: tuple[int, ...],
    ) -> None:
        self._data, self._shape, self._axes = data, shape, axes
        self._others = tuple(axis for axis in range(len(shape)) if axis not in axes)
        self._starts, self._columns = _part(parts, "indptr", 1, "iu"), _part(parts, "indices", 1, "iu")
        self._n_stored = data.structure.shape[0]
        if self._columns.structure.shape[0] < self._n_stored:
            raise UnreadableError(f"{self._n_stored} values of a sparse array lack some of their columns")
        if self._starts.structure.shape[0] != self._n_rows() + 1:
            raise UnreadableError(f"a sparse array of shape {shape} lacks the starts of some rows")
        count = math.prod(data.structure.shape)
        self.structure = SparseStructure.build(data.structure.dtype, shape, count)
        self.is_verified = data.is_verified

    def _n_rows(self) -> int:
        return math.prod(self._shape[axis] for axis in self._axes)

    def _wanted(self, selection: Selection) -> tuple[int, int]:
        """Return the first row that may matter, and one more than the last."""
        if len(self._axes) > 1:
            return 0, self._n_rows()
        axis = selection.axes[self._axes[0]]
        return axis.low, axis.high

    def pieces(self, selection: Selection) -> Pieces:
        """Yield the values of the rows that are asked for."""
        for first, last in _runs(*self._wanted(selection)):
            ends = _integers(self._starts, first, last + 1)
            if ends[0] < 0 or ends[-1] > self._n_stored or (np.diff(ends) < 0).any():
                raise UnreadableError("the rows of a sparse array overlap or lie outside: it is damaged")
            for start, stop in _runs(int(ends[0]), int(ends[-1]), self._step()):
                columns = _integers(self._columns, start, stop)
                rows = first + np.searchsorted(ends, np.arange(start, stop), side="right") - 1
                yield self._placed(rows, columns, self._data.read(slice(start, stop)))

    def _step(self) -> int:
        return _PIECE

    def _placed(
        self, rows: np.ndarray, columns: np.ndarray, data: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Unfold rows and columns into the axes of the array."""
        coords = np.empty((len(self._shape), len(rows)), np.int64)
        for axes, where in ((self._axes, rows), (self._others, columns)):
            lengths = tuple(self._shape[axis] for axis in axes)
            _inside(where, math.prod(lengths))
            if axes:
                coords[list(axes)] = np.unravel_index(where, lengths)
        return coords, data


class _Blocks(_Compressed):
    """Small dense blocks, row of blocks by row of blocks."""

    def _n_rows(self) -> int:
        _, rows, columns = self._data.structure.shape
        if not rows or not columns or self._shape[0] % rows or self._shape[1] % columns:
            raise UnreadableError(
                f"a sparse array of shape {self._shape} has no blocks of {rows} x {columns}"
            )
        return self._shape[0] // rows

    def _wanted(self, selection: Selection) -> tuple[int, int]:
        rows = self._data.structure.shape[1]
        return selection.axes[0].low // rows, -(-selection.axes[0].high // rows)

    def _step(self) -> int:
        _, rows, columns = self._data.structure.shape
        return max(_PIECE // (rows * columns), 1)

    def _placed(
        self, rows: np.ndarray, columns: np.ndarray, data: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Spread each block out."""
        _, height, width = data.shape
        down, across = (each.reshape(-1) for each in np.indices((height, width)))
        spread_rows = (rows[:, None] * height + down).reshape(-1)
        spread_columns = (columns[:, None] * width + across).reshape(-1)
        return super()._placed(spread_rows, spread_columns, data.reshape(-1))


class _Diagonals(SparseReader):
    """Whole diagonals; zeros on them are not stored values."""

    def __init__(
        self,
        shape: tuple[int, ...],
        data: ArrayReader,
        parts: Mapping[str, ArrayReader],
        axes: tuple[int, ...],
    ) -> None:
        self._data, self._shape = data, shape
        self._offsets = _part(parts, "offsets", 1, "iu")
        diagonals = data.structure.shape[0]
        if self._offsets.structure.shape != (diagonals,):
            raise UnreadableError(f"{diagonals} diagonals of a sparse array lack some of their offsets")
        self.structure = SparseStructure.build(data.structure.dtype, shape, math.prod(data.structure.shape))
        self.is_verified = data.is_verified

    def pieces(self, selection: Selection) -> Pieces:
        """Yield one diagonal after the other."""
        rows, columns = self._shape
        length = min(self._data.structure.shape[1], columns)
        for number, offset in enumerate(self._offsets.read().tolist()):
            for start, stop in _runs(max(offset, 0), min(length, rows + offset)):
                data = self._data.read((number, slice(start, stop)))
                where = np.arange(start, stop)
                kept = data != 0
                yield np.array([where - offset, where])[:, kept], data[kept]
