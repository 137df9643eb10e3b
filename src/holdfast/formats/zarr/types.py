"""Element types and fill values as Zarr's metadata spells them.

Owns both versions' notations; nothing in them is believed before it is checked.

References
----------
Zarr storage specification version 2; Zarr core specification version 3.0 and the zarr-extensions registry.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from holdfast.errors import UnreadableError

__all__ = ["BYTES", "TEXT", "fill_value", "type_of_v2", "type_of_v3"]

TEXT = np.dtype("U1")
"""What stands for texts of any length until they are measured."""

BYTES = np.dtype("S1")
"""The same for byte strings of any length."""

_PLAIN = re.compile(r"[<>|=](?:[biufc][0-9]{1,2}|[SUV][0-9]{1,9}|[mM]8(?:\[[0-9]{0,9}[A-Za-z]{1,2}\])?)")
_NAMES = re.compile(r"bool|u?int(?:8|16|32|64)|float(?:16|32|64)|complex(?:64|128)")
_RAW = re.compile(r"r([0-9]{1,9})")
_NONFINITE = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}
_MAX_ITEM_BYTES = 1 << 24
_MAX_DEPTH = 16


def type_of_v2(descr: Any, depth: int = 0) -> np.dtype:
    """Return the type that version 2 spells as NumPy does.

    Raises
    ------
    UnreadableError
        It is none.
    """
    if isinstance(descr, str) and _PLAIN.fullmatch(descr):
        return _sized(_made(descr), descr)
    if not isinstance(descr, list) or not descr or depth > _MAX_DEPTH:
        raise UnreadableError(f"no element type is spelled {str(descr)[:80]!r}")
    fields = [_field(field, depth) for field in descr]
    return _sized(_made(fields), descr)


def _field(field: Any, depth: int) -> tuple[str, np.dtype, tuple[int, ...]]:
    if not isinstance(field, list) or len(field) not in (2, 3) or not isinstance(field[0], str):
        raise UnreadableError(f"no field of an element is spelled {str(field)[:80]!r}")
    inner = field[2] if len(field) == 3 else []
    shape = [inner] if isinstance(inner, int) else inner
    if not isinstance(shape, list) or not all(type(n) is int and 0 < n < _MAX_ITEM_BYTES for n in shape):
        raise UnreadableError(f"no field of an element has the shape {str(shape)[:80]}")
    return field[0], type_of_v2(field[1], depth + 1), tuple(shape)


def type_of_v3(data_type: Any, *, big: bool = False, depth: int = 0) -> np.dtype:
    """Return the type that version 3 names; `TEXT` and `BYTES` for those of any length.

    Parameters
    ----------
    data_type : str or mapping
        As the metadata has it.
    big : bool
        Whether the bytes codec stores the high byte first.
    depth : int
        How deep inside other types this one is.

    Raises
    ------
    UnreadableError
        It is none that is read.
    """
    name = data_type.get("name") if isinstance(data_type, Mapping) else data_type
    options = data_type.get("configuration", {}) if isinstance(data_type, Mapping) else {}
    order: Literal["<", ">"] = ">" if big else "<"
    if not isinstance(name, str) or not isinstance(options, Mapping) or depth > _MAX_DEPTH:
        raise UnreadableError(f"no element type is called {str(data_type)[:80]!r}")
    if _NAMES.fullmatch(name):
        return np.dtype(name).newbyteorder(order)
    if name in ("string", "variable_length_utf8"):
        return TEXT
    if name in ("bytes", "variable_length_bytes"):
        return BYTES
    return _sized(_made(_spelled(name, options, order, depth)), data_type)


def _spelled(name: str, options: Mapping[str, Any], order: str, depth: int) -> Any:
    """Return what NumPy calls a type with options."""
    raw, length = _RAW.fullmatch(name), options.get("length_bytes")
    if raw:
        return f"V{int(raw[1]) // 8}"
    if name in ("null_terminated_bytes", "raw_bytes") and type(length) is int:
        return f"{'S' if name == 'null_terminated_bytes' else 'V'}{length}"
    if name == "fixed_length_utf32" and type(length) is int:
        return f"{order}U{length // 4}"
    if name in ("numpy.datetime64", "numpy.timedelta64"):
        unit, factor = options.get("unit"), options.get("scale_factor", 1)
        units = "" if unit == "generic" else f"[{factor if factor != 1 else ''}{unit}]"
        return f"{order}{'M' if 'datetime' in name else 'm'}8{units}"
    if name in ("struct", "structured") and isinstance(options.get("fields"), list):
        fields = [_field_of_v3(field, order, depth) for field in options["fields"]]
        return fields or None
    raise UnreadableError(f"the element type {name[:60]!r} is not read")


def _field_of_v3(field: Any, order: str, depth: int) -> tuple[str, np.dtype]:
    name, data_type = (
        (field.get("name"), field.get("data_type"))
        if isinstance(field, Mapping)
        else tuple(field if isinstance(field, list) and len(field) == 2 else (None, None))
    )
    if not isinstance(name, str):
        raise UnreadableError(f"no field of an element is spelled {str(field)[:80]!r}")
    found = type_of_v3(data_type, big=order == ">", depth=depth + 1)
    if found in (TEXT, BYTES):
        raise UnreadableError(f"the field {name[:60]!r} has elements of any length, which are not read")
    return name, found


def _made(spelled: Any) -> np.dtype:
    try:
        dtype: np.dtype = np.dtype(spelled)
    except (TypeError, ValueError) as error:
        raise UnreadableError(f"no element type is {str(spelled)[:80]!r}") from error
    return dtype


def _sized(dtype: np.dtype, descr: Any) -> np.dtype:
    if dtype.hasobject or not 0 < dtype.itemsize <= _MAX_ITEM_BYTES:
        raise UnreadableError(f"elements of {str(descr)[:80]!r} have no size, or too large a one")
    return dtype


def fill_value(value: Any, dtype: np.dtype) -> Any:
    """Return what elements of a chunk that was never written are, as NumPy can assign it; zeros for None.

    Raises
    ------
    UnreadableError
        It is no value of the type.
    """
    if value is None or (value in (0, "", False) and dtype.kind not in "mM"):
        return np.zeros((), dtype)[()]
    try:
        with np.errstate(over="raise"):
            return _filled(value, dtype)
    except (TypeError, ValueError, ArithmeticError, binascii.Error) as error:
        raise UnreadableError(f"{str(value)[:80]!r} is no fill value of elements of type {dtype}") from error


def _filled(value: Any, dtype: np.dtype) -> Any:
    kind = dtype.kind
    if kind == "V" or (kind == "S" and isinstance(value, str | list)):
        return _from_bytes(value, dtype)
    if kind == "f":
        return _number(value, dtype)
    if kind == "c":
        real, imaginary = value if isinstance(value, list) else (value, 0.0)
        return dtype.type(complex(_number(real, np.dtype("f8")), _number(imaginary, np.dtype("f8"))))
    if kind in "mM":
        return np.array(np.iinfo("i8").min if value == "NaT" else int(value), "i8").view(
            dtype.newbyteorder("=")
        )[()]
    if kind == "U" and not isinstance(value, str):
        raise ValueError(value)
    if kind in "iub":
        checked = np.array(value)
        if checked.ndim or checked.dtype.kind not in "iub" or checked != checked.astype(dtype):
            raise ValueError(value)
    return np.array(value, dtype)[()] if dtype != TEXT else value


def _number(value: Any, dtype: np.dtype) -> Any:
    if isinstance(value, str) and value.startswith("0x"):
        bits = bytes.fromhex(value[2:])
        return np.frombuffer(bits, dtype.newbyteorder(">"), 1)[0]
    return dtype.type(_NONFINITE[value] if isinstance(value, str) and value in _NONFINITE else float(value))


def _from_bytes(value: Any, dtype: np.dtype) -> Any:
    """Read base64, or the list of bytes that version 3 gives raw elements."""
    data = bytes(value) if isinstance(value, list) else base64.b64decode(value, validate=True)
    if dtype == BYTES:
        return data
    return np.frombuffer(data.ljust(dtype.itemsize, b"\0"), dtype, 1)[0]
