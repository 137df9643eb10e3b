"""Own the room in a write-ahead log: written ahead in steps, so that a commit waits for its own pages only.

A commit that makes the log longer waits for the file system's journal as well: about half as long again.

>>> LogRoom("catalog.db").path
'catalog.db-wal'
"""

from __future__ import annotations

import contextlib
import os

__all__ = ["LogRoom"]

# It is looked at now and then: a look costs as much as a look-up.
_CALLS = 8
_WORTH_BYTES = 64 * 1024
_STEP_BYTES = 1024 * 1024
# SQLite begins anew at the front after 4,000 pages; what waits longer for a reader is left to it.
_MOST_BYTES = 20 * 1024 * 1024
# Larger pieces would lie in large units of the system's memory, which cost more to change one page of.
_PIECE = bytes(16 * 1024)


class LogRoom:
    """Keep a log longer than what is in it.

    Parameters
    ----------
    path : str
        The database.

    Notes
    -----
    Zeros behind the last commit are no commits: SQLite stops reading a log where a frame is not valid.
    """

    __slots__ = ("_calls", "_size", "path")

    def __init__(self, path: str) -> None:
        self.path, self._size, self._calls = path + "-wal", -1, 0

    def make(self) -> None:
        """Write a step ahead if the log grew since the last time; for the holder of the write lock only."""
        calls, self._calls = self._calls, self._calls + 1
        if calls % _CALLS:
            return
        # The log may be opened beside SQLite: its locks lie on the other two files. A full disk is told by
        # the commit, which then fails; here it only costs the room.
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            try:
                self._look(descriptor)
            finally:
                os.close(descriptor)

    def _look(self, descriptor: int) -> None:
        # Who asks for the size by stat sees the times, too: Linux then gives the next commit a new one, which
        # takes as long again as a third of its wait for the disk.
        size = os.lseek(descriptor, 0, os.SEEK_END)
        grew, self._size = 0 <= self._size < size, size
        if grew and _WORTH_BYTES <= size < _MOST_BYTES:
            for _ in range(0, _STEP_BYTES, len(_PIECE)):
                self._size += os.write(descriptor, _PIECE)
