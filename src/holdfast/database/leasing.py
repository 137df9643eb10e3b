"""Own the three ways in which a connection is used: for a while, in a transaction, for one job among several.

>>> connection = sqlite3.connect(":memory:", isolation_level=None)
>>> with Exclusive(connection, ":memory:"):
...     _ = connection.execute("CREATE TABLE t (a)")
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from holdfast.database.faults import translated

__all__ = ["Exclusive", "Job", "Lease"]


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


class Exclusive:
    """Commit at the end of a ``with`` block; undo everything on an exception."""

    __slots__ = ("_connection", "_path")

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection, self._path = connection, path

    def __enter__(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise translated(error, self._path) from error

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
