r"""Own how a store's conditions narrow a search: a cheap test in SQL that no match fails.

What passes it is looked at again by the face, whose test alone decides: a field's value as JSON knows neither
Python's equality nor the query tree's, so everything here errs towards more.

>>> narrowed(None, {"n": 1})
Narrowed(sql='json_extract(metadata, \'$."n"\') = ?', values=(1,), field='n')
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.queries import And, Comparison, Eq, Query

__all__ = ["Narrowed", "indexed", "narrowed"]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}\Z")
_INT64 = 1 << 63
# The two decimal readers, SQLite's and Python's, may differ in the last digits of a float.
_SLACK = 1e-12


@dataclass(frozen=True, slots=True)
class Narrowed:
    """Say a condition in SQL.

    Parameters
    ----------
    sql : str
        The text, with one question mark for each value.
    values : tuple
        The values.
    field : str
        The field whose index, if there is one, makes it quick; empty without.
    """

    sql: str = "1"
    values: tuple[Any, ...] = ()
    field: str = ""


def narrowed(where: Query | None, equal: Mapping[str, Any]) -> Narrowed:
    """Return a test that every match passes.

    Parameters
    ----------
    where : Query or None
        A query tree.
    equal : mapping
        Fields and the values they must equal as Python compares.

    Returns
    -------
    Narrowed
        The test.
    """
    parts = [_equal((name,), value) for name, value in equal.items()]
    if where is not None:
        parts += _of_tree(where)
    parts = [part for part in parts if part.sql != "1"]
    if not parts:
        return Narrowed()
    values = tuple(value for part in parts for value in part.values)
    field = next((part.field for part in parts if part.field), "")
    return Narrowed(" AND ".join(part.sql for part in parts), values, field)


def _of_tree(query: Query) -> list[Narrowed]:
    if isinstance(query, And):
        return [part for inner in query.queries for part in _of_tree(inner)]
    if type(query) is Eq and not query.key.walk:
        return [_equal(query.key.path, query.value)]
    if type(query) is Comparison and not query.key.walk:
        return [_compared(query.key.path, query.operator, query.value)]
    return []


def _extract(path: tuple[str, ...]) -> tuple[str, tuple[str, ...], str] | None:
    """Return the SQL of a field's value, the values it binds, and the field if it can have an index."""
    if len(path) == 1 and _PLAIN.match(path[0]):
        return f"json_extract(metadata, '$.\"{path[0]}\"')", (), path[0]
    if any('"' in part or "\\" in part or not (part.isascii() and part.isprintable()) for part in path):
        return None
    return "json_extract(metadata, ?)", ("$" + "".join(f'."{part}"' for part in path),), ""


def _equal(path: tuple[str, ...], value: Any) -> Narrowed:
    found = _extract(path)
    if found is None or not _can_bind(value):
        return Narrowed()
    sql, values, field = found
    if type(value) is float:
        slack = abs(value) * _SLACK
        return Narrowed(f"{sql} BETWEEN ? AND ?", (*values, value - slack, value + slack), field)
    return Narrowed(f"{sql} = ?", (*values, value), field)


def _can_bind(value: Any) -> bool:
    if type(value) is str:
        # Text with an escape may read differently in SQLite.
        return value.isprintable() and len(value) < 10_000
    if type(value) is float:
        return math.isfinite(value)
    return type(value) in (bool, int) and -_INT64 < value < _INT64


_OPERATORS = {"lt": "<=", "le": "<=", "gt": ">=", "ge": ">="}


def _compared(path: tuple[str, ...], operator: str, value: Any) -> Narrowed:
    found = _extract(path)
    if found is None or type(value) not in (int, float) or not _can_bind(value) or operator not in _OPERATORS:
        return Narrowed()
    sql, values, field = found
    slack = abs(value) * _SLACK * (1 if operator in ("lt", "le") else -1)
    return Narrowed(f"{sql} {_OPERATORS[operator]} ?", (*values, value + slack if slack else value), field)


def indexed(field: str, *, carries: bool) -> str:
    """Return the statement that makes the index of a field.

    Parameters
    ----------
    field : str
        As in `Narrowed`.
    carries : bool
        The index carries all that a search gives out, which then looks nowhere else: for small metadata.

    Returns
    -------
    str
        SQL.
    """
    assert _PLAIN.match(field)
    rest = ", key, metadata, digest, seal" if carries else ""
    value = f"json_extract(metadata, '$.\"{field}\"')"
    return f'CREATE INDEX IF NOT EXISTS "field_{field}" ON entries ({value}{rest})'
