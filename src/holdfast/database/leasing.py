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
    """Look up with a connection that is kept out of the pool: to borrow one takes as long as to look up.

    While one thread looks up, others borrow. The base of what lends connections.
    """

    path: str
    _looking: threading.Lock
    _kept: sqlite3.Connection | None

    def borrow(self) -> sqlite3.Connection:
        """Take a connection out of the pool."""
        raise NotImplementedError

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Put a connection back that `borrow` gave."""
        raise NotImplementedError

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
        if not self._looking.acquire(False):
            with Lease(self, begin=False) as connection:
                return connection.execute(statement, values).fetchone()
        try:
            return (self._kept or self._keep()).execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        finally:
            self._looking.release()

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
        if not self._looking.acquire(False):
            with Lease(self, begin=False) as connection:
                return connection.execute(statement, values).fetchall()
        try:
            return (self._kept or self._keep()).execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise translated(error, self.path) from error
        finally:
            self._looking.release()

    def _keep(self) -> sqlite3.Connection:
        self._kept = self.borrow()
        return self._kept

    def _stop_looking(self, timeout_s: float = -1) -> bool:
        """Give the kept connection back, and keep none until `_looking` is released.

        Parameters
        ----------
        timeout_s : float
            How long to wait for who looks up just now; for ever by default.

        Returns
        -------
        bool
            False when that took too long, or nothing is ever kept: then nothing is to be released.
        """
        if self.path == MEMORY or not self._looking.acquire(timeout=timeout_s):
            return False
        kept, self._kept = self._kept, None
        if kept is not None:
            self.give_back(kept)
        return True

    @contextmanager
    def _no_look_ups(self) -> Iterator[None]:
        has_stopped = self._stop_looking()
        try:
            yield
        finally:
            if has_stopped:
                self._looking.release()


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
