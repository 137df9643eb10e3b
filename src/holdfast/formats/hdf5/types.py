"""Element types of HDF5 and the plain NumPy types they become.

Owns the mapping and the conversion of values; opens nothing.

Notes
-----
Text of variable length becomes NumPy text as wide as the longest; lists of variable length become JSON text;
references become the path they lead to; enumerations become their integers; fields are packed.
"""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np

from holdfast.errors import ChangedError
from holdfast.formats.metadata import clean_text

__all__ = ["convert", "enum_names", "fitting", "has_objects", "plain"]


def has_objects(dtype: np.dtype) -> bool:
    """Whether elements are text, lists or references of variable length."""
    return bool(dtype.hasobject)


def plain(dtype: np.dtype) -> np.dtype:
    """Return the packed NumPy type without HDF5's remarks; objects count as text of one character."""
    if dtype.names is not None:
        return np.dtype([(name, plain(dtype[name].base), dtype[name].shape) for name in dtype.names])
    if dtype.kind == "O":
        return np.dtype("U1")
    return np.dtype(dtype.str)


def enum_names(dtype: np.dtype) -> dict[str, int] | None:
    """Return the names of an enumeration; booleans are none."""
    names = h5py.check_enum_dtype(dtype)
    return (
        None
        if names is None or dtype.kind == "b"
        else {str(name): int(value) for name, value in names.items()}
    )


def fitting(raw: np.ndarray) -> np.dtype:
    """Return the narrowest plain type that holds values as h5py gave them."""
    dtype = raw.dtype
    if dtype.names is not None:
        return np.dtype([(name, fitting(raw[name].reshape(-1)), dtype[name].shape) for name in dtype.names])
    if dtype.kind != "O":
        return np.dtype(dtype.str)
    longest = max((len(_text(value)) for value in raw.reshape(-1)), default=0)
    return np.dtype(f"U{max(longest, 1)}")


def convert(raw: np.ndarray, target: np.dtype) -> np.ndarray:
    """Turn values as h5py gave them into the plain type.

    Parameters
    ----------
    raw : ndarray
        Values in the type of the file.
    target : numpy.dtype
        What `plain` or `fitting` returned for them.

    Raises
    ------
    ChangedError
        A text is longer than when it was measured.
    """
    if raw.dtype.names is not None:
        out = np.empty(raw.shape, target)
        for name in raw.dtype.names:
            part = target[name]
            out[name] = convert(raw[name], part.base)
        return out
    if raw.dtype.kind != "O":
        return raw if raw.dtype == target else raw.astype(target, copy=False)
    texts = [_text(value) for value in raw.reshape(-1)]
    if max(map(len, texts), default=0) > target.itemsize // 4:
        raise ChangedError("a text is longer than when the file was indexed; index it again")
    return np.array(texts, target).reshape(raw.shape)


def _text(value: Any) -> str:
    """Return the text that stands for one value of variable length."""
    if isinstance(value, bytes | str):
        return clean_text(value)
    if isinstance(value, h5py.Reference | h5py.RegionReference):
        return _reference(value)
    if isinstance(value, np.ndarray):
        items = [_text(item) if isinstance(item, bytes) or item is None else item for item in value.tolist()]
        return json.dumps(items, default=str)
    return "" if value is None or isinstance(value, int) else str(value)


def _reference(value: Any) -> str:
    return f"<{type(value).__name__}>" if value else ""
