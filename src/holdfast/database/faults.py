"""Own the way from SQLite's errors to ours; no other room sees a ``sqlite3.Error``.

>>> import sqlite3
>>> with sqlite_errors("a.db"):
...     _ = sqlite3.connect(":memory:").execute("SELECT 1")
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast import errors

__all__ = ["sqlite_errors", "translated"]

_BY_CODE: dict[int, tuple[type[errors.HoldfastError], str]] = {
    sqlite3.SQLITE_BUSY: (errors.BusyError, "is in use by another process; try again"),
    sqlite3.SQLITE_LOCKED: (errors.BusyError, "is in use by another connection; try again"),
    sqlite3.SQLITE_FULL: (errors.StorageFullError, "cannot grow, the disk is full; nothing was changed"),
    sqlite3.SQLITE_READONLY: (errors.ReadOnlyError, "cannot be written; change its owner or mode"),
    sqlite3.SQLITE_PERM: (errors.ReadOnlyError, "may not be used; change its owner or mode"),
    sqlite3.SQLITE_AUTH: (errors.ReadOnlyError, "may not be used; change its owner or mode"),
    sqlite3.SQLITE_NOTADB: (errors.UnreadableError, "is not a database"),
    sqlite3.SQLITE_CORRUPT: (errors.UnreadableError, "is damaged; bring back a backup"),
    sqlite3.SQLITE_CANTOPEN: (errors.StorageError, "cannot be opened; check that its directory is there"),
    sqlite3.SQLITE_IOERR: (errors.StorageError, "could not be read or written"),
    sqlite3.SQLITE_TOOBIG: (errors.TooLargeError, "cannot hold a value of that size"),
    sqlite3.SQLITE_CONSTRAINT: (errors.ConflictError, "already holds something else there"),
}


def translated(error: sqlite3.Error, path: str) -> errors.HoldfastError:
    """Return our error for one of SQLite's.

    Parameters
    ----------
    error : sqlite3.Error
        What the library raised.
    path : str
        The database, for the message.

    Returns
    -------
    HoldfastError
        Of the class that says what happened; a `StorageError` where that is unknown.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    cls, words = _BY_CODE.get(code, (errors.StorageError, "failed"))
    return cls(f"the database {path} {words} ({error})")


@contextmanager
def sqlite_errors(path: str) -> Iterator[None]:
    """Turn SQLite's errors into ours inside a ``with`` block.

    Parameters
    ----------
    path : str
        The database, for the message.

    Raises
    ------
    HoldfastError
        See `translated`.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path) from error
