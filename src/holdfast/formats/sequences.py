"""Sequences: the arrays of many files of one shape and type, stacked along a new first axis.

Owns which frames a slice touches; opens no file: it is given what opens frames.

>>> structure = ArrayStructure.build(np.dtype("<u2"), (40_000, 512, 512))
>>> SequenceArray(structure, lambda numbers: iter(()), is_verified=False).read(slice(0, 0)).shape
(0, 512, 512)
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np

from holdfast.errors import ChangedError
from holdfast.formats.base import SLAB_BYTES, ArrayReader
from holdfast.formats.slicing import Axis, Index, Selection
from holdfast.formats.structures import ArrayStructure

__all__ = ["JoinedArray", "OpenFrames", "SequenceArray"]

OpenFrames = Callable[[Sequence[int]], Iterator[AbstractContextManager[ArrayReader]]]
"""Takes numbers of frames and gives, for each in turn, what opens it."""


class SequenceArray(ArrayReader):
    """An array whose first axes go over frames; a slice opens only those that it touches, one at a time.

    Parameters
    ----------
    structure : ArrayStructure
        Of the whole: the number of frames along each leading axis, then the shape of one.
    frames : callable
        Opens frames.
    is_verified : bool
        Whether every frame is checked against its digests; one that is not is then an error.
    leading : int
        How many axes go over frames, the last fastest.
    """

    def __init__(
        self, structure: ArrayStructure, frames: OpenFrames, *, is_verified: bool, leading: int = 1
    ) -> None:
        self.structure = structure
        self.is_verified = is_verified
        self._dtype = structure.dtype
        self._frames = frames
        self._leading = leading

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements.

        Raises
        ------
        ChangedError
            A frame has another shape or type than was recorded.
        """
        out = np.empty(selection.kept_shape, self._dtype)
        self.read_into(selection, out)
        return out

    def read_into(self, selection: Selection, out: np.ndarray) -> None:
        """Fill an array of shape `selection.kept_shape`, frame by frame."""
        if not selection.size:
            return
        inner = self._inner(selection)
        target = out.reshape(-1, *inner.kept_shape)
        for at, reader in enumerate(self._open(selection)):
            reader.read_into(inner, target[at, ...])

    def slabs(self, index: Index = ...) -> Iterator[np.ndarray]:
        """Yield a slice in flat pieces of C order: several small frames, or parts of a large one."""
        selection = Selection.of(index, self.structure.shape)
        inner = self._inner(selection)
        if inner.size * self._dtype.itemsize <= SLAB_BYTES:
            yield from super().slabs(index)
            return
        for reader in self._open(selection):
            yield from reader.slabs(inner.index)

    def _inner(self, selection: Selection) -> Selection:
        """Return what is taken of each frame."""
        return Selection(selection.axes[self._leading :], selection.source[self._leading :])

    def _open(self, selection: Selection) -> Iterator[ArrayReader]:
        """Open the frames of a slice one after the other; the caller is done with one before the next."""
        numbers = _numbers(selection.axes[: self._leading], selection.source[: self._leading])
        for number, opened in zip(numbers, self._frames(numbers), strict=True):
            with opened as reader:
                self._check(number, reader)
                yield reader

    def _check(self, number: int, reader: ArrayReader) -> None:
        found = reader.structure
        if (found.shape, found.dtype) != (self.structure.shape[self._leading :], self._dtype):
            raise ChangedError(
                f"frame {number} has now the shape {found.shape} and type {found.dtype}; "
                "index the directory again"
            )
        if self.is_verified and not reader.is_verified:
            raise ChangedError(f"frame {number} is being written; read it again when it rests")


class JoinedArray(ArrayReader):
    """Arrays of one type, one after the other along the first axis; a slice opens only those that it touches.

    Parameters
    ----------
    lengths : sequence of int
        Length of each along the first axis.
    parts : sequence of callable
        Open each.

    Raises
    ------
    ChangedError
        The first has another length by now.
    """

    def __init__(self, lengths: Sequence[int], parts: Sequence[Callable[[], ArrayReader]]) -> None:
        self._parts = parts
        self._starts = [0, *itertools.accumulate(lengths)]
        first = self._part(0).structure
        shape = (self._starts[-1], *first.shape[1:])
        self.structure = ArrayStructure.build(first.dtype, shape, stored=(1, *first.shape[1:]))

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements.

        Raises
        ------
        ChangedError
            A part has another shape or type than was recorded.
        """
        out = np.empty(selection.kept_shape, self.structure.dtype)
        axis, at = selection.axes[0], 0
        while at < axis.count and selection.size:
            place = axis.start + at * axis.step
            number = bisect.bisect_right(self._starts, place) - 1
            low, high = self._starts[number], self._starts[number + 1]
            left = (high - 1 - place) // axis.step if axis.step > 0 else (place - low) // -axis.step
            count = min(left + 1, axis.count - at)
            reader = self._part(number)
            inner = Selection(
                (Axis(place - low, axis.step, count), *selection.axes[1:]), reader.structure.shape
            )
            out[at : at + count] = reader.fetch(inner)
            at += count
        return out

    def _part(self, number: int) -> ArrayReader:
        reader = self._parts[number]()
        found, length = reader.structure, self._starts[number + 1] - self._starts[number]
        expected = self.structure if number else found
        if (found.shape, found.dtype) != ((length, *expected.shape[1:]), expected.dtype):
            raise ChangedError(
                f"part {number} has now the shape {found.shape} and type {found.dtype}; "
                "index the directory again"
            )
        return reader


def _numbers(axes: Sequence[Axis], shape: Sequence[int]) -> Sequence[int]:
    """Return the numbers of the frames that are taken along the leading axes, in C order."""
    taken = [range(axis.start, axis.start + axis.count * axis.step, axis.step) for axis in axes]
    numbers: Sequence[int] = taken[0]
    for along, length in zip(taken[1:], shape[1:], strict=True):
        numbers = [number * length + at for number in numbers for at in along]
    return numbers
