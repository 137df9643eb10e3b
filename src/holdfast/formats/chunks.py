"""Slices cut where chunks end: what is taken of each chunk, and where it goes.

Owns the arithmetic that chunked formats share; touches no data.

>>> from holdfast.formats.slicing import Selection
>>> [part.numbers for part in parts(Selection.of(slice(3, 9), (10,)).axes, (4,))]
[(0,), (1,), (2,)]
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import EllipsisType

from holdfast.formats.slicing import Axis

__all__ = ["Part", "parts"]


@dataclass(frozen=True, slots=True)
class Part:
    """What a slice takes of one chunk: the chunk's numbers, where it goes, and what of it."""

    numbers: tuple[int, ...]
    target: tuple[slice | EllipsisType, ...]
    inside: tuple[Axis, ...]


def parts(axes: Sequence[Axis], chunks: Sequence[int]) -> Iterator[Part]:
    """Yield what a slice takes of each chunk that it touches.

    Parameters
    ----------
    axes : sequence of Axis
        The slice.
    chunks : sequence of int
        Shape of a chunk.
    """
    runs = [list(_runs(axis, length)) for axis, length in zip(axes, chunks, strict=True)]
    for pieces in itertools.product(*runs):
        yield Part(
            tuple(number for number, _, _ in pieces),
            (*(target for _, target, _ in pieces), ...),
            tuple(inside for _, _, inside in pieces),
        )


def _runs(axis: Axis, length: int) -> Iterator[tuple[int, slice, Axis]]:
    """Cut an axis where chunks end; chunks between two elements are not visited."""
    at = 0
    while at < axis.count:
        position = axis.start + at * axis.step
        number, inside = divmod(position, length)
        room = length - 1 - inside if axis.step > 0 else inside
        count = min(room // abs(axis.step) + 1, axis.count - at)
        yield number, slice(at, at + count), Axis(inside, axis.step, count)
        at += count
