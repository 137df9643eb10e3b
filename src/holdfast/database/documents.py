"""Own the table of immutable documents: how they are written, and found by uid, header and time.

It does not know what the documents mean; the analysis face does. Searches by other fields are in
``document_search``.

>>> from holdfast.database import Database
>>> with Database(":memory:") as database:
...     with database.transaction() as tx:
...         tx.documents.add(-1, [NewDocument("a", 1.5, '{"uid":"a","time":1.5}')])
...     database.documents.get(-1, "a")
'{"uid":"a","time":1.5}'
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.database.connection import SqliteFile
from holdfast.database.document_search import (
    DocumentWindow,
    catch_up,
    count_documents,
    lagging,
    search_documents,
)
from holdfast.errors import AlreadyExistsError
from holdfast.queries import And, Query

__all__ = ["DocumentWindow", "DocumentWriter", "Documents", "NewDocument", "document_body"]

_EVERYTHING = And()
_INSERT = (
    "INSERT INTO documents (parent, uid, time, body, header, seq_num, is_orphan) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class NewDocument(NamedTuple):
    """Describe a document to be kept.

    Parameters
    ----------
    uid : str
        Its uid, unique among the documents of its collection.
    time : int or float
        Seconds since the epoch.
    body : str
        The whole document as JSON text.
    header : str or None
        The uid of the document that it belongs to.
    seq_num : int or None
        Its number below that.
    is_orphan : bool
        Whether that document is not there.
    """

    uid: str
    time: int | float
    body: str
    header: str | None = None
    seq_num: int | None = None
    is_orphan: bool = False


class Documents:
    """Read documents; a collection is a negative number that stands where nodes have a parent.

    Parameters
    ----------
    file : SqliteFile
        The database.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def get(self, collection: int, uid: str) -> str | None:
        """Return the body of a document, or None."""
        with self._file.lease() as connection:
            return document_body(connection, collection, uid)

    def orphans(self, collection: int) -> list[str]:
        """Return the bodies of documents that were kept without the document they belong to, oldest first."""
        select = "SELECT body FROM documents WHERE parent = ? AND is_orphan ORDER BY id"
        with self._file.lease() as connection:
            return [body for (body,) in connection.execute(select, (collection,))]

    def search(
        self,
        collection: int,
        query: Query = _EVERYTHING,
        window: DocumentWindow | None = None,
        **columns: tuple[str, ...],
    ) -> list[str]:
        """Return the bodies of documents that a query finds.

        Parameters
        ----------
        collection : int
            Which documents.
        query : Query, optional
            What to find; everything by default.
        window : DocumentWindow, optional
            Order and part; newest first and all by default.
        **columns : tuple of str
            The paths of the fields that are kept in the columns ``header`` and ``seq_num``.

        Returns
        -------
        list of str
            JSON texts.
        """
        self._catch_up(collection, query, columns)
        with self._file.read() as connection:
            return search_documents(connection, collection, query, window or DocumentWindow(), columns)

    def count(self, collection: int, query: Query = _EVERYTHING, **columns: tuple[str, ...]) -> int:
        """Return the exact number of documents that a query finds; see `search`."""
        self._catch_up(collection, query, columns)
        with self._file.read() as connection:
            return count_documents(connection, collection, query, columns)

    def _catch_up(self, collection: int, query: Query, columns: dict[str, tuple[str, ...]]) -> None:
        if self._file.read_only:
            return
        with self._file.lease() as connection:
            behind = lagging(connection, collection, query, columns)

        def step(connection: sqlite3.Connection) -> bool:
            return catch_up(connection, collection, behind)

        more = bool(behind)
        while more:
            more = self._file.write(step)


class DocumentWriter:
    """Write documents in the caller's transaction; they never change afterwards.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a writing transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, collection: int, documents: Sequence[NewDocument]) -> None:
        """Keep documents.

        Parameters
        ----------
        collection : int
            A negative number.
        documents : sequence of NewDocument
            Many at once are faster.

        Raises
        ------
        AlreadyExistsError
            When a uid is taken.
        """
        rows = [(collection, *new) for new in documents]
        try:
            if len(rows) == 1:
                self._connection.execute(_INSERT, rows[0])
            else:
                self._connection.executemany(_INSERT, rows)
        except sqlite3.IntegrityError as error:
            raise AlreadyExistsError("a uid occurs twice among the documents; give each its own") from error

    def known(self, collection: int, uids: Iterable[str]) -> dict[str, str]:
        """Return the bodies of those documents that are there, by uid."""
        wanted = list(uids)
        if len(wanted) == 1:
            body = self.get(collection, wanted[0])
            return {} if body is None else {wanted[0]: body}
        select = (
            "SELECT uid, body FROM documents WHERE parent = ? AND uid IN (SELECT value FROM json_each(?))"
        )
        text = json.dumps(wanted, ensure_ascii=False)
        return dict(self._connection.execute(select, (collection, text)).fetchall())

    def get(self, collection: int, uid: str) -> str | None:
        """Return the body of a document, or None."""
        return document_body(self._connection, collection, uid)

    def of_header(self, collection: int, header: str) -> list[str]:
        """Return the bodies of the documents below another one, in order of arrival."""
        select = "SELECT body FROM documents WHERE header = ? AND parent = ? ORDER BY id"
        return [body for (body,) in self._connection.execute(select, (header, collection))]

    def last_number(self, collection: int, header: str) -> int:
        """Return the greatest number below a document; 0 when there is none."""
        select = "SELECT max(seq_num) FROM documents WHERE header = ? AND parent = ?"
        return int(self._connection.execute(select, (header, collection)).fetchone()[0] or 0)


def document_body(connection: sqlite3.Connection, collection: int, uid: str) -> str | None:
    """Return the body of a document, or None."""
    select = "SELECT body FROM documents WHERE parent = ? AND uid = ?"
    row = connection.execute(select, (collection, uid)).fetchone()
    return None if row is None else str(row[0])
