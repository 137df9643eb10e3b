"""Own MongoDB's notation of queries, as analysis documents are found by; fields go through lists as there.

>>> from holdfast.queries import from_mongo
>>> from_mongo({"n": {"$gt": 5}, "tags": "x"}).matches({"n": [1, 7], "tags": ["x", "y"]})
True

Notes
-----
Known are ``$eq $ne $gt $gte $lt $lte $in $nin $exists $type $regex $options $not $all $size $elemMatch`` for
fields, ``$and $or $nor`` between filters. ``$ne`` and ``$nin`` match missing fields, null matches them too.
Objects are equal whatever the order of their keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from holdfast.errors import InvalidInputError, InvalidTypeError, TooLargeError
from holdfast.queries.elements import TYPES, ElementMatch, Size, TypeIs
from holdfast.queries.fields import Field
from holdfast.queries.leaves import Comparison, Eq, In, KeyPresent, Regex
from holdfast.queries.tree import MAX_QUERY_DEPTH, And, Not, Or, Query
from holdfast.types import Json

__all__ = ["from_mongo"]

_FEW = 50


def from_mongo(filter: Json) -> Query:
    """Read a filter.

    Parameters
    ----------
    filter : dict
        Field names, dotted ones too, with values or operators; or ``$and``, ``$or``, ``$nor``.

    Returns
    -------
    Query
        The query.

    Raises
    ------
    InvalidInputError
        For an operator that is not known, which is named, or values that it does not take.
    """
    return _filter(filter, MAX_QUERY_DEPTH // 2)


def _filter(value: Json, depth: int) -> Query:
    if not isinstance(value, dict):
        raise InvalidTypeError(f"a filter is an object of fields, not {value!r:.80}")
    _check_depth(depth)
    parts = [
        _joined(name, each, depth)
        if isinstance(name, str) and name.startswith("$")
        else _field(name, each, depth)
        for name, each in value.items()
    ]
    return parts[0] if len(parts) == 1 else And(*parts)


def _check_depth(depth: int) -> None:
    if depth <= 0:
        raise TooLargeError(f"the filter nests deeper than {MAX_QUERY_DEPTH // 2} levels; flatten it")


def _joined(operator: str, value: Json, depth: int) -> Query:
    if operator not in {"$and", "$or", "$nor"}:
        raise InvalidInputError(
            f"the operator {operator!r:.40} is not known between filters; use $and, $or, $nor"
        )
    if not isinstance(value, list) or not value:
        raise InvalidTypeError(f"{operator} takes a list of filters, not {value!r:.80}")
    parts = [_filter(each, depth - 1) for each in value]
    if operator == "$and":
        return And(*parts)
    return Or(*parts) if operator == "$or" else Not(Or(*parts))


def _field(name: Json, value: Json, depth: int) -> Query:
    if not isinstance(name, str) or not name:
        raise InvalidInputError(f"a field name is a text that is not empty, not {name!r:.80}")
    return _condition(Field(tuple(name.split(".")), walk=True), value, depth)


def _condition(field: Field, value: Json, depth: int) -> Query:
    _check_depth(depth)
    if not _has_operators(field, value):
        return _equal(field, value)
    if "$options" in value and "$regex" not in value:
        raise InvalidInputError(f"the operator '$options' of {field.dotted} needs a '$regex' beside it")
    parts = [_operator(field, operator, value, depth) for operator in value if operator != "$options"]
    return parts[0] if len(parts) == 1 else And(*parts)


def _has_operators(field: Field, value: Json) -> bool:
    if not isinstance(value, dict):
        return False
    marked = [key for key in value if isinstance(key, str) and key.startswith("$")]
    if marked and len(marked) < len(value):
        raise InvalidInputError(
            f"{field.dotted} mixes the operator {marked[0]!r} with fields; use one or the other"
        )
    return bool(marked)


def _operator(field: Field, operator: str, value: dict[str, Json], depth: int) -> Query:
    make = _OPERATORS.get(operator)
    if make is None:
        known = ", ".join([*_OPERATORS, "$options"])
        raise InvalidInputError(
            f"the operator {operator!r:.40} of {field.dotted} is not known; known are {known}"
        )
    if operator == "$regex":
        return _regex(field, value[operator], value.get("$options", ""))
    return make(field, value[operator], depth)


def _equal(field: Field, value: Json, depth: int = 0) -> Query:
    # Null matches a missing field, as everywhere in MongoDB.
    return Or(Eq(field, None), KeyPresent(field, exists=False)) if value is None else Eq(field, value)


def _unequal(field: Field, value: Json, depth: int) -> Query:
    return Not(_equal(field, value))


def _compared(operator: str) -> Callable[[Field, Json, int], Query]:
    def make(field: Field, value: Json, depth: int) -> Query:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InvalidTypeError(
                f"${operator} of {field.dotted} takes a number or a text, not {value!r:.80}"
            )
        return Comparison(operator.replace("lte", "le").replace("gte", "ge"), field, value)

    return make


def _in(field: Field, value: Json, depth: int, operator: str = "$in") -> Query:
    if not isinstance(value, list):
        raise InvalidTypeError(f"{operator} of {field.dotted} takes a list, not {value!r:.80}")
    found = In(field, value)
    return Or(found, KeyPresent(field, exists=False)) if None in value else found


def _not_in(field: Field, value: Json, depth: int) -> Query:
    return Not(_in(field, value, depth, "$nin"))


def _exists(field: Field, value: Json, depth: int) -> Query:
    if not isinstance(value, bool | int):
        raise InvalidTypeError(f"$exists of {field.dotted} takes true or false, not {value!r:.80}")
    return KeyPresent(field, exists=bool(value))


def _type(field: Field, value: Json, depth: int) -> Query:
    names = value if isinstance(value, list) else [value]
    unknown = [name for name in names if not isinstance(name, str) or name not in TYPES]
    if unknown or not names:
        raise InvalidInputError(f"$type of {field.dotted} takes {', '.join(TYPES)}, not {value!r:.80}")
    return TypeIs(field, tuple(names))


def _regex(field: Field, pattern: Json, options: Json) -> Query:
    if not isinstance(pattern, str) or not isinstance(options, str) or not re.fullmatch("[imsx]*", options):
        raise InvalidTypeError(f"$regex of {field.dotted} takes a text, and $options some of i, m, s, x")
    flags = "".join(sorted(set(options) - {"i"}))
    return Regex(field, f"(?{flags}){pattern}" if flags else pattern, "i" not in options)


def _not(field: Field, value: Json, depth: int) -> Query:
    if not _has_operators(field, value):
        raise InvalidTypeError(f"$not of {field.dotted} takes an object of operators, not {value!r:.80}")
    return Not(_condition(field, value, depth - 1))


def _all(field: Field, value: Json, depth: int) -> Query:
    if not isinstance(value, list):
        raise InvalidTypeError(f"$all of {field.dotted} takes a list, not {value!r:.80}")
    parts = [
        _element(field, each["$elemMatch"], depth) if isinstance(each, dict) and set(each) == {"$elemMatch"}
        else _equal(field, each)
        for each in value
    ]  # fmt: skip
    return And(*parts) if parts else Or()


def _size(field: Field, value: Json, depth: int) -> Query:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidTypeError(f"$size of {field.dotted} takes a whole number from 0 up, not {value!r:.80}")
    return Size(field, value)


def _element(field: Field, value: Json, depth: int) -> Query:
    if not isinstance(value, dict):
        raise InvalidTypeError(f"$elemMatch of {field.dotted} takes an object, not {value!r:.80}")
    joined = {"$and", "$or", "$nor"}
    if value and all(isinstance(key, str) and key.startswith("$") and key not in joined for key in value):
        # Operators ask the element itself, which the query sees as the field "".
        return ElementMatch(field, _condition(Field(("",), walk=True), value, depth - 1), is_value=True)
    return ElementMatch(field, _filter(value, depth - 1))


_OPERATORS: dict[str, Callable[[Field, Any, int], Query]] = {
    "$eq": _equal,
    "$ne": _unequal,
    "$gt": _compared("gt"),
    "$gte": _compared("gte"),
    "$lt": _compared("lt"),
    "$lte": _compared("lte"),
    "$in": _in,
    "$nin": _not_in,
    "$exists": _exists,
    "$type": _type,
    "$regex": lambda field, value, depth: _regex(field, value, ""),
    "$not": _not,
    "$all": _all,
    "$size": _size,
    "$elemMatch": _element,
}
