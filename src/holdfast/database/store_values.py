"""Own the file of a store in SQLite: entries with their data, small ones in the row, large ones in pieces.

>>> values = StoreValues(":memory:", "os")
>>> values.apply([NewValue("k", '{"n":1}', b"data", None, 4, b"d" * 32, None)], now=1)
>>> values.find("k")[5]
b'data'
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import msgspec

from holdfast.database.connection import Schema, SqliteFile
from holdfast.database.store_tables import Entries, Reopening, sealed, unsealed
from holdfast.queries import Query
from holdfast.types import Buffer, Durability, PathLike

__all__ = ["PIECE_BYTES", "NewValue", "SmallRow", "StoreValues", "ValueRow"]

PIECE_BYTES = 1 << 20
"""The size of all but the last piece of large data."""

_SCHEMA = Schema(
    "holdfast-store",
    (
        """
        CREATE TABLE entries (
            key TEXT PRIMARY KEY,
            metadata TEXT NOT NULL,
            digest BLOB NOT NULL,
            seal INTEGER NOT NULL,
            size INTEGER NOT NULL,
            created INTEGER NOT NULL,
            modified INTEGER NOT NULL,
            data BLOB,
            blocks BLOB
        ) WITHOUT ROWID;
        CREATE TABLE pieces (
            key TEXT NOT NULL REFERENCES entries (key) ON DELETE CASCADE,
            number INTEGER NOT NULL,
            data BLOB NOT NULL,
            UNIQUE (key, number)
        );
        CREATE TRIGGER new_data AFTER UPDATE OF data ON entries WHEN old.data IS NULL BEGIN
            DELETE FROM pieces WHERE key = old.key;
        END;
        """,
    ),
)
_COLUMNS = "key, metadata, digest, size, created, modified, data, blocks, seal"
_FIND = f"SELECT {_COLUMNS} FROM entries WHERE key = ?"
# Each column costs a reader of small values a twentieth of its time.
_FIND_SMALL = "SELECT metadata, digest, seal, created, modified, data FROM entries WHERE key = ?"
_SET = """
    INSERT INTO entries (key, metadata, digest, seal, size, created, modified, data, blocks)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8)
    ON CONFLICT (key) DO UPDATE SET
        metadata = ?2, digest = ?3, seal = ?4, size = ?5, modified = ?6, data = ?7, blocks = ?8
