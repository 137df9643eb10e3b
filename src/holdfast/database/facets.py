"""Own the different values of fields among the hits of a search, with their numbers.

>>> Facets(keys=("color",)).counts
False
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.database.flatten import MARKER, MAX_TEXT, image
from holdfast.database.pathways import cut_paths, find_paths
from holdfast.database.planning import Plan, plan
from holdfast.database.scopes import Scope
from holdfast.database.sorting import Image
from holdfast.database.tables import FAMILY_PATH
from holdfast.queries import Field, Query, field_of
from holdfast.queries.values import BOOL, LIST, NULL, NUMBER, OBJECT, TEXT
from holdfast.types import Json

__all__ = ["Facets", "facets"]

_BEYOND = 2**63


@dataclass(frozen=True, slots=True)
class Facets:
    """Say of what the different values are wanted.

    Parameters
    ----------
    keys : sequence
        Metadata fields, as `Key` takes them.
    families, specs : bool
        Also of structure families, and of lists of specs.
    counts : bool
        Also how many nodes have each.
    """

    keys: Sequence[object] = ()
    families: bool = False
    specs: bool = False
    counts: bool = False


def facets(connection: sqlite3.Connection, scope: Scope, query: Query, wanted: Facets) -> dict[str, object]:
    """Return the different values of the hits of a query.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a read transaction.
    scope : Scope
        Which nodes are looked at.
    query : Query
        Any query.
    wanted : Facets
        Of what.

    Returns
    -------
    dict
        ``metadata`` (a dict of lists by dotted key), ``structure_families`` and ``specs``; each list holds
        ``{"value": …, "count": int or None}`` in the order of values. What was not asked for is left out.
    """
    reader = _Reader(connection, scope, plan(connection, scope, query), wanted.counts)
    found: dict[str, object] = {"metadata": {_text(key): reader.field(key) for key in wanted.keys}}
    if wanted.families:
        found["structure_families"] = reader.values(FAMILY_PATH, ())
    if wanted.specs:
        found["specs"] = reader.specs()
    return found


def _text(key: object) -> str:
    return key if isinstance(key, str) else field_of(key).dotted


@dataclass(frozen=True, slots=True)
class _Reader:
    connection: sqlite3.Connection
    scope: Scope
    found: Plan
    counts: bool

    def field(self, key: object) -> list[dict[str, Json]]:
        path = field_of(key).path
        if cut_paths(self.connection, path):
            return self._from_documents(path)
        ids = find_paths(self.connection, path, walk=False)
        return self.values(ids[0][0], path) if ids else []

    def values(self, path: int, parts: tuple[str, ...]) -> list[dict[str, Json]]:
        rows = self._execute(
            "SELECT v.kind, v.value, count(*), min(v.node) FROM node_values v "
            f"WHERE v.parent{self.scope.test} AND v.path = {path} AND v.kind < {MARKER} "
            f"AND v.node IN (SELECT n.id FROM {self.found.origin} WHERE {self.found.where}) "
            "GROUP BY v.kind, v.value ORDER BY v.kind, v.value"
        )
        return [
            {"value": self._value(kind, stored, node, parts), "count": count if self.counts else None}
            for kind, stored, count, node in rows.fetchall()
        ]

    def _from_documents(self, path: tuple[str, ...]) -> list[dict[str, Json]]:
        # Where the index left out values of a field, the documents themselves are asked.
        rows = self._execute(
            "SELECT m.metadata FROM nodes m WHERE m.id IN "
            f"(SELECT n.id FROM {self.found.origin} WHERE {self.found.where})"
        )
        counted: dict[Image, int] = {}
        values: dict[Image, Json] = {}
        for (text,) in rows:
            for value in Field(path).reach(json.loads(text)):
                values.setdefault(image(value), value)
                counted[image(value)] = counted.get(image(value), 0) + 1
        return [
            {"value": values[each], "count": counted[each] if self.counts else None}
            for each in sorted(counted)
        ]

    def specs(self) -> list[dict[str, Json]]:
        rows = self._execute(
            "SELECT m.specs, count(*) FROM nodes m WHERE m.id IN "
            f"(SELECT n.id FROM {self.found.origin} WHERE {self.found.where}) "
            "GROUP BY m.specs ORDER BY m.specs"
        )
        return [{"value": json.loads(text), "count": count if self.counts else None} for text, count in rows]

    def _execute(self, statement: str) -> sqlite3.Cursor:
        values = (self.scope.parent, *self.found.values)
        return self.connection.execute(self.scope.prefix + statement, values)

    def _value(self, kind: int, stored: Json, node: int, parts: tuple[str, ...]) -> Json:
        if kind == NULL:
            return None
        if kind == BOOL:
            return bool(stored)
        is_image = (kind == TEXT and len(stored) > MAX_TEXT) or (kind == NUMBER and abs(stored) >= _BEYOND)
        if kind in (LIST, OBJECT) or is_image:
            return self._from_metadata(node, parts)
        return stored

    def _from_metadata(self, node: int, parts: tuple[str, ...]) -> Json:
        text = self.connection.execute("SELECT metadata FROM nodes WHERE id = ?", (node,)).fetchone()[0]
        return next(field_of(list(parts)).reach(json.loads(text)))
