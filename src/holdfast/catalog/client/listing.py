"""Listings of a container's entries that are fetched as far as they are looked at.

>>> window(slice(-3, None), 10), window(slice(2, 8, 2), None)
((7, 10, slice(None, None, 1)), (2, 8, slice(None, None, 2)))
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar, overload

from holdfast.errors import InvalidTypeError, OutOfRangeError
from holdfast.types import Json

__all__ = ["Entries", "Listing", "window"]

T = TypeVar("T")


class Entries(Protocol):
    """Where a listing takes its entries from."""

    def __len__(self) -> int:
        """Return how many there are, exactly."""
        ...

    def fetch(self, start: int, stop: int | None, *, keys_only: bool) -> Iterator[Json]:
        """Give the descriptions of the entries start … stop."""
        ...


class Listing(Sequence[T], Generic[T]):
    """List keys, nodes, or pairs of both, in the order of their container.

    Parameters
    ----------
    entries : Entries
        The container or search result.
    make : callable
        Makes a member of the description of an entry.
    keys_only : bool
        Whether descriptions without content are enough.

    Notes
    -----
    Nothing is kept: each look asks anew, in pages that the server allows, and continues by cursor, so that
    entries which others add meanwhile never make one appear twice.
    """

    def __init__(self, entries: Entries, make: Callable[[Json], T], *, keys_only: bool = False) -> None:
        self._entries = entries
        self._make = make
        self._keys_only = keys_only

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[T]:
        return self._between(0, None)

    def _between(self, start: int, stop: int | None) -> Iterator[T]:
        for item in self._entries.fetch(start, stop, keys_only=self._keys_only):
            yield self._make(item)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            ahead = (index.start or 0) >= 0 and (index.stop or 0) >= 0 and (index.step or 1) > 0
            start, stop, picked = window(index, None if ahead else len(self))
            return list(self._between(start, stop))[picked] if stop is None or stop > start else []
        try:
            position = operator.index(index)
        except TypeError:
            kind = type(index).__name__
            raise InvalidTypeError(f"a listing takes integers and slices, not {kind}") from None
        position += len(self) if position < 0 else 0
        found = list(self._between(position, position + 1)) if position >= 0 else []
        if not found:
            raise OutOfRangeError(f"entry {index} is outside a listing of {len(self)}")
        return found[0]

    def head(self, count: int = 5) -> list[T]:
        """Return the first entries."""
        return self[: max(count, 0)]

    def tail(self, count: int = 5) -> list[T]:
        """Return the last entries, in the order of the listing."""
        return self[max(len(self) - max(count, 0), 0) :]

    def first(self) -> T:
        """Return the first entry.

        Raises
        ------
        OutOfRangeError
            When there is none.
        """
        return self[0]

    def last(self) -> T:
        """Return the last entry.

        Raises
        ------
        OutOfRangeError
            When there is none.
        """
        return self[-1]

    def __repr__(self) -> str:
        shown = [repr(member) for member in self[:6]]
        more = f", … {len(self)} in all" if len(shown) > 5 else ""
        return f"[{', '.join(shown[:5])}{more}]"


def window(index: slice, length: int | None) -> tuple[int, int | None, slice]:
    """Return which entries a slice needs, and what it picks of them.

    Parameters
    ----------
    index : slice
        As lists take it.
    length : int or None
        Of the listing; None when the slice only counts from the start and forwards.

    Returns
    -------
    tuple of (int, int or None, slice)
        Start and stop (None for the end) of what to fetch, and the slice of that.

    Raises
    ------
    InvalidTypeError
        When the slice is none that a list takes.
    """
    try:
        if length is None:
            return index.start or 0, index.stop, slice(None, None, index.step)
        chosen = range(length)[index]
    except (TypeError, ValueError) as error:
        raise InvalidTypeError(f"{index!r} is no slice of a listing: {error}") from None
    if not chosen:
        return 0, 0, slice(None)
    low, high = min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1])
    return low, high + 1, slice(None, None, chosen.step)
