"""Own the hold on a file's log that makes look-ups cheap while many of them follow each other.

Each look-up locks the log and lets it go again: two system calls, which take as long as finding the row.
SQLite asks the system for such a lock only once for all connections of a process. While one more connection
stays in a read transaction, the others look up without a call, and see every commit as before.

Such a transaction keeps the log from being begun anew. So it is there only while nobody commits, and ends
soon after the last look-up.

>>> hold = Hold(":memory:")
>>> hold.note(), hold.is_held
(None, False)
"""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any

from holdfast.database import opening
from holdfast.errors import HoldfastError

__all__ = ["LOOK_UPS", "TICK_S", "Hold"]

LOOK_UPS = 64
"""After so many look-ups `Hold.note` is to be called."""

TICK_S = 0.05
"""How long the log is held after a commit or the last look-ups, and not held after a commit."""


class Hold:
    """Hold the log of one file while it is looked into often and not written.

    Parameters
    ----------
    path : str
        The database; one in memory or without a log is never held.

    Attributes
    ----------
    is_held : bool
        Whether look-ups are cheap now.
    """

    def __init__(self, path: str) -> None:
        self._path, self._lock, self._end = path, threading.Lock(), threading.Event()
        self._connection: sqlite3.Connection | None = None
        self._thread: threading.Thread | None = None
        self._seen: int | None = None
        self._noted_s = self._written_s = 0.0
        self._is_used = self.is_held = False

    def note(self) -> None:
        """Take note of `LOOK_UPS` more look-ups: take hold, or keep it, if they follow each other quickly."""
        self._is_used = True
        if self.is_held or self._path == opening.MEMORY:
            return
        before, self._noted_s = self._noted_s, time.monotonic()
        if self._noted_s - before < TICK_S:
            with self._lock:
                if not self._end.is_set() and not self.is_held:
                    self._take()

    def end(self) -> None:
        """Let go for ever, and leave no thread behind."""
        self._end.set()
        if self._thread is threading.current_thread():
            return  # the garbage collector, at work in the hold's own thread: that lets go next
        with self._lock:
            self._drop()
            thread = self._thread
        if thread is not None:
            thread.join()

    # With the lock ------------------------------------------------------------------------------------

    def _take(self) -> None:
        try:
            if self._connection is None:
                self._connection = opening.connect(self._path, read_only=True)
            if self._is_quiet() and self._noted_s - self._written_s > TICK_S and self._has_log():
                self._begin()
                thread = threading.Thread(target=self._keep, name="holdfast-hold", daemon=True)
                thread.start()
                self._thread = thread
        except (sqlite3.Error, HoldfastError, RuntimeError):
            # No thread, no file any more: all works without as well, and who reads tells what is wrong.
            self._drop()

    def _is_quiet(self) -> bool:
        """Tell whether nobody committed since the last call."""
        version, self._seen = self._seen, self._value("PRAGMA data_version")
        if version != self._seen:
            self._written_s = time.monotonic()
        return version == self._seen

    def _has_log(self) -> bool:
        return bool(self._value("PRAGMA journal_mode") == "wal")

    def _begin(self) -> None:
        assert self._connection is not None
        self._connection.execute("BEGIN")
        self._value("SELECT count(*) FROM sqlite_master")
        self.is_held = True

    def _value(self, statement: str) -> Any:
        assert self._connection is not None
        return self._connection.execute(statement).fetchone()[0]

    def _drop(self) -> None:
        self.is_held, self._seen = False, None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # In a thread of its own ---------------------------------------------------------------------------

    def _keep(self) -> None:
        while not self._end.wait(TICK_S):
            with self._lock:
                self._renew()
                if not self.is_held:
                    return
        with self._lock:
            self._drop()

    def _renew(self) -> None:
        is_used, self._is_used, self.is_held = self._is_used, False, False
        if self._connection is None:
            return
        try:
            self._connection.execute("COMMIT")
            if self._is_quiet() and is_used:
                self._begin()
        except sqlite3.Error:
            self._drop()
