"""Sequences: the arrays of many files of one shape and type, stacked along a new first axis.

Owns which frames a slice touches; opens no file: it is given what opens frames.

>>> structure = ArrayStructure.build(np.dtype("<u2"), (40_000, 512, 512))
>>> SequenceArray(structure, lambda numbers: iter(()), is_verified=False).read(slice(0, 0)).shape
(0, 512, 512)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np

from holdfast.errors import ChangedError
from holdfast.formats.base import SLAB_BYTES, ArrayReader
from holdfast.formats.slicing import Axis, Index, Selection
from holdfast.formats.structures import ArrayStructure

__all__ = ["OpenFrames", "SequenceArray"]

OpenFrames = Callable[[Sequence[int]], Iterator[AbstractContextManager[ArrayReader]]]
"""Takes numbers of frames and gives, for each in turn, what opens it."""


class SequenceArray(ArrayReader):
    """An array whose first axis goes over files; a slice opens only those that it touches, one at a time.

    Parameters
    ----------
    structure : ArrayStructure
        Of the whole: the number of frames, then the shape of one.
    frames : callable
        Opens frames.
    is_verified : bool
        Whether every frame is checked against its digests; one that is not is then an error.
    """

    def __init__(self, structure: ArrayStructure, frames: OpenFrames, *, is_verified: bool) -> None:
        self.structure = structure
        self.is_verified = is_verified
        self._dtype = structure.dtype
        self._frames = frames

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
        for at, reader in enumerate(self._open(selection.axes[0])):
            reader.read_into(inner, out[at, ...])

    def slabs(self, index: Index = ...) -> Iterator[np.ndarray]:
        """Yield a slice in flat pieces of C order: several small frames, or parts of a large one."""
        selection = Selection.of(index, self.structure.shape)
        if not selection.size:
            return
        inner, first = self._inner(selection), selection.axes[0]
        count = SLAB_BYTES // max(math.prod(inner.kept_shape) * self._dtype.itemsize, 1)
        if not count:
            for reader in self._open(first):
                yield from reader.slabs(inner.index)
            return
        for start in range(0, first.count, count):
            part = first.part(start, min(count, first.count - start))
            yield self.fetch(Selection((part, *inner.axes), selection.source)).reshape(-1)

    def _inner(self, selection: Selection) -> Selection:
        """Return what is taken of each frame."""
        return Selection(selection.axes[1:], selection.source[1:])

    def _open(self, axis: Axis) -> Iterator[ArrayReader]:
        """Open the frames along an axis one after the other; the caller is done with one before the next."""
        numbers = range(axis.start, axis.start + axis.count * axis.step, axis.step)
        for number, opened in zip(numbers, self._frames(numbers), strict=True):
            with opened as reader:
                self._check(number, reader)
                yield reader

    def _check(self, number: int, reader: ArrayReader) -> None:
        found = reader.structure
        if (found.shape, found.dtype) != (self.structure.shape[1:], self._dtype):
            raise ChangedError(
                f"frame {number} has now the shape {found.shape} and type {found.dtype}; "
                "index the directory again"
            )
        if self.is_verified and not reader.is_verified:
            raise ChangedError(f"frame {number} is being written; read it again when it rests")
