"""Own the way to the ids of one page of hits, by cursor or offset, in any order.

>>> Window(limit=10).offset
0
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.database.flatten import MARKER, image
from holdfast.database.leaves import Row
from holdfast.database.pathways import cut_paths, find_paths
from holdfast.database.planning import Plan
from holdfast.database.scopes import Scope
from holdfast.database.sorting import Image, Order, in_order, position, read_cursor
from holdfast.errors import InvalidInputError
from holdfast.queries import Field
from holdfast.queries.values import BOOL, LIST, NULL, NUMBER, OBJECT, TEXT

__all__ = ["MAX_LIMIT", "Pager", "Window", "hit_ids", "is_id"]

MAX_LIMIT = 100_000
"""The most rows of one page."""

_BIGGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Window:
    """Say which part of the hits is wanted.

    Parameters
    ----------
    limit : int
        The most rows.
    offset : int
        How many to leave out first; not with a cursor.
    cursor : str or None
        Where the page before ended.
    """

    limit: int = 100
    offset: int = 0
    cursor: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.limit <= MAX_LIMIT:
            raise InvalidInputError(f"the limit of a page is between 0 and {MAX_LIMIT}, not {self.limit}")
        if not 0 <= self.offset <= _BIGGEST:
            raise InvalidInputError(f"the offset of a page must not be {self.offset}")
        if self.offset and self.cursor:
            raise InvalidInputError("a page has a cursor or an offset, not both")


def hit_ids(connection: sqlite3.Connection, scope: Scope, found: Plan) -> list[int]:
    """Return the ids of all hits, ascending."""
    if found.ids is not None:
        return found.ids
    statement = f"{scope.prefix}SELECT n.id FROM {found.origin} WHERE {found.where} ORDER BY n.id"
    return [node for (node,) in connection.execute(statement, (scope.parent, *found.values))]


_MANY = 500
_MOST = 20
_BY_METADATA = 2000
_IMAGES = (
    "SELECT node AS id, parent, path, kind, value FROM node_values "
    "WHERE parent{test} AND path = {path} AND +kind < {marker}"
)
Place = Any


@dataclass(slots=True)
class Pager:
    """Find the ids of one page, and the place where it ends.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a read transaction.
    scope : Scope
        Which nodes are looked at.
    found : Plan
        The hits.
    order : Order
        Their order.
    window : Window
        Which part is wanted.
    """

    connection: sqlite3.Connection
    scope: Scope
    found: Plan
    order: Order
    window: Window

    def page(self) -> tuple[list[int], Place]:
        """Return the ids of the page in order, and its end.

        Returns
        -------
        (list of int, JSON)
            The end is None when nothing comes after it; else what a cursor holds: for each sort key the image
            of the last hit or None, and its id.
        """
        if self.window.limit == 0:
            return [], None
        place = self._place()
        if not self.order.keys:
            return self._by_id(None if place is None else place[-1])
        if len(self.order.keys) == 1 and not self.scope.is_deep and not self._is_cut() and self._is_many():
            return self._by_one_key(place)
        return self._by_keys(place)

    def _place(self) -> Place:
        if self.window.cursor is None:
            return None
        place = read_cursor(self.window.cursor, self.order)
        is_whole = isinstance(place, list) and len(place) == len(self.order.keys) + 1 and is_id(place[-1])
        if not is_whole or not all(each is None or _is_image(each) for each in place[:-1]):
            raise InvalidInputError("the cursor is damaged; start again without it")
        return place

    def _is_many(self) -> bool:
        # Few hits are sorted by themselves; for many the index is walked in its order.
        if self.found.ids is not None:
            return False
        few = (
            f"SELECT count(*) FROM (SELECT 1 FROM {self.found.origin} WHERE {self.found.where} LIMIT {_MANY})"
        )
        return self._is_everything or self._execute(few).fetchone()[0] >= _MANY

    def _is_cut(self) -> bool:
        # Where the index left out values of a field, the documents themselves are asked.
        return any(cut_paths(self.connection, path) for path, _ in self.order.keys)

    @property
    def _is_everything(self) -> bool:
        return self.found.where == f"n.parent{self.scope.test}"

    def _execute(self, statement: str, *more: object) -> sqlite3.Cursor:
        values = (self.scope.parent, *self.found.values, *more)
        return self.connection.execute(self.scope.prefix + statement, values)

    def _by_id(self, last: int | None) -> tuple[list[int], Place]:
        after, values = self._after(last)
        rows = self._execute(
            f"SELECT n.id FROM {self.found.origin} WHERE {self.found.where}{after} "
            f"ORDER BY n.id {self._word} LIMIT ? OFFSET ?",
            *values,
            self.window.limit + 1,
            self.window.offset,
        )
        ids = [node for (node,) in rows]
        return ids[: self.window.limit], [ids[self.window.limit - 1]] if len(
            ids
        ) > self.window.limit else None

    @property
    def _word(self) -> str:
        return "DESC" if self.order.is_descending else "ASC"

    def _after(self, last: int | None) -> tuple[str, tuple[int, ...]]:
        if last is None:
            return "", ()
        return f" AND n.id {'<' if self.order.is_descending else '>'} ?", (last,)

    # -- one key: the index is walked ------------------------------------------------------------------

    def _by_one_key(self, place: Place) -> tuple[list[int], Place]:
        path = find_paths(self.connection, self.order.keys[0][0], walk=False)
        wanted, offset = self.window.limit + 1, self.window.offset
        rows: list[tuple[int, Place]] = []
        if path and (place is None or place[0] is not None):
            rows = self._present(path[0][0], place, wanted, offset)
            if len(rows) < wanted and offset:
                offset = max(0, offset - self._count_present(path[0][0])) if not rows else 0
            place = None
        if len(rows) < wanted:
            last = None if place is None else place[-1]
            rows += self._missing(path[0][0] if path else None, last, wanted - len(rows), offset)
        ids = [node for node, _ in rows[: self.window.limit]]
        return ids, rows[self.window.limit - 1][1] if len(rows) == wanted else None

    def _filtered(self, path: int, *, walked: bool) -> tuple[str, tuple[object, ...]]:
        """Return the rows of a path that belong to hits, and the values of that condition."""
        images = _IMAGES.format(test=self.scope.test, path=path, marker=MARKER)
        if self._is_everything:
            return f"FROM ({images}) n WHERE 1", ()
        tests = self.found.tests(Row(path, walked)) if self._are_most() else None
        if tests is not None:
            return f"FROM ({images}) n WHERE {tests.text}", tests.values
        hits = f"SELECT n.id FROM {self.found.origin} WHERE {self.found.where}"
        return f"FROM ({images}) n WHERE n.id IN ({hits})", self.found.values

    def _are_most(self) -> bool:
        # Where many children are hits, each row of the index is tested; else the hits are gathered first.
        children = "SELECT children FROM nodes WHERE id = ?1"
        total = self.connection.execute(children, (self.scope.parent,)).fetchone()
        limit = max(_MANY, (total[0] if total else 0) // _MOST)
        some = f"SELECT count(*) FROM (SELECT 1 FROM {self.found.origin} WHERE {self.found.where} LIMIT ?)"
        return bool(self._execute(some, limit).fetchone()[0] >= limit)

    def _present(self, path: int, place: Place, limit: int, offset: int) -> list[tuple[int, Place]]:
        after, values = "", ()
        if place is not None:
            after = f" AND (n.kind, n.value, n.id) {'<' if self.order.is_descending else '>'} (?, ?, ?)"
            values = (*place[0], place[-1])
        source, tested = self._filtered(path, walked=place is not None)
        statement = (
            f"{self.scope.prefix}SELECT n.id, n.kind, n.value {source}{after} "
            f"ORDER BY n.kind {self._word}, n.value {self._word}, n.id {self._word} LIMIT ? OFFSET ?"
        )
        rows = self.connection.execute(statement, (self.scope.parent, *tested, *values, limit, offset))
        return [(node, [[kind, value], node]) for node, kind, value in rows]

    def _count_present(self, path: int) -> int:
        source, tested = self._filtered(path, walked=False)
        statement = f"{self.scope.prefix}SELECT count(*) {source}"
        return int(self.connection.execute(statement, (self.scope.parent, *tested)).fetchone()[0])

    def _missing(
        self, path: int | None, last: int | None, limit: int, offset: int
    ) -> list[tuple[int, Place]]:
        after, values = self._after(last)
        if path is not None:
            images = _IMAGES.format(test=self.scope.test, path=path, marker=MARKER)
            after += f" AND n.id NOT IN (SELECT id FROM ({images}))"
        rows = self._execute(
            f"SELECT n.id FROM {self.found.origin} WHERE {self.found.where}{after} "
            f"ORDER BY n.id {self._word} LIMIT ? OFFSET ?",
            *values,
            limit,
            offset,
        )
        return [(node, [None, node]) for (node,) in rows]

    # -- any keys: the hits are sorted -----------------------------------------------------------------

    def _by_keys(self, place: Place) -> tuple[list[int], Place]:
        ids = hit_ids(self.connection, self.scope, self.found)
        images = self._images(ids)
        ordered = in_order(self.order, images, ids)
        start = self.window.offset
        if place is not None:
            known = [{} if each is None else {place[-1]: tuple(each)} for each in place[:-1]]
            last = position(self.order, known, place[-1])
            start = bisect_right(ordered, last, key=lambda node: position(self.order, images, node))
        chosen = ordered[start : start + self.window.limit]
        if start + self.window.limit >= len(ordered):
            return chosen, None
        return chosen, [*(known.get(chosen[-1]) for known in images), chosen[-1]]

    def _images(self, ids: list[int]) -> list[Mapping[int, Image]]:
        if len(ids) <= _BY_METADATA or self._is_cut():
            return self._images_of_metadata(ids)
        found: list[Mapping[int, Image]] = []
        for path, _ in self.order.keys:
            paths = find_paths(self.connection, path, walk=False)
            known = _IMAGES.format(test=self.scope.test, path=paths[0][0] if paths else -1, marker=MARKER)
            rows = self.connection.execute(self.scope.prefix + known, (self.scope.parent,))
            found.append({node: (kind, value) for node, _, _, kind, value in rows})
        return found

    def _images_of_metadata(self, ids: list[int]) -> list[Mapping[int, Image]]:
        statement = "SELECT id, metadata FROM nodes WHERE id IN (SELECT value FROM json_each(?))"
        rows = self.connection.execute(statement, (repr(ids),))
        found: list[dict[int, Image]] = [{} for _ in self.order.keys]
        for node, text in rows:
            document = json.loads(text)
            for (path, _), images in zip(self.order.keys, found, strict=True):
                images.update((node, image(value)) for value in Field(path).reach(document))
        return list(found)


def is_id(value: object) -> bool:
    """Tell whether a value can be an id."""
    return isinstance(value, int) and not isinstance(value, bool) and -_BIGGEST - 1 <= value <= _BIGGEST


def _is_image(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2 or not is_id(value[0]) or value[0] not in _IMAGE_TYPES:
        return False
    stored = value[1]
    is_small = not isinstance(stored, int) or is_id(stored)
    return isinstance(stored, _IMAGE_TYPES[value[0]]) and not isinstance(stored, bool) and is_small


_IMAGE_TYPES: dict[object, tuple[type, ...]] = {
    NULL: (int,),
    BOOL: (int,),
    NUMBER: (int, float),
    TEXT: (str,),
    LIST: (bytes,),
    OBJECT: (bytes,),
}
