"""Own the contents of files that count already and may not be on the disk yet: kept until they surely are.

It knows no file. Databases that were made without the table get it when they are first written.

>>> from holdfast.database.connection import Schema
>>> file = SqliteFile(":memory:", Schema("holdfast-example", (TABLE,)))
>>> contents = UnsyncedContents(file)
>>> file.write(lambda connection: keep(connection, UnsyncedRow(1, "f" * 32, "me", b"content")))
>>> contents.content("f" * 32), contents.writers()
(b'content', ['me'])
>>> contents.forget([1])
>>> contents.has("f" * 32)
False
>>> file.close()
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from holdfast.database.connection import SqliteFile

__all__ = ["TABLE", "UnsyncedContents", "UnsyncedRow", "forget", "keep"]

TABLE = """
CREATE TABLE IF NOT EXISTS unsynced (
    seq INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL,
    writer TEXT NOT NULL,
    content BLOB NOT NULL
);
"""
"""In the order of the log: rows come at the end and go from the front. The content is last, to be skipped."""

_KNOWN = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'unsynced'"


class UnsyncedRow(NamedTuple):
    """The bytes of one file: ``seq`` of its row in the log, ``writer`` who will sync it while it lives."""

    seq: int
    uuid: str
    writer: str
    content: bytes


def keep(connection: sqlite3.Connection, row: UnsyncedRow) -> None:
    """Keep the bytes of a file, inside the transaction that records it."""
    connection.execute("INSERT INTO unsynced VALUES (?, ?, ?, ?)", row)


def forget(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Forget the bytes of files that are on the disk, inside the caller's transaction."""
    connection.executemany("DELETE FROM unsynced WHERE seq = ?", [(number,) for number in numbers])


class UnsyncedContents:
    """The kept contents of one database.

    Parameters
    ----------
    file : SqliteFile
        The database, with or without the table.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._is_known = False

    def make_table(self) -> None:
        """Make the table in a database of before."""
        if not self.has_table:
            self._file.write(lambda connection: connection.execute(TABLE))

    @property
    def has_table(self) -> bool:
        """Whether the database has the table; another process may make it at any time."""
        self._is_known = self._is_known or self._file.one(_KNOWN) is not None
        return self._is_known

    def has(self, uuid: str) -> bool:
        """Tell whether the bytes of a file are kept."""
        return self.has_table and self._file.one("SELECT 1 FROM unsynced WHERE uuid = ?", (uuid,)) is not None

    def content(self, uuid: str) -> bytes | None:
        """Return the bytes of a file, or None where they are not kept."""
        if not self.has_table:
            return None
        found = self._file.one("SELECT content FROM unsynced WHERE uuid = ?", (uuid,))
        return None if found is None else bytes(found[0])

    def count(self, writer: str) -> int:
        """Return how many files of a writer are kept."""
        return int(self._file.one("SELECT count(*) FROM unsynced WHERE writer = ?", (writer,))[0])

    def writers(self) -> list[str]:
        """Return whose files are kept."""
        if not self.has_table:
            return []
        return [row[0] for row in self._file.all("SELECT DISTINCT writer FROM unsynced ORDER BY writer")]

    def rows_of(self, writer: str) -> list[UnsyncedRow]:
        """Return the kept files of a writer, which are never many."""
        found = self._file.all(
            "SELECT seq, uuid, writer, content FROM unsynced WHERE writer = ? ORDER BY seq", (writer,)
        )
        return list(map(UnsyncedRow._make, found))

    def rows(self, numbers: Iterable[int]) -> list[UnsyncedRow]:
        """Return kept files by the numbers of their rows in the log."""
        statement = "SELECT seq, uuid, writer, content FROM unsynced WHERE seq = ?"
        found = (self._file.one(statement, (number,)) for number in numbers)
        return [UnsyncedRow._make(row) for row in found if row is not None]

    def forget(self, numbers: Iterable[int]) -> None:
        """Forget the bytes of files that are on the disk."""
        wanted = list(numbers)
        self._file.write(lambda connection: forget(connection, wanted))
