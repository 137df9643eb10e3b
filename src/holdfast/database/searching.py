"""Own the pages and counts of searches.

It does not choose the plan of a search, nor the order of its hits.
"""

from __future__ import annotations

import sqlite3

from holdfast.database.paging import Pager, Window
from holdfast.database.planning import Plan, plan
from holdfast.database.records import NodeRow, Page
from holdfast.database.scopes import Scope
from holdfast.database.sorting import Order, write_cursor
from holdfast.queries import And, Query

__all__ = ["NODE_COLUMNS", "count_hits", "search_nodes"]

NODE_COLUMNS = (
    "n.id, n.parent, n.key, n.family, n.specs, n.metadata, s.structure, "
    "n.time_created, n.time_updated, n.children"
)
"""The columns of a `NodeRow`, of ``nodes n`` and ``structures s``."""

_KEY_COLUMNS = "n.id, n.parent, n.key, n.family, '', '', NULL, n.time_created, n.time_updated, n.children"


def count_hits(connection: sqlite3.Connection, scope: Scope, query: Query) -> int:
    """Return the exact number of hits.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a read transaction.
    scope : Scope
        Which nodes are looked at.
    query : Query
        Any query.

    Returns
    -------
    int
        The number.
    """
    return _count(connection, scope, plan(connection, scope, query), query)


def _count(connection: sqlite3.Connection, scope: Scope, found: Plan, query: Query) -> int:
    if found.ids is not None:
        return len(found.ids)
    if query == And() and not scope.is_deep:
        row = connection.execute("SELECT children FROM nodes WHERE id = ?", (scope.parent,)).fetchone()
        return int(row[0]) if row else 0
    statement = f"{scope.prefix}SELECT count(*) FROM {found.origin} WHERE {found.where}"
    return int(connection.execute(statement, (scope.parent, *found.values)).fetchone()[0])


def search_nodes(
    connection: sqlite3.Connection,
    scope: Scope,
    query: Query,
    order: Order,
    window: Window,
    *,
    count: bool | int = True,
    keys_only: bool = False,
) -> Page:
    """Return one page of hits.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a read transaction.
    scope : Scope
        Which nodes are looked at.
    query : Query
        Any query.
    order : Order
        The order of the hits.
    window : Window
        Which part is wanted.
    count : bool or int, default True
        Also count all hits; or their number, where it is known.
    keys_only : bool, default False
        Leave out specs, metadata and structures.

    Returns
    -------
    Page
        Rows in order, the count, and the cursor of the next page.
    """
    found = plan(connection, scope, query)
    total = (_count(connection, scope, found, query) if count else -1) if isinstance(count, bool) else count
    ids, place = Pager(connection, scope, found, order, window).page()
    cursor = None if place is None else write_cursor(order, place)
    return Page(_rows(connection, ids, _KEY_COLUMNS if keys_only else NODE_COLUMNS), total, cursor)


def _rows(connection: sqlite3.Connection, ids: list[int], columns: str) -> list[NodeRow]:
    if not ids:
        return []
    statement = (
        f"SELECT {columns} FROM nodes n LEFT JOIN structures s ON s.id = n.structure "
        "WHERE n.id IN (SELECT value FROM json_each(?))"
    )
    rows = {row[0]: NodeRow._make(row) for row in connection.execute(statement, (repr(ids),))}
    return [rows[node] for node in ids]
