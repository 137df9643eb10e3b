"""Own the nodes: look-ups, searches, facets, and data sources of nodes as they are read.

>>> from holdfast.database import Database
>>> with Database(":memory:") as database:
...     database.nodes.lookup(()).family
'container'
"""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable, Iterable, Sequence

from holdfast.database.assets import ASSET_COLUMNS, MEMBER, asset_row
from holdfast.database.connection import SqliteFile
from holdfast.database.facets import Facets, facets
from holdfast.database.opening import MEMORY
from holdfast.database.paging import Window, is_id
from holdfast.database.records import AssetRow, NodeRow, Page, RevisionRow, SourceRow
from holdfast.database.scopes import Scope
from holdfast.database.searching import NODE_COLUMNS, count_hits, search_nodes
from holdfast.database.sorting import order_of
from holdfast.database.tables import ROOT
from holdfast.errors import NotFoundError
from holdfast.queries import And, Query

__all__ = ["Nodes"]

_EVERYTHING = And()
_MOST_COUNTS = 1000
_Counted = tuple[Hashable, int, bool, Query]
_SELECT = f"SELECT {NODE_COLUMNS} FROM nodes n LEFT JOIN structures s ON s.id = n.structure"


class Nodes:
    """Read the nodes of a database; every method sees one state of it.

    Parameters
    ----------
    file : SqliteFile
        The database.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._counts: dict[_Counted, int] = {}

    def lookup(self, path: Sequence[str], start: int = ROOT) -> NodeRow:
        """Return the node at a path.

        Parameters
        ----------
        path : sequence of str
            Keys from ``start`` down; empty for that node itself.
        start : int, default ROOT
            Where the path begins.

        Returns
        -------
        NodeRow
            The node.

        Raises
        ------
        NotFoundError
            When there is none; the deepest part that exists is named.
        """
        with self._file.read() as connection:
            node = start
            for number, key in enumerate(path):
                row = connection.execute(
                    "SELECT id FROM nodes WHERE parent = ? AND key = ?", (node, key)
                ).fetchone()
                if row is None:
                    raise NotFoundError(_no_node(path, number))
                node = row[0]
            return _node(connection, node)

    def get(self, node: int) -> NodeRow:
        """Return the node with an id; `NotFoundError` when there is none."""
        with self._file.lease() as connection:
            return _node(connection, node)

    def path(self, node: int) -> tuple[str, ...]:
        """Return the keys from the root to a node; `NotFoundError` when there is none."""
        return self.paths([node])[node]

    def paths(self, nodes: Iterable[int]) -> dict[int, tuple[str, ...]]:
        """Return the keys from the root to each of several nodes.

        Parameters
        ----------
        nodes : iterable of int
            Ids.

        Returns
        -------
        dict of int to tuple of str
            In the order given.

        Raises
        ------
        NotFoundError
            When one does not exist.
        """
        known: dict[int, tuple[str, ...]] = {ROOT: ()}
        with self._file.read() as connection:
            return {node: _path(connection, node, known) for node in nodes}

    def search(
        self,
        parent: int,
        query: Query | None = None,
        *,
        deep: bool = False,
        sort: Iterable[tuple[object, int]] = (),
        cursor: str | None = None,
        offset: int = 0,
        limit: int = 100,
        count: bool = True,
        keys_only: bool = False,
    ) -> Page:
        """Return one page of the hits of a query.

        Parameters
        ----------
        parent : int
            The container.
        query : Query, optional
            What to find; everything by default.
        deep : bool, default False
            Look at the whole subtree, not only at the children.
        sort : iterable of (key, 1 or -1)
            Keys as `Key` takes them; ``("", -1)`` is newest first. See ``sorting``.
        cursor : str, optional
            Where the page before ended.
        offset : int, default 0
            How many hits to leave out; not with a cursor.
        limit : int, default 100
            The most rows.
        count : bool, default True
            Also count all hits, exactly.
        keys_only : bool, default False
            Leave out specs, metadata and structures.

        Returns
        -------
        Page
            Rows, the count, and the cursor of the next page, None at the end.

        Raises
        ------
        InvalidInputError
            For a malformed pattern, sort key, limit or cursor.
        TimeLimitError
            For a regular expression that takes too long.
        """
        window, scope, order = Window(limit, offset, cursor), Scope(parent, deep), order_of(sort)
        wanted = _EVERYTHING if query is None else query
        key = (self._file.change(), parent, deep, wanted)
        with self._file.read() as connection:
            known = self._counted(connection, key) if count else None
            total = count if known is None else known
            page = search_nodes(connection, scope, wanted, order, window, count=total, keys_only=keys_only)
        if count and known is None:
            self._remember(key, page.count)
        return page

    def _counted(self, connection: sqlite3.Connection, key: _Counted) -> int | None:
        """Return a count from before, if what is read now is the very state that was counted."""
        if key not in self._counts or self._file.path == MEMORY:
            return None
        # The first statement fixes the state; if nobody committed since the key was made, it is the same.
        connection.execute("SELECT 1 FROM about LIMIT 1").fetchone()
        return self._counts.get(key) if self._file.change() == key[0] else None

    def _remember(self, key: _Counted, count: int) -> None:
        if len(self._counts) >= _MOST_COUNTS:
            self._counts.clear()
        self._counts[key] = count

    def count(self, parent: int, query: Query | None = None, *, deep: bool = False) -> int:
        """Return the exact number of hits; see `search`."""
        with self._file.read() as connection:
            return count_hits(connection, Scope(parent, deep), _EVERYTHING if query is None else query)

    def distinct(
        self,
        parent: int,
        query: Query | None = None,
        *,
        keys: Sequence[object] = (),
        families: bool = False,
        specs: bool = False,
        counts: bool = False,
        deep: bool = False,
    ) -> dict[str, object]:
        """Return the different values that hits have, with or without their numbers.

        Parameters
        ----------
        parent : int
            The container.
        query : Query, optional
            Which nodes are looked at.
        keys : sequence
            Metadata fields, as `Key` takes them.
        families, specs : bool, default False
            Also of structure families, and of lists of specs.
        counts : bool, default False
            Also how many nodes have each value.
        deep : bool, default False
            Look at the whole subtree.

        Returns
        -------
        dict
            As ``facets.facets`` says.
        """
        with self._file.read() as connection:
            wanted = Facets(keys, families, specs, counts)
            return facets(connection, Scope(parent, deep), _EVERYTHING if query is None else query, wanted)

    def sources(self, nodes: Iterable[int]) -> dict[int, list[SourceRow]]:
        """Return the data sources of nodes, each with its assets.

        Parameters
        ----------
        nodes : iterable of int
            Ids.

        Returns
        -------
        dict of int to list of SourceRow
            Every id that was given.
        """
        found: dict[int, list[SourceRow]] = {node: [] for node in nodes}
        with self._file.read() as connection:
            rows = connection.execute(
                "SELECT d.id, d.node, d.family, s.structure, d.mimetype, d.parameters, d.properties, "
                "d.management FROM data_sources d LEFT JOIN structures s ON s.id = d.structure "
                "WHERE d.node IN (SELECT value FROM json_each(?)) ORDER BY d.id",
                (repr(list(found)),),
            )
            for row in rows:
                found[row[1]].append(SourceRow._make((*row, _assets(connection, row[0]))))
        return found

    def revisions(self, node: int) -> list[RevisionRow]:
        """Return what a node was before each change, oldest first."""
        statement = "SELECT number, metadata, specs, time FROM revisions WHERE node = ? ORDER BY number"
        with self._file.lease() as connection:
            return [RevisionRow._make(row) for row in connection.execute(statement, (node,))]


def _node(connection: sqlite3.Connection, node: int) -> NodeRow:
    row = connection.execute(f"{_SELECT} WHERE n.id = ?", (node,)).fetchone() if is_id(node) else None
    if row is None:
        raise NotFoundError(f"no node with id {node}; list the nodes anew")
    return NodeRow._make(row)


def _path(connection: sqlite3.Connection, node: int, known: dict[int, tuple[str, ...]]) -> tuple[str, ...]:
    steps: list[tuple[int, str]] = []
    while node not in known:
        row = connection.execute("SELECT parent, key FROM nodes WHERE id = ?", (node,)).fetchone()
        if row is None:
            raise NotFoundError(f"no node with id {node}; list the nodes anew")
        steps.append((node, row[1]))
        node = row[0]
    path = known[node]
    for number, key in reversed(steps):
        path = known[number] = (*path, key)
    return path


def _assets(connection: sqlite3.Connection, source: int) -> list[AssetRow]:
    rows = connection.execute(
        f"SELECT {ASSET_COLUMNS}, l.parameter, l.num FROM data_source_assets l "
        "JOIN assets a ON a.id = l.asset WHERE l.data_source = ? AND l.parameter <> ? "
        "ORDER BY l.parameter, l.num, a.id",
        (source, MEMBER),
    )
    return [asset_row(row) for row in rows]


def _no_node(path: Sequence[str], number: int) -> str:
    where = "/".join(path[:number])
    inside = f"in {where!r}" if where else "at the top"
    return f"no node {'/'.join(path)!r}: there is no {path[number]!r} {inside}; list what is there"
