"""Own the SQL of queries about fields that are columns of their own.

>>> from holdfast.queries import Key
>>> column_test("uid", Key("uid") == "a"), column_test("time", Key("time") > "a")
(Fragment(text='n.uid = ?', values=('a',)), Fragment(text='0', values=()))
"""

from __future__ import annotations

import json

from holdfast.database.scopes import FALSE, Fragment
from holdfast.queries import Comparison, Eq, In, KeyPresent, NotEq, NotIn, Query
from holdfast.queries.values import NUMBER, TEXT, kind_of
from holdfast.types import Json

__all__ = ["TEXT_COLUMNS", "column_test"]

TEXT_COLUMNS = frozenset({"uid", "header"})
"""The columns that hold texts; all others hold numbers."""

_OPERATORS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_BEYOND = 2**63
_MOST_BOUND = 10_000


def column_test(column: str, query: Query) -> Fragment | None:
    """Return the condition that a column of ``n`` matches.

    Parameters
    ----------
    column : str
        Its name.
    query : Query
        A leaf about the field that the column holds.

    Returns
    -------
    Fragment or None
        None where only the documents themselves can tell.
    """
    if isinstance(query, NotEq | NotIn):
        return None
    if isinstance(query, Eq):
        return _among(column, [query.value])
    if isinstance(query, In):
        return _among(column, list(query.values))
    if isinstance(query, Comparison):
        return _compared(column, query)
    if isinstance(query, KeyPresent) and query.exists:
        return Fragment(f"n.{column} IS NOT NULL")
    return None


def _fits(column: str, value: Json) -> bool:
    return kind_of(value) == (TEXT if column in TEXT_COLUMNS else NUMBER)


def _is_beyond(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= _BEYOND


def _among(column: str, values: list[Json]) -> Fragment | None:
    if any(map(_is_beyond, values)):
        return None
    kept = [value for value in values if _fits(column, value)]
    if not kept:
        return FALSE
    if len(kept) == 1:
        return Fragment(f"n.{column} = ?", (kept[0],))
    if column in TEXT_COLUMNS:
        texts = json.dumps(kept, ensure_ascii=False)
        return Fragment(f"n.{column} IN (SELECT value FROM json_each(?))", (texts,))
    if len(kept) > _MOST_BOUND:
        return None
    return Fragment(f"n.{column} IN ({','.join('?' * len(kept))})", tuple(kept))


def _compared(column: str, query: Comparison) -> Fragment | None:
    if not _fits(column, query.value):
        return FALSE
    if _is_beyond(query.value):
        return None
    return Fragment(f"n.{column} {_OPERATORS[query.operator]} ?", (query.value,))
