"""Own the reading of boxes out of contiguous arrays: which bytes a slice needs, and no others.

It does not read: it is given a function that fills a buffer from an offset.

>>> basic_ranges((slice(1, 3), Ellipsis, -1), (5, 4, 3))
[range(1, 3), range(0, 4), 2]
>>> basic_ranges(([0, 1],), (5,)) is None
True
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from holdfast.hashing import BLOCK_BYTES

__all__ = ["basic_ranges", "bytes_of", "fill_box", "forward"]

ReadInto = Callable[[int, memoryview], None]


def basic_ranges(index: Any, shape: tuple[int, ...]) -> list[range | int] | None:
    """Return what a basic index takes of each axis.

    Parameters
    ----------
    index : object
        Whatever stands in the brackets.
    shape : tuple of int
        The shape of what is indexed.

    Returns
    -------
    list of range or int, or None
        One for each axis; None for lists, masks and new axes, which numpy must resolve.

    Raises
    ------
    IndexError
        For an integer outside its axis and for too many indices.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    if any(part is None or isinstance(part, bool | np.bool_ | list | np.ndarray) for part in parts):
        return None
    if sum(part is Ellipsis for part in parts) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    where = parts.index(Ellipsis)
    missing = len(shape) - (len(parts) - 1)
    if missing < 0:
        raise IndexError(
            f"too many indices: the array has {len(shape)} axes, but {len(parts) - 1} were indexed"
        )
    parts[where : where + 1] = [slice(None)] * missing
    return [_one_axis(part, size, axis) for axis, (part, size) in enumerate(zip(parts, shape, strict=True))]


def _one_axis(part: Any, size: int, axis: int) -> range | int:
    if isinstance(part, slice):
        return range(*part.indices(size))
    try:
        number = operator.index(part)
    except TypeError:
        raise IndexError(
            "only integers, slices, '...', lists and arrays of these are valid indices"
        ) from None
    if not -size <= number < size:
        raise IndexError(f"index {number} is out of bounds for axis {axis} with size {size}")
    return number % size


def forward(taken: range | int) -> range:
    """Return the elements of one axis in rising order."""
    if isinstance(taken, int):
        return range(taken, taken + 1)
    return taken if taken.step > 0 else taken[::-1]


def bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    """Return the bytes of a C-contiguous array of any type without objects, writable where it is."""
    flat = array.reshape(-1).view(np.uint8) if array.size else np.empty(0, np.uint8)
    return flat.data


def fill_box(
    out: np.ndarray[Any, Any],
    ranges: Sequence[range],
    shape: tuple[int, ...],
    offset: int,
    read_into: ReadInto,
) -> None:
    """Fill an array with a box of a larger one that lies in a file.

    Parameters
    ----------
    out : ndarray
        C-contiguous; its shape is the lengths of the ranges.
    ranges : sequence of range
        What to take of each axis, in rising order.
    shape : tuple of int
        The shape of the larger array.
    offset : int
        Where its bytes start.
    read_into : callable
        Takes an offset and a buffer to fill.
    """
    if not out.size:
        return
    first, rest = ranges[0], ranges[1:]
    row_bytes = out.dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
    takes_whole_rows = all(len(each) == size for each, size in zip(rest, shape[1:], strict=True))
    if takes_whole_rows and (first.step == 1 or len(first) == 1):
        read_into(offset + first[0] * row_bytes, bytes_of(out))
    elif row_bytes * (first.step if takes_whole_rows else 1) < BLOCK_BYTES:
        _fill_through_rows(out, ranges, shape, offset, read_into)
    else:
        for position, row in enumerate(first):
            # One row at a time: the bytes between them are not needed.
            target, inner = out[position : position + 1], [range(row, row + 1), *rest]
            if takes_whole_rows:
                fill_box(target, inner, shape, offset, read_into)
            else:
                fill_box(target[0], rest, shape[1:], offset + row * row_bytes, read_into)


def _fill_through_rows(
    out: np.ndarray[Any, Any],
    ranges: Sequence[range],
    shape: tuple[int, ...],
    offset: int,
    read_into: ReadInto,
) -> None:
    """Read whole rows, a few blocks at a time, and take what is needed of them."""
    first, rest = ranges[0], tuple(slice(each.start, each.stop, each.step) for each in ranges[1:])
    row_bytes = out.dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
    batch = max(1, 32 * BLOCK_BYTES // (row_bytes * first.step))
    for start in range(0, len(first), batch):
        part = first[start : start + batch]
        rows = np.empty((part[-1] + 1 - part[0], *shape[1:]), out.dtype)
        read_into(offset + part[0] * row_bytes, bytes_of(rows))
        out[start : start + batch] = rows[(slice(None, None, first.step), *rest)]
