"""Answers brought back into the order of their questions.

Owns the waiting; knows nothing of what is asked.

>>> order = InOrder()
>>> order.expect("a"); order.expect("b"); order.put("b", 2)
>>> order.take(), len(order)
([], 2)
>>> order.put("a", 1); order.take()
[1, 2]
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ["InOrder"]

T = TypeVar("T")

_PATIENCE_S = 3.0


class InOrder(Generic[T]):
    """Values that come in any order and are taken in that of their names.

    Parameters
    ----------
    patience_s : float
        How long the others wait for one that is late, in seconds.
    """

    def __init__(self, patience_s: float = _PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._values: OrderedDict[str, list[T]] = OrderedDict()
        self._since = time.monotonic()

    def __len__(self) -> int:
        return len(self._values)

    def expect(self, name: str) -> None:
        """Say that a value will come."""
        self._values[name] = []

    def put(self, name: str, value: T) -> None:
        """Give the value of a name; one that is no more expected comes at the end."""
        self._values.setdefault(name, []).append(value)

    def drop(self, name: str) -> None:
        """Say that no value will come."""
        self._values.pop(name, None)

    def take(self, *, is_last: bool = False) -> list[T]:
        """Return the values that are next; all there are when one is too late, or at the end."""
        taken: list[T] = []
        while self._values:
            name = next(iter(self._values))
            if not self._values[name]:
                break
            taken += self._values.pop(name)
        now = time.monotonic()
        if taken:
            self._since = now
        elif is_last or now - self._since > self._patience_s:
            ready = [name for name, value in self._values.items() if value]
            taken = [value for name in ready for value in self._values.pop(name)]
        return taken
