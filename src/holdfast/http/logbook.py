r"""Own the lines that a server writes for its operator: together, a tenth of a second late, warnings at once.

It does not decide what is logged, nor where: that is for the standard library's logging and who sets it up.

>>> import io, logging
>>> stream = io.StringIO()
>>> logbook = Logbook(stream)
>>> logbook.handle(logging.makeLogRecord({"msg": "PUT /x 200", "levelno": logging.INFO}))
True
>>> logbook.flush()
>>> stream.getvalue()
'PUT /x 200\n'
"""

from __future__ import annotations

import logging
import time
from typing import TextIO

from holdfast.http.request import Request

__all__ = ["LineFormatter", "Logbook", "Writes"]

_MOST_LINES = 1000
_SAID_AT_ONCE = 100
_access_log = logging.getLogger("holdfast.access")


class Writes:
    """Keep who wrote what and when until there is time to log it."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, tuple[object, ...]]] = []

    def note(self, request: Request, status: int) -> bool:
        """Keep one write.

        Parameters
        ----------
        request : Request
            What was asked, and by whom.
        status : int
            Of the answer.

        Returns
        -------
        bool
            True when it must be logged now.
        """
        if not _access_log.isEnabledFor(logging.INFO):
            return False
        where, who = request.scope["path"], request.principal.name
        self._kept.append((time.time(), (request.method, where, status, who, request.client)))
        return request.direct or len(self._kept) >= _MOST_LINES

    def log(self) -> bool:
        """Log some of what is kept, the oldest first; return whether there is more."""
        kept, self._kept = self._kept[:_SAID_AT_ONCE], self._kept[_SAID_AT_ONCE:]
        if not kept:
            return False
        # What all records have in common is found out once: that is most of what a record costs.
        said = {"name": _access_log.name, "msg": "%s %s %s by %s from %s"}
        common = logging.makeLogRecord({"levelno": logging.INFO, "levelname": "INFO", **said}).__dict__
        for at, facts in kept:
            record = logging.LogRecord.__new__(logging.LogRecord)
            record.__dict__ = {**common, "created": at, "msecs": at % 1 * 1000, "args": facts}
            _access_log.handle(record)
        return bool(self._kept)


class LineFormatter(logging.Formatter):
    """Write the time, to the millisecond, and the message; times of one second are written once."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s")
        self._second, self._text = -1, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time of a record."""
        second = int(record.created)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        return f"{self._text},{int(record.msecs):03d}"


class Logbook(logging.StreamHandler[TextIO]):
    """Write lines together: what reads them is woken ten times a second, not for each.

    Parameters
    ----------
    stream : text stream, optional
        Where they go; default ``sys.stderr``.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line; a warning is written with all before it."""
        self._lines.append(self.format(record) + self.terminator)
        if record.levelno >= logging.WARNING or len(self._lines) >= _MOST_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what was taken."""
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            if lines:
                self.stream.write("".join(lines))
                self.stream.flush()
        finally:
            self.release()
