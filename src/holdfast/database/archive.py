"""Own the archive's manifest as a database: entries, and the hash-chained log that proves them.

It knows no file of the archive; what an entry's bytes are is checked by ``holdfast.archive``.

>>> manifest = ManifestDatabase.create(":memory:", "Example", "0" * 32, who="me")
>>> row = EntryRow("S1", "Prod0", "a.txt", "f" * 32, 1, "00", "11", None, "2026-01-01T00:00:00Z", "", "me")
>>> [head] = manifest.add([row])
>>> manifest.head() == head, manifest.count()
(True, 1)
>>> manifest.close()
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Hashable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from holdfast.database import unsynced
from holdfast.database.connection import Schema, SqliteFile
from holdfast.database.unsynced import UnsyncedContents, UnsyncedRow
from holdfast.types import Json, PathLike

__all__ = ["GENESIS", "SCHEMA", "EntryRow", "LogRow", "ManifestDatabase", "chained", "verified"]

GENESIS = "0" * 64
"""What the first row of a log is chained to."""

_TABLES = """
CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    action TEXT NOT NULL,
    body TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE TABLE entries (
    seq INTEGER NOT NULL REFERENCES log (seq),
    event TEXT NOT NULL,
    production TEXT NOT NULL,
    name TEXT NOT NULL,
    uuid TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    blake3 TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    md5 TEXT,
    added_at TEXT NOT NULL,
    origin TEXT NOT NULL,
    who TEXT NOT NULL,
    PRIMARY KEY (event, production, name)
) WITHOUT ROWID;
CREATE INDEX entries_by_content ON entries (blake3, seq);
CREATE TRIGGER log_is_never_changed BEFORE UPDATE ON log
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER log_is_never_cut BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER entries_are_never_changed BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are write-once'); END;
CREATE TRIGGER entries_are_never_deleted BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are write-once'); END;
"""

SCHEMA = Schema("holdfast-archive", (_TABLES + unsynced.TABLE,))

_encoded = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_COLUMNS = "event, production, name, uuid, size, blake3, sha256, md5, added_at, origin, who"
_INSERT_LOG = "INSERT INTO log VALUES (?, ?, ?, ?, ?)"
_INSERT_ENTRY = f"INSERT INTO entries (seq, {_COLUMNS}) VALUES ({', '.join('?' * 12)})"
_ALIKE = f"SELECT {_COLUMNS} FROM entries WHERE blake3 = ? ORDER BY seq DESC LIMIT 3"
_LISTED = "SELECT event, production, name, coalesce(md5, sha256), uuid FROM entries"
_SETTLED = " WHERE seq NOT IN (SELECT seq FROM unsynced)"
_LAST = "SELECT seq, hash FROM log ORDER BY seq DESC LIMIT 1"


class EntryRow(NamedTuple):
    """One file of the archive as the manifest knows it; digests in hexadecimal, ``md5`` None if not taken."""

    event: str
    production: str
    name: str
    uuid: str
    size: int
    blake3: str
    sha256: str
    md5: str | None
    added_at: str
    origin: str
    who: str


class LogRow(NamedTuple):
    """One row of the log; ``hash`` is chained over the row before (see `chained`)."""

    seq: int
    at: str
    action: str
    body: str
    hash: str

    @property
    def facts(self) -> dict[str, Json]:
        """What the row says."""
        facts: dict[str, Json] = json.loads(self.body)
        return facts


def chained(before: str, body: str) -> str:
    """Return the hash of a log row.

    Parameters
    ----------
    before : str
        The hash of the row before it, or `GENESIS`.
    body : str
        The row's text.

    Returns
    -------
    str
        Sha256, in hexadecimal, of the two with a line feed between them.
    """
    return hashlib.sha256(f"{before}\n{body}".encode("utf-8", "surrogatepass")).hexdigest()


class ManifestDatabase:
    """The manifest of one archive; safe across threads, processes and forks.

    Parameters
    ----------
    path : path
        An existing database.
    read_only : bool, optional
        Never write.

    Raises
    ------
    NotFoundError
        There is none.
    UnreadableError, NewerFormatError
        It is damaged, something else, or of a newer release.

    Attributes
    ----------
    unsynced : UnsyncedContents
        The bytes of entries whose files may not be on the disk yet.
    """

    def __init__(self, path: PathLike, *, read_only: bool = False) -> None:
        self._use(SqliteFile(path, SCHEMA, read_only=read_only, create=False))
        if not read_only:
            self.unsynced.make_table()

    def _use(self, file: SqliteFile) -> None:
        self._file = file
        self.unsynced = UnsyncedContents(file)

    @classmethod
    def create(
        cls,
        path: PathLike,
        name: str,
        uid: str,
        *,
        who: str,
        action: str = "create",
        rows: Sequence[EntryRow] = (),
    ) -> Self:
        """Make a new manifest, whose log begins with its name and uid.

        Parameters
        ----------
        path : path
            Where nothing is yet.
        name, uid : str
            The archive's.
        who : str
            Who makes it.
        action : {"create", "rebuild"}, optional
            Whether an archive begins or its log was lost.
        rows : sequence of EntryRow, optional
            What it holds already.

        Returns
        -------
        ManifestDatabase
            Open for writing.
        """
        made = cls.__new__(cls)
        made._use(SqliteFile(path, SCHEMA))
        with made._file.transaction() as connection:
            made._file.set_about(connection, "name", name)
            made._file.set_about(connection, "uid", uid)
            facts = {"name": name, "uid": uid, "who": who}
            _log(connection, action, facts)
            _insert(connection, rows, "adopt", who)
        return made

    @property
    def name(self) -> str:
        """The archive's name."""
        return self._file.about("name") or ""

    @property
    def uid(self) -> str:
        """The archive's random identity, 32 hexadecimal digits."""
        return self._file.about("uid") or ""

    def get(self, event: str, production: str, name: str) -> EntryRow | None:
        """Return one entry by its names."""
        return self._one("event = ? AND production = ? AND name = ?", (event, production, name))

    def by_uuid(self, uuid: str) -> EntryRow | None:
        """Return one entry by its uuid."""
        return self._one("uuid = ?", (uuid,))

    def by_content(self, blake3: str, size: int) -> list[EntryRow]:
        """Return the latest entries that have the same bytes, three at most."""
        # The index has them in this order: that there are many costs nothing.
        latest = self._file.all(_ALIKE, (blake3,))
        return [row for row in map(EntryRow._make, latest) if row.size == size]

    def listed(self) -> list[tuple[str, str, str, str, str]]:
        """Return names, hash for the original and uuid of all entries whose files are on the disk, sorted."""
        settled = _SETTLED if self.unsynced.has_table else ""
        return self._file.all(f"{_LISTED}{settled} ORDER BY event, production, name")

    def entries(self, event: str | None = None, production: str | None = None) -> list[EntryRow]:
        """Return the entries of an event or production, or all, sorted by their names."""
        wanted = {"event": event, "production": production}
        terms = [f"{column} = ?" for column, value in wanted.items() if value is not None]
        values = tuple(value for value in wanted.values() if value is not None)
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        return self._all(f"{where} ORDER BY event, production, name", values)

    def count(self) -> int:
        """Return the number of entries."""
        return int(self._file.one("SELECT count(*) FROM entries", ())[0])

    def add(self, rows: Sequence[EntryRow], action: str = "add", who: str | None = None) -> list[str]:
        """Record entries, all or none, each with a row of the log.

        Parameters
        ----------
        rows : sequence of EntryRow
            What was published.
        action : {"add", "adopt"}, optional
            How they came.
        who : str, optional
            Who acts, if it is not who added them.

        Returns
        -------
        list of str
            The head of the log after each.

        Raises
        ------
        ConflictError
            One of the names or uuids is there already; nothing was recorded.
        """
        logged = self._file.write(lambda connection: _insert(connection, rows, action, who))
        return [said.hash for said in logged]

    def add_unsynced(self, row: EntryRow, content: bytes, writer: str, synced: Sequence[int]) -> LogRow:
        """Record one entry together with its bytes, for its file may not be on the disk yet.

        Parameters
        ----------
        row : EntryRow
            What was published.
        content : bytes
            All of it.
        writer : str
            Who will sync it.
        synced : sequence of int
            Numbers of rows whose files have reached the disk since: their bytes are forgotten.

        Returns
        -------
        LogRow
            Its row of the log.

        Raises
        ------
        ConflictError
            As for `add`.
        """

        def record(connection: sqlite3.Connection) -> LogRow:
            """Do all of it in one transaction."""
            [said] = _insert(connection, (row,), "add", None)
            unsynced.keep(connection, UnsyncedRow(said.seq, row.uuid, writer, content))
            if synced:
                unsynced.forget(connection, synced)
            return said

        return self._file.write(record)

    def note(self, action: str, facts: dict[str, Json]) -> str:
        """Log an action that adds no entry, such as a repair; return the head after it."""
        return self._file.write(lambda connection: _log(connection, action, facts))

    def log(self) -> list[LogRow]:
        """Return the rows of the log, in order."""
        with self._file.lease() as connection:
            return _log_rows(connection)

    def snapshot(self) -> tuple[list[LogRow], list[EntryRow]]:
        """Return the log and the entries as they are at one moment."""
        with self._file.read() as connection:
            found = connection.execute(f"SELECT {_COLUMNS} FROM entries")
            return _log_rows(connection), list(map(EntryRow._make, found))

    def head(self) -> str:
        """Return the hash of the last row of the log."""
        return str(self._file.one(_LAST, ())[1])

    def change(self) -> Hashable:
        """Return a token that differs after any commit of any process."""
        return self._file.change()

    def close(self) -> None:
        """Close it; the last one out leaves a single file."""
        self._file.close()

    def _one(self, where: str, values: Sequence[Any]) -> EntryRow | None:
        found = self._all(f"WHERE {where}", values)
        return found[0] if found else None

    def _all(self, tail: str, values: Sequence[Any]) -> list[EntryRow]:
        found = self._file.all(f"SELECT {_COLUMNS} FROM entries {tail}", tuple(values))
        return list(map(EntryRow._make, found))


