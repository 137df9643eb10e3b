"""Raw arrays: elements lying one behind the other in a file, read straight into place.

Owns positioned reads of slices; knows no header of any format.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.base import ArrayReader
from holdfast.formats.slicing import Axis, Index, Selection
from holdfast.formats.source import Extent, Source
from holdfast.formats.structures import ArrayStructure

__all__ = ["RawArray", "Segment"]

# Below this, reading a gap is quicker than a second call.
_GAP_BYTES = 64 << 10
# More than this is not read at once only to pick from it.
_SPAN_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of an array's bytes in one file, from `offset` on."""

    source: Source
    offset: int
    size: int


class RawArray(ArrayReader):
    """An array whose bytes lie in one run, or in a few runs one behind the other.

    Parameters
    ----------
    structure : ArrayStructure
        Type and shape.
    segments : sequence of Segment
        Where the bytes are, in order.
    is_fortran : bool
        The first axis varies fastest.
    pitch : int, optional
        From one row to the next along the first axis, in bytes, where something else lies between them.

    Raises
    ------
    UnreadableError
        The files are shorter than the array.
    """

    def __init__(
        self,
        structure: ArrayStructure,
        segments: Sequence[Segment],
        *,
        is_fortran: bool = False,
        pitch: int | None = None,
    ) -> None:
        self.structure = structure
        self.is_verified = all(segment.source.is_verified for segment in segments)
        self._dtype = structure.dtype
        self._segments = tuple(segments)
        self._is_fortran = is_fortran and len(structure.shape) > 1
        self._shape = structure.shape[::-1] if is_fortran else structure.shape
        self._pitch = pitch
        for segment in segments:
            if segment.offset + segment.size > segment.source.size:
                raise UnreadableError(
                    f"{segment.source.name} has {segment.source.size} bytes, the array in it needs "
                    f"{segment.offset + segment.size}: it is truncated"
                )
        if sum(segment.size for segment in segments) < structure.nbytes:
            raise UnreadableError(f"the files of this array hold less than its {structure.nbytes} bytes")

    def extent(self, index: Index = ...) -> Extent | None:
        """Return where the bytes of a slice lie, if they are one run of one file in C order."""
        run = self._run(Selection.of(index, self.structure.shape))
        if run is None or len(self._segments) != 1:
            return None
        segment, itemsize = self._segments[0], self._dtype.itemsize
        return Extent(segment.source.path, segment.offset + run[0] * itemsize, run[1] * itemsize)

    def read_into(self, selection: Selection, out: np.ndarray) -> None:
        """Fill an array of shape `selection.kept_shape`."""
        run = self._run(selection)
        if run is not None and out.flags.c_contiguous:
            self._read(out.reshape(-1), run[0] * self._dtype.itemsize)
        elif self._is_fortran:
            flipped = Selection(selection.axes[::-1], self._shape)
            self._gather(flipped, out.transpose())
        else:
            self._gather(selection, out)

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements."""
        out = np.empty(selection.kept_shape, self._dtype)
        self.read_into(selection, out)
        return out

    def _run(self, selection: Selection) -> tuple[int, int] | None:
        """Return first element and count of a slice that is one run; None if it is not one."""
        return None if self._is_fortran or self._pitch is not None else selection.contiguous()

    def _gather(self, selection: Selection, out: np.ndarray) -> None:
        """Fill a strided slice: along the leading axes one by one, then the span of the rest at once."""
        if not selection.size:
            return
        itemsize = self._dtype.itemsize
        strides = [
            itemsize * int(np.prod(self._shape[n + 1 :], dtype=np.int64)) for n in range(len(self._shape))
        ]
        if self._pitch is not None:
            strides[0] = self._pitch
        split = _split(selection.axes, strides, itemsize)
        inner = selection.axes[split:]
        for outer in itertools.product(*(range(axis.count) for axis in selection.axes[:split])):
            base = sum(
                (axis.start + at * axis.step) * stride
                for axis, at, stride in zip(selection.axes[:split], outer, strides, strict=False)
            )
            for first, axes in _bounded(inner, strides[split:]):
                rows = out[outer] if axes is inner else out[outer][first : first + axes[0].count]
                self._gather_span(axes, strides[split:], base, rows)

    def _gather_span(self, axes: Sequence[Axis], strides: Sequence[int], base: int, out: np.ndarray) -> None:
        """Read the bytes from the lowest to the highest element of `axes`, and pick."""
        low = base + sum(axis.low * stride for axis, stride in zip(axes, strides, strict=True))
        steps = [axis.step * stride for axis, stride in zip(axes, strides, strict=True)]
        first = base + sum(axis.start * stride for axis, stride in zip(axes, strides, strict=True)) - low
        span = sum((axis.count - 1) * abs(step) for axis, step in zip(axes, steps, strict=True))
        buffer = np.empty(span + self._dtype.itemsize, np.uint8)
        self._read(buffer, low)
        shape = tuple(axis.count for axis in axes)
        out[...] = np.ndarray(shape, self._dtype, buffer, first, tuple(steps))

    def _read(self, target: np.ndarray, offset: int) -> None:
        """Fill a flat array with the bytes from `offset` of the array on, across segments."""
        view = target.view(np.uint8).reshape(-1).data if target.size else memoryview(b"")
        for segment in self._segments:
            if not len(view):
                return
            count = min(len(view), segment.size - offset)
            if count > 0:
                segment.source.read_into(view[:count], segment.offset + offset)
                view = view[count:]
            offset = max(offset - segment.size, 0)


def _split(axes: Sequence[Axis], strides: Sequence[int], itemsize: int) -> int:
    """Return how many leading axes are walked one by one so that little is read in vain."""
    for split in range(len(axes)):
        wanted = itemsize
        span = itemsize
        for axis, stride in zip(axes[split:], strides[split:], strict=True):
            wanted *= axis.count
            span += (axis.count - 1) * abs(axis.step) * stride
        if span <= 2 * wanted or (span - wanted) // max(axes[split].count, 1) <= _GAP_BYTES:
            return split
    return max(len(axes) - 1, 0)


def _bounded(axes: tuple[Axis, ...], strides: Sequence[int]) -> Iterator[tuple[int, tuple[Axis, ...]]]:
    """Cut a span along its first axis into parts that are small enough to be read at once."""
    rows = max(_SPAN_BYTES // max(abs(axes[0].step) * strides[0], 1), 1) if axes else 1
    if not axes or axes[0].count <= rows:
        yield 0, axes
        return
    for first in range(0, axes[0].count, rows):
        yield first, (axes[0].part(first, min(rows, axes[0].count - first)), *axes[1:])
