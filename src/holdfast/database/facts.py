"""Own keys, links and the log: the facts of a directory beside its nodes.

>>> KeyWriter.__name__
'KeyWriter'
"""

from __future__ import annotations

import hmac
import re
import sqlite3
import time
from collections.abc import Iterable, Sequence

import msgspec

from holdfast.database.connection import SqliteFile
from holdfast.database.indexing import dumps
from holdfast.database.records import KeyRow, LinkRow, LogRow, NewLink
from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.types import SCOPES, Json

__all__ = ["KeyWriter", "Keys", "LinkWriter", "Links", "Log", "LogWriter"]

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_LOG = "INSERT INTO log (time, actor, action, object, detail) VALUES (?, ?, ?, ?, ?)"
_encode = msgspec.json.Encoder().encode


class Keys:
    """Read the API keys; only their sha256 is kept.

    Parameters
    ----------
    file : SqliteFile
        The database.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def check(self, sha256: str) -> KeyRow | None:
        """Return the key with a hash if it is valid now.

        Parameters
        ----------
        sha256 : str
            In lower-case hexadecimal, of the key's bytes.

        Returns
        -------
        KeyRow or None
            None for one that is unknown, revoked or expired.
        """
        statement = (
            "SELECT sha256, id, scope, note, time, expires FROM keys WHERE sha256 = ? AND revoked IS NULL"
        )
        row = self._file.one(statement, (sha256,))
        if row is None or not hmac.compare_digest(row[0], sha256):
            return None
        key = KeyRow._make(row[1:])
        return key if key.expires is None or key.expires > time.time() else None

    def list(self) -> list[KeyRow]:
        """Return the keys that are not revoked, expired ones too, oldest first."""
        statement = "SELECT id, scope, note, time, expires FROM keys WHERE revoked IS NULL ORDER BY id"
        with self._file.lease() as connection:
            return [KeyRow._make(row) for row in connection.execute(statement)]


class KeyWriter:
    """Write API keys in the caller's transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a writing transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, sha256: str, scope: str, note: str = "", expires: float | None = None) -> int:
        """Keep a key by its hash.

        Parameters
        ----------
        sha256 : str
            In lower-case hexadecimal, of the key's bytes.
        scope : {"read", "write"}
            What it allows.
        note : str
            Who or what it is for.
        expires : float, optional
            Seconds since the epoch.

        Returns
        -------
        int
            Its id.

        Raises
        ------
        InvalidInputError
            For an unknown scope, or a hash that is none.
        """
        if scope not in SCOPES:
            raise InvalidInputError(f"unknown scope {scope!r:.40}; use one of {', '.join(SCOPES)}")
        if not _SHA256.match(sha256):
            raise InvalidInputError("a key is kept by its sha256 in 64 lower-case hexadecimal digits")
        inserted = self._connection.execute(
            "INSERT INTO keys (sha256, scope, note, time, expires) VALUES (?, ?, ?, ?, ?)",
            (sha256, scope, note, time.time(), expires),
        )
        return int(inserted.lastrowid or 0)

    def revoke(self, key: int) -> None:
        """End a key by its id; `NotFoundError` when there is none, or it was revoked before."""
        ended = self._connection.execute(
            "UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (time.time(), key)
        )
        if ended.rowcount == 0:
            raise NotFoundError(f"no valid key with id {key}; list them with 'holdfast key list'")


class Links:
    """Read the links: edges of provenance between objects of all faces.

    Parameters
    ----------
    file : SqliteFile
        The database.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def of(self, source: str) -> list[LinkRow]:
        """Return the links that start at an object, oldest first."""
        return self._select("source", source)

    def to(self, target: str) -> list[LinkRow]:
        """Return the links that point to an object, oldest first."""
        return self._select("target", target)

    def _select(self, column: str, name: str) -> list[LinkRow]:
        columns = "id, source, relation, target, digest, rows, time"
        statement = f"SELECT {columns} FROM links WHERE {column} = ? ORDER BY id"
        with self._file.lease() as connection:
            return [LinkRow._make(row) for row in connection.execute(statement, (name,))]


class LinkWriter:
    """Write links in the caller's transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a writing transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, links: Iterable[NewLink]) -> None:
        """Write links.

        Parameters
        ----------
        links : iterable of NewLink
            The edges.
        """
        now = time.time()
        self._connection.executemany(
            "INSERT INTO links (source, relation, target, digest, rows, time) VALUES (?, ?, ?, ?, ?, ?)",
            [(link.source, link.relation, link.target, link.digest, _text(link.rows), now) for link in links],
        )


def _text(value: Json) -> str | None:
    return None if value is None else dumps(value)


class Log:
    """Read the log of writes.

    Parameters
    ----------
    file : SqliteFile
        The database.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def tail(self, number: int = 100) -> Sequence[LogRow]:
        """Return the last lines, oldest first."""
        statement = "SELECT id, time, actor, action, object, detail FROM log ORDER BY id DESC LIMIT ?"
        with self._file.lease() as connection:
            rows = connection.execute(statement, (number,)).fetchall()
        return [LogRow._make(row) for row in reversed(rows)]


class LogWriter:
    """Write lines of the log in the caller's transaction; nothing can change them later.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a writing transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, action: str, object: str, actor: str = "", detail: dict[str, Json] | None = None) -> None:
        """Write that something was done.

        Parameters
        ----------
        action : str
            ``index``, ``key-add``, ``insert`` …
        object : str
            To what.
        actor : str
            By whom: a key's note, a user.
        detail : dict, optional
            JSON values.
        """
        text = _encode(detail).decode() if detail else "{}"
        self._connection.execute(_LOG, (time.time(), actor, action, object, text))
