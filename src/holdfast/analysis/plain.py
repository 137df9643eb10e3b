"""Own the way from Python's values to JSON values: numpy, dates, tuples; nothing of the caller changes.

>>> from datetime import datetime, timezone
>>> plain({"at": datetime(2026, 1, 2, tzinfo=timezone.utc), "n": (1, 2)})
{'at': '2026-01-02T00:00:00+00:00', 'n': [1, 2]}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from holdfast.errors import InvalidInputError, InvalidTypeError
from holdfast.queries.values import MAX_DEPTH, is_plain
from holdfast.types import Json

__all__ = ["plain", "seconds"]


def seconds(value: Any) -> Json:
    """Return a time as seconds since the epoch; a datetime without zone is local time.

    Parameters
    ----------
    value : float, datetime or None
        The time.

    Returns
    -------
    float or None
        Other values are left to validation.
    """
    return value.timestamp() if isinstance(value, datetime) else value


def plain(value: Any, where: str = "document", depth: int = MAX_DEPTH) -> Json:
    """Return a value as JSON values.

    Parameters
    ----------
    value : object
        JSON values, mappings, tuples, numpy scalars and arrays, dates; enumerations by their values.
    where : str
        What it is, for messages.
    depth : int
        How deep it may nest.

    Returns
    -------
    JSON
        A copy where anything had to be turned.

    Raises
    ------
    InvalidTypeError
        For anything else, such as bytes or a set.
    InvalidInputError
        For NaN, infinities, and values that nest too deeply.
    """
    if is_plain(value):
        return value
    return _turned(value, where, depth)


def _turned(value: Any, where: str, depth: int) -> Json:
    if depth <= 0:
        raise InvalidInputError(f"{where} nests deeper than {MAX_DEPTH} levels; flatten it")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _finite(value, where)
    if isinstance(value, Mapping):
        return {_key(key, where): _turned(each, f"{where}.{key}", depth - 1) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_turned(each, f"{where}.{number}", depth - 1) for number, each in enumerate(value)]
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "tolist"):
        # numpy's scalars and arrays, without loading numpy.
        return _turned(value.tolist(), where, depth - 1)
    raise InvalidTypeError(
        f"{where} is a {type(value).__name__}, which cannot be kept in a document; convert it"
    )


def _finite(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise InvalidInputError(f"{where} is {float(value)!r}, which JSON cannot say; use None")
    return float(value)


def _key(key: Any, where: str) -> str:
    if isinstance(key, str):
        return key
    raise InvalidTypeError(f"{where} has the key {key!r:.80}, which is not text; make it a string")
