"""Own what the two databases of stores share: one table of entries, searched by key and by metadata.

A store's index and a store's values are both such a table with columns of their own; see `store_index` and
`store_values`. What an entry means is the face's.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any
from zlib import crc32

from holdfast.database.connection import SqliteFile
from holdfast.database.store_filter import Narrowed, indexed, narrowed
from holdfast.errors import HashError
from holdfast.queries import Query

__all__ = ["Entries", "Reopening", "sealed", "unsealed"]

_PAGE = 5000
_INDEX_FROM = 1000
_MOST_INDEXES = 16
_CARRIED_LENGTH = 300
_MEAN_LENGTH = f"SELECT avg(length(metadata)) FROM (SELECT metadata FROM entries LIMIT {_INDEX_FROM})"
# Others are narrowed by their beginning only: SQLite's classes differ, and many stars cost it long.
_SIMPLE = re.compile(r"[^\[\]*]*(\*[^\[\]*]*){0,3}\Z", re.DOTALL)


def sealed(key: str, text: str, digest: bytes | None) -> int:
    """Return the checksum of an entry's own facts, which tells a damaged database from a sound one.

    Parameters
    ----------
    key, text : str
        The key and the metadata as JSON text.
    digest : bytes or None
        The digest of the data.
    """
    return crc32(digest or b"", crc32(f"{key}\0{text}".encode()))


def unsealed(key: str, text: str, digest: bytes | None, seal: int, path: str) -> str:
    """Return the metadata text of an entry that is as it was written.

    Parameters
    ----------
    key, text : str
        The key and the metadata as JSON text.
    digest : bytes or None
        The digest of the data.
    seal : int
        What `sealed` returned at writing.
    path : str
        The database, for the message.

    Raises
    ------
    HashError
        The entry is damaged.
    """
    if crc32(digest or b"", crc32(f"{key}\0{text}".encode())) != seal:
        _tell_damage(key, path)
    return text


def _tell_damage(key: str, path: str) -> bool:
    raise HashError(f"the entry of key {key!r:.200} in {path} is damaged; restore it from another copy")


class Reopening:
    """Hold a database that is closed for a while and opened again when it is used.

    Parameters
    ----------
    open_file : callable
        Opens it.
    """

    def __init__(self, open_file: Callable[[], SqliteFile]) -> None:
        self._open_file = open_file
        self._lock = threading.Lock()
        self.now: SqliteFile | None = open_file()
        """The database while it is open."""

    def __call__(self) -> SqliteFile:
        """Return the database, open."""
        return self.now or self._opened()

    def _opened(self) -> SqliteFile:
        with self._lock:
            if self.now is None:
                self.now = self._open_file()
            return self.now

    def close(self) -> None:
        """Close it; one in memory stays, as nothing else has its contents."""
        with self._lock:
            if self.now is not None and self.now.path != ":memory:":
                self.now.close()
                self.now = None


class Entries:
    """Search a table ``entries`` with at least ``key``, ``metadata``, ``digest`` and ``seal``.

    Parameters
    ----------
    file : Reopening
        The database.
    live : str
        The SQL of what counts as an entry.
    makes_indexes : bool
        Make an index of each field that is asked for, up to a number. Every change then costs a little more.
    """

    def __init__(self, file: Reopening, live: str = "1", *, makes_indexes: bool) -> None:
        self.file = file
        self._live = live
        self._makes_indexes = makes_indexes and not file().read_only
        self._fields: set[str] = set()

    def search(self, where: Query | None, equal: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Return at least the entries that match, each whole and of one moment.

        Parameters
        ----------
        where : Query or None
            A query tree.
        equal : mapping
            Fields and the values they must equal as Python compares.

        Yields
        ------
        tuple of (str, str)
            Key and metadata as JSON text.

        Raises
        ------
        HashError
            For a damaged entry.
        """
        return chain.from_iterable(self._pages(where, equal))

    def _pages(self, where: Query | None, equal: Mapping[str, Any]) -> Iterator[list[tuple[str, str]]]:
        test = narrowed(where, equal)
        self._index(test)
        statement = (
            f"SELECT key, metadata, digest, seal FROM entries WHERE {self._live} AND {test.sql} "
            f"AND key > ? ORDER BY key LIMIT {_PAGE}"
        )
        last, count = "", _PAGE
        while count == _PAGE:
            rows = self.file().all(statement, (*test.values, last))
            # In one expression, without a call: this is most of the time of a search.
            yield [
                (key, text)
                for key, text, digest, seal in rows
                if crc32(digest or b"", crc32(f"{key}\0{text}".encode())) == seal
                or _tell_damage(key, self.file().path)
            ]
            last, count = rows[-1][0] if rows else "", len(rows)

    def keys(self, pattern: str) -> Iterator[str]:
        """Yield at least the keys that match a pattern, in their order.

        Parameters
        ----------
        pattern : str
            As for `fnmatch`.

        Yields
        ------
        str
            Keys.
        """
        wide = pattern if _SIMPLE.match(pattern) else re.split(r"[\[\]*?]", pattern, maxsplit=1)[0] + "*"
        statement = (
            f"SELECT key FROM entries WHERE {self._live} AND key GLOB ? AND key > ? "
            f"ORDER BY key LIMIT {_PAGE}"
        )
        last, count = "", _PAGE
        while count == _PAGE:
            rows = self.file().all(statement, (wide, last))
            for (last,) in rows:
                yield last
            count = len(rows)

    def count(self) -> int:
        """Return the number of entries."""
        with self.file().lease() as connection:
            return int(connection.execute(f"SELECT count(*) FROM entries WHERE {self._live}").fetchone()[0])

    def _index(self, test: Narrowed) -> None:
        """Make an index of a field that is asked for the first time, in a table where that pays."""
        if not self._makes_indexes or not test.field or test.field in self._fields:
            return
        self._fields.add(test.field)
        with self.file().lease() as connection:
            is_large = connection.execute(f"SELECT 1 FROM entries LIMIT 1 OFFSET {_INDEX_FROM}").fetchone()
            (there,) = connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND name LIKE 'field_%'"
            ).fetchone()
        if is_large is None:
            self._fields.discard(test.field)
        elif there < _MOST_INDEXES:
            with self.file().transaction() as connection:
                (length,) = connection.execute(_MEAN_LENGTH).fetchone()
                connection.execute(indexed(test.field, carries=length <= _CARRIED_LENGTH))
