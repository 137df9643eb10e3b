r"""Own the lines that a server writes for its operator: together, a tenth of a second late, warnings at once.

It does not decide what is logged.

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
from typing import TextIO

__all__ = ["Logbook"]

_MOST_LINES = 1000


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
