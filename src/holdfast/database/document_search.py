"""Own searches among documents. Their fields are indexed on demand.

A document never changes, and ids only grow: so a field is indexed for all documents up to an id, and the few
after it are looked at one by one until they are worth a step of the index. Writing pays nothing.

>>> root_of(("provenance", "software", "name"))
('provenance', 'software')
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from holdfast.database.compiler import Compiler
from holdfast.database.flatten import Flattener, image
from holdfast.database.pathways import PathWriter, path_text
from holdfast.database.patterns import check_patterns, search
from holdfast.database.scopes import TRUE, Fragment, Scope
from holdfast.database.sorting import Image, Order, in_order
from holdfast.errors import TooLargeError
from holdfast.queries import And, Field, Not, Or, Query

__all__ = ["DocumentWindow", "catch_up", "count_documents", "lagging", "root_of", "search_documents"]

_LAG = 200
_STEP = 2000
# How many ids one step may pass by: most may belong to documents of other kinds, which are not even decoded.
_SPAN = 20 * _STEP
_MAX_LOOKED_AT = 1_000_000
_NEWEST = "ORDER BY n.time DESC, n.uid DESC"
_INSERT = "INSERT OR IGNORE INTO node_values (parent, path, kind, value, node) VALUES (?, ?, ?, ?, ?)"

Columns = Mapping[str, tuple[str, ...]]
Root = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DocumentWindow:
    """Say in which order documents are wanted, and which part.

    Parameters
    ----------
    order : Order or None
        None is newest first: by time, then uid, both descending.
    limit : int
        The most documents; -1 for all.
    offset : int
        How many to leave out first.
    """

    order: Order | None = None
    limit: int = -1
    offset: int = 0


def root_of(path: tuple[str, ...]) -> Root:
    """Return the field under which a path is indexed: its first two steps."""
    return path[:2]


def _scope(collection: int, columns: Columns, *, is_indexed: bool = True) -> Scope:
    own = {("uid",): "uid", ("time",): "time", **{path: name for name, path in columns.items()}}
    return Scope(collection, columns=own, is_indexed=is_indexed)


# -- the index ---------------------------------------------------------------------------------------------


def _roots(query: Query, columns: Columns) -> set[Root]:
    known = {("uid",), ("time",), *columns.values()}
    return {root_of(path) for path in _paths(query) if path not in known}


def _paths(query: Query) -> Iterator[tuple[str, ...]]:
    if isinstance(query, And | Or):
        for each in query.queries:
            yield from _paths(each)
    elif isinstance(query, Not):
        yield from _paths(query.query)
    elif isinstance(key := getattr(query, "key", None), Field):
        yield key.path


def _indexed_upto(connection: sqlite3.Connection, collection: int, root: Root) -> int:
    select = "SELECT upto FROM document_fields WHERE parent = ? AND field = ?"
    row = connection.execute(select, (collection, path_text(root))).fetchone()
    return 0 if row is None else int(row[0])


def lagging(connection: sqlite3.Connection, collection: int, query: Query, columns: Columns) -> list[Root]:
    """Return the fields of a query whose index is too far behind.

    Parameters
    ----------
    connection : sqlite3.Connection
        To read with.
    collection : int
        Which documents.
    query : Query
        What is asked.
    columns : mapping
        Fields that are columns.

    Returns
    -------
    list of tuple of str
        Usually empty.
    """
    return [root for root in _roots(query, columns) if _is_behind(connection, collection, root)]


def _is_behind(connection: sqlite3.Connection, collection: int, root: Root) -> bool:
    upto = _indexed_upto(connection, collection, root)
    since = _newest(connection) - upto
    if not _LAG < since <= _STEP:
        return since > _LAG
    # The sign keeps SQLite on the ids: there is no index of kinds, and each would be longer than this way.
    select = f"SELECT count(*) FROM (SELECT 1 FROM documents WHERE id > ? AND +parent = ? LIMIT {_LAG + 1})"
    return bool(connection.execute(select, (upto, collection)).fetchone()[0] > _LAG)


def _newest(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT max(id) FROM documents").fetchone()[0] or 0)


def catch_up(connection: sqlite3.Connection, collection: int, roots: list[Root]) -> bool:
    """Index the next few thousand documents by fields, inside the caller's transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a writing transaction.
    collection : int
        Which documents.
    roots : list of tuple of str
        The fields.

    Returns
    -------
    bool
        Whether more are left.
    """
    left = [_catch_up_field(connection, collection, root) for root in roots]
    return any(left)


def _catch_up_field(connection: sqlite3.Connection, collection: int, root: Root) -> bool:
    upto = _indexed_upto(connection, collection, root)
    newest = _newest(connection)
    if newest == upto:
        return False
    select = "SELECT id, body FROM documents WHERE id > ? AND id <= ? AND +parent = ? "
    select += f"ORDER BY id LIMIT {_STEP}"
    documents = connection.execute(select, (upto, upto + _SPAN, collection)).fetchall()
    reached = documents[-1][0] if len(documents) == _STEP else min(upto + _SPAN, newest)
    paths = PathWriter()
    paths.use(connection)
    flattener = Flattener(paths.child)
    rows = []
    for number, body in documents:
        found = flattener.field_rows(json.loads(body), root)
        paths.set_flags(found.flags)
        rows += [(collection, *row, number) for row in found.rows]
    rows.sort()
    connection.executemany(_INSERT, rows)
    connection.execute(
        "INSERT INTO document_fields VALUES (?, ?, ?) "
        "ON CONFLICT (parent, field) DO UPDATE SET upto = excluded.upto",
        (collection, path_text(root), reached),
    )
    return bool(reached < newest)


# -- searches ----------------------------------------------------------------------------------------------


def search_documents(
    connection: sqlite3.Connection, collection: int, query: Query, window: DocumentWindow, columns: Columns
) -> list[str]:
    """Return the bodies of the documents that a query finds.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a read transaction.
    collection : int
        Which documents.
    query : Query
        What to find.
    window : DocumentWindow
        Order and part.
    columns : mapping
        Fields that are columns.

    Returns
    -------
    list of str
        JSON texts.

    Raises
    ------
    TooLargeError
        When over a million documents would have to be looked at one by one.
    """
    found = _found(connection, collection, query, columns)
    if window.order is None or not window.order.keys:
        return _in_order_of_time(connection, found, window)
    return _in_any_order(connection, found, window.order, window)


@dataclass(frozen=True, slots=True)
class _Found:
    """Hold the condition of hits; ?1 is the collection."""

    collection: int
    where: Fragment
    by_id: bool = False

    def select(
        self, connection: sqlite3.Connection, what: str, rest: str = "", *more: object
    ) -> sqlite3.Cursor:
        # With the sign SQLite goes by the ids, else by what it finds best. Left to itself it believes that a
        # kind has ten documents.
        kind = "+n.parent = ?1" if self.by_id else "likelihood(n.parent = ?1, 0.1)"
        statement = f"SELECT {what} FROM documents n WHERE {kind} AND {self.where.text} {rest}"
        return connection.execute(statement, (self.collection, *self.where.values, *more))


def _found(connection: sqlite3.Connection, collection: int, query: Query, columns: Columns) -> _Found:
    check_patterns(query)
    roots = _roots(query, columns)
    compiler = Compiler(connection, _scope(collection, columns))
    if not roots:
        if compiler.is_exact(query):
            return _Found(collection, compiler.condition(query, up=True))
        return _looked_at(connection, compiler, query, TRUE)
    upto = min(_indexed_upto(connection, collection, root) for root in roots)
    before, after = Fragment("n.id <= ?", (upto,)), Fragment("n.id > ?", (upto,))
    newest = Compiler(connection, _scope(collection, columns, is_indexed=False))
    tail = _ids(connection, _looked_at(connection, newest, query, after, by_id=True))
    if not tail and compiler.is_exact(query):
        return _Found(collection, _both(compiler.condition(query, up=True), before))
    return _of_ids(collection, _ids(connection, _looked_at(connection, compiler, query, before)) + tail)


def _both(*parts: Fragment) -> Fragment:
    text = " AND ".join(f"({part.text})" for part in parts)
    return Fragment(text, tuple(value for part in parts for value in part.values))


def _of_ids(collection: int, ids: list[int]) -> _Found:
    return _Found(collection, Fragment("n.id IN (SELECT value FROM json_each(?))", (json.dumps(ids),)))


def _ids(connection: sqlite3.Connection, found: _Found) -> list[int]:
    return [number for (number,) in found.select(connection, "n.id")]


def _looked_at(
    connection: sqlite3.Connection, compiler: Compiler, query: Query, part: Fragment, *, by_id: bool = False
) -> _Found:
    """Let the reference matcher decide about what the conditions leave in doubt."""
    collection = compiler.scope.parent
    upper, lower = compiler.condition(query, up=True), compiler.condition(query, up=False)
    sure = _ids(connection, _Found(collection, _both(lower, part), by_id))
    doubtful = _Found(collection, _both(upper, Fragment(f"NOT ({lower.text})", lower.values), part), by_id)
    return _of_ids(collection, sure + list(_tested(doubtful.select(connection, "n.id, n.body"), query)))


def _tested(rows: sqlite3.Cursor, query: Query) -> Iterator[int]:
    for count, (number, body) in enumerate(rows):
        if count >= _MAX_LOOKED_AT:
            raise TooLargeError(
                f"over {_MAX_LOOKED_AT} documents would have to be looked at; narrow the query"
            )
        if query.matches(json.loads(body), search=search):
            yield number


def _in_order_of_time(connection: sqlite3.Connection, found: _Found, window: DocumentWindow) -> list[str]:
    rows = found.select(connection, "n.body", f"{_NEWEST} LIMIT ? OFFSET ?", window.limit, window.offset)
    return [body for (body,) in rows]


def _in_any_order(
    connection: sqlite3.Connection, found: _Found, order: Order, window: DocumentWindow
) -> list[str]:
    bodies: list[str] = []
    images: list[dict[int, Image]] = [{} for _ in order.keys]
    # Equals stay newest first, whatever the direction of the keys.
    for number, (body,) in enumerate(found.select(connection, "n.body", _NEWEST)):
        document = json.loads(body)
        bodies.append(body)
        for (path, _), known in zip(order.keys, images, strict=True):
            known.update((number, image(value)) for value in Field(path).reach(document))
    chosen = in_order(Order(order.keys), images, range(len(bodies)))[window.offset :]
    return [bodies[number] for number in (chosen if window.limit < 0 else chosen[: window.limit])]


def count_documents(connection: sqlite3.Connection, collection: int, query: Query, columns: Columns) -> int:
    """Return the exact number of documents that a query finds; see `search_documents`."""
    found = _found(connection, collection, query, columns)
    return int(found.select(connection, "count(*)").fetchone()[0])
