"""Own the writing of nodes with their data sources and assets, inside one transaction.

>>> from holdfast.database import Database, NewNode, ROOT
>>> with Database(":memory:") as database:
...     with database.transaction() as tx:
...         _ = tx.nodes.add(ROOT, [NewNode("a", "array", {"color": "red"})])
...     database.nodes.lookup(("a",)).metadata
'{"color":"red"}'
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from holdfast.database.asset_writing import AssetWriter
from holdfast.database.indexing import Document, Indexer, dumps, plain_specs
from holdfast.database.merging import merged
from holdfast.database.records import NewNode, NewSource, Outcome
from holdfast.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.queries.values import check_json
from holdfast.types import Json

__all__ = ["NodeWriter"]

_NODE = (
    "INSERT INTO nodes (id, parent, key, family, specs, metadata, structure, time_created, time_updated, "
    "children) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SOURCE = (
    "INSERT INTO data_sources (id, node, family, structure, mimetype, parameters, properties, management) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


class NodeWriter:
    """Write nodes in the caller's transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a writing transaction.
    indexer : Indexer
        The metadata index.
    assets : AssetWriter
        The assets.
    """

    def __init__(self, connection: sqlite3.Connection, indexer: Indexer, assets: AssetWriter) -> None:
        self._connection, self._indexer, self._assets = connection, indexer, assets
        self._structures: dict[bytes, int] = {}

    # -- adding ----------------------------------------------------------------------------------------

    def add(self, parent: int, nodes: Sequence[NewNode]) -> list[int]:
        """Add nodes, each with all below it.

        Parameters
        ----------
        parent : int
            The container.
        nodes : sequence of NewNode
            Many at once are much faster than one by one.

        Returns
        -------
        list of int
            The ids of the nodes, in order.

        Raises
        ------
        NotFoundError
            When there is no such container.
        AlreadyExistsError
            When a key is taken.
        InvalidInputError
            When metadata is not JSON, or cannot be kept; the key is named.
        """
        if not nodes:
            return []
        first = self._next_id("nodes")
        batch = _Batch(first, time.time())
        ids = batch.take(parent, nodes)
        self._grow(parent, len(nodes))
        self._insert(batch)
        return ids

    def _insert(self, batch: _Batch) -> None:
        rows = [
            (node, parent, new.key, new.family, dumps(specs), dumps(new.metadata),
             self._structure(new.structure), batch.time, batch.time, len(new.children))
            for (node, parent, new), specs in zip(batch.nodes, batch.specs, strict=True)
        ]  # fmt: skip
        try:
            self._connection.executemany(_NODE, rows)
        except sqlite3.IntegrityError as error:
            raise AlreadyExistsError(self._taken(batch)) from error
        pairs = zip(batch.nodes, batch.specs, strict=True)
        documents = [(new.metadata, new.family, specs) for (_, _, new), specs in pairs]
        self._indexer.add([row[1] for row in batch.nodes], [row[0] for row in batch.nodes], documents)
        self._insert_sources([(node, source) for node, _, new in batch.nodes for source in new.sources])

    def _taken(self, batch: _Batch) -> str:
        seen: set[tuple[int, str]] = set()
        before = "SELECT 1 FROM nodes WHERE parent = ? AND key = ? AND id < ?"
        for _, parent, new in batch.nodes:
            is_taken = self._connection.execute(before, (parent, new.key, batch.first)).fetchone()
            if is_taken or (parent, new.key) in seen:
                return f"there is a node {new.key!r} already; choose another key, or update that node"
            seen.add((parent, new.key))
        return "a key is taken; choose another"

    def _insert_sources(self, sources: Sequence[tuple[int, NewSource]]) -> None:
        if not sources:
            return
        first = self._next_id("data_sources")
        rows = [
            (first + number, node, new.family, self._structure(new.structure), new.mimetype,
             dumps(dict(new.parameters)), dumps(dict(new.properties)), new.management)
            for number, (node, new) in enumerate(sources)
        ]  # fmt: skip
        self._connection.executemany(_SOURCE, rows)
        self._assets.connect([(first + number, new.assets) for number, (_, new) in enumerate(sources)])

    def connect(self, node: int, sources: Sequence[NewSource]) -> None:
        """Put data sources behind a node, in place of those it has.

        Parameters
        ----------
        node : int
            Its id.
        sources : sequence of NewSource
            The data sources with their files.
        """
        self._connection.execute("DELETE FROM data_sources WHERE node = ?", (node,))
        self._insert_sources([(node, source) for source in sources])

    def _structure(self, structure: Json) -> int | None:
        if structure is None:
            return None
        text = dumps(structure)
        digest = blake2b(text.encode(), digest_size=16).digest()
        known = self._structures.get(digest)
        if known is None:
            self._connection.execute(
                "INSERT INTO structures (digest, structure) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (digest, text),
            )
            row = self._connection.execute("SELECT id FROM structures WHERE digest = ?", (digest,)).fetchone()
            known = self._structures[digest] = int(row[0])
        return known

    def _next_id(self, table: str) -> int:
        return int(self._connection.execute(f"SELECT coalesce(max(id), 0) + 1 FROM {table}").fetchone()[0])

    def _grow(self, parent: int, number: int) -> None:
        changed = self._connection.execute(
            "UPDATE nodes SET children = children + ? WHERE id = ?", (number, parent)
        )
        if changed.rowcount == 0:
            raise NotFoundError(f"no container with id {parent}; list the nodes anew")

    # -- changing --------------------------------------------------------------------------------------

    def update(
        self,
        node: int,
        *,
        metadata: dict[str, Json] | None = None,
        specs: Iterable[Any] | None = None,
        structure: Json = None,
        revision: bool = True,
    ) -> None:
        """Change a node; what is not given stays.

        Parameters
        ----------
        node : int
            Its id.
        metadata : dict, optional
            The new metadata as a whole.
        specs : iterable of str or dict, optional
            The new specs.
        structure : JSON, optional
            The new structure.
        revision : bool, default True
            Keep what was as a revision.

        Raises
        ------
        NotFoundError
            When there is no such node.
        InvalidInputError
            When the metadata cannot be kept.
        """
        old = self._stored(node)
        if metadata is not None:
            check_json(metadata, f"the metadata of {old.key!r}")
        new = (
            old.document[0] if metadata is None else metadata,
            old.document[1],
            old.document[2] if specs is None else plain_specs(specs),
        )
        if new != old.document and revision:
            self._keep_revision(node)
        self._store(old, new)
        if structure is not None:
            number = self._structure(structure)
            self._connection.execute("UPDATE nodes SET structure = ? WHERE id = ?", (number, node))

    def _stored(self, node: int) -> _Stored:
        row = self._connection.execute(
            "SELECT id, parent, key, metadata, family, specs, origin FROM nodes WHERE id = ?", (node,)
        ).fetchone()
        if row is None:
            raise NotFoundError(f"no node with id {node}; list the nodes anew")
        return _Stored(*row)

    def _keep_revision(self, node: int) -> None:
        self._connection.execute(
            "INSERT INTO revisions (node, number, metadata, specs, time) SELECT id, "
            "(SELECT coalesce(max(number), 0) + 1 FROM revisions WHERE node = nodes.id), "
            "metadata, specs, time_updated FROM nodes WHERE id = ?",
            (node,),
        )

    def _store(self, old: _Stored, new: Document, origin: dict[str, Json] | None = None) -> None:
        """Write what a node has become; ``origin`` is what its file said, kept where it differs."""
        kept = dumps(origin) if origin is not None and origin != new[0] else None
        if origin is None:
            kept = (
                old.origin if old.origin is not None or new[0] == old.document[0] else dumps(old.document[0])
            )
        self._connection.execute(
            "UPDATE nodes SET metadata = ?, family = ?, specs = ?, origin = ?, time_updated = ? WHERE id = ?",
            (dumps(new[0]), new[1], dumps(new[2]), kept, time.time(), old.id),
        )
        self._indexer.change(old.parent, old.id, old.document, new)

    def move(self, node: int, parent: int, key: str) -> None:
        """Give a node another container and key; what is below it comes along.

        Parameters
        ----------
        node, parent : int
            Its id, and that of the container.
        key : str
            Its new key.

        Raises
        ------
        NotFoundError
            When one of them does not exist.
        AlreadyExistsError
            When the key is taken.
        ConflictError
            When the container lies below the node.
        """
        old, above = self._stored(node), parent
        while above:
            if above == node:
                raise ConflictError(
                    f"node {old.key!r} cannot be moved below itself; choose another container"
                )
            above = self._stored(above).parent
        self._grow(parent, 1)
        self._grow(old.parent, -1)
        try:
            self._connection.execute("UPDATE nodes SET parent = ?, key = ? WHERE id = ?", (parent, key, node))
        except sqlite3.IntegrityError as error:
            raise AlreadyExistsError(f"there is a node {key!r} already; choose another key") from error
        self._indexer.change(old.parent, node, old.document, old.document, parent)

    def remove(self, node: int, *, recursive: bool = False) -> int:
        """Take a node away; files are not touched.

        Parameters
        ----------
        node : int
            Its id.
        recursive : bool, default False
            Take away all below it too.

        Returns
        -------
        int
            How many nodes went.

        Raises
        ------
        NotFoundError
            When there is no such node.
        ConflictError
            When nodes are below it and ``recursive`` is not given.
        """
        top = self._stored(node)
        below = self._below(node)
        if len(below) > 1 and not recursive:
            raise ConflictError(
                f"node {top.key!r} holds {len(below) - 1} nodes; remove them first, or ask for all"
            )
        for each in reversed(below):
            stored = self._stored(each)
            self._indexer.remove(stored.parent, each, stored.document)
            self._connection.execute("DELETE FROM nodes WHERE id = ?", (each,))
        self._grow(top.parent, -1)
        return len(below)

    def discard(self, nodes: Iterable[tuple[int, str]]) -> int:
        """Take nodes away with all below them, unless they are gone already; return how many went.

        Parameters
        ----------
        nodes : iterable of (int, str)
            Their ids and keys: the id of a node that is gone may be that of another one now.
        """
        known = "SELECT 1 FROM nodes WHERE id = ? AND key = ?"
        return sum(
            self.remove(node, recursive=True)
            for node, key in nodes
            if self._connection.execute(known, (node, key)).fetchone()
        )

    def _below(self, node: int) -> list[int]:
        rows = self._connection.execute(
            "WITH RECURSIVE t(id) AS "
            "(VALUES(?) UNION ALL SELECT n.id FROM nodes n JOIN t ON n.parent = t.id) SELECT id FROM t",
            (node,),
        )
        return [number for (number,) in rows]

    # -- indexing again --------------------------------------------------------------------------------

    def sync(self, parent: int, nodes: Sequence[NewNode]) -> list[Outcome]:
        """Bring nodes to what their files say now, and keep what was added to them since.

        Parameters
        ----------
        parent : int
            The container.
        nodes : sequence of NewNode
            What the files say; children of these that are not named any more are removed.

        Returns
        -------
        list of Outcome
            For each node its id, and whether it was added, updated or the same.
        """
        known = dict(
            self._connection.execute(
                "SELECT key, id FROM nodes WHERE parent = ? AND key IN (SELECT value FROM json_each(?))",
                (parent, dumps([new.key for new in nodes])),
            )
        )
        added = iter(self.add(parent, [new for new in nodes if new.key not in known]))
        return [
            Outcome(known[new.key], self._sync_one(known[new.key], new)) if new.key in known
            else Outcome(next(added), "added")
            for new in nodes
        ]  # fmt: skip

    def _sync_one(self, node: int, new: NewNode) -> Any:
        is_changed = self.describe(node, new)
        is_changed |= self.set_sources(node, new.sources)
        is_changed |= self._sync_children(node, new)
        return "updated" if is_changed else "same"

    def describe(self, node: int, new: NewNode) -> bool:
        """Bring family, metadata, specs and structure of a node to what its file says now.

        Parameters
        ----------
        node : int
            Its id; its data sources and what is below it stay.
        new : NewNode
            What the file says.

        Returns
        -------
        bool
            Whether anything differed.
        """
        old = self._stored(node)
        origin = old.document[0] if old.origin is None else json.loads(old.origin)
        check_json(new.metadata, f"the metadata of {new.key!r}")
        document = (merged(origin, old.document[0], new.metadata), new.family, plain_specs(new.specs))
        is_changed = document != old.document or new.metadata != origin
        if is_changed:
            self._store(old, document, new.metadata)
        return self._sync_structure(node, new.structure) or is_changed

    def describe_source(self, source: int, new: NewSource) -> None:
        """Change what is said of a data source; its files stay.

        Parameters
        ----------
        source : int
            Its id.
        new : NewSource
            All but the files.
        """
        self._connection.execute(
            "UPDATE data_sources SET family = ?, structure = ?, mimetype = ?, parameters = ?, properties = ? "
            "WHERE id = ?",
            (new.family, self._structure(new.structure), new.mimetype, dumps(dict(new.parameters)),
             dumps(dict(new.properties)), source),
        )  # fmt: skip

    def set_sources(self, node: int, sources: Sequence[NewSource]) -> bool:
        """Give a node other data sources; what is known of their files' bytes is kept.

        Parameters
        ----------
        node : int
            Its id; `ROOT` too.
        sources : sequence of NewSource
            All of its data sources.

        Returns
        -------
        bool
            Whether anything differed, beside facts of the files themselves.
        """
        if self._assets.is_same(node, sources):
            self._assets.record([asset for source in sources for asset in source.assets])
            return False
        self._connection.execute("DELETE FROM data_sources WHERE node = ?", (node,))
        self._insert_sources([(node, source) for source in sources])
        return True

    def _sync_structure(self, node: int, structure: Json) -> bool:
        number = self._structure(structure)
        changed = self._connection.execute(
            "UPDATE nodes SET structure = ? WHERE id = ? AND structure IS NOT ?", (number, node, number)
        )
        return changed.rowcount > 0

    def _sync_children(self, node: int, new: NewNode) -> bool:
        keys = dumps([child.key for child in new.children])
        gone = self._connection.execute(
            "SELECT id FROM nodes WHERE parent = ? AND key NOT IN (SELECT value FROM json_each(?))",
            (node, keys),
        ).fetchall()
        for (child,) in gone:
            self.remove(child, recursive=True)
        outcomes = self.sync(node, new.children) if new.children else []
        return bool(gone) or any(outcome.what != "same" for outcome in outcomes)


class _Stored:
    """Hold a node as it is before a change."""

    __slots__ = ("document", "id", "key", "origin", "parent")

    def __init__(
        self, number: int, parent: int, key: str, metadata: str, family: str, specs: str, origin: str | None
    ) -> None:
        self.id, self.parent, self.key, self.origin = number, parent, key, origin
        self.document: Document = (json.loads(metadata), family, json.loads(specs))


class _Batch:
    """Hold new nodes of any depth with their ids, parents before children."""

    def __init__(self, first: int, now: float) -> None:
        self.first, self.time = first, now
        self.nodes: list[tuple[int, int, NewNode]] = []
        self.specs: list[list[dict[str, Any]]] = []

    def take(self, parent: int, nodes: Sequence[NewNode]) -> list[int]:
        start = self.first + len(self.nodes)
        for number, new in enumerate(nodes):
            check_json(new.metadata, f"the metadata of {new.key!r}")
            self.nodes.append((start + number, parent, new))
            self.specs.append(plain_specs(new.specs) if new.specs else [])
        for number, new in enumerate(nodes):
            if new.children:
                self.take(start + number, new.children)
        return list(range(start, start + len(nodes)))
