"""Own the JSON form of the query tree, in which queries travel and are kept.

>>> from holdfast.queries import Key, from_json, to_json
>>> to_json((Key("a.b") == 1) & ~(Key("c") > 2))["op"]
'and'
>>> from_json({"op": "eq", "key": ["a", "b"], "value": 1})
Eq(key='a.b', value=1)
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, cast

from holdfast.errors import InvalidInputError, InvalidTypeError, TooLargeError
from holdfast.queries.elements import ElementMatch, Size, TypeIs
from holdfast.queries.fields import Field
from holdfast.queries.leaves import Comparison, Contains, Eq, In, KeyPresent, Like, NotEq, NotIn, Regex
from holdfast.queries.tree import MAX_QUERY_DEPTH, And, Not, Or, Query
from holdfast.queries.whole import FullText, KeyLookup, KeysFilter, SpecsQuery, StructureFamilyQuery
from holdfast.types import Json

__all__ = ["LEAVES", "from_json", "to_json"]

LEAVES: dict[str, type[Query]] = {
    cls.op: cls
    for cls in (
        Eq, NotEq, Comparison, In, NotIn, Contains, Like, Regex, KeyPresent, FullText, SpecsQuery,
        StructureFamilyQuery, KeysFilter, KeyLookup, Size, TypeIs, ElementMatch,
    )
}  # fmt: skip
"""The leaf classes by the names they have in JSON and in Tiled's filters."""


def to_json(query: Query) -> dict[str, Json]:
    """Return a query as JSON values.

    Parameters
    ----------
    query : Query
        Any query.

    Returns
    -------
    dict
        ``{"op": …}`` with the parts of the query.
    """
    if isinstance(query, And | Or):
        return {"op": query.op, "queries": [to_json(each) for each in query.queries]}
    if isinstance(query, Not):
        return {"op": query.op, "query": to_json(query.query)}
    parts = ((each.name, getattr(query, each.name)) for each in fields(cast(Any, query)))
    return {"op": query.op, **{name: _plain(value) for name, value in parts}}


def _plain(value: Any) -> Json:
    if isinstance(value, Field):
        return {"path": list(value.path), "walk": True} if value.walk else list(value.path)
    if isinstance(value, Query):
        return to_json(value)
    return list(value) if isinstance(value, tuple) else value


def from_json(value: Json) -> Query:
    """Read a query from JSON values.

    Parameters
    ----------
    value : dict
        What `to_json` gives; a ``key`` may also be text, split at dots.

    Returns
    -------
    Query
        The query.

    Raises
    ------
    InvalidInputError
        For an unknown ``op``, or parts that are missing, unknown or of a wrong type.
    TooLargeError
        For a query that is too large or nests too deeply.
    """
    return _read(value, MAX_QUERY_DEPTH)


def _read(value: Json, depth: int) -> Query:
    if depth <= 0:
        raise TooLargeError(f"the query nests deeper than {MAX_QUERY_DEPTH} levels; join its parts")
    if not isinstance(value, dict) or not isinstance(value.get("op"), str):
        raise InvalidInputError(f"a query is an object with an 'op', not {value!r:.80}")
    op, parts = value["op"], {name: each for name, each in value.items() if name != "op"}
    if op in {"and", "or"}:
        return (And if op == "and" else Or)(*(_read(each, depth - 1) for each in _list(parts, op)))
    if op == "not":
        _expect(op, parts, {"query"}, {"query"})
        return Not(_read(parts["query"], depth - 1))
    return _leaf(op, parts, depth)


def _list(parts: dict[str, Json], op: str) -> list[Json]:
    _expect(op, parts, {"queries"}, {"queries"})
    if not isinstance(parts["queries"], list):
        raise InvalidTypeError(f"the 'queries' of {op!r} must be a list")
    return parts["queries"]


def _leaf(op: str, parts: dict[str, Json], depth: int) -> Query:
    cls = LEAVES.get(op)
    if cls is None:
        raise InvalidInputError(f"unknown query {op!r:.40}; known are {', '.join(LEAVES)}, and, or, not")
    known = {each.name for each in fields(cast(Any, cls))}
    needed = {each.name for each in fields(cast(Any, cls)) if each.default is MISSING}
    _expect(op, parts, known, needed)
    if "key" in parts and op != KeyLookup.op:
        parts["key"] = _field(parts["key"])
    if "query" in known:
        parts["query"] = _read(parts["query"], depth - 1)
    return cast(Any, cls)(**parts)  # type: ignore[no-any-return]  # LEAVES holds only queries


def _field(key: Json) -> Any:
    if isinstance(key, dict):
        path = key.get("path")
        if not isinstance(path, list) or not path or not all(isinstance(part, str) for part in path):
            raise InvalidInputError("the 'path' of a key must be a list of texts")
        return Field(tuple(path), walk=key.get("walk") is True)
    return key


def _expect(op: str, parts: dict[str, Json], known: set[str], needed: set[str]) -> None:
    if parts.keys() - known:
        raise InvalidInputError(f"query {op!r} does not take {sorted(parts.keys() - known)}")
    if needed - parts.keys():
        raise InvalidInputError(f"query {op!r} needs {sorted(needed - parts.keys())}")
