"""Own the way from what users assign to what a file can hold, and back.

It does not write. What cannot be held is refused here, before anything is written.

>>> prepared = prepare(["a", "bb"])
>>> prepared.shape, prepared.give
((2,), 'U')
>>> prepare({1, 2})  # doctest: +ELLIPSIS
Traceback (most recent call last):
...
holdfast.errors.InvalidTypeError: a value of type set cannot be held; give numbers, ...
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import InvalidTypeError
from holdfast.formats.sealed.datatypes import STRING_DTYPE, datatype_message, description_of
from holdfast.types import Json

__all__ = ["Values", "give_back", "give_strings", "prepare"]

_EXACT_INTEGERS = 2**53


@dataclass(frozen=True, slots=True)
class Values:
    """Hold values in the form in which they are written.

    Parameters
    ----------
    shape : tuple of int
        Their shape.
    dtype : dtype or None
        Their type; None for variable-length strings.
    array : ndarray or None
        The values, C-contiguous, unless they are strings or come in slabs.
    texts : list of bytes or None
        Strings in C order, UTF-8.
    slabs : callable or None
        Gives the values as consecutive C-contiguous arrays along the first axis.
    give : str
        What to give back; see `holdfast.formats.sealed.seal.Facts`.
    is_loose : bool
        Python numbers: appended, they take the type of the rows that are there if that loses nothing.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    array: np.ndarray[Any, Any] | None = None
    texts: list[bytes] | None = None
    slabs: Callable[[], Iterator[np.ndarray[Any, Any]]] | None = None
    give: str = ""
    is_loose: bool = False

    @property
    def description(self) -> Json:
        """The type as it stands in the facts."""
        return STRING_DTYPE if self.dtype is None else description_of(self.dtype)

    def pieces(self) -> Iterator[np.ndarray[Any, Any]]:
        """Yield the values of anything but strings, in order."""
        if self.slabs is not None:
            yield from self.slabs()
        elif self.array is not None:
            yield self.array


def prepare(value: Any) -> Values:
    """Return a value in the form in which it is written.

    Parameters
    ----------
    value : object
        An array of any kind, a number, str, bytes, date, or lists of them; pandas and xarray objects
        go through their arrays, Dask arrays slab by slab.

    Returns
    -------
    Values
        The prepared values.

    Raises
    ------
    InvalidTypeError
        When HDF5 cannot hold them: ragged lists, objects, None, masked values, strings with NUL.
    """
    if isinstance(value, np.ndarray | np.generic):
        return _of_array(_unmasked(value))
    if isinstance(value, str):
        return _of_texts([value], (), "str")
    if isinstance(value, bytes | bytearray):
        return _of_bytes(bytes(value))
    if _is_dask(value):
        return _of_dask(value)
    if _is_dask(getattr(value, "data", None)):
        return _of_dask(value.data)
    if isinstance(value, datetime.datetime | datetime.date | datetime.timedelta):
        return _of_array(_times(value))
    return _of_object(value)


def _unmasked(value: Any) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InvalidTypeError("masked values cannot be held; fill them first: value.filled(…)")
    return np.asarray(value)


def _of_array(array: np.ndarray[Any, Any], *, is_loose: bool = False) -> Values:
    kind = array.dtype.kind
    if kind in "OT":
        return _of_objects(array)
    if kind == "U":
        return _of_texts(array.ravel().tolist(), array.shape, "U")
    dtype = _plain(array.dtype)
    datatype_message(dtype)
    description_of(dtype)
    if array.shape:
        array = np.ascontiguousarray(array, dtype)
    return Values(array.shape, dtype, array, is_loose=is_loose)


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.isbuiltin == 2 or (not dtype.itemsize and dtype.kind in "SV"):
        raise InvalidTypeError(
            f"values of type {dtype} cannot be held in HDF5; convert them with astype() first"
        )
    return dtype


def _of_objects(array: np.ndarray[Any, Any]) -> Values:
    items = array.ravel().tolist()
    if all(isinstance(item, str) for item in items) and (items or _is_text_type(array.dtype)):
        return _of_texts(items, array.shape, array.dtype.kind)
    wrong = next((type(item).__name__ for item in items if not isinstance(item, str)), "object")
    raise InvalidTypeError(
        f"an array of objects ({wrong}) cannot be held; give one type and shape, or a dict of arrays"
    )