def _log_rows(connection: sqlite3.Connection) -> list[LogRow]:
    found = connection.execute("SELECT seq, at, action, body, hash FROM log ORDER BY seq")
    return list(map(LogRow._make, found))


def _insert(
    connection: sqlite3.Connection, rows: Iterable[EntryRow], action: str, who: str | None
) -> list[LogRow]:
    last, head = _last(connection)
    logged, entered = [], []
    at = _now()
    for number, row in enumerate(rows, last + 1):
        facts = row._asdict()
        if who is not None and who != row.who:
            facts["by"] = who
        said = _logged(number, head, at, action, facts)
        head = said.hash
        logged.append(said)
        entered.append((number, *row))
    connection.executemany(_INSERT_LOG, logged)
    connection.executemany(_INSERT_ENTRY, entered)
    return logged


def _log(connection: sqlite3.Connection, action: str, facts: dict[str, Json]) -> str:
    number, before = _last(connection)
    said = _logged(number + 1, before, _now(), action, facts)
    connection.execute(_INSERT_LOG, said)
    return said.hash


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _logged(number: int, before: str, at: str, action: str, facts: dict[str, Json]) -> LogRow:
    body = _encoded({"seq": number, "at": at, "action": action, **facts})
    return LogRow(number, at, action, body, chained(before, body))


def _last(connection: sqlite3.Connection) -> tuple[int, str]:
    row = connection.execute(_LAST).fetchone()
    return (0, GENESIS) if row is None else (int(row[0]), str(row[1]))


def verified(rows: Iterable[LogRow]) -> Iterator[tuple[LogRow, bool]]:
    """Go through a log and tell for each row whether it is what was chained.

    Parameters
    ----------
    rows : iterable of LogRow
        From the first one on.

    Yields
    ------
    tuple of LogRow and bool
        False for a row that was changed, or before which one was removed or put in.
    """
    before = GENESIS
    for number, row in enumerate(rows, 1):
        said = row.facts
        is_same = (said.get("seq"), said.get("at"), said.get("action")) == (row.seq, row.at, row.action)
        yield row, is_same and row.seq == number and chained(before, row.body) == row.hash
        before = row.hash
