"""Own projections: which fields of found documents are given.

>>> projected([{"a": 1, "b": {"c": 2, "d": 3}}], {"b.c": 1})
[{'b': {'c': 2}}]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdfast.errors import InvalidInputError
from holdfast.types import Json

__all__ = ["projected"]

Tree = dict[str, Any]


def projected(documents: Iterable[dict[str, Json]], projection: Json) -> list[dict[str, Json]]:
    """Return documents with some of their fields.

    Parameters
    ----------
    documents : iterable of dict
        They are not changed.
    projection : mapping, list or None
        Fields with 1 to give only them, with 0 to leave them out, dotted where nested; or a list of fields.

    Returns
    -------
    list of dict
        The documents.

    Raises
    ------
    InvalidInputError
        For a projection that mixes both, or has other values.
    """
    if not projection:
        return list(documents)
    names, flags = _asked(projection)
    tree = _tree(names)
    pick = _given if flags == {1} else _left
    return [pick(document, tree) for document in documents]


def _asked(projection: Json) -> tuple[list[Json], set[Json]]:
    """Return the fields of a projection and what is said of them: one thing, 1 or 0."""
    names: list[Json] = list(projection) if isinstance(projection, list | dict) else [None]
    values = list(projection.values()) if isinstance(projection, dict) else [1]
    if not all(isinstance(name, str) for name in names):
        raise InvalidInputError(
            f"a projection is a list of fields, or 1 or 0 for each, not {projection!r:.60}"
        )
    flags = {value if isinstance(value, int | float) else -1 for value in values}
    if flags not in ({1}, {0}):
        raise InvalidInputError("a projection has either 1 for all its fields or 0 for all")
    return names, flags


def _tree(fields: Iterable[str]) -> Tree:
    tree: Tree = {}
    for name in fields:
        inner = tree
        for part in name.split("."):
            inner = inner.setdefault(part, {})
    return tree


def _given(value: Json, tree: Tree) -> Json:
    if isinstance(value, list):
        return [_given(each, tree) for each in value if isinstance(each, dict)]
    found = {}
    for name, below in tree.items():
        if name in value and (not below or isinstance(value[name], dict | list)):
            found[name] = _given(value[name], below) if below else value[name]
    return found


def _left(value: Json, tree: Tree) -> Json:
    if isinstance(value, list):
        return [_left(each, tree) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _left(each, tree[name]) if name in tree else each
        for name, each in value.items()
        if name not in tree or tree[name]
    }
