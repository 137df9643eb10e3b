"""Slices: from an index or Tiled's ``slice=`` text to exact ranges, and large ones cut into slabs.

Owns index arithmetic; touches no data.

>>> Selection.of((slice(None, None, -1), 0), (4, 5)).shape
(4,)
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

from holdfast.errors import InvalidInputError, OutOfRangeError

__all__ = [
    "Axis",
    "Index",
    "Selection",
    "block_index",
    "chunked_slabs",
    "format_slice",
    "parse_slice",
    "slabs",
]

Index = int | slice | EllipsisType | tuple[int | slice | EllipsisType, ...]

_PART = re.compile(
    r"\s*(?:(?P<dots>\.\.\.)|(?P<int>[+-]?[0-9]{1,19})|(?P<slice>[+-]?[0-9]{0,19}(?::[+-]?[0-9]{0,19}){1,2}))\s*"
)
_MAX_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Axis:
    """The elements taken along one axis: `count` from `start` on, `step` apart (it may be negative)."""

    start: int
    step: int
    count: int
    dropped: bool = False

    @property
    def low(self) -> int:
        """Lowest element taken."""
        return self.start if self.step > 0 else self.start + (self.count - 1) * self.step

    @property
    def high(self) -> int:
        """One more than the highest element taken."""
        return (self.start + (self.count - 1) * self.step if self.step > 0 else self.start) + 1

    def part(self, first: int, count: int) -> Axis:
        """Return `count` of the taken elements from the `first` on."""
        return Axis(self.start + first * self.step, self.step, count, self.dropped)

    def narrowed(self, inner: Axis) -> Axis:
        """Return what another axis takes of the elements taken here."""
        return Axis(self.start + inner.start * self.step, self.step * inner.step, inner.count, inner.dropped)

    def as_slice(self) -> slice:
        """Return the same elements as a slice that keeps the axis."""
        if not self.count:
            return slice(0, 0)
        stop = self.start + self.count * self.step
        return slice(self.start, None if stop < 0 else stop, self.step)


@dataclass(frozen=True, slots=True)
class Selection:
    """What an index takes from an array of a given shape, every axis spelled out.

    Parameters
    ----------
    axes : tuple of Axis
        One for each axis of the array.
    source : tuple of int
        Shape of the array.
    """

    axes: tuple[Axis, ...]
    source: tuple[int, ...]

    @classmethod
    def of(cls, index: Index, shape: Sequence[int]) -> Selection:
        """Resolve an index.

        Parameters
        ----------
        index : int, slice, Ellipsis or tuple of them
            As NumPy has it; axes left out are taken whole.
        shape : sequence of int
            Shape of the array.

        Raises
        ------
        InvalidInputError
            Too many axes, a step of 0, or something that is no index.
        OutOfRangeError
            An integer outside its axis.
        """
        parts = _expand(index, len(shape))
        axes = tuple(
            _axis(part, length, n) for n, (part, length) in enumerate(zip(parts, shape, strict=True))
        )
        return cls(axes, tuple(shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result: integers drop their axis."""
        return tuple(axis.count for axis in self.axes if not axis.dropped)

    @property
    def kept_shape(self) -> tuple[int, ...]:
        """Shape of the result with every axis kept."""
        return tuple(axis.count for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of elements taken."""
        return math.prod(self.kept_shape)

    @property
    def is_whole(self) -> bool:
        """Whether the result is the array itself."""
        return self.source == self.shape and all(a.start == 0 and a.step == 1 for a in self.axes if a.count)

    @property
    def index(self) -> tuple[slice, ...]:
        """The same elements as slices, every axis kept."""
        return tuple(axis.as_slice() for axis in self.axes)

    @property
    def reduced_index(self) -> tuple[int | slice, ...]:
        """The same elements as an index that drops the axes that are dropped."""
        return tuple(axis.start if axis.dropped else axis.as_slice() for axis in self.axes)

    def narrowed(self, index: Index) -> Selection:
        """Return what an index takes of the result of this selection, as a selection of the same array.

        Parameters
        ----------
        index : int, slice, Ellipsis or tuple of them
            Of the result, whose dropped axes are gone.

        Raises
        ------
        InvalidInputError, OutOfRangeError
            As `of`.
        """
        inner = iter(Selection.of(index, self.shape).axes)
        axes = tuple(axis if axis.dropped else axis.narrowed(next(inner)) for axis in self.axes)
        return Selection(axes, self.source)

    def contiguous(self) -> tuple[int, int] | None:
        """Return first element and count of the C-order run that this is; None if it is not one."""
        if not self.size:
            return 0, 0
        start, run = 0, 1
        broken = False
        for axis, length in zip(reversed(self.axes), reversed(self.source), strict=True):
            if axis.count > 1 and (broken or axis.step != 1):
                return None
            broken = broken or axis.count != length
            start += axis.start * run
            run *= length
        return start, self.size


def _expand(index: Index, ndim: int) -> list[int | slice]:
    parts: list[Any] = list(index) if isinstance(index, tuple) else [index]
    dots = sum(part is Ellipsis for part in parts)
    if dots > 1:
        raise InvalidInputError("an index has at most one '...'")
    missing = ndim - len(parts) + dots
    if missing < 0:
        raise InvalidInputError(f"the index has {len(parts) - dots} axes, the array {ndim}")
    at = next((n for n, part in enumerate(parts) if part is Ellipsis), len(parts))
    return [*parts[:at], *([slice(None)] * missing), *parts[at + dots :]]


def _axis(part: Any, length: int, number: int) -> Axis:
    if isinstance(part, slice):
        if part.step == 0:
            raise InvalidInputError("the step of a slice cannot be 0")
        try:
            start, stop, step = part.indices(length)
        except TypeError as error:
            raise InvalidInputError(f"a slice needs integers, not {part}") from error
        return Axis(start, step, len(range(start, stop, step)))
    if isinstance(part, bool) or not hasattr(part, "__index__"):
        raise InvalidInputError(f"axis {number} can be indexed by an integer or a slice, not by {part!r}")
    position = part.__index__()
    if not -length <= position < length:
        raise OutOfRangeError(f"index {position} is outside axis {number}, which has {length} elements")
    return Axis(position % length, 1, 1, dropped=True)


def parse_slice(text: str) -> tuple[int | slice | EllipsisType, ...]:
    """Read Tiled's ``slice=`` parameter, such as ``1:3:1,0:5,2`` or ``...,::-1``.

    Raises
    ------
    InvalidInputError
        Anything else.
    """
    if len(text) > _MAX_TEXT:
        raise InvalidInputError(f"a slice has at most {_MAX_TEXT} characters")
    text = text.strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1].rstrip().removesuffix(",")
    return tuple(_part(part) for part in text.split(",")) if text else ()


def _part(text: str) -> int | slice | EllipsisType:
    match = _PART.fullmatch(text)
    if match is None:
        raise InvalidInputError(f"{text!r} is no slice; write start:stop:step, an integer or ...")
    if match["dots"]:
        return Ellipsis
    if match["int"]:
        return int(match["int"])
    bounds = [int(bound) if bound.strip("+-") else None for bound in match["slice"].split(":")]
    return slice(*bounds)


def format_slice(index: Index) -> str:
    """Write an index the way `parse_slice` reads it."""
    parts = index if isinstance(index, tuple) else (index,)
    return ",".join(_format_part(part) for part in parts)


def _format_part(part: int | slice | EllipsisType) -> str:
    if isinstance(part, slice):
        bounds = ["" if bound is None else str(bound) for bound in (part.start, part.stop, part.step)]
        return ":".join(bounds[:2] if part.step is None else bounds)
    return "..." if isinstance(part, EllipsisType) else str(part.__index__())


def slabs(selection: Selection, itemsize: int, limit_bytes: int = 8 << 20) -> Iterator[Selection]:
    """Cut a selection into consecutive pieces, in C order of the result, of at most `limit_bytes` each.

    Parameters
    ----------
    selection : Selection
        What to take.
    itemsize : int
        Size of an element in bytes.
    limit_bytes : int
        Size of a piece in bytes; a single element may be larger.
    """
    if not selection.size:
        return
    counts = selection.kept_shape
    budget = max(limit_bytes // max(itemsize, 1), 1)
    axis, inner = len(counts), 1
    while axis and inner * counts[axis - 1] <= budget:
        axis -= 1
        inner *= counts[axis]
    if not axis:
        yield selection
        return
    rows = max(budget // inner, 1)
    for outer in itertools.product(*(range(count) for count in counts[: axis - 1])):
        for first in range(0, counts[axis - 1], rows):
            count = min(rows, counts[axis - 1] - first)
            split = [selection.axes[n].part(at, 1) for n, at in enumerate(outer)]
            split.append(selection.axes[axis - 1].part(first, count))
            yield Selection((*split, *selection.axes[axis:]), selection.source)


def chunked_slabs(
    selection: Selection, itemsize: int, chunks: Sequence[int] | None, limit_bytes: int = 8 << 20
) -> Iterator[Selection]:
    """Cut a selection as `slabs` does, but along whole rows of chunks, so that none is decoded twice.

    Parameters
    ----------
    selection : Selection
        What to take.
    itemsize : int
        Size of an element in bytes.
    chunks : sequence of int, optional
        Shape of a chunk; None when the array has none.
    limit_bytes : int
        Size of a piece in bytes; a row of chunks may be eight times as large.
    """
    row = itemsize * selection.size // max(selection.kept_shape[0], 1) if selection.axes else 0
    if not chunks or not row or selection.axes[0].step != 1 or row * chunks[0] > 8 * limit_bytes:
        yield from slabs(selection, itemsize, limit_bytes)
        return
    first, rest = selection.axes[0], selection.axes[1:]
    rows = max(limit_bytes // row // chunks[0], 1) * chunks[0]
    at = first.start
    while at < first.start + first.count:
        stop = min((at // rows + 1) * rows, first.start + first.count)
        yield Selection((Axis(at, 1, stop - at, first.dropped), *rest), selection.source)
        at = stop


def block_index(chunks: Sequence[Sequence[int]], block: Sequence[int]) -> tuple[slice, ...]:
    """Return the slices that block number `block` covers.

    Raises
    ------
    InvalidInputError
        As many numbers as axes are needed.
    OutOfRangeError
        There is no such block.
    """
    if len(block) != len(chunks):
        raise InvalidInputError(f"the block has {len(block)} numbers, the array {len(chunks)} axes")
    index = []
    for number, lengths in zip(block, chunks, strict=True):
        if not 0 <= number < len(lengths):
            raise OutOfRangeError(f"there is no block {number} along an axis of {len(lengths)} blocks")
        start = sum(lengths[:number])
        index.append(slice(start, start + lengths[number]))
    return tuple(index)
