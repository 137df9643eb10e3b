"""Own how a connection is used: for a while, in a transaction, for one job among several, for look-ups.

>>> connection = sqlite3.connect(":memory:", isolation_level=None)
>>> with Exclusive(connection, ":memory:"):
...     _ = connection.execute("CREATE TABLE t (a)")
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol

from holdfast.database.faults import sqlite_errors, translated
from holdfast.database.opening import MEMORY

__all__ = ["Exclusive", "Job", "Lease", "LookUps"]


class _Lender(Protocol):
    path: str

    def borrow(self) -> sqlite3.Connection: ...

    def give_back(self, connection: sqlite3.Connection) -> None: ...


class Job:
    """Hold one function that waits for the next commit, and what came of it.

    As a context, it keeps the exception of its block to itself.
    """

    __slots__ = ("error", "function", "is_done", "result")

    def __init__(self, function: Callable[[sqlite3.Connection], Any]) -> None:
        self.function, self.is_done = function, False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Call the function between savepoints, so that its failure undoes its own part only."""
        connection.execute("SAVEPOINT job")
        with self:
            self.result = self.function(connection)
        if self.error is not None:
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = self.error or error
        return True


class Lease:
    """Give a connection of the pool for a ``with`` block."""

    __slots__ = ("_begin", "_connection", "_file")

    def __init__(self, file: _Lender, *, begin: bool) -> None:
        self._file, self._begin = file, begin

    def __enter__(self) -> sqlite3.Connection:
        self._connection = connection = self._file.borrow()
        if self._begin:
            connection.execute("BEGIN")
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection = self._connection
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        finally:
            self._file.give_back(connection)
        if isinstance(error, sqlite3.Error):
            raise translated(error, self._file.path) from error


class LookUps:
    """Keep one connection of a pool for single look-ups: to borrow one takes as long as to look something up.

    While one thread looks up, others borrow.
    """

    __slots__ = ("_connection", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def run(
        self, file: _Lender, statement: str, values: tuple[Any, ...], fetch: Callable[[sqlite3.Cursor], Any]
    ) -> Any:
        """Return what is fetched from one statement, which is its own transaction."""
        if file.path == MEMORY or not self._lock.acquire(blocking=False):  # memory has one connection for all
            with Lease(file, begin=False) as connection:
                return fetch(connection.execute(statement, values))
        try:
            if self._connection is None:
                self._connection = file.borrow()
            return fetch(self._connection.execute(statement, values))
        except sqlite3.Error as error:
            raise translated(error, file.path) from error
        finally:
            self._lock.release()

    def hold(self, file: _Lender, timeout_s: float = -1) -> bool:
        """Let nobody look up in this way until `release`, and give the connection back.

        Parameters
        ----------
        file : SqliteFile
            The pool.
        timeout_s : float
            How long to wait for who looks up just now; for ever by default.

        Returns
        -------
        bool
            False when that took too long.
        """
        if not self._lock.acquire(timeout=timeout_s):
            return False
        connection, self._connection = self._connection, None
        if connection is not None:
            file.give_back(connection)
        return True

    def release(self) -> None:
        """Let look-ups go on."""
        self._lock.release()

    @contextmanager
    def held(self, file: _Lender) -> Iterator[None]:
        """Hold for a block."""
        self.hold(file)
        try:
            yield
        finally:
            self.release()


class Exclusive:
    """Commit at the end of a ``with`` block; undo everything on an exception."""

    __slots__ = ("_connection", "_path")

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection, self._path = connection, path

    def __enter__(self) -> None:
        with sqlite_errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection = self._connection
        try:
            if error is None:
                connection.execute("COMMIT")
        except sqlite3.Error as failure:
            raise translated(failure, self._path) from failure
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
