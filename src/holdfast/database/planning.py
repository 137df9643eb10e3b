"""Own the plan of a search: from which rows to start, and how the rest of the query is tested.

A plan gives the FROM and WHERE of the hits, ``n.id`` and ``n.parent``. The reference matcher takes part where
few nodes are left to look at, and where SQL alone does not decide.

>>> Plan("nodes n", "1", ()).where
'1'
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.database.compiler import Compiler, conjuncts
from holdfast.database.leaves import Row
from holdfast.database.patterns import check_patterns, search
from holdfast.database.scopes import Fragment, Scope
from holdfast.errors import TooLargeError
from holdfast.queries import And, Query, Subject

__all__ = ["MAX_DOUBTFUL", "Plan", "plan"]

MAX_DOUBTFUL = 100_000
"""The most nodes that the reference matcher looks at for one query."""

_FEW = 200
_COUNTED = 1000
_IDS = "n.id IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Plan:
    """Hold where the hits of a search come from.

    Parameters
    ----------
    origin : str
        What stands after FROM; it gives ``n.id`` and ``n.parent``, each hit once.
    where : str
        The condition.
    values : tuple
        One for each ``?`` of both, without the scope's container.
    ids : list of int or None
        The hits themselves where they are known, ascending.
    compiler, query : Compiler, Query or None
        Where SQL alone decides: what can test nodes one by one, for a walk along the index of a sort key.
    """

    origin: str
    where: str
    values: tuple[object, ...]
    ids: list[int] | None = None
    compiler: Compiler | None = None
    query: Query | None = None

    def tests(self, row: Row) -> Fragment | None:
        """Return the condition that the node of a row ``n`` is a hit, by look-ups; None if unknown."""
        if self.compiler is None or self.query is None:
            return None
        return self.compiler.condition(self.query, up=True, probe=True, row=row)

    @classmethod
    def of_ids(cls, ids: list[int]) -> Plan:
        """Return the plan for known hits."""
        return cls("nodes n", _IDS, (json.dumps(ids),), ids)


def plan(connection: sqlite3.Connection, scope: Scope, query: Query) -> Plan:
    """Plan a search.

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
    Plan
        Of exactly the hits that the reference matcher has.

    Raises
    ------
    TooLargeError
        When over 100,000 nodes would have to be looked at one by one.
    """
    check_patterns(query)
    parts = conjuncts(query)
    compiler = Compiler(connection, scope)
    everything = Plan("nodes n", f"n.parent{scope.test}", ())
    if not parts:
        return everything
    driver = _driver(compiler, parts)
    if driver is not None and driver.hits <= _FEW and len(parts) > 1:
        return Plan.of_ids(_matching(connection, scope, driver.source, query))
    exact = compiler.is_exact(query)
    if driver is not None and exact:
        return _driven(compiler, driver, parts)
    if exact:
        condition = compiler.condition(query, up=True)
        where = f"n.parent{scope.test} AND {condition.text}"
        return Plan("nodes n", where, condition.values, None, compiler, query)
    return _sandwiched(compiler, everything, query)


@dataclass(frozen=True, slots=True)
class _Driver:
    part: Query
    source: Fragment
    hits: int


def _driver(compiler: Compiler, parts: list[Query]) -> _Driver | None:
    found = [(part, source) for part in parts if (source := compiler.source(part)) is not None]
    if not found:
        return None
    if len(parts) == 1:
        return _Driver(*found[0], _COUNTED)
    return min(
        (_Driver(part, source, _size(compiler, source)) for part, source in found), key=lambda d: d.hits
    )


def _size(compiler: Compiler, source: Fragment) -> int:
    statement = f"{compiler.scope.prefix}SELECT count(*) FROM ({source.text} LIMIT {_COUNTED})"
    return int(compiler.connection.execute(statement, (compiler.scope.parent, *source.values)).fetchone()[0])


def _driven(compiler: Compiler, driver: _Driver, parts: list[Query]) -> Plan:
    rest = And(*(part for part in parts if part is not driver.part))
    condition = compiler.condition(rest, up=True, probe=True)
    values = (*driver.source.values, *condition.values)
    return Plan(f"({driver.source.text}) n", condition.text, values, None, compiler, And(*parts))


def _sandwiched(compiler: Compiler, everything: Plan, query: Query) -> Plan:
    upper, lower = compiler.condition(query, up=True), compiler.condition(query, up=False)
    text = f"SELECT n.id, n.parent FROM {everything.origin} WHERE {everything.where}"
    doubtful = Fragment(f"{text} AND {upper.text} AND NOT {lower.text}", (*upper.values, *lower.values))
    sure = json.dumps(_matching(compiler.connection, compiler.scope, doubtful, query))
    return Plan("nodes n", f"{everything.where} AND ({lower.text} OR {_IDS})", (*lower.values, sure))


def _matching(connection: sqlite3.Connection, scope: Scope, source: Fragment, query: Query) -> list[int]:
    statement = (
        f"{scope.prefix}SELECT m.id, m.key, m.family, m.specs, m.metadata FROM ({source.text}) s "
        f"CROSS JOIN nodes m ON m.id = s.id LIMIT {MAX_DOUBTFUL + 1}"
    )
    rows = connection.execute(statement, (scope.parent, *source.values))
    return sorted(_tested(rows, query))


def _tested(rows: sqlite3.Cursor, query: Query) -> Iterator[int]:
    for number, (node, key, family, specs, metadata) in enumerate(rows):
        if number >= MAX_DOUBTFUL:
            raise TooLargeError(
                f"over {MAX_DOUBTFUL} nodes would have to be looked at one by one; narrow the query"
            )
        names = tuple(spec["name"] for spec in json.loads(specs)) if specs != "[]" else ()
        if query.matches(json.loads(metadata), Subject(key, family, names), search):
            yield node
