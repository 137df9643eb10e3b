r"""Metadata of files: anything found in one, made into JSON that every database and client can hold.

Owns the cleaning of values; decides nothing about what is collected.

>>> collected = Metadata(); collected.put(("entry", "T"), float("nan")); collected.put(("name",), b"Ag\0\0")
>>> collected.to_json()
{'entry': {'T': None}, 'name': 'Ag', 'holdfast': {'nonfinite': ['entry.T']}}
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["MAX_BYTES", "MAX_TEXT_BYTES", "MAX_VALUES", "Metadata", "clean_text"]

MAX_VALUES = 2000
"""How many values of one file are kept."""

MAX_BYTES = 256 << 10
"""How many bytes the values of one file take at most, about as JSON."""

MAX_TEXT_BYTES = 4096
"""The longest text that counts as a short string."""

_MAX_DEPTH = 60
_MAX_INT = 1 << 63


class Metadata:
    """JSON values collected from a file, bounded, with a list of what was not finite.

    Parameters
    ----------
    max_values : int
        How many values are kept; further ones are counted only.
    max_bytes : int
        How large they may be in all, in bytes.
    """

    def __init__(self, max_values: int = MAX_VALUES, max_bytes: int = MAX_BYTES) -> None:
        self._tree: dict[str, Any] = {}
        self._values = max_values
        self._bytes = max_bytes
        self._nonfinite: list[str] = []
        self._left_out = 0

    def put(self, path: Sequence[str], value: Any) -> None:
        """Keep a value under a path of keys, unless the bounds are reached.

        Parameters
        ----------
        path : sequence of str
            Keys from the top on.
        value : object
            Anything a file may hold: JSON values, bytes, NumPy scalars and arrays, complex numbers.
        """
        cleaner = _Cleaner([clean_text(key) for key in path])
        cleaned = cleaner.clean(value)
        size = cleaner.bytes + sum(map(len, path[-1:]))
        if cleaner.values > self._values or size > self._bytes or not self._place(cleaner.path, cleaned):
            self._left_out += 1
            return
        self._values -= cleaner.values
        self._bytes -= size
        self._nonfinite += cleaner.nonfinite

    def _place(self, path: list[str], value: Any) -> bool:
        """Put a value into the tree; an attribute that shares its name with a group goes beside it."""
        branch = self._tree
        for key in path[:-1]:
            below = branch.setdefault(key, {})
            if not isinstance(below, dict):
                branch["@" + key] = below
                below = branch[key] = {}
            branch = below
        key = path[-1] if path[-1] not in branch else "@" + path[-1]
        if key in branch:
            return False
        branch[key] = value
        return True

    def note(self, name: str, value: Any) -> None:
        """Keep a remark of ours under ``holdfast``."""
        self._tree.setdefault("holdfast", {})[name] = value

    def to_json(self) -> dict[str, Any]:
        """Return everything collected, with what could not be kept as it was under ``holdfast``."""
        if self._nonfinite:
            self.note("nonfinite", self._nonfinite)
        if self._left_out:
            self.note("left_out", self._left_out)
        return self._tree


class _Cleaner:
    """One value on its way to JSON."""

    def __init__(self, path: list[str]) -> None:
        self.path = path
        self.nonfinite: list[str] = []
        self.values = 0
        self.bytes = 0

    def clean(self, value: Any, trail: tuple[str, ...] = ()) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            value = _plain(value)
        if isinstance(value, dict):
            return self._clean_items(value, trail)
        if isinstance(value, list | tuple):
            return self._clean_list(value, trail)
        self.values += 1
        return self._clean_leaf(value, trail)

    def _clean_items(self, value: dict[Any, Any], trail: tuple[str, ...]) -> Any:
        if len(trail) >= _MAX_DEPTH:
            return "…"
        keys = {clean_text(str(key)): key for key in value}
        self.bytes += sum(map(len, keys))
        return {key: self.clean(value[own], (*trail, key)) for key, own in keys.items()}

    def _clean_list(self, value: Sequence[Any], trail: tuple[str, ...]) -> Any:
        if len(trail) >= _MAX_DEPTH:
            return "…"
        return [self.clean(item, (*trail, str(n))) for n, item in enumerate(value)]

    def _clean_leaf(self, value: Any, trail: tuple[str, ...]) -> Any:
        if isinstance(value, str | bytes):
            text = clean_text(value)
            self.bytes += len(text)
            return text
        self.bytes += 8
        if isinstance(value, float) and not math.isfinite(value):
            self.nonfinite.append(".".join((*self.path, *trail)))
            return None
        if isinstance(value, complex):
            return self.clean([value.real, value.imag], trail)
        if isinstance(value, int) and not isinstance(value, bool) and not -_MAX_INT <= value < 2 * _MAX_INT:
            return float(value) if abs(value) < 1 << 1000 else str(value)[:80]
        return value if value is None or isinstance(value, bool | int | float) else clean_text(str(value))


def _plain(value: np.ndarray | np.generic) -> Any:
    """Turn NumPy values into Python's, times into ISO text."""
    if value.dtype.kind in "mM":
        return value.astype(str).tolist()
    if value.dtype.names is not None:
        array = np.asarray(value)
        if array.ndim:
            return [_plain(item) for item in array]
        return {name: _plain(array[name]) for name in value.dtype.names}
    if value.dtype.kind == "V":
        return value.tobytes().hex()
    if value.dtype.itemsize > 8 and value.dtype.kind == "f":
        return value.astype(float).tolist()
    if value.dtype.itemsize > 16 and value.dtype.kind == "c":
        return value.astype(complex).tolist()
    return value.tolist()


def clean_text(text: str | bytes) -> str:
    """Return text without NUL padding, with what is no Unicode written as escapes.

    Parameters
    ----------
    text : str or bytes
        Bytes are taken as UTF-8.
    """
    decoded = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    decoded = decoded.rstrip("\0")
    if "\0" in decoded:
        decoded = decoded.replace("\0", "\\x00")
    if not decoded.isascii():
        decoded = decoded.encode(
            "utf-8", "surrogateescape" if _is_escaped(decoded) else "backslashreplace"
        ).decode("utf-8", "backslashreplace")
    return decoded


def _is_escaped(text: str) -> bool:
    """Whether lone surrogates stand for undecodable bytes, as h5py and file names give them."""
    return all(0xDC80 <= ord(char) <= 0xDCFF for char in text if 0xD800 <= ord(char) <= 0xDFFF)
