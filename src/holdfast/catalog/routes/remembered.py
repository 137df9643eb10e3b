"""Own recent answers about nodes: given again as long as the database has not changed.

It does not know what is in them.

>>> from holdfast.catalog.routes.remembered import Remembered
>>> changes = [0]
>>> remembered = Remembered(lambda: changes[0])
>>> remembered.answer("a", lambda: (b"first", None)), remembered.answer("a", lambda: (b"second", None))
(b'first', b'first')
>>> changes[0] = 1
>>> remembered.answer("a", lambda: (b"third", None))
b'third'
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeAlias

__all__ = ["Lasting", "Remembered"]

Lasting: TypeAlias = tuple[bytes, Callable[[], bool] | None]
"""An answer, and what tells whether it still holds."""

MAX_BYTES = 16 * 1024 * 1024
MAX_ANSWER_BYTES = 1024 * 1024


class Remembered:
    """Keep answers until the database changes, in bounded memory; safe across threads.

    Parameters
    ----------
    change : callable
        Gives another value after each commit of any process.
    """

    def __init__(self, change: Callable[[], Hashable]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._forget(None)

    def answer(self, question: Hashable, make: Callable[[], Lasting]) -> bytes:
        """Return the answer to a question.

        Parameters
        ----------
        question : hashable
            Everything that the answer depends on besides the database.
        make : callable
            Makes the answer, and what tells whether it still holds (None: as long as the database).

        Returns
        -------
        bytes
            The answer as of now.
        """
        # Asked before making: a commit meanwhile leaves an answer that is dropped at the next question.
        now = self._change()
        with self._lock:
            if now != self._at:
                self._forget(now)
            known = self._answers.get(question)
            if known is not None:
                self._answers.move_to_end(question)
        if known is not None and (known[1] is None or known[1]()):
            return known[0]
        made = make()
        if len(made[0]) <= MAX_ANSWER_BYTES:
            self._keep(now, question, made)
        return made[0]

    def _keep(self, at: Hashable, question: Hashable, made: Lasting) -> None:
        with self._lock:
            if at != self._at:
                return
            replaced = self._answers.pop(question, None)
            self._bytes += len(made[0]) - (len(replaced[0]) if replaced else 0)
            self._answers[question] = made
            while self._bytes > MAX_BYTES:
                self._bytes -= len(self._answers.popitem(last=False)[1][0])

    def _forget(self, at: Hashable) -> None:
        self._at = at
        self._answers: OrderedDict[Hashable, Lasting] = OrderedDict()
        self._bytes = 0
