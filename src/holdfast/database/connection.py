"""Own the use of one SQLite file: readers from a pool, one writer with group commit, safe across fork.

It knows no table of any face. A face describes its own in a `Schema`, in a module of this room.

>>> notes = SqliteFile(":memory:", Schema("holdfast-notes", ("CREATE TABLE notes (text TEXT)",)))
>>> _ = notes.write(lambda connection: connection.execute("INSERT INTO notes VALUES ('a')"))
>>> with notes.read() as connection:
...     connection.execute("SELECT text FROM notes").fetchall()
[('a',)]
>>> notes.close()
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from holdfast import files
from holdfast.database import forks, opening
from holdfast.database.faults import sqlite_errors, translated
from holdfast.database.leasing import Exclusive, Job, Lease, LookUps
from holdfast.database.opening import MEMORY
from holdfast.database.schema import Schema, about, check, set_about
from holdfast.errors import BusyError, ConflictError, NotFoundError, ReadOnlyError
from holdfast.types import Durability, PathLike

__all__ = ["Schema", "SqliteFile"]

T = TypeVar("T")
_PAUSE_S = 5.0


class SqliteFile(LookUps):
    """Use one SQLite file from any number of threads and processes.

    Parameters
    ----------
    path : path-like
        The file, or ``":memory:"``.
    schema : Schema
        What it holds.
    read_only : bool, default False
        Never write, nor make the file; works on a medium that cannot be written.
    create : bool, default True
        Make the file when it is absent.
    durability : {"sync", "group", "os"}
        What a commit waits for: the disk, the system with the disk following within 50 ms, or the system.

    Raises
    ------
    NotFoundError
        When the file is absent and shall not be made.
    UnreadableError
        When it is damaged or something else.
    NewerFormatError, OldFormatError
        When it was made by another release; see ``schema``.

    Notes
    -----
    Pickles by path. After a fork parent and child open their own connections at the next use. ``close`` of
    the last user leaves one file, without log. Nested transactions of one thread are refused.
    """

    def __init__(
        self,
        path: PathLike,
        schema: Schema,
        *,
        read_only: bool = False,
        create: bool = True,
        durability: Durability = "sync",
    ) -> None:
        self.path = os.fspath(path) if os.fspath(path) == MEMORY else os.path.abspath(path)
        self.schema, self.read_only, self.durability = schema, read_only, durability
        if not create and not os.path.exists(self.path):
            raise NotFoundError(f"there is no database {self.path}; make it with 'holdfast index'")
        self._fresh()
        with sqlite_errors(self.path):
            self._open(build=create and not read_only)
        forks.watch(self)

    def _fresh(self) -> None:
        # Reentrant: the garbage collector may give a connection back while another is being borrowed.
        self._lock = threading.RLock()
        self._state = threading.Condition(self._lock)
        self._writing = threading.Lock()
        self._looking = threading.Lock()
        if self.path == MEMORY:
            self._looking.acquire()  # its one connection, which is for all, cannot be kept
        self._kept = None
        self._watching = threading.Lock()
        self._writer_thread: int | None = None
        self._idle: list[sqlite3.Connection] = []
        self._leased: dict[sqlite3.Connection, int] = {}
        self._jobs: list[Job] = []
        self._writer: sqlite3.Connection | None = None
        self._watcher: sqlite3.Connection | None = None
        self._epoch = time.monotonic_ns()
        self._is_paused = self._holds_writing = self._holds_looking = self.is_closed = False

    def _open(self, *, build: bool) -> None:
        connection = opening.connect(self.path, read_only=self.read_only, durability=self.durability)
        try:
            version = check(connection, self.schema, self.path, writing=not self.read_only)
            if not self.read_only:
                opening.start_log(connection, self.path)
            if version == 0:
                self._build(connection, allowed=build)
        except BaseException:
            connection.close()
            raise
        self.give_back(connection)

    def _build(self, connection: sqlite3.Connection, *, allowed: bool) -> None:
        if not allowed:
            raise NotFoundError(f"the database {self.path} is empty; make it with 'holdfast index'")
        with Exclusive(connection, self.path):
            if check(connection, self.schema, self.path, writing=True) == 0:
                self.schema.build(connection)

    # -- reading ---------------------------------------------------------------------------------------

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

    def about(self, name: str) -> str | None:
        """Return a fact that the file says of itself, or None.

        Parameters
        ----------
        name : str
            For example ``"release"``.

        Returns
        -------
        str or None
            Its value.
        """
        with self.lease() as connection:
            return about(connection, name)

    set_about = staticmethod(set_about)

    # -- writing ---------------------------------------------------------------------------------------

    def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function in a transaction that it may share with others who wait: one commit for all.

        Parameters
        ----------
        function : callable
            Takes the connection; all or nothing of what it does is kept. It must not wait for other threads.

        Returns
        -------
        object
            What the function returned, once it is as durable as ``durability`` says.

        Raises
        ------
        ReadOnlyError
            When the file was opened for reading.
        Exception
            What the function raised; the others are not touched by it.
        """
        self._check_writable()
        job = Job(function)
        self._jobs.append(job)
        with self._writing:
            if not job.is_done:
                self._commit_waiting()
        if isinstance(job.error, sqlite3.Error):
            raise translated(job.error, self.path) from job.error
        if job.error is not None:
            raise job.error
        return cast("T", job.result)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give a connection in one transaction, committed at the end of the block, undone by an exception.

        Yields
        ------
        sqlite3.Connection
            No other thread or process writes meanwhile.

        Raises
        ------
        ReadOnlyError
            When the file was opened for reading.
        BusyError
            When another process keeps writing for too long.
        """
        self._check_writable()
        with self._writing:
            self._writer_thread = threading.get_ident()
            try:
                with self.lease() as connection, Exclusive(connection, self.path):
                    yield connection
            finally:
                self._writer_thread = None
        self._flush_later()

    def _check_writable(self) -> None:
        if self.read_only:
            raise ReadOnlyError(f"{self.path} was opened for reading; open it for writing")
        if self._writer_thread == threading.get_ident():
            raise BusyError(f"a transaction of this thread is open on {self.path}; use its connection")

    def _commit_waiting(self) -> None:
        jobs, self._jobs = self._jobs, []
        self._writer_thread = threading.get_ident()
        commit = Job(lambda connection: None)
        with commit, self.lease() as connection, Exclusive(connection, self.path):
            for job in jobs:
                job.run(connection)
        self._writer_thread = None
        for job in jobs:
            job.error, job.is_done = job.error or commit.error, True
        self._flush_later()

    def _flush_later(self) -> None:
        if self.durability == "group" and self.path != MEMORY:
            # The log is safe to open beside SQLite (its locks lie on the other two files).
            files.flush_later(("sqlite", self.path), lambda: _sync_log(self.path))

    # -- connections -----------------------------------------------------------------------------------

    def borrow(self) -> sqlite3.Connection:
        """Take a connection out of the pool; `lease` gives it back by itself."""
        with self._lock:
            while self._is_paused or (self.path == MEMORY and not self._idle and not self.is_closed):
                self._state.wait()
            self._check_open()
            connection = self._idle.pop() if self._idle else self._connect()
            self._leased[connection] = threading.get_ident()
        return connection

    def _connect(self) -> sqlite3.Connection:
        with sqlite_errors(self.path):
            connection = opening.connect(self.path, read_only=self.read_only, durability=self.durability)
            if not self.read_only:
                opening.start_log(connection, self.path)
        return connection

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Put a connection back that `borrow` gave."""
        with self._lock:
            self._leased.pop(connection, None)
            if self.is_closed:
                self._close_last(connection) if not self._leased else connection.close()
            else:
                self._idle.append(connection)
            if self._is_paused or self.path == MEMORY:
                self._state.notify_all()

    def _check_open(self) -> None:
        if self.is_closed:
            raise ConflictError(f"{self.path} is closed; open it again")

    def close(self) -> None:
        """Close all connections; the last user of the file leaves it without log, as one file."""
        with self._writing, self._no_look_ups(), self._lock:
            idle, self._idle = self._idle, []
            self.is_closed = True
            self._close_watcher()
            self._state.notify_all()
        for connection in idle[1:]:
            connection.close()
        if idle:
            self._close_last(idle[0])

    def _close_last(self, connection: sqlite3.Connection) -> None:
        if self.read_only or self.path == MEMORY:
            connection.close()
        else:
            opening.rest(connection)

    def _close_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "is_closed", True):
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path, self.schema, self.read_only, self.durability)

    # -- fork ------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Close what is idle and wait for what is in use by other threads, before a fork."""
        me, deadline = threading.get_ident(), time.monotonic() + _PAUSE_S
        self._holds_writing = self._writer_thread != me and self._writing.acquire(timeout=_PAUSE_S)
        self._holds_looking = self._stop_looking(_PAUSE_S)
        self._state.acquire()
        self._is_paused = True
        while any(thread != me for thread in self._leased.values()) and time.monotonic() < deadline:
            self._state.wait(deadline - time.monotonic())
        if self.path != MEMORY:
            while self._idle:
                self._idle.pop().close()
        with self._watching:
            self._close_watcher()
            self._epoch = time.monotonic_ns()

    def resume(self) -> None:
        """Go on in the parent, after a fork."""
        self._is_paused = False
        self._state.notify_all()
        self._state.release()
        if self._holds_looking:
            self._looking.release()
        if self._holds_writing:
            self._writing.release()

    def abandon(self) -> None:
        """Start anew in the child, after a fork; connections that were in use stay the parent's."""
        for connection in self._leased:
            forks.leave_behind(connection)
        idle, is_closed = self._idle, self.is_closed
        self._fresh()
        # What is idle still is the one connection of a database in memory.
        self._idle, self.is_closed = idle, is_closed


def _sync_log(path: str) -> None:
    if os.path.exists(path + "-wal"):
        files.sync_file(path + "-wal")


def _reopened(path: str, schema: Schema, read_only: bool, durability: Durability) -> SqliteFile:
    return SqliteFile(path, schema, read_only=read_only, durability=durability)
