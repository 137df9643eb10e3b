"""Own the meaning of JSON values in queries: kinds, equality, canonical form, order and limits.

It knows neither queries nor tables; both the reference matcher and the index rest on it.

>>> from holdfast.queries.values import canonical, equal
>>> equal(1, 1.0), equal(True, 1), canonical({"b": 1.0, "a": [True, None]})
(True, False, '{"a":[true,null],"b":1}')
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from holdfast.errors import InvalidInputError, InvalidTypeError, TooLargeError
from holdfast.types import Json

__all__ = [
    "BOOL",
    "LIST",
    "MAX_DEPTH",
    "MAX_INT_DIGITS",
    "NULL",
    "NUMBER",
    "OBJECT",
    "TEXT",
    "canonical",
    "check_json",
    "equal",
    "is_plain",
    "kind_of",
    "strings",
]

NULL, BOOL, NUMBER, TEXT, LIST, OBJECT = range(6)
"""The kinds of values, in the order in which they sort."""

MAX_DEPTH = 100
"""How deep lists and objects may nest."""

MAX_INT_DIGITS = 4000
"""The most digits of a whole number; the language itself stops at 4,300."""

_PLAIN_LEVELS = 8
_LARGE = 2**63
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_MAX_BITS = int(MAX_INT_DIGITS * math.log2(10))
_KINDS = {
    type(None): NULL,
    bool: BOOL,
    int: NUMBER,
    float: NUMBER,
    str: TEXT,
    list: LIST,
    tuple: LIST,
    dict: OBJECT,
}


def kind_of(value: Json) -> int:
    """Return the kind of a JSON value.

    Parameters
    ----------
    value : JSON
        Any JSON value; a tuple counts as a list.

    Returns
    -------
    int
        One of NULL, BOOL, NUMBER, TEXT, LIST, OBJECT.

    Raises
    ------
    InvalidTypeError
        For a value that is not JSON.
    """
    kind = _KINDS.get(type(value))
    if kind is not None:
        return kind
    for cls, number in (
        (bool, BOOL),
        (int, NUMBER),
        (float, NUMBER),
        (str, TEXT),
        (list, LIST),
        (dict, OBJECT),
    ):
        if isinstance(value, cls):
            return number
    raise InvalidTypeError(f"a {type(value).__name__} is not a JSON value; convert it first")


def canonical(value: Json) -> str:
    """Return one text for all spellings of equal values: sorted keys, 1.0 written 1.

    Parameters
    ----------
    value : JSON
        A value that `check_json` accepts.

    Returns
    -------
    str
        ASCII JSON text; two values are equal exactly when their texts are.
    """
    text = _ENCODER.encode(value)
    # Only whole floats have two spellings, and they show in the text.
    return _ENCODER.encode(_whole(value)) if ".0" in text or "e+" in text else text


def _whole(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    return value


def equal(left: Json, right: Json) -> bool:
    """Tell whether two JSON values are equal: numbers by value, True never 1, lists by element.

    Parameters
    ----------
    left, right : JSON
        The values.

    Returns
    -------
    bool
        Whether they are of one kind and equal.
    """
    kind = kind_of(left)
    if kind != kind_of(right):
        return False
    if kind in {LIST, OBJECT}:
        return canonical(left) == canonical(right)
    return bool(left == right)


def strings(value: Json) -> Iterator[str]:
    """Yield every string value inside a JSON value, keys left out, in order of appearance.

    Parameters
    ----------
    value : JSON
        The value.

    Yields
    ------
    str
        Each string.
    """
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            waiting.extend(reversed(each.values()))
        elif isinstance(each, list | tuple):
            waiting.extend(reversed(each))


def check_json(value: Json, what: str = "value", *, max_depth: int = MAX_DEPTH) -> None:
    """Check that a value can be kept and found again.

    Parameters
    ----------
    value : JSON
        The value.
    what : str, default "value"
        What it is, for the message.
    max_depth : int
        How deep it may nest.

    Raises
    ------
    InvalidTypeError
        For something that is not JSON, such as bytes or a key that is not text.
    InvalidInputError
        For NaN, an infinity, a lone surrogate, NUL or a whole number of over 4,000 digits.
    TooLargeError
        For a value that nests too deeply.
    """
    if is_plain(value):
        return
    waiting: list[tuple[Json, tuple[object, ...]]] = [(value, ())]
    while waiting:
        each, path = waiting.pop()
        kind = _KINDS.get(type(each))
        if kind == TEXT:
            _check_text(each, what, path)
        elif kind == NUMBER:
            _check_number(each, what, path)
        elif kind in (LIST, OBJECT):
            if len(path) >= max_depth:
                raise TooLargeError(f"{what} nests deeper than {max_depth} levels; flatten it")
            waiting.extend(_inside(each, what, path))
        elif kind is None:
            _check_subclass(each, what, path)


def is_plain(value: Json) -> bool:
    """Tell fast, level by level, that a value has nothing that needs a closer look.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    bool
        True only for JSON of ASCII text, finite numbers of at most 63 bits and at most eight levels.
    """
    texts: list[str] = []
    if not _is_plain_inside([value], _PLAIN_LEVELS, texts):
        return False
    try:
        # One look at all texts is enough; keys that are none are found here, too.
        joined = "".join(texts)
    except TypeError:
        return False
    return joined.isascii() and "\x00" not in joined


def _is_plain_inside(values: Json, levels: int, texts: list[str]) -> bool:
    """Tell it of all but the texts in a list or an object, which are collected."""
    if type(values) is dict:
        texts += values
        values = values.values()
    for each in values:
        cls = type(each)
        if cls is str:
            texts.append(each)
        elif not (
            # What is not finite is no number away from itself.
            (cls is float and each - each == 0.0)
            or (cls is int and -_LARGE < each < _LARGE)
            or ((cls is dict or cls is list) and levels and _is_plain_inside(each, levels - 1, texts))
            or each is None
            or cls is bool
        ):
            return False
    return True


def _inside(each: Json, what: str, path: tuple[object, ...]) -> Iterator[tuple[Json, tuple[object, ...]]]:
    if isinstance(each, dict):
        for key, child in each.items():
            if not isinstance(key, str):
                raise InvalidTypeError(
                    f"{_at(what, path)} has the key {key!r}, which is not text; make it a string"
                )
            _check_text(key, what, (*path, key))
            yield child, (*path, key)
    else:
        for number, child in enumerate(each):
            yield child, (*path, number)


def _check_text(text: str, what: str, path: Sequence[object]) -> None:
    if "\x00" in text:
        raise InvalidInputError(f"{_at(what, path)} holds a NUL character; leave it out")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidInputError(
                f"{_at(what, path)} is not valid Unicode text; it cannot be kept as UTF-8"
            ) from None


def _check_number(number: int | float, what: str, path: Sequence[object]) -> None:
    if isinstance(number, int):
        if number.bit_length() > _MAX_BITS:
            raise InvalidInputError(f"{_at(what, path)} has over {MAX_INT_DIGITS} digits; keep it as text")
    elif not math.isfinite(number):
        raise InvalidInputError(f"{_at(what, path)} is {number!r}, which JSON cannot say; use null")


def _check_subclass(each: Json, what: str, path: Sequence[object]) -> None:
    kind = None
    if isinstance(each, str | int | float):
        kind = kind_of(each)
    if kind is None:
        raise InvalidTypeError(
            f"{_at(what, path)} is a {type(each).__name__}, which is not a JSON value; convert it"
        )
    if kind == TEXT:
        _check_text(each, what, path)
    else:
        _check_number(each, what, path)


def _at(what: str, path: Sequence[object]) -> str:
    return f"{what} at {'.'.join(map(str, path))!r}" if path else what
