"""Progress of long work: how much is done, how fast, and when it will end.

Owns the arithmetic and the events; counts nothing itself.
"""

from __future__ import annotations

import time

from holdfast.events import EventBus, ProgressEnd, ProgressStart, ProgressStep

__all__ = ["Progress", "progress_line"]

_EVERY_S = 0.2


class Progress:
    """Events of one operation, a few a second.

    Parameters
    ----------
    bus : EventBus
        Who is told.
    operation : str
        Its name: ``index``, ``digest`` or ``check``.
    what : str
        What is counted, in the plural.
    source : object
        Whose operation it is.

    Events
    ------
    ProgressStart, ProgressStep, ProgressEnd
        The message of a step has the count, the rate and the time that is left.
    """

    def __init__(self, bus: EventBus, operation: str, what: str, source: object = None) -> None:
        self._bus, self._operation, self._what, self._source = bus, operation, what, source
        self.began = time.monotonic()
        self._told = 0.0
        bus.emit(ProgressStart(source, operation, f"{operation} {source}"))

    def step(self, done: int, total: int = -1) -> None:
        """Say how far it is; `total` is -1 while it is not known."""
        now = time.monotonic()
        if now - self._told >= _EVERY_S:
            self._told = now
            message = progress_line(done, total, now - self.began, self._what)
            self._bus.emit(ProgressStep(self._source, self._operation, message, done, total))

    def end(self, message: str, exit_state: str = "normal") -> None:
        """Say that it ended."""
        self._bus.emit(ProgressEnd(self._source, self._operation, message, exit_state))


def progress_line(done: int, total: int, seconds: float, what: str) -> str:
    """Return a line such as ``1,200 of 5,000 files, 900 a second, 4 s left``."""
    rate = done / seconds if seconds > 0 else 0.0
    count = f"{done:,} of {total:,} {what}" if total >= 0 else f"{done:,} {what}"
    left = f", {_duration((total - done) / rate)} left" if rate and total > done else ""
    return f"{count}, {rate:,.0f} a second{left}"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
