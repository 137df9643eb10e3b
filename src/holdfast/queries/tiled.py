"""Own Tiled's notation of queries: the ``filter[NAME][condition][FIELD]`` parameters of a URL.

>>> from holdfast.queries import Key, from_filters, to_filters
>>> to_filters(Key("color") == "red")
[('filter[eq][condition][key]', 'color'), ('filter[eq][condition][value]', '"red"')]
>>> from_filters([("filter[lookup][condition][key]", "a"), ("fields", "")])
And(queries=(KeyLookup(key='a'),))

References
----------
Tiled 0.2.20, ``tiled/queries.py``. OR, NOT and what else Tiled cannot say travels as
``filter[tree][condition][query]``, in the JSON form of ``codec``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any, cast

from holdfast.errors import InvalidInputError, TooLargeError
from holdfast.queries.codec import LEAVES, from_json, to_json
from holdfast.queries.fields import Field
from holdfast.queries.leaves import Like
from holdfast.queries.tree import And, Query
from holdfast.queries.whole import KeyLookup
from holdfast.types import Json

__all__ = ["FILTERS", "from_filters", "to_filters"]

_PARAMETER = re.compile(r"filter\[([^\[\]]*)\]\[condition\]\[([^\[\]]*)\]\Z")
# Tiled calls the values of In and NotIn "value".
_WIRE_NAMES = {"values": "value"}
_MAX_CHARACTERS = 8_000_000

FILTERS: tuple[str, ...] = (*LEAVES, "tree")
"""The names of the filters that are understood."""


def to_filters(query: Query) -> list[tuple[str, str]]:
    """Return a query as the parameters of a URL, names and values not yet percent-encoded.

    Parameters
    ----------
    query : Query
        Any query.

    Returns
    -------
    list of (str, str)
        In order; filters of one kind repeat their parameters by position.
    """
    parts = query.queries if type(query) is And else (query,)
    return [pair for part in parts for pair in _pairs(part)]


def _pairs(query: Query) -> list[tuple[str, str]]:
    if LEAVES.get(query.op) is not type(query) or (isinstance(query, Like) and not query.case_sensitive):
        return [("filter[tree][condition][query]", json.dumps(to_json(query)))]
    found = []
    for each in fields(cast(Any, query)):
        value = getattr(query, each.name)
        if isinstance(query, Like) and each.name == "case_sensitive":
            continue
        name = _WIRE_NAMES.get(each.name, each.name)
        found.append((f"filter[{query.op}][condition][{name}]", _written(query, each.name, value)))
    return found


def _written(query: Query, name: str, value: Any) -> str:
    if isinstance(value, Field):
        return _key_text(value)
    if isinstance(value, str) and (
        name in {"text", "operator", "key"} or query.op in {"regex", "structure_family"}
    ):
        return value
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _key_text(field: Field) -> str:
    if field.walk:
        return json.dumps({"path": list(field.path), "walk": True})
    text = ".".join(field.path)
    # A JSON list names parts that dots cannot say.
    plain = tuple(text.split(".")) == field.path and not text.startswith(("[", "{"))
    return text if plain else json.dumps(list(field.path))


def from_filters(parameters: Iterable[tuple[str, str]]) -> Query:
    """Read the filters among the parameters of a URL.

    Parameters
    ----------
    parameters : iterable of (str, str)
        All decoded names and values in order; those not named ``filter…`` are left alone.

    Returns
    -------
    Query
        The `And` of all filters; of none when there are none.

    Raises
    ------
    InvalidInputError
        For a filter that is unknown, incomplete or malformed; the message names it.
    """
    grouped: dict[str, dict[str, list[str]]] = {}
    for name, value in parameters:
        if not name.startswith("filter["):
            continue
        match = _PARAMETER.match(name)
        if match is None:
            raise InvalidInputError(
                f"malformed parameter {name!r:.100}; write filter[NAME][condition][FIELD]=VALUE"
            )
        if len(value) > _MAX_CHARACTERS:
            raise TooLargeError(f"the value of {name!r:.100} is over {_MAX_CHARACTERS} characters")
        grouped.setdefault(match[1], {}).setdefault(match[2], []).append(value)
    return And(*(query for kind, columns in grouped.items() for query in _queries(kind, columns)))


def _queries(kind: str, columns: dict[str, list[str]]) -> list[Query]:
    if kind == "access_tags_filter":
        # Who may see what is decided by keys here; the filter is a server's own business.
        raise InvalidInputError("filter 'access_tags_filter' is not for clients; leave it out")
    names = _field_names(kind)
    unknown = columns.keys() - set(names)
    if unknown:
        raise InvalidInputError(
            f"filter {kind!r} does not take {sorted(unknown)}; it takes {', '.join(names)}"
        )
    count = max(map(len, columns.values()))
    short = [
        name
        for name, required in names.items()
        if len(columns.get(name, ())) != count and (required or columns.get(name))
    ]
    if short:
        raise InvalidInputError(f"filter {kind!r} needs {', '.join(short)} once for each of its {count} uses")
    return [_query(kind, {name: values[i] for name, values in columns.items()}) for i in range(count)]


def _field_names(kind: str) -> dict[str, bool]:
    if kind == "tree":
        return {"query": True}
    cls = LEAVES.get(kind)
    if cls is None:
        raise InvalidInputError(f"unknown filter {kind!r:.40}; known are {', '.join(FILTERS)}")
    return {
        _WIRE_NAMES.get(each.name, each.name): each.default is MISSING
        for each in fields(cast(Any, cls))
        if not (cls is Like and each.name == "case_sensitive")
    }


def _query(kind: str, texts: dict[str, str]) -> Query:
    if kind == "tree":
        return from_json(_json(texts["query"], "filter 'tree'"))
    cls = LEAVES[kind]
    own_names = {_WIRE_NAMES.get(each.name, each.name): each.name for each in fields(cast(Any, cls))}
    parts = {own_names[name]: _value(cls, name, text) for name, text in texts.items()}
    return cast(Any, cls)(**parts)  # type: ignore[no-any-return]  # LEAVES holds only queries


def _value(cls: type[Query], name: str, text: str) -> Any:
    if name == "key":
        return text if cls is KeyLookup else _key(text)
    if name in {"text", "operator"} or (cls.op in {"regex", "structure_family"} and name != "case_sensitive"):
        return text
    if name in {"exists", "case_sensitive"}:
        return _flag(text, f"{name} of filter {cls.op!r}")
    return _json(text, f"{name} of filter {cls.op!r}")


def _key(text: str) -> str | list[str] | Field:
    if not text.startswith(("[", "{")):
        return text
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(parsed, dict) and isinstance(parsed.get("path"), list) and parsed["path"]:
        return Field(tuple(map(str, parsed["path"])), walk=parsed.get("walk") is True)
    named = isinstance(parsed, list) and parsed and all(isinstance(part, str) for part in parsed)
    return parsed if named else text


def _flag(text: str, what: str) -> bool:
    flags: dict[str, bool] = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in flags:
        raise InvalidInputError(f"{what} must be true or false, not {text!r:.40}")
    return flags[text.lower()]


def _json(text: str, what: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f'{what} is not JSON: {text!r:.80}; quote texts, as in "red"') from error
