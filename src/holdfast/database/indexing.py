"""Own the upkeep of the metadata index: rows and words of nodes, added, changed and taken away.

>>> plain_specs(["a", {"name": "b", "version": "1"}])
[{'name': 'a', 'version': None}, {'name': 'b', 'version': '1'}]
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.database.flatten import MAX_TEXT, Flattener, Row, text_of
from holdfast.database.pathways import PathWriter
from holdfast.database.schema import set_about
from holdfast.database.tables import FAMILY_PATH, SPECS_PATH
from holdfast.errors import InvalidInputError
from holdfast.queries.values import TEXT, check_json
from holdfast.types import Json

__all__ = ["Document", "Indexer", "dumps", "plain_specs", "rebuild"]

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_INSERT = "INSERT OR IGNORE INTO node_values (parent, path, kind, value, node) VALUES (?, ?, ?, ?, ?)"
_DELETE = "DELETE FROM node_values WHERE parent = ? AND path = ? AND kind = ? AND value = ? AND node = ?"

Document = tuple[dict[str, Json], str, list[dict[str, Any]]]
"""Metadata, structure family and specs of a node: what is indexed."""


def dumps(value: Json) -> str:
    """Return JSON text as it is stored: compact, in UTF-8."""
    return _ENCODER.encode(value)


def plain_specs(specs: Iterable[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return specs as they are stored.

    Parameters
    ----------
    specs : iterable of str or mapping
        Names, or ``{"name": …, "version": …}``.

    Returns
    -------
    list of dict
        With name and version.

    Raises
    ------
    InvalidInputError
        For a spec without a name, or one of over 200 characters.
    """
    found = []
    for spec in specs:
        parts = {"name": spec} if isinstance(spec, str) else dict(spec)
        name, version = parts.get("name"), parts.get("version")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_TEXT:
            raise InvalidInputError(f"a spec needs a name of 1 to {MAX_TEXT} characters, not {spec!r:.80}")
        check_json([name, version], "spec")
        found.append({"name": name, "version": version})
    return found


class Indexer:
    """Keep ``node_values`` and ``node_text`` in step with the nodes, inside the caller's transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a writing transaction.
    paths : PathWriter
        The numbers of paths.
    """

    def __init__(self, connection: sqlite3.Connection, paths: PathWriter) -> None:
        self._connection, self._paths = connection, paths
        paths.use(connection)
        self._flattener = Flattener(paths.child)

    def add(self, parents: Sequence[int], nodes: Sequence[int], documents: Sequence[Document]) -> None:
        """Index new nodes.

        Parameters
        ----------
        parents, nodes : sequence of int
            Their containers, and their ids.
        documents : sequence of Document
            What is indexed.
        """
        rows = [
            (parent, *row, node)
            for parent, node, document in zip(parents, nodes, documents, strict=True)
            for row in self._rows(document)
        ]
        # In the order of the key the index grows at few places; values of one path and kind compare.
        rows.sort()
        self._connection.executemany(_INSERT, rows)
        texts = zip(nodes, (text_of(metadata) for metadata, _, _ in documents), strict=True)
        words = [(node, text) for node, text in texts if text]
        self._connection.executemany("INSERT INTO node_text (rowid, text) VALUES (?, ?)", words)

    def change(
        self, parent: int, node: int, old: Document, new: Document, new_parent: int | None = None
    ) -> None:
        """Index what a node has become; only what differs is touched.

        Parameters
        ----------
        parent, node : int
            Its container, and its id.
        old, new : Document
            What was and what is indexed.
        new_parent : int, optional
            The container that it moves to.
        """
        target = parent if new_parent is None else new_parent
        before = {(parent, *row, node) for row in self._rows(old)}
        after = {(target, *row, node) for row in self._rows(new)}
        self._connection.executemany(_DELETE, before - after)
        self._connection.executemany(_INSERT, after - before)
        self._change_text(node, text_of(old[0]), text_of(new[0]))

    def remove(self, parent: int, node: int, old: Document) -> None:
        """Take a node out of the index.

        Parameters
        ----------
        parent, node : int
            Its container, and its id.
        old : Document
            What was indexed.
        """
        self._connection.executemany(_DELETE, {(parent, *row, node) for row in self._rows(old)})
        self._change_text(node, text_of(old[0]), "")

    def _change_text(self, node: int, old: str, new: str) -> None:
        if old == new:
            return
        if old:
            delete = "INSERT INTO node_text (node_text, rowid, text) VALUES ('delete', ?, ?)"
            self._connection.execute(delete, (node, old))
        if new:
            self._connection.execute("INSERT INTO node_text (rowid, text) VALUES (?, ?)", (node, new))

    def _rows(self, document: Document) -> list[Row]:
        metadata, family, specs = document
        found = self._flattener.rows(metadata)
        if found.flags:
            self._paths.set_flags(found.flags)
        found.rows.append((FAMILY_PATH, TEXT, family))
        found.rows += [(SPECS_PATH, TEXT, spec["name"]) for spec in specs]
        return found.rows


def rebuild(connection: sqlite3.Connection) -> None:
    """Make the whole index anew from the nodes, inside the caller's transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a writing transaction.
    """
    connection.execute("DELETE FROM node_values")
    connection.execute("INSERT INTO node_text (node_text) VALUES ('delete-all')")
    connection.execute("DELETE FROM document_fields")
    connection.execute("DELETE FROM paths WHERE id > 3")
    connection.execute("UPDATE paths SET flags = 0")
    set_about(connection, "index", uuid.uuid4().hex)
    indexer = Indexer(connection, PathWriter())
    rows = connection.execute("SELECT id, parent, metadata, family, specs FROM nodes ORDER BY id")
    while batch := rows.fetchmany(500):
        documents = [
            (json.loads(metadata), family, json.loads(specs)) for _, _, metadata, family, specs in batch
        ]
        indexer.add([row[1] for row in batch], [row[0] for row in batch], documents)
