"""Own the way from the query tree to conditions of SQL: a superset and a subset of the hits.

Where both are the same text the answer is exact; NOT turns one into the other, so it stays right.

>>> from holdfast.queries import Key
>>> conjuncts(Key("a") == 1)
[Eq(key='a', value=1)]
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from holdfast.database.leaves import Leaf, LeafMaker, Range, Row, spec_leaf
from holdfast.database.scopes import Fragment, Scope, all_of, any_of, negated
from holdfast.queries import (
    And,
    Comparison,
    Eq,
    Field,
    In,
    KeyPresent,
    Not,
    NotEq,
    NotIn,
    Or,
    Query,
    SpecsQuery,
)

__all__ = ["Compiler", "conjuncts"]


def conjuncts(query: Query) -> list[Query]:
    """Return the queries that must all hold, bounds of one field together.

    Parameters
    ----------
    query : Query
        Any query.

    Returns
    -------
    list of Query
        The parts of nested Ands, and of leaves that say two things.
    """
    return _with_ranges(_conjuncts(query))


def _with_ranges(parts: list[Query]) -> list[Query]:
    bounds: dict[Field, list[Comparison]] = {}
    for part in parts:
        # A field without list steps has one value, so all its bounds can be tested on one row.
        if isinstance(part, Comparison) and not part.key.walk:
            bounds.setdefault(part.key, []).append(part)
    joined = _joined_bounds(bounds)
    kept = {id(joined.get(id(part), part)): joined.get(id(part), part) for part in parts}
    return list(kept.values())


def _joined_bounds(bounds: dict[Field, list[Comparison]]) -> dict[int, Query]:
    joined: dict[int, Query] = {}
    for several in bounds.values():
        if len(several) > 1:
            joined.update(dict.fromkeys(map(id, several), Range(tuple(several))))
    return joined


def _conjuncts(query: Query) -> list[Query]:
    if isinstance(query, And):
        return [each for part in query.queries for each in _conjuncts(part)]
    if isinstance(query, SpecsQuery) and not _is_one_spec(query):
        wanted = (SpecsQuery([name]) for name in query.include)
        return [*wanted, *(Not(SpecsQuery([name])) for name in query.exclude)]
    return [query]


@dataclass(slots=True)
class Compiler:
    """Turn queries into conditions, in one read transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        To look up paths and texts with.
    scope : Scope
        Which nodes are looked at.
    """

    connection: sqlite3.Connection
    scope: Scope
    _leaves: dict[tuple[int, bool], tuple[Query, Leaf]] = field(default_factory=dict)

    def condition(self, query: Query, *, up: bool, probe: bool = False, row: Row | None = None) -> Fragment:
        """Return the condition that the node ``n`` matches.

        Parameters
        ----------
        query : Query
            Any query.
        up : bool
            True for a superset of the hits, False for a subset.
        probe : bool, default False
            Test each node by look-ups where that can be, for plans in which few nodes are tested.
        row : Row, optional
            ``n`` is a row of a path itself, the only one that the node has there.

        Returns
        -------
        Fragment
            SQL on ``n.id`` and ``n.parent``.
        """
        if isinstance(query, And):
            query = And(*_with_ranges(list(query.queries)))
        if isinstance(query, And | Or):
            parts = [self.condition(each, up=up, probe=probe, row=row) for each in query.queries]
            return all_of(parts) if isinstance(query, And) else any_of(parts)
        if isinstance(query, Not):
            return negated(self.condition(query.query, up=not up, probe=probe, row=row))
        rewritten = _in_simpler_terms(query)
        if rewritten is not None:
            return self.condition(rewritten, up=up, probe=probe, row=row)
        leaf = self._leaf(query, up=up)
        test = leaf.of_row(row) if row is not None else None
        return test or (leaf.probe() if probe else None) or leaf.member(self.scope)

    def source(self, query: Query) -> Fragment | None:
        """Return a SELECT of ``id, parent`` of a superset of the hits, for queries that are sets of rows.

        Parameters
        ----------
        query : Query
            A conjunct.

        Returns
        -------
        Fragment or None
            None for a query that is no set of rows, such as a Not.
        """
        if isinstance(query, Or):
            parts = [self.source(each) for each in query.queries]
            known = [part for part in parts if part is not None]
            if not parts or len(known) < len(parts):
                return None
            text = " UNION ".join(f"SELECT id, parent FROM ({part.text})" for part in known)
            return Fragment(text, tuple(value for part in known for value in part.values))
        if isinstance(query, And | Not) or _in_simpler_terms(query) is not None:
            return None
        return self._leaf(query, up=True).source(self.scope) or _NOTHING

    def is_exact(self, query: Query) -> bool:
        """Tell whether SQL alone decides a query.

        Parameters
        ----------
        query : Query
            Any query.

        Returns
        -------
        bool
            Whether superset and subset are the same.
        """
        return self.condition(query, up=True) == self.condition(query, up=False)

    def _leaf(self, query: Query, *, up: bool) -> Leaf:
        known = self._leaves.get((id(query), up))
        if known is None:
            known = query, _made(LeafMaker(self.connection, self.scope, up), query)
            self._leaves[id(query), up] = known
        return known[1]


_NOTHING = Fragment("SELECT id, parent FROM nodes WHERE 0")


def _made(maker: LeafMaker, query: Query) -> Leaf:
    return spec_leaf(next(iter(query.include))) if isinstance(query, SpecsQuery) else maker.leaf(query)


def _in_simpler_terms(query: Query) -> Query | None:
    if isinstance(query, NotEq):
        return And(KeyPresent(query.key), Not(Eq(query.key, query.value)))
    if isinstance(query, NotIn):
        return And(KeyPresent(query.key), Not(In(query.key, query.values)))
    if isinstance(query, KeyPresent) and not query.exists:
        return Not(KeyPresent(query.key))
    if isinstance(query, SpecsQuery) and not _is_one_spec(query):
        return And(*_conjuncts(query))
    return None


def _is_one_spec(query: SpecsQuery) -> bool:
    return len(tuple(query.include)) == 1 and not query.exclude
