"""Own what was quick a moment ago and is expected to be so again: open files whose bytes are in memory.

It reads nothing: it is told how long reads take.

>>> from holdfast.catalog.routes.quick import Quick
>>> quick = Quick()
>>> quick.is_expected("a")
False
>>> with quick.timing("a"):
...     pass
>>> quick.is_expected("a")
True
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

__all__ = ["Quick"]

QUICK_S = 0.0005
"""What takes longer is not quick, seconds."""

EXPECTED_S = 2.0
"""How long it is expected to stay so, seconds: a disk that stops answering holds up one request at most."""

MAX_KEPT = 4096


class Quick:
    """Remember for a short time which questions were answered quickly; safe across threads."""

    def __init__(self) -> None:
        self._until: dict[Hashable, float] = {}

    def is_expected(self, question: Hashable) -> bool:
        """Tell whether a question was answered quickly a moment ago."""
        return self._until.get(question, 0.0) > time.monotonic()

    @contextmanager
    def timing(self, question: Hashable) -> Iterator[None]:
        """Time the answer to a question."""
        started = time.monotonic()
        yield
        ended = time.monotonic()
        if ended - started > QUICK_S:
            self._until.pop(question, None)
            return
        if len(self._until) >= MAX_KEPT:
            self._until = {}
        self._until[question] = ended + EXPECTED_S
