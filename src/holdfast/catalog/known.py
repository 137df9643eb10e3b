"""What was looked up already, kept as long as the database has not changed.

Owns no facts: it is given what looks them up.

>>> changes = [0]
>>> known = Known(lambda: changes[0])
>>> known.get("a", lambda: 1), known.get("a", lambda: 2)
(1, 1)
>>> changes[0] = 1
>>> known.get("a", lambda: 3)
3
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Known"]

Value = TypeVar("Value")

MAX_VALUES = 4096


class Known(Generic[Value]):
    """Values by key until the database changes; bounded, safe across threads and forks.

    Parameters
    ----------
    change : callable
        Answers with another value after each commit of any process.
    """

    def __init__(self, change: Callable[[], Hashable]) -> None:
        self._change = change
        self._state: tuple[Hashable, dict[Hashable, Value]] = (None, {})

    def get(self, key: Hashable, look_up: Callable[[], Value]) -> Value:
        """Return the value of a key.

        Parameters
        ----------
        key : hashable
            What is looked up.
        look_up : callable
            Looks it up; None is not kept.
        """
        now = self._change()
        at, kept = self._state
        if now != at:
            # What is still being looked up for the old state goes into the old dictionary, and away with it.
            kept = {}
            self._state = (now, kept)
        value = kept.get(key)
        if value is None:
            value = look_up()
            if value is not None:
                if len(kept) >= MAX_VALUES:
                    kept.clear()
                kept[key] = value
        return value
