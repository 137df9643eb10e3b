"""Own the connections to one SQLite file: lent out one by one, closed together, never carried across a fork.

One connection is for whoever comes first: taking it is one atomic step, and its memory of the file stays good
through the commits that are made with it. Who finds it in use gets another. What is written is no business
of this module.

>>> pool = Pool(":memory:", read_only=False, durability="os")
>>> pool.give_back(opening.connect(":memory:", read_only=False))
>>> pool.one("SELECT 1")
(1,)
>>> pool.close()
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Hashable
from typing import Any

from holdfast.database import forks, opening
from holdfast.database.faults import sqlite_errors, translated
from holdfast.database.holding import LOOK_UPS, Hold
from holdfast.database.leasing import Lease
from holdfast.database.opening import MEMORY
from holdfast.errors import ConflictError
from holdfast.types import Durability

__all__ = ["PAUSE_S", "Pool"]

PAUSE_S = 5.0
"""How long a fork waits for what is in use."""


class Pool:
    """Lend connections to one file.

    Parameters
    ----------
    path : str
        The file, absolute, or `MEMORY`, which has one connection for all.
    read_only : bool
        Open for reading.
    durability : {"sync", "group", "os"}
        What a commit waits for.
    """

    def __init__(self, path: str, *, read_only: bool, durability: Durability) -> None:
        self.path, self.read_only, self.durability = path, read_only, durability
        self._fresh()

    def _fresh(self) -> None:
        # Reentrant: the garbage collector may give a connection back while another is being borrowed.
        self._lock = threading.RLock()
        self._state = threading.Condition(self._lock)
        self._watching = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._leased: dict[sqlite3.Connection, int] = {}
        self._first: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None  # of the first connection
        self._first_free = threading.Lock()
        self._first_thread = 0
        if self.path == MEMORY:
            self._first_free.acquire()  # all wait for the one connection in the same way
        self._watcher: sqlite3.Connection | None = None
        self._epoch = time.monotonic_ns()
        self._is_paused = self._holds_first = self.is_closed = False
        self._look_ups, self._hold = 0, Hold(self.path)

    # -- use -------------------------------------------------------------------------------------------

    def read(self) -> Lease:
        """Return a context that gives a connection in one read transaction: all statements see one state.

        Returns
        -------
        context manager of sqlite3.Connection
            Not to be kept after the block.
        """
        return Lease(self, begin=True)

    def lease(self) -> Lease:
        """Return a context that gives a connection in autocommit, for single quick statements.

        Returns
        -------
        context manager of sqlite3.Connection
            Each statement is its own transaction.
        """
        return Lease(self, begin=False)

    def one(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        """Return the first row of one quick statement, or None: the shortest way for single look-ups.

        Parameters
        ----------
        statement : str
            SQL, its own transaction.
        values : tuple
            What its question marks stand for.

        Returns
        -------
        tuple or None
            The row.
        """
        if not self._first_free.acquire(False):
            with self.lease() as connection:
                return connection.execute(statement, values).fetchone()
        try:
            self._look_ups += 1
            if not self._look_ups % LOOK_UPS:
                self._hold.note()
            return (self._first or self._taken_first()).execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        finally:
            self._first_free.release()
            if self.is_closed:
                self._close_last(self._retired_first())

    def found(self, statement: str, values: tuple[Any, ...]) -> Any:
        """Return the only row of one quick look-up by a key, or None: still shorter than `one`.

        Parameters
        ----------
        statement : str
            SQL that finds one row at most: the cursor is used again, and would keep reading any others.
        values : tuple
            What its question marks stand for.

        Returns
        -------
        tuple or None
            The row.
        """
        if not self._first_free.acquire(False):
            return self.one(statement, values)
        try:
            self._look_ups += 1
            if not self._look_ups % LOOK_UPS:
                self._hold.note()
            return (self._cursor or self._taken_cursor()).execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        finally:
            self._first_free.release()
            if self.is_closed:
                self._close_last(self._retired_first())

    def all(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Return all rows of one quick statement; see `one`.

        Parameters
        ----------
        statement : str
            SQL, its own transaction.
        values : tuple
            What its question marks stand for.

        Returns
        -------
        list of tuple
            The rows.
        """
        with self.lease() as connection:
            return connection.execute(statement, values).fetchall()

    def change(self) -> Hashable:
        """Return a token that differs after any commit of any process: what a cache compares.

        Returns
        -------
        hashable
            Equal to an earlier one only if nothing was committed since.
        """
        with self._watching, sqlite_errors(self.path):
            if self.path == MEMORY:
                with self.lease() as connection:
                    return self._epoch, connection.total_changes
            if self._watcher is None:
                self._check_open()
                self._watcher = opening.connect(self.path, read_only=True)
            return self._epoch, self._watcher.execute("PRAGMA data_version").fetchone()[0]

    # -- lending ---------------------------------------------------------------------------------------

    def borrow(self) -> sqlite3.Connection:
        """Take a connection; `lease` gives it back by itself."""
        if self._first_free.acquire(False):
            try:
                connection = self._first or self._taken_first()
            except BaseException:
                self._first_free.release()
                raise
            self._first_thread = threading.get_ident()
            return connection
        with self._lock:
            connection = self._taken()
            self._leased[connection] = threading.get_ident()
            return connection

    def _taken_first(self) -> sqlite3.Connection:
        self._first = self._taken()
        return self._first

    def _taken_cursor(self) -> sqlite3.Cursor:
        self._cursor = (self._first or self._taken_first()).cursor()
        return self._cursor

    def _taken(self) -> sqlite3.Connection:
        with self._lock:
            while self._is_paused or (self.path == MEMORY and not self._idle and not self.is_closed):
                self._state.wait()
            self._check_open()
            return self._idle.pop() if self._idle else self._connect()

    def _check_open(self) -> None:
        if self.is_closed:
            raise ConflictError(f"{self.path} is closed; open it again")

    def _connect(self) -> sqlite3.Connection:
        with sqlite_errors(self.path):
            connection = opening.connect(self.path, read_only=self.read_only, durability=self.durability)
            if not self.read_only:
                opening.start_log(connection, self.path)
        return connection

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Put a connection back that `borrow` gave."""
        if connection is self._first:
            self._first_thread = 0
            self._first_free.release()
            if self.is_closed:
                self._close_last(self._retired_first())
            return
        with self._lock:
            self._leased.pop(connection, None)
            if self.is_closed:
                self._close_last(connection)
            else:
                self._idle.append(connection)
            if self._is_paused or self.path == MEMORY:
                self._state.notify_all()

    # -- closing ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close all connections; the last user of the file leaves it without log, as one file."""
        with self._lock:
            if self.is_closed:
                return
            self.is_closed = True
            idle, self._idle = self._idle, []
            self._close_watcher()
            self._state.notify_all()
        self._hold.end()
        connections = [*idle, *filter(None, (self._retired_first(),))]
        for connection in connections[:-1]:
            connection.close()
        if connections:
            self._close_last(connections[-1])

    def _retired_first(self) -> sqlite3.Connection | None:
        """Return the first connection to be closed; None while it is in use: who uses it closes it."""
        if not self._first_free.acquire(False):
            return None
        connection, self._first, self._cursor = self._first, None, None
        self._first_free.release()
        return connection

    def _close_last(self, connection: sqlite3.Connection | None) -> None:
        """Close a connection, perhaps the last of all, which lays the file to rest."""
        if connection is None:
            return
        if self.read_only or self.path == MEMORY:
            connection.close()
            return
        # One after the other: two that close at the same moment would each find the other one there.
        with self._lock:
            opening.rest(connection)

    def _close_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    # -- fork ------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Close what is idle and wait for what is in use by other threads, before a fork."""
        me, deadline = threading.get_ident(), time.monotonic() + PAUSE_S
        if self.path != MEMORY and self._first_thread != me:
            self._holds_first = self._first_free.acquire(timeout=PAUSE_S)
        self._state.acquire()
        self._is_paused = True
        while any(thread != me for thread in self._leased.values()) and time.monotonic() < deadline:
            self._state.wait(deadline - time.monotonic())
        if self._holds_first and self._first is not None:
            self._first.close()
            self._first = self._cursor = None
        if self.path != MEMORY:
            while self._idle:
                self._idle.pop().close()
        self._hold.end()
        with self._watching:
            self._close_watcher()
            self._epoch = time.monotonic_ns()

    def resume(self) -> None:
        """Go on in the parent, after a fork."""
        self._is_paused, self._hold = False, Hold(self.path)
        self._state.notify_all()
        self._state.release()
        if self._holds_first:
            self._holds_first = False
            self._first_free.release()

    def abandon(self) -> None:
        """Start anew in the child, after a fork; connections that were in use stay the parent's."""
        for connection in (*self._leased, *filter(None, (self._first,))):
            forks.leave_behind(connection)
        if self._cursor is not None:
            forks.leave_behind(self._cursor)
        idle, is_closed = self._idle, self.is_closed
        self._fresh()
        # What is idle still is the one connection of a database in memory.
        self._idle, self.is_closed = idle, is_closed