def _is_text_type(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "T" or dict(dtype.metadata or {}).get("vlen") is str


def _of_texts(texts: Sequence[str], shape: tuple[int, ...], give: str) -> Values:
    try:
        encoded = [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise InvalidTypeError("a string with a lone surrogate is not UTF-8 and cannot be held") from error
    if any(b"\0" in text for text in encoded):
        raise InvalidTypeError("a string with a NUL character cannot be held in HDF5; give it as bytes")
    return Values(shape, None, texts=encoded, give=give)


def _of_bytes(value: bytes) -> Values:
    if value.endswith(b"\0"):  # a fixed-width string would lose it
        return Values((), np.dtype(f"V{len(value)}"), np.array(np.void(value)), give="bytes")
    return _of_array(np.asarray(value))


def _times(value: Any) -> np.ndarray[Any, Any]:
    if getattr(value, "tzinfo", None) is not None:
        raise InvalidTypeError("a time with a time zone cannot be held; convert it to UTC and drop tzinfo")
    return np.asarray(
        np.timedelta64(value) if isinstance(value, datetime.timedelta) else np.datetime64(value)
    )


def _of_object(value: Any) -> Values:
    if not _is_arrayable(value):
        raise InvalidTypeError(
            f"a value of type {type(value).__name__} cannot be held; "
            "give numbers, strings, bytes or arrays of them"
        )
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InvalidTypeError(
            f"a ragged or mixed value cannot be held ({error}); give equal rows"
        ) from error
    is_loose = isinstance(value, bool | int | float | complex | list | tuple)
    if isinstance(value, list | tuple):
        return _of_list(value, array)
    return _of_array(array, is_loose=is_loose)


def _is_arrayable(value: Any) -> bool:
    if isinstance(value, bool | int | float | complex | list | tuple | memoryview):
        return True
    return (
        hasattr(value, "__array__") or hasattr(value, "__array_interface__") or hasattr(value, "__buffer__")
    )


def _of_list(value: Any, array: np.ndarray[Any, Any]) -> Values:
    kind = array.dtype.kind
    leaves = list(_leaves(value))
    if kind in "US" and not all(
        isinstance(leaf, str if kind == "U" else bytes | np.ndarray) for leaf in leaves
    ):
        raise InvalidTypeError("a list of strings and other things cannot be held; give one type")
    if kind == "S" and any(isinstance(leaf, bytes) and leaf.endswith(b"\0") for leaf in leaves):
        raise InvalidTypeError("a list of bytes that end with NUL cannot be held; give arrays of uint8")
    if kind == "O" and leaves and all(isinstance(leaf, datetime.datetime | datetime.date) for leaf in leaves):
        return _of_array(np.array([_times(leaf) for leaf in leaves]).reshape(array.shape))
    if kind in "fc" and any(_loses(leaf) for leaf in leaves):
        raise InvalidTypeError(
            "a list of integers over 64 bits and floats cannot be held exactly; give one type"
        )
    return _of_array(array, is_loose=kind in "biufc")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _loses(leaf: Any) -> bool:
    return (
        isinstance(leaf, int) and abs(leaf) > _EXACT_INTEGERS and (leaf > 2**1023 or int(float(leaf)) != leaf)
    )


def _is_dask(value: Any) -> bool:
    return getattr(value, "chunks", None) is not None and hasattr(value, "__dask_graph__")


def _of_dask(value: Any) -> Values:
    dtype = np.dtype(value.dtype)
    if dtype.kind in "OTU" or not value.shape or any(np.isnan(size) for size in value.shape):
        return prepare(value.compute())
    dtype = _plain(dtype)
    datatype_message(dtype)

    def slabs() -> Iterator[np.ndarray[Any, Any]]:
        start = 0
        for rows in value.chunks[0]:
            slab = np.asarray(value[start : start + rows].compute(), dtype=dtype)
            yield np.ascontiguousarray(slab)
            start += rows

    return Values(tuple(int(size) for size in value.shape), dtype, slabs=slabs)


def give_strings(texts: list[str], shape: tuple[int, ...], give: str) -> Any:
    """Return strings as they were given.

    Parameters
    ----------
    texts : list of str
        In C order.
    shape : tuple of int
        Their shape.
    give : str
        ``U``, ``O``, ``T`` or ``str``.

    Returns
    -------
    ndarray or str
        A `str` for a scalar.
    """
    if not shape:
        return texts[0]
    if give == "T":
        return np.array(texts, dtype=np.dtypes.StringDType()).reshape(shape)
    if give == "O":
        out = np.empty(len(texts), object)
        out[:] = texts
        return out.reshape(shape)
    return np.array(texts, dtype=f"U{max(map(len, texts), default=1) or 1}").reshape(shape)


def give_back(array: np.ndarray[Any, Any], give: str) -> Any:
    """Return an array as it was given: a scalar for no axes.

    Parameters
    ----------
    array : ndarray
        What was read.
    give : str
        The fact of this name.

    Returns
    -------
    ndarray, scalar or bytes
        The value.
    """
    if array.shape:
        return array
    value = array[()]
    return bytes(value) if give == "bytes" else value
