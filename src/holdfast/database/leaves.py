"""Own the SQL of the leaves of the query tree: which rows of the index say that a node matches.

Each leaf is compiled to a superset (``up``) and a subset of its hits; they differ where the index
holds only an image of a value: texts over 200 characters, numbers beyond 63 bits, what its limits left out.

>>> Leaf(rows=(Fragment("path = 7 AND kind = 0"),)).source(Scope(1)).text
'SELECT node AS id, parent FROM node_values WHERE parent = ?1 AND path = 7 AND kind = 0'
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

from holdfast.database.columns import column_test
from holdfast.database.flatten import LONG, MARKER, MAX_TEXT, image
from holdfast.database.pathways import cut_paths, find_paths
from holdfast.database.patterns import glob_of, matching_texts
from holdfast.database.scopes import FALSE, TRUE, Fragment, Scope, all_of
from holdfast.database.tables import FAMILY_PATH, SPECS_PATH
from holdfast.queries import (
    Comparison,
    Contains,
    Eq,
    Field,
    FullText,
    In,
    KeyLookup,
    KeyPresent,
    KeysFilter,
    Like,
    Query,
    Regex,
    SearchFunction,
    StructureFamilyQuery,
    Subject,
)
from holdfast.queries.elements import ElementMatch, Size, TypeIs
from holdfast.queries.values import LIST, NUMBER, TEXT
from holdfast.queries.words import phrases
from holdfast.types import Json

__all__ = ["Leaf", "LeafMaker", "Range", "Row", "spec_leaf"]

_BEYOND = 2**63
_OPERATORS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_FEW = 20
_MOST_WAYS = 64
_MOST_BOUND = 5000


class Row(NamedTuple):
    """Say that conditions are about a row of a path itself, and whether they only filter a walk along it."""

    path: int
    is_filter: bool = False


@dataclass(frozen=True, slots=True)
class Leaf:
    """Hold the condition of one leaf of a query.

    Parameters
    ----------
    rows : tuple of Fragment
        Conditions on rows of ``node_values`` without the parent; a node with any such row matches.
    is_unique : bool
        Whether no node has two such rows.
    is_probe : bool
        Whether each fixes path, kind and value, so that a node is tested in one step.
    nodes : Fragment or None
        Instead of rows: a condition on ``nodes``.
    words : str or None
        Instead of rows: what the full text is matched with.
    own : Fragment or None
        Instead of rows: a condition on columns of ``n`` itself.
    """

    rows: tuple[Fragment, ...] = ()
    is_unique: bool = True
    is_probe: bool = False
    nodes: Fragment | None = None
    words: str | None = None
    own: Fragment | None = None

    def source(self, scope: Scope) -> Fragment | None:
        """Return a SELECT of ``id, parent`` of the nodes of a scope that match; None for none."""
        if self.words is not None:
            return Fragment(
                "SELECT m.id, m.parent FROM node_text f CROSS JOIN nodes m ON m.id = f.rowid "
                f"WHERE m.parent{scope.test} AND f.node_text MATCH ?",
                (self.words,),
            )
        if self.nodes is not None:
            text = f"SELECT id, parent FROM nodes WHERE parent{scope.test} AND {self.nodes.text}"
            return Fragment(text, self.nodes.values)
        if not self.rows:
            return None
        word = "SELECT" if self.is_unique or len(self.rows) > 1 else "SELECT DISTINCT"
        start = f"{word} node AS id, parent FROM node_values WHERE parent{scope.test} AND "
        return self._joined(" UNION ", [start + row.text for row in self.rows])

    def member(self, scope: Scope) -> Fragment:
        """Return the condition that the node ``n`` matches, for any plan."""
        if self.own is not None:
            return self.own
        if self.words is not None:
            return Fragment("n.id IN (SELECT rowid FROM node_text WHERE node_text MATCH ?)", (self.words,))
        if self.nodes is not None:
            text = f"n.id IN (SELECT id FROM nodes WHERE parent{scope.test} AND {self.nodes.text})"
            return Fragment(text, self.nodes.values)
        start = f"n.id IN (SELECT node FROM node_values WHERE parent{scope.test} AND "
        tests = [f"{start}{row.text})" for row in self.rows]
        return self._any(tests)

    def probe(self) -> Fragment | None:
        """Return the condition that ``n`` matches by a look-up of its own; None where that is slow."""
        if not self.is_probe:
            return None
        tests = [
            f"EXISTS (SELECT 1 FROM node_values WHERE parent = n.parent AND {row.text} AND node = n.id)"
            for row in self.rows
        ]
        return self._any(tests)

    def of_row(self, row: Row) -> Fragment | None:
        """Return the condition that the row ``n`` of a path matches; None when other rows must be asked."""
        start = f"path = {row.path} AND "
        if not self.rows or not all(each.text.startswith(start) for each in self.rows):
            return None
        texts = [each.text.removeprefix(start) for each in self.rows]
        if row.is_filter:
            # A plus keeps a column out of the choice of an index.
            texts = [text.replace("kind ", "+kind ").replace("value ", "+value ") for text in texts]
        return self._any([f"({text})" for text in texts])

    def _any(self, tests: list[str]) -> Fragment:
        if not tests:
            return FALSE
        joined = self._joined(" OR ", tests)
        return joined if len(tests) == 1 else Fragment(f"({joined.text})", joined.values)

    def _joined(self, word: str, texts: list[str]) -> Fragment:
        return Fragment(word.join(texts), tuple(value for row in self.rows for value in row.values))


@dataclass(frozen=True, eq=False, repr=False)
class Range(Query):
    """Match a field by several comparisons at once, for one walk along the index.

    Parameters
    ----------
    bounds : tuple of Comparison
        All of one field that has at most one value.
    """

    bounds: tuple[Comparison, ...]
    op: ClassVar[str] = "range"

    @property
    def key(self) -> Field:
        """The field."""
        return cast("Field", self.bounds[0].key)

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return all(each.matches(metadata, subject, search) for each in self.bounds)


Tests = Callable[[int, int], list[Fragment]]
_EVERY_NODE = Leaf(nodes=TRUE)


@dataclass(frozen=True, slots=True)
class LeafMaker:
    """Make leaves in one read transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        To look up paths and texts with.
    scope : Scope
        Which nodes are looked at.
    up : bool
        Whether a superset is wanted, not a subset.
    """

    connection: sqlite3.Connection
    scope: Scope
    up: bool

    def leaf(self, query: Query) -> Leaf:
        """Return the leaf of a query that is no And, Or, Not, nor made of these.

        Parameters
        ----------
        query : Query
            The query.

        Returns
        -------
        Leaf
            Its condition.
        """
        column = self.scope.columns.get(getattr(getattr(query, "key", None), "path", ()))
        if column is not None:
            parts = query.bounds if isinstance(query, Range) else (query,)
            return Leaf(own=all_of([column_test(column, part) or self._undecided for part in parts]))
        if not self.scope.is_indexed:
            return Leaf(own=self._undecided)
        return _LEAVES[type(query)](self, query)

    @property
    def _undecided(self) -> Fragment:
        return TRUE if self.up else FALSE

    def present(self, field: Field) -> Leaf:
        """Return the leaf that a field exists."""
        return self._of_field(field, lambda path, flags: [Fragment(f"path = {path} AND kind < {MARKER}")])

    def equal(self, field: Field, value: Json) -> Leaf:
        """Return the leaf that a field equals a value."""
        return self._of_field(field, self._equal_tests([value]), is_probe=True)

    def _in(self, query: In) -> Leaf:
        is_probe = len(query.values) <= _FEW
        return self._of_field(query.key, self._equal_tests(query.values), is_probe=is_probe)

    def _equal_tests(self, values: Sequence[Json]) -> Tests:
        by_kind: dict[int, list[object]] = {}
        for value in values:
            kind, stored = image(value)
            if kind != NUMBER or self.up or not _is_beyond(value):
                by_kind.setdefault(kind, []).append(stored)

        def tests(path: int, flags: int) -> list[Fragment]:
            return [test for kind, stored in by_kind.items() if (test := self._among(path, kind, stored))]

        return tests

    def _among(self, path: int, kind: int, stored: Sequence[object]) -> Fragment | None:
        if kind == TEXT or len(stored) <= _MOST_BOUND:
            return _among(path, kind, stored)
        # More values than a statement takes are left to the reference matcher.
        return Fragment(f"path = {path} AND kind = {kind}") if self.up else None

    def _comparison(self, query: Comparison) -> Leaf:
        return self._range(Range((query,)))

    def _range(self, query: Range) -> Leaf:
        bounds = [self._bound(each) for each in query.bounds]
        kinds = {TEXT if isinstance(value, str) else NUMBER for _, value in bounds}
        if len(kinds) > 1:
            return Leaf()
        test = " AND ".join([f"kind = {kinds.pop()}", *(f"value {sign} ?" for sign, _ in bounds)])
        values = tuple(value for _, value in bounds)
        field = query.bounds[0].key
        return self._of_field(field, lambda path, _: [Fragment(f"path = {path} AND {test}", values)])

    def _bound(self, query: Comparison) -> tuple[str, object]:
        sign, bound = _OPERATORS[query.operator], query.value
        if isinstance(bound, str):
            return self._text_bound(sign, bound)
        if _is_beyond(bound):
            return (f"{sign[0]}=" if self.up else sign[0]), image(bound)[1]
        return sign, bound

    def _text_bound(self, sign: str, bound: str) -> tuple[str, str]:
        if len(bound) <= MAX_TEXT:
            return sign, bound
        # The texts that share the first characters are doubtful; their images lie between start and end.
        start, end = bound[:MAX_TEXT], bound[:MAX_TEXT] + "\U0010ffff~"
        if sign[0] == ">":
            return (">=", start) if self.up else (">", end)
        return ("<=", end) if self.up else ("<", start)

    def _contains(self, query: Contains) -> Leaf:
        element = Field((*query.key.path, None))  # type: ignore[arg-type]  # None is the step to any element
        rows = self._of_field(element, self._equal_tests([query.value])).rows
        if isinstance(query.value, str):
            rows += self._of_field(query.key, self._text_tests("instr(value, ?) > 0", query.value)).rows
        return Leaf(rows, is_unique=len(rows) == 1)

    def _like(self, query: Like) -> Leaf:
        glob = glob_of(query)
        if glob is None:
            return self._pattern(query)
        return self._of_field(query.key, self._text_tests("value GLOB ?", glob))

    def _text_tests(self, test: str, value: str) -> Tests:
        def tests(path: int, flags: int) -> list[Fragment]:
            start = f"path = {path} AND kind = {TEXT} AND "
            if not flags & LONG:
                return [Fragment(start + test, (value,))]
            if self.up:
                return [Fragment(f"{start}(length(value) > {MAX_TEXT} OR {test})", (value,))]
            return [Fragment(f"{start}length(value) <= {MAX_TEXT} AND {test}", (value,))]

        return tests

    def _pattern(self, query: Like | Regex) -> Leaf:
        def tests(path: int, flags: int) -> list[Fragment]:
            found = [_among(path, TEXT, matching_texts(self.connection, self.scope, path, query))]
            if self.up and flags & LONG:
                found.append(Fragment(f"path = {path} AND kind = {TEXT} AND length(value) > {MAX_TEXT}"))
            return found

        return self._of_field(query.key, tests)

    def _of_field(self, field: Field, tests: Tests, *, is_probe: bool = False) -> Leaf:
        paths = self._paths(field)
        if paths is None:
            return _EVERY_NODE
        rows = [row for path, flags in paths for row in tests(path, flags)]
        if self.up:
            doubtful = cut_paths(self.connection, field.path)
            rows += [Fragment(f"path = {path} AND kind = {MARKER}") for path in doubtful]
        # On one path without list steps a node has one value; elements of a list may hold several that match.
        is_unique = len(rows) == 1 and (not field.walk and None not in field.path)
        return Leaf(tuple(rows), is_unique, is_probe)

    def _paths(self, field: Field) -> list[tuple[int, int]] | None:
        found = find_paths(self.connection, field.path, walk=field.walk)
        if field.walk and self.up:
            shorter = _without_positions(field.path)
            if shorter is None:
                return None
            for path in shorter:
                found += find_paths(self.connection, path, walk=True, pairs=True)
        return found

    def _present(self, query: KeyPresent) -> Leaf:
        return self.present(query.key)

    def _size(self, query: Size | ElementMatch) -> Leaf:
        # The index knows that there is a list; what is in it, only the document knows.
        if not self.up:
            return Leaf()
        return self._of_field(query.key, lambda path, _: [Fragment(f"path = {path} AND kind = {LIST}")])

    def _type(self, query: TypeIs) -> Leaf:
        if not self.up and not query.is_whole:
            return Leaf()
        kinds = ",".join(map(str, sorted(query.kinds)))
        return self._of_field(query.key, lambda path, _: [Fragment(f"path = {path} AND kind IN ({kinds})")])

    def _words(self, query: FullText) -> Leaf:
        wanted = phrases(query.text)
        return Leaf(words=" ".join(f'"{" ".join(phrase)}"' for phrase in wanted)) if wanted else Leaf()

    def _family(self, query: StructureFamilyQuery) -> Leaf:
        return _reserved(FAMILY_PATH, query.value)

    def _keys(self, query: KeysFilter) -> Leaf:
        keys = json.dumps(query.keys, ensure_ascii=False)
        return Leaf(nodes=Fragment("key IN (SELECT value FROM json_each(?))", (keys,)))

    def _lookup(self, query: KeyLookup) -> Leaf:
        return Leaf(nodes=Fragment("key = ?", (query.key,)))


_LEAVES: dict[type[Query], Callable[[LeafMaker, Any], Leaf]] = {
    Eq: lambda maker, query: maker.equal(query.key, query.value),
    In: LeafMaker._in,
    Comparison: LeafMaker._comparison,
    Range: LeafMaker._range,
    Contains: LeafMaker._contains,
    Like: LeafMaker._like,
    Regex: LeafMaker._pattern,
    KeyPresent: LeafMaker._present,
    FullText: LeafMaker._words,
    Size: LeafMaker._size,
    ElementMatch: LeafMaker._size,
    TypeIs: LeafMaker._type,
    StructureFamilyQuery: LeafMaker._family,
    KeysFilter: LeafMaker._keys,
    KeyLookup: LeafMaker._lookup,
}


def spec_leaf(name: str) -> Leaf:
    """Return the leaf that a node carries a spec.

    Parameters
    ----------
    name : str
        The name of the spec.

    Returns
    -------
    Leaf
        Its condition.
    """
    return _reserved(SPECS_PATH, name)


def _reserved(path: int, text: str) -> Leaf:
    row = Fragment(f"path = {path} AND kind = {TEXT} AND value = ?", (text,))
    return Leaf((row,), is_probe=True)


def _among(path: int, kind: int, stored: Sequence[object]) -> Fragment:
    start = f"path = {path} AND kind = {kind} AND value "
    if len(stored) == 1:
        return Fragment(start + "= ?", (stored[0],))
    if kind == TEXT:
        texts = json.dumps(stored, ensure_ascii=False)
        return Fragment(start + "IN (SELECT value FROM json_each(?))", (texts,))
    return Fragment(f"{start}IN ({','.join('?' * len(stored))})", tuple(stored))


def _is_beyond(value: Json) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and abs(value) >= _BEYOND


def _without_positions(path: tuple[str, ...]) -> list[tuple[str, ...]] | None:
    # A step such as "0" may be a position in a list, which the index does not keep.
    results: list[tuple[str, ...]] = [()]
    for part in path:
        kept = [(*each, part) for each in results]
        results = kept + results if part.isascii() and part.isdecimal() else kept
        if len(results) > _MOST_WAYS:
            return None
    return [each for each in results if each not in {path, ()}]
