"""Elements as plain values: what JSON, comma-separated text, pages and spreadsheets say of each type.

Owns one rule for each kind of type, so that all texts agree; writes no text.

>>> plain(np.array(["2026-01-02", "NaT"], "M8[D]"))
['2026-01-02', None]
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

__all__ = ["cells", "is_plain", "plain", "to_json", "to_json_lines", "why_not_plain"]

_KINDS = frozenset("biufSUOMm")
_LARGEST_FLOAT = 8
_ENCODER = msgspec.json.Encoder()


def why_not_plain(dtype: np.dtype[Any]) -> str | None:
    """Return why elements of a type have no plain value that says all of them; None when they have."""
    if dtype.subdtype is not None:
        return why_not_plain(dtype.base)
    if dtype.names is not None:
        reasons = (why_not_plain(dtype[name]) for name in dtype.names)
        return next((reason for reason in reasons if reason), None)
    if dtype.kind == "c":
        return "complex numbers have no form as text that every reader shares"
    if dtype.kind == "f" and dtype.itemsize > _LARGEST_FLOAT:
        return "numbers of more than 64 bits lose digits as text"
    return None if dtype.kind in _KINDS else "opaque bytes have no form as text"


def is_plain(dtype: np.dtype[Any]) -> bool:
    """Whether a type is one number, text or time, without fields."""
    return dtype.names is None and dtype.subdtype is None and why_not_plain(dtype) is None


def to_json(value: Any) -> bytes:
    """Return a plain value as JSON; numbers that are not finite become null."""
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        # Metadata may hold halves of surrogate pairs, which JSON has as escapes and UTF-8 has not.
        return json.dumps(value, separators=(",", ":")).encode()


def to_json_lines(values: Iterable[Any]) -> bytes:
    """Return plain values as lines of JSON."""
    return _ENCODER.encode_lines(values)


def plain(array: np.ndarray[Any, Any]) -> Any:
    """Return elements as nested lists of numbers, booleans, text and None.

    Parameters
    ----------
    array : ndarray
        Of a type for which `why_not_plain` is None.

    Returns
    -------
    list, or one value for an array without axes
        Times are in ISO 8601, spans of time numbers in their unit, both None where they are not a time; bytes
        are text, what is not UTF-8 in it escaped; a record is a list of its fields. Numbers that are not
        finite stay what they are.
    """
    if array.dtype.names is not None:
        fields = [plain(array[name].reshape(-1, *array.dtype[name].shape)) for name in array.dtype.names]
        records = [list(record) for record in zip(*fields, strict=True)]
        return _nested(records, array.shape)
    return _VALUES.get(array.dtype.kind, np.ndarray.tolist)(array)


def cells(column: np.ndarray[Any, Any]) -> list[Any]:
    """Return one-dimensional elements as what stands in the cells of a table: None is an empty cell."""
    values: list[Any] = plain(column)
    if column.dtype.kind != "O":
        return values
    return [to_json(value).decode() if isinstance(value, list | dict) else value for value in values]


def _times(array: np.ndarray[Any, Any]) -> Any:
    return _without_absent(array, np.datetime_as_string(array))


def _spans(array: np.ndarray[Any, Any]) -> Any:
    return _without_absent(array, array.view("i8") if array.ndim else array.astype("i8"))


def _without_absent(array: np.ndarray[Any, Any], values: Any) -> Any:
    absent = np.isnat(array)
    if not absent.any():
        return np.asarray(values).tolist()
    kept = np.asarray(values).astype(object)
    kept[absent] = None
    return kept.tolist()


def _texts(array: np.ndarray[Any, Any]) -> Any:
    return _each(array.tolist(), _text)


def _text(value: Any) -> Any:
    """Return text that is valid everywhere: neither broken UTF-8 nor halves of surrogate pairs."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, dict):
        return {str(key): _each(below, _text) for key, below in value.items()}
    return str(value)


def _each(values: Any, convert: Any) -> Any:
    if isinstance(values, list | tuple):
        return [_each(value, convert) for value in values]
    return convert(values)


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    """Return a flat list as nested lists of a shape."""
    if not shape:
        return flat[0]
    step = len(flat) // shape[0] if shape[0] else 0
    return [_nested(flat[at * step : (at + 1) * step], shape[1:]) for at in range(shape[0])]


_VALUES = {"S": _texts, "U": _texts, "O": _texts, "M": _times, "m": _spans}
