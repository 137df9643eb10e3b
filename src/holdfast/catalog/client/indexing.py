"""Turn a numpy index into what is asked of a server and what is done with the answer.

The wire only knows slices with positive steps; here every numpy index becomes such slices, which cover what
is needed, and a second index that picks from the answer. Nothing is read here.

>>> cut = plan((slice(2, 5), Ellipsis, slice(None, None, -1)), (10, 4, 6))
>>> cut.wire, cut.shape
('2:5,0:4,0:6', (3, 4, 6))
>>> cut.local
(slice(None, None, None), slice(None, None, None), slice(None, None, -1))
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from holdfast.errors import InvalidTypeError, OutOfRangeError

__all__ = ["Cut", "pieces", "plan", "written"]

Shape: TypeAlias = tuple[int, ...]
_WHOLE = slice(None)


@dataclass(frozen=True, slots=True)
class Cut:
    """One selection of an array.

    Parameters
    ----------
    slices : tuple of slice
        One for each axis, bounded, with a positive step: what is asked of the server.
    local : tuple
        The numpy index that makes the wanted result of the answer.
    is_whole : bool
        Whether the slices cover the whole array.
    """

    slices: tuple[slice, ...]
    local: tuple[Any, ...]
    is_whole: bool

    @property
    def shape(self) -> Shape:
        """Shape of the server's answer."""
        return tuple(len(range(cut.start, cut.stop, cut.step)) for cut in self.slices)

    @property
    def wire(self) -> str:
        """The slices as the value of ``slice=``; empty when everything is asked for."""
        return "" if self.is_whole else ",".join(map(_written, self.slices))


def plan(index: Any, shape: Shape) -> Cut:
    """Plan the reading of a selection.

    Parameters
    ----------
    index : int, slice, Ellipsis, None, array of int or bool, or a tuple of these
        As numpy takes it.
    shape : tuple of int
        Shape of the whole array.

    Returns
    -------
    Cut
        What to ask for, and what to do with the answer.

    Raises
    ------
    OutOfRangeError
        For an integer outside its axis, or more indexes than axes.
    InvalidTypeError
        For anything that is no index.
    """
    slices: list[slice] = []
    local: list[Any] = []
    for part, length in _aligned(_expanded(index), shape):
        if part is None or part is Ellipsis:
            local.append(part)
            continue
        asked, picked = _axis(part, length, len(slices))
        slices.append(asked)
        local.append(picked)
    whole = all(cut == slice(0, length, 1) for cut, length in zip(slices, shape, strict=True))
    return Cut(tuple(slices), tuple(local), whole)


def written(index: Any, shape: Shape) -> str:
    """Write an index for a server that does the whole work, as exports need it.

    Parameters
    ----------
    index : int, slice, Ellipsis, or a tuple of these
        As numpy takes it.
    shape : tuple of int
        Shape of the whole array.

    Returns
    -------
    str
        The value of ``slice=``; empty for everything.

    Raises
    ------
    OutOfRangeError
        For an integer outside its axis, or more indexes than axes.
    InvalidTypeError
        For new axes, masks, arrays of positions, and what is no index.

    Examples
    --------
    >>> written((1, ..., slice(None, None, -1)), (2, 3, 4))
    '1,0:3,3::-1'
    """
    parts: list[str] = []
    whole = True
    for part, length in _aligned(_expanded(index), shape):
        if isinstance(part, slice):
            _sliced(part, length)
            chosen = range(length)[part]
            whole = whole and chosen == range(length)
            parts.append(_range_text(chosen))
        elif isinstance(part, int):
            whole = False
            parts.append(str(_checked(part, length, len(parts))))
        elif part is not Ellipsis:
            raise InvalidTypeError("an export takes integers and slices; read the array for other indexes")
    return "" if whole else ",".join(parts)


def _range_text(chosen: range) -> str:
    if not chosen:
        return "0:0"
    if chosen.step > 0:
        return _written(slice(chosen.start, chosen[-1] + 1, chosen.step))
    stop = "" if chosen[-1] == 0 else chosen[-1] - 1
    return f"{chosen.start}:{stop}:{chosen.step}"


def pieces(
    slices: Sequence[slice], itemsize: int, limit_bytes: int, chunk_rows: int = 1
) -> Iterator[tuple[tuple[slice, ...], int, int]]:
    """Cut a selection into requests whose answers lie one after the other in memory.

    Parameters
    ----------
    slices : sequence of slice
        One for each axis, bounded, with positive steps.
    itemsize : int
        Size of one element, bytes.
    limit_bytes : int
        The most that one answer may hold (one element at least).
    chunk_rows : int, default 1
        Pieces along the first axis hold a multiple of this many rows where the limit allows it.

    Yields
    ------
    tuple
        The slices of a request, and where its answer starts and stops in the result, bytes.
    """
    yield from _split(tuple(slices), itemsize, limit_bytes, chunk_rows)