"""
_SET_METADATA = "UPDATE entries SET metadata = ?2, seal = ?3, modified = ?4 WHERE key = ?1"


SmallRow: TypeAlias = tuple[str, bytes, int, int, int, bytes | None]
"""Metadata as JSON text, digest, seal, times of creation and change, and data of a row; see `ValueRow`."""


class ValueRow(NamedTuple):
    """What is kept under a key.

    Parameters
    ----------
    key, text : str
        The key and the metadata as JSON text.
    digest : bytes
        blake3 of the data.
    size : int
        Size of the data in bytes.
    created, modified : int
        Nanoseconds since the epoch UTC.
    data : bytes or None
        The data; None when they are kept in pieces.
    blocks : bytes or None
        blake3 of each block of data that are kept in pieces.
    seal : int
        The checksum of the row.
    """

    key: str
    text: str
    digest: bytes
    size: int
    created: int
    modified: int
    data: bytes | None
    blocks: bytes | None
    seal: int


class NewValue(msgspec.Struct, gc=False):
    """What shall be kept under a key; without data and pieces the present data stay.

    Parameters
    ----------
    key : str
        The key.
    text : str or None
        The metadata as JSON text; None deletes the key.
    data : bytes or None
        New data for the row.
    pieces : iterable of bytes-like, or None
        New data in pieces of `PIECE_BYTES`.
    size : int
        Size of the new data in bytes.
    digest : bytes or None
        blake3 of the new data.
    blocks : bytes or None
        blake3 of each block of data in pieces.
    """

    key: str
    text: str | None
    data: bytes | None = None
    pieces: Iterable[Buffer] | None = None
    size: int = 0
    digest: bytes | None = None
    blocks: bytes | None = None


class StoreValues:
    """Keep values in one SQLite file.

    Parameters
    ----------
    path : path-like
        The file, or ``":memory:"``.
    durability : {"sync", "group", "os"}
        What a commit waits for.
    read_only : bool, default False
        Never write.

    Raises
    ------
    UnreadableError
        The file is damaged or something else.
    """

    def __init__(self, path: PathLike, durability: Durability, *, read_only: bool = False) -> None:
        self._file = Reopening(lambda: SqliteFile(path, _SCHEMA, durability=durability, read_only=read_only))
        self.path = self._file().path
        self._entries = Entries(self._file, makes_indexes=True)
        self._commits_alone = durability == "os"

    def close(self) -> None:
        """Close the file until it is used again; the last one out leaves it without log."""
        self._file.close()

    # Reading -------------------------------------------------------------------------------------------

    def find(self, key: str) -> SmallRow | None:
        """Return what is kept under a key, or None; data that are kept in pieces are left out.

        Raises
        ------
        HashError
            The entry is damaged.
        """
        found: SmallRow | None = (self._file.now or self._file()).found(_FIND_SMALL, (key,))
        # Without a call, as most of what is done with small values goes this way.
        if found is not None and crc32(found[1], crc32(f"{key}\0{found[0]}".encode())) != found[2]:
            unsealed(key, found[0], found[1], found[2], self.path)
        return found

    def text(self, key: str) -> str | None:
        """Return the metadata of a key as JSON text, or None.

        Raises
        ------
        HashError
            The entry is damaged.
        """
        found = self._file().one("SELECT metadata, digest, seal FROM entries WHERE key = ?", (key,))
        if found is None:
            return None
        text, digest, seal = found
        return unsealed(key, text, digest, seal, self.path)

    def _row(self, found: Any) -> ValueRow | None:
        if found is None:
            return None
        row = ValueRow._make(found)
        unsealed(row.key, row.text, row.digest, row.seal, self.path)
        return row

    def snapshot(self) -> AbstractContextManager[sqlite3.Connection]:
        """Return a context that keeps one state of the file readable while others write."""
        return self._file().read()

    def find_in(self, connection: sqlite3.Connection, key: str) -> ValueRow | None:
        """Return what a snapshot has under a key, or None."""
        return self._row(connection.execute(_FIND, (key,)).fetchone())

    @staticmethod
    def piece(connection: sqlite3.Connection, key: str, number: int) -> bytes:
        """Return one piece of large data from a snapshot; empty beyond the last."""
        found = connection.execute(
            "SELECT data FROM pieces WHERE key = ? AND number = ?", (key, number)
        ).fetchone()
        return b"" if found is None else bytes(found[0])

    def search(self, where: Query | None, equal: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield key and metadata text of at least the entries that match; see `Entries.search`."""
        return self._entries.search(where, equal)

    def keys(self, pattern: str) -> Iterator[str]:
        """Yield at least the keys that match a pattern; see `Entries.keys`."""
        return self._entries.keys(pattern)

    def faults(self) -> list[str]:
        """Return what SQLite itself finds wrong with the file."""
        with self._file().lease() as connection:
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(100)")]
        return [] if found == ["ok"] else found

    # Writing -------------------------------------------------------------------------------------------

    def apply(self, values: Sequence[NewValue], now: int) -> None:
        """Make all values true, or none.

        Parameters
        ----------
        values : sequence of NewValue
            One for each key.
        now : int
            The time of the change, nanoseconds since the epoch UTC.
        """
        with self._file().transaction() as connection:
            for value in values:
                self._apply_one(connection, value, now)

    def put(self, values: Sequence[tuple[str, str, bytes, bytes]], now: int) -> None:
        """Keep small data and metadata under keys, all or none: what `apply` does, quicker.

        Parameters
        ----------
        values : sequence of tuple of (str, str, bytes, bytes)
            Key, metadata as JSON text, data, and their blake3 digest; one for each key.
        now : int
            The time of the change, nanoseconds since the epoch UTC.
        """
        rows = [
            (key, text, digest, crc32(digest, crc32(f"{key}\0{text}".encode())), len(data), now, data, None)
            for key, text, data, digest in values
        ]
        if self._commits_alone and len(rows) == 1:
            self._file().one(_SET, rows[0])
            return
        with self._file().transaction() as connection:
            connection.executemany(_SET, rows)

    @staticmethod
    def _apply_one(connection: sqlite3.Connection, value: NewValue, now: int) -> None:
        if value.text is None:
            connection.execute("DELETE FROM entries WHERE key = ?", (value.key,))
        elif value.digest is not None:
            connection.execute(_SET, _row_of(value, now))
            _add_pieces(connection, value)
        else:
            found = connection.execute("SELECT digest FROM entries WHERE key = ?", (value.key,)).fetchone()
            seal = sealed(value.key, value.text, found[0])
            connection.execute(_SET_METADATA, (value.key, value.text, seal, now))


def _row_of(value: NewValue, now: int) -> tuple[Any, ...]:
    key, text, digest = value.key, value.text or "", value.digest
    return key, text, digest, sealed(key, text, digest), value.size, now, value.data, value.blocks


def _add_pieces(connection: sqlite3.Connection, value: NewValue) -> None:
    if value.pieces is None:
        return
    for number, piece in enumerate(value.pieces):
        connection.execute("INSERT INTO pieces VALUES (?, ?, ?)", (value.key, number, piece))
