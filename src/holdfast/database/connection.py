"""Own the use of one SQLite file: what it says of itself, readers, one writer with group commit.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from holdfast import files
from holdfast.database import forks, opening
from holdfast.database.faults import sqlite_errors, translated
from holdfast.database.leasing import Exclusive, Job
from holdfast.database.log_room import LogRoom
from holdfast.database.opening import MEMORY
from holdfast.database.pool import PAUSE_S, Pool
from holdfast.database.schema import Schema, about, check, set_about
from holdfast.errors import BusyError, NotFoundError, ReadOnlyError
from holdfast.types import Durability, PathLike

__all__ = ["Schema", "SqliteFile"]

T = TypeVar("T")
# After so many writes without waiting the log is brought into the file. So it stays short, and soon begins
# anew at its front: there a commit does not make it longer.
_PROMPT_WRITES = 128
# Where that takes longer, it is left to who waits.
_QUICK_S = 0.003


class SqliteFile(Pool):
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
        place = os.fspath(path) if os.fspath(path) == MEMORY else os.path.abspath(path)
        super().__init__(place, read_only=read_only, durability=durability)
        self.schema = schema
        if not create and not os.path.exists(self.path):
            raise NotFoundError(f"there is no database {self.path}; make it with 'holdfast index'")
        with sqlite_errors(self.path):
            self._open(build=create and not read_only)
        forks.watch(self)

    def _fresh(self) -> None:
        super()._fresh()
        self._writing = threading.Lock()
        self._writer_thread: int | None = None
        self._jobs: list[Job] = []
        self._prompt: sqlite3.Connection | None = None
        self._prompt_writes, self._fold_s = 0, 0.0
        self._room = LogRoom(self.path)
        self._holds_writing = False

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

    # -- facts -----------------------------------------------------------------------------------------

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

    def write(self, function: Callable[[sqlite3.Connection], T], *, wait: bool = True) -> T:
        """Run a function in a transaction that it may share with others who wait: one commit for all.

        Parameters
        ----------
        function : callable
            Takes the connection; all or nothing of what it does is kept. It must not wait for other threads.
        wait : bool, default True
            Wait while others write. Without that only the disk is waited for, and the longer work on the log
            is left to `tend`, and to those who wait.

        Returns
        -------
        object
            What the function returned, once it is as durable as ``durability`` says.

        Raises
        ------
        ReadOnlyError
            When the file was opened for reading.
        BusyError
            When others write and ``wait`` is False: nothing was done.
        Exception
            What the function raised; the others are not touched by it.
        """
        self._check_writable()
        if not wait and self.path != MEMORY:
            return self._write_promptly(function)
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

    def tend(self) -> None:
        """Bring the log into the file if that is due and quick: for a moment in which nobody waits for it."""
        is_due = self._prompt_writes >= _PROMPT_WRITES and self._fold_s < _QUICK_S
        if is_due and self._writing.acquire(blocking=False):
            try:
                if self._prompt is not None:
                    self._fold_log(self._prompt)
            finally:
                self._writing.release()

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
                    self._make_room()
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
        commit = Job(lambda connection: None)
        with commit, self.lease() as connection:
            self._commit(jobs, connection)
            if self._prompt_writes >= _PROMPT_WRITES:
                self._fold_log(connection)
        for job in jobs:
            job.error, job.is_done = job.error or commit.error, True
        self._flush_later()

    def _commit(self, jobs: list[Job], connection: sqlite3.Connection) -> None:
        self._writer_thread = threading.get_ident()
        try:
            with Exclusive(connection, self.path):
                if len(jobs) == 1:
                    jobs[0].result = jobs[0].function(connection)
                else:
                    for job in jobs:
                        job.run(connection)
                self._make_room()
        finally:
            self._writer_thread = None

    def _fold_log(self, connection: sqlite3.Connection) -> None:
        """Bring the log into the file as far as no reader needs it; what was committed is safe in either."""
        self._prompt_writes, started = 0, time.monotonic()
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._fold_s = time.monotonic() - started

    def _write_promptly(self, function: Callable[[sqlite3.Connection], T]) -> T:
        if self._jobs or self._prompt_writes >= _PROMPT_WRITES or not self._writing.acquire(blocking=False):
            raise BusyError(f"{self.path} is being written; wait for it")
        try:
            self._writer_thread = threading.get_ident()
            result = self._write_alone(self._prompt or self._made_prompt(), function)
            self._prompt_writes += 1
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        finally:
            self._writer_thread = None
            self._writing.release()
        self._flush_later()
        return result

    def _made_prompt(self) -> sqlite3.Connection:
        self._check_open()
        self._prompt = self._connect()
        opening.be_prompt(self._prompt)
        return self._prompt

    def _write_alone(self, connection: sqlite3.Connection, function: Callable[[sqlite3.Connection], T]) -> T:
        # Written out: these few lines run before each answer to a small write, mostly with cold caches.
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = function(connection)
            self._make_room()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _make_room(self) -> None:
        if self.durability == "sync" and self.path != MEMORY:
            self._room.make()

    def _flush_later(self) -> None:
        if self.durability == "group" and self.path != MEMORY:
            # The log is safe to open beside SQLite (its locks lie on the other two files).
            files.flush_later(("sqlite", self.path), lambda: _sync_log(self.path))

    # -- closing ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close all connections; the last user of the file leaves it without log, as one file."""
        with self._writing:
            self._close_prompt()
            super().close()

    def _close_prompt(self) -> None:
        if self._prompt is not None:
            self._prompt.close()
            self._prompt = None

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
        """Let nobody write, and close the connections, before a fork."""
        is_mine = self._writer_thread == threading.get_ident()
        self._holds_writing = not is_mine and self._writing.acquire(timeout=PAUSE_S)
        if self._holds_writing:
            self._close_prompt()
        super().pause()

    def resume(self) -> None:
        """Go on in the parent, after a fork."""
        super().resume()
        if self._holds_writing:
            self._writing.release()

    def abandon(self) -> None:
        """Start anew in the child, after a fork; connections that were in use stay the parent's."""
        if self._prompt is not None:
            forks.leave_behind(self._prompt)
        super().abandon()


def _sync_log(path: str) -> None:
    if os.path.exists(path + "-wal"):
        files.sync_file(path + "-wal")


def _reopened(path: str, schema: Schema, read_only: bool, durability: Durability) -> SqliteFile:
    return SqliteFile(path, schema, read_only=read_only, durability=durability)
