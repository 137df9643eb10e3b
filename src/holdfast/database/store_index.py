"""Own the index beside a store directory: what is known of each key's two files, and the journal of changes.

The row of a key is the decision about it: once it is committed, the change has happened, and files that still
carry their temporary names (``staged``) are moved by whoever comes next. Everything here can be made again
from the files, except that digests are then those of today.

>>> index = StoreIndex(":memory:", durability="os")
>>> index.put([row_of("k", '{"n":1}')])
>>> index.find("k").text
'{"n":1}'
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from sqlite3 import Connection
from typing import Any, NamedTuple

from holdfast.database.connection import Schema, SqliteFile
from holdfast.database.store_tables import Entries, Reopening, sealed, unsealed
from holdfast.queries import Query
from holdfast.types import Durability, PathLike

__all__ = ["ABSENT", "LIVE", "UNREADABLE", "IndexRow", "StoreIndex", "row_of"]

LIVE, ABSENT, UNREADABLE = 0, 1, 2
"""The states of a key: there, deleted (its files may have to go still), there with damaged metadata."""

_SCHEMA = Schema(
    "holdfast-store-index",
    (
        """
        CREATE TABLE entries (
            key TEXT PRIMARY KEY,
            metadata TEXT NOT NULL,
            digest BLOB,
            seal INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            state INTEGER NOT NULL,
            size INTEGER NOT NULL,
            data_time INTEGER NOT NULL,
            text_size INTEGER NOT NULL,
            text_time INTEGER NOT NULL,
            recorded INTEGER NOT NULL,
            created INTEGER,
            blocks BLOB,
            staged TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX entries_deleted ON entries (state) WHERE state = 1;
        """,
    ),
)
_COLUMNS = (
    "key, metadata, digest, generation, state, size, data_time, text_size, text_time, recorded, created, "
    "blocks, staged, seal"
)
_FIND = f"SELECT {_COLUMNS} FROM entries WHERE key = ?"
# Values that are compared cost a reader a third of those that are fetched.
_MATCH = """
    SELECT metadata, digest, created, seal FROM entries
    WHERE key = ? AND state = 0 AND size = ? AND data_time = ? AND text_size = ? AND text_time = ?
"""
_INSERT = f"""
    INSERT INTO entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO NOTHING
"""
_UPSERT = f"""
    INSERT INTO entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET
        metadata = excluded.metadata, digest = excluded.digest, seal = excluded.seal,
        generation = generation + 1, state = excluded.state, size = excluded.size,
        data_time = excluded.data_time, text_size = excluded.text_size, text_time = excluded.text_time,
        recorded = excluded.recorded, blocks = excluded.blocks, staged = excluded.staged,
        created = CASE WHEN state = 0 THEN created ELSE excluded.created END
"""


class IndexRow(NamedTuple):
    """What is known of a key.

    Parameters
    ----------
    key : str
        The key.
    text : str
        The metadata as JSON text; of an unreadable one, what is wrong.
    digest : bytes or None
        blake3 of the data; None where it was not read yet.
    generation : int
        Grows with every change of the row; 0 for one that was not recorded yet.
    state : int
        `LIVE`, `ABSENT` or `UNREADABLE`.
    size, data_time : int
        Size in bytes and modification time in nanoseconds of the data file; -1 where it was not looked at.
    text_size, text_time : int
        The same of the metadata file.
    recorded : int
        When these were recorded, nanoseconds since the epoch UTC.
    created : int or None
        When the key was first set, nanoseconds since the epoch UTC; None for foreign ones.
    blocks : bytes or None
        blake3 of each block of larger data.
    staged : str
        The temporary name that the files had, and may still have.
    seal : int
        The checksum of the row; reckoned where it is recorded.
    """

    key: str
    text: str
    digest: bytes | None = None
    generation: int = 0
    state: int = LIVE
    size: int = -1
    data_time: int = -1
    text_size: int = -1
    text_time: int = -1
    recorded: int = 0
    created: int | None = None
    blocks: bytes | None = None
    staged: str = ""
    seal: int = 0


def row_of(key: str, text: str) -> IndexRow:
    """Return a row of which no files are known."""
    return IndexRow(key, text)


def _values(row: IndexRow) -> tuple[Any, ...]:
    seal = sealed(row.key, row.text, row.digest)
    # The first generation is a moment, so that a key that comes again never repeats one.
    return (row.key, row.text, row.digest, time.time_ns(), *row[4:13], seal)


class StoreIndex:
    """Remember what the files of a store were.

    Parameters
    ----------
    path : path-like
        The database, or ``":memory:"``.
    durability : {"sync", "group", "os"}
        What a commit waits for.
    read_only : bool, default False
        Keep what is learned in memory only.

    Raises
    ------
    UnreadableError
        The database is damaged or something else.
    """

    def __init__(self, path: PathLike, durability: Durability, *, read_only: bool = False) -> None:
        self._file = Reopening(lambda: SqliteFile(path, _SCHEMA, durability=durability, read_only=read_only))
        self._entries = Entries(self._file, "state = 0", makes_indexes=False)
        self._learned: dict[str, IndexRow] = {}
        self._durability = durability

    def close(self) -> None:
        """Close the database until it is used again."""
        self._file.close()

    def change(self) -> object:
        """Return a token that differs after any commit of any process."""
        return self._file().change()

    # Reading -------------------------------------------------------------------------------------------

    def find(self, key: str) -> IndexRow | None:
        """Return the row of a key, or None.

        Parameters
        ----------
        key : str
            The key.

        Returns
        -------
        IndexRow or None
            What is known.

        Raises
        ------
        HashError
            The row is damaged.
        """
        if self._learned and key in self._learned:
            return self._learned[key]
        found = self._file().one(_FIND, (key,))
        return None if found is None else self._row(found)

    def match(
        self, key: str, size: int, data_time: int, text_size: int, text_time: int
    ) -> tuple[str, bytes | None, int | None] | None:
        """Return metadata text, digest and creation time of a live key whose files are recorded as they are.

        Parameters
        ----------
        key : str
            The key.
        size, data_time, text_size, text_time : int
            As in `IndexRow`.

        Returns
        -------
        tuple or None
            None when they are recorded otherwise, or not at all.

        Raises
        ------
        HashError
            The row is damaged.
        """
        if self._learned:
            return None  # what was learned is not in the database
        file = self._file.now or self._file()
        found = file.one(_MATCH, (key, size, data_time, text_size, text_time))
        if found is None:
            return None
        text, digest, created, seal = found
        unsealed(key, text, digest, seal, file.path)
        return text, digest, created

    def _row(self, found: Sequence[Any]) -> IndexRow:
        row = IndexRow._make(found)
        unsealed(row.key, row.text, row.digest, row.seal, self._file().path)
        return row

    def search(self, where: Query | None, equal: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield key and metadata text of at least the live entries that match; see `Entries.search`."""
        for key, text in self._entries.search(where, equal):
            if key not in self._learned:
                yield key, text
        yield from ((row.key, row.text) for row in list(self._learned.values()) if row.state == LIVE)

    def keys(self, pattern: str) -> Iterator[str]:
        """Yield at least the live keys that match a pattern; see `Entries.keys`."""
        for key in self._entries.keys(pattern):
            if key not in self._learned:
                yield key
        yield from (row.key for row in list(self._learned.values()) if row.state == LIVE)

    def facts(self) -> dict[str, tuple[int, int, int, int]]:
        """Return ``(text_size, text_time, recorded, state)`` of every key."""
        with self._file().lease() as connection:
            found = {
                key: tuple(rest)
                for key, *rest in connection.execute(
                    "SELECT key, text_size, text_time, recorded, state FROM entries"
                )
            }
        found |= {
            row.key: (row.text_size, row.text_time, row.recorded, row.state) for row in self._learned.values()
        }
        return found

    def unreadable(self) -> list[IndexRow]:
        """Return the rows of the keys whose metadata cannot be read."""
        rows = self._select("state = 2", ())
        return [row for row in rows if row.key not in self._learned] + [
            row for row in self._learned.values() if row.state == UNREADABLE
        ]

    def deleted(self) -> list[IndexRow]:
        """Return the rows of deleted keys, whose files may still be there."""
        return self._select("state = 1", ())

    def staged(self, names: Iterable[str]) -> list[IndexRow]:
        """Return the rows whose files had one of these temporary names."""
        wanted = set(names)
        return [row for row in self._select("staged <> ''", ()) if row.staged in wanted]

    def _select(self, condition: str, values: tuple[Any, ...]) -> list[IndexRow]:
        with self._file().lease() as connection:
            found = connection.execute(f"SELECT {_COLUMNS} FROM entries WHERE {condition}", values).fetchall()
        return [self._row(row) for row in found]

    # Writing -------------------------------------------------------------------------------------------

    def put(self, rows: Sequence[IndexRow]) -> None:
        """Record rows, all or none: this is the decision about a change.

        Parameters
        ----------
        rows : sequence of IndexRow
            Each replaces what was known of its key.
        """
        if len(rows) == 1 and self._durability == "os":
            self._file().one(_UPSERT, _values(rows[0]))
            return
        with self._file().transaction() as connection:
            connection.executemany(_UPSERT, map(_values, rows))

    def learn(self, row: IndexRow, old: IndexRow | None) -> bool:
        """Record what was found, unless the row was changed since it was read.

        Parameters
        ----------
        row : IndexRow
            What was found.
        old : IndexRow or None
            The row that was read.

        Returns
        -------
        bool
            False when somebody else recorded something meanwhile.
        """
        generation = 0 if old is None else old.generation
        if self._file().read_only:
            self._learned[row.key] = row._replace(generation=generation + 1)
            return True
        with self._learning() as connection:
            if self._generation(connection, row.key) != generation:
                return False
            connection.execute(_UPSERT, _values(row))
        return True

    def learn_new(self, rows: Sequence[IndexRow]) -> None:
        """Record keys that were found, except those that have a row by now; see `learn`."""
        if self._file().read_only:
            self._learned |= {row.key: row._replace(generation=1) for row in rows}
            return
        with self._learning() as connection:
            connection.executemany(_INSERT, map(_values, rows))

    @contextmanager
    def _learning(self) -> Iterator[Connection]:
        """Give a connection in a transaction that waits for no disk: what it records can be found again."""
        with self._file().lease() as connection:
            if self._durability == "sync":
                connection.execute("PRAGMA synchronous = NORMAL")
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if self._durability == "sync":
                    connection.execute("PRAGMA synchronous = FULL")

    def forget(self, row: IndexRow) -> bool:
        """Delete a row, unless it was changed since it was read; see `learn`."""
        if self._file().read_only:
            self._learned[row.key] = row._replace(generation=row.generation + 1, state=ABSENT)
            return True
        with self._learning() as connection:
            if self._generation(connection, row.key) != row.generation:
                return False
            connection.execute("DELETE FROM entries WHERE key = ?", (row.key,))
        return True

    @staticmethod
    def _generation(connection: Any, key: str) -> int:
        found = connection.execute("SELECT generation FROM entries WHERE key = ?", (key,)).fetchone()
        return 0 if found is None else int(found[0])

    def bury(self, keys: Iterable[str]) -> None:
        """Delete the rows of deleted keys whose files are gone."""
        with self._learning() as connection:
            connection.executemany(
                "DELETE FROM entries WHERE key = ? AND state = 1", [(key,) for key in keys]
            )

    def drop(self, keys: Iterable[str]) -> None:
        """Delete the rows of keys."""
        with self._file().transaction() as connection:
            connection.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in keys])