def _split(
    slices: tuple[slice, ...], itemsize: int, limit: int, chunk_rows: int
) -> Iterator[tuple[tuple[slice, ...], int, int]]:
    lengths = [len(range(cut.start, cut.stop, cut.step)) for cut in slices]
    total = itemsize * math.prod(lengths)
    if total <= limit or not slices:
        yield slices, 0, total
        return
    row_bytes = total // lengths[0]
    if row_bytes > limit:
        yield from _rows_apart(slices, lengths[0], row_bytes, (itemsize, limit))
        return
    rows = limit // row_bytes
    rows = rows // chunk_rows * chunk_rows or rows
    for first in range(0, lengths[0], rows):
        last = min(first + rows, lengths[0])
        yield (_part(slices[0], first, last), *slices[1:]), first * row_bytes, last * row_bytes


def _rows_apart(
    slices: tuple[slice, ...], rows: int, row_bytes: int, sizes: tuple[int, int]
) -> Iterator[tuple[tuple[slice, ...], int, int]]:
    """Split each row by itself: one row alone is over the limit."""
    for row in range(rows):
        head = _part(slices[0], row, row + 1)
        for tail, start, stop in _split(slices[1:], *sizes, 1):
            yield (head, *tail), row * row_bytes + start, row * row_bytes + stop


def _part(cut: slice, first: int, last: int) -> slice:
    """Return the elements first … last of a slice as a slice of the array."""
    start = cut.start + first * cut.step
    return slice(start, min(cut.start + (last - 1) * cut.step + 1, cut.stop), cut.step)


def _written(cut: slice) -> str:
    return f"{cut.start}:{cut.stop}" + ("" if cut.step == 1 else f":{cut.step}")


def _expanded(index: Any) -> list[Any]:
    """Return the index as a list, masks replaced by the positions of their true elements."""
    parts: list[Any] = []
    for part in index if isinstance(index, tuple) else (index,):
        if part is None or part is Ellipsis or isinstance(part, slice):
            parts.append(part)
        elif isinstance(part, (bool, np.bool_)):
            raise InvalidTypeError("a single True or False is no index; give an integer, a slice or a mask")
        else:
            parts.extend(_positions(part))
    return parts


def _positions(part: Any) -> list[Any]:
    if isinstance(part, (list, np.ndarray)) and np.ndim(part):
        array = np.asarray(part)
        if array.dtype == bool:
            return [_Mask(found, length) for found, length in zip(array.nonzero(), array.shape, strict=True)]
        if array.size == 0:
            array = array.astype(np.intp)
        if array.dtype.kind in "iu":
            return [array]
    else:
        try:
            return [operator.index(part)]
        except TypeError:
            pass
    raise InvalidTypeError(
        f"{part!r} is no index of an array; give integers, slices, '...', or arrays of integers or booleans"
    )


@dataclass(frozen=True, slots=True)
class _Mask:
    """The positions of true elements along one axis of a mask, and the length that this axis has."""

    positions: np.ndarray[Any, Any]
    length: int


def _aligned(parts: list[Any], shape: Shape) -> Iterator[tuple[Any, int]]:
    """Pair each part with the length of its axis, '...' filled in and missing axes added."""
    given = sum(part is not None and part is not Ellipsis for part in parts)
    if given > len(shape):
        raise OutOfRangeError(f"{given} indexes for an array of {len(shape)} axes; give at most {len(shape)}")
    if sum(part is Ellipsis for part in parts) > 1:
        raise OutOfRangeError("an index may hold '...' only once; write the other axes as ':'")
    lengths = iter(shape)
    missing = len(shape) - given
    has_ellipsis = any(part is Ellipsis for part in parts)
    for part in parts if has_ellipsis else [*parts, Ellipsis]:
        if part is Ellipsis:
            yield from ((_WHOLE, next(lengths)) for _ in range(missing))
            # Where it stands for no axis it still means: an array, never a scalar.
            if has_ellipsis and not missing:
                yield Ellipsis, -1
        else:
            yield part, -1 if part is None else next(lengths)


def _axis(part: Any, length: int, axis: int) -> tuple[slice, Any]:
    if isinstance(part, slice):
        return _sliced(part, length)
    if isinstance(part, int):
        position = _checked(part, length, axis)
        return slice(position, position + 1, 1), 0
    return _picked(part, length, axis)


def _sliced(part: slice, length: int) -> tuple[slice, slice]:
    try:
        chosen = range(length)[part]
    except (TypeError, ValueError) as error:
        raise InvalidTypeError(f"{part!r} is no slice of an array: {error}") from None
    if not chosen:
        return slice(0, 0, 1), _WHOLE
    if chosen.step > 0:
        return slice(chosen.start, chosen[-1] + 1, chosen.step), _WHOLE
    return slice(chosen[-1], chosen.start + 1, -chosen.step), slice(None, None, -1)


def _picked(part: Any, length: int, axis: int) -> tuple[slice, Any]:
    if isinstance(part, _Mask):
        if part.length != length:
            raise OutOfRangeError(f"a mask of length {part.length} for axis {axis} of length {length}")
        part = part.positions
    if part.size == 0:
        return slice(0, 0, 1), part
    for outermost in (int(part.min()), int(part.max())):
        _checked(outermost, length, axis)
    positions = np.where(part < 0, part + length, part)
    low, high = int(positions.min()), int(positions.max())
    return slice(low, high + 1, 1), positions - low


def _checked(position: int, length: int, axis: int) -> int:
    if not -length <= position < length:
        raise OutOfRangeError(f"index {position} is outside axis {axis} of length {length}")
    return position + length if position < 0 else position
