"""Own the forms in which an entry is answered over HTTP: the original's CBOR, npy, JSON, raw bytes, facts.

It does not know routes. A number is never changed silently: what a form cannot say exactly is refused, and
the form that can is named.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from holdfast.errors import NotAcceptableError
from holdfast.formats.sealed import ArrayView, SealedView, change_token
from holdfast.formats.sealed.datatypes import description_of
from holdfast.formats.sealed.selection import bytes_of
from holdfast.http.reply import Reply, bytes_reply, stream_reply
from holdfast.http.request import Request
from holdfast.records.cbor import encode
from holdfast.types import Json

__all__ = ["CBOR", "JSON", "NPY", "RAW", "cbor_value", "facts_of", "json_value", "npy_reply", "raw_reply"]

CBOR = "application/msgpack"
"""What the original calls its CBOR; its clients look at the bytes only."""

NPY, JSON, RAW = "application/x-npy", "application/json", "application/octet-stream"

_PIECE_BYTES = 1024 * 1024
# What browsers have typed arrays for: the original's names.
_PLAIN = {"uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"}
_WIDER = {"bool": "uint8", "float16": "float32"}


def cbor_value(array: np.ndarray[Any, Any]) -> bytes:
    """Return an array as the original answers it.

    Parameters
    ----------
    array : ndarray
        Numbers, or strings.

    Returns
    -------
    bytes
        CBOR: ``{"$type": "array", data, dtype, shape}``, or strings in lists.

    Raises
    ------
    NotAcceptableError
        For types that the form cannot hold exactly.
    """
    if array.dtype.kind in "OUT":
        return encode(array.astype(object).tolist())
    if array.dtype.kind == "S":
        return encode(_decoded(array).tolist())
    plain = _narrowed(array)
    name = plain.dtype.name
    little = np.ascontiguousarray(plain, plain.dtype.newbyteorder("<"))
    return encode({"$type": "array", "data": bytes_of(little), "dtype": name, "shape": list(array.shape)})


def _decoded(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    try:
        return np.char.decode(array, "utf-8").astype(object)
    except UnicodeDecodeError as error:
        raise _refused(array.dtype) from error


def _narrowed(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    name = array.dtype.name
    if name in _PLAIN:
        return array
    if name in _WIDER:
        return array.astype(_WIDER[name])
    if array.dtype.kind in "iu":
        for cast in (array.astype("int32"), array.astype("float64")):
            if _is_exact(array, cast):
                return cast
    raise _refused(array.dtype)


def _is_exact(array: np.ndarray[Any, Any], cast: np.ndarray[Any, Any]) -> bool:
    # Compared as integers: as floats, two that differ beyond 53 bits would be equal.
    limit = 2.0**64 if array.dtype.kind == "u" else 2.0**63
    is_same = (cast < limit).all() and ((cast < 0) == (array < 0)).all()
    return bool(is_same and (cast.astype(array.dtype) == array).all())


def _refused(dtype: np.dtype[Any]) -> NotAcceptableError:
    return NotAcceptableError(
        f"values of type {dtype} cannot be answered exactly in this form; "
        "ask with ?format=npy for the exact values"
    )


def json_value(array: np.ndarray[Any, Any]) -> Json:
    """Return an array as nested lists; NaN becomes null, times ISO 8601 text.

    Raises
    ------
    NotAcceptableError
        For types that JSON cannot hold.
    """
    if array.dtype.names is not None:
        columns = {name: json_value(array[name]) for name in array.dtype.names}
        return (
            [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            if array.shape
            else columns
        )
    if array.dtype.kind in "mM":
        return array.astype(str).tolist()
    if array.dtype.kind == "S":
        return _decoded(array).tolist()
    if (array.dtype.kind in "biufOUT" and array.dtype.itemsize <= 8) or array.dtype.kind in "OUT":
        return array.tolist()
    raise _refused(array.dtype)


def npy_reply(request: Request, array: np.ndarray[Any, Any]) -> Reply:
    """Return an array as a ``.npy`` file; strings as fixed-width text."""
    if array.dtype.kind in "OT":
        array = array.astype(str)
    body = io.BytesIO()
    np.save(body, array, allow_pickle=False)
    return bytes_reply(request, body.getbuffer(), media_type=NPY)


def raw_reply(request: Request, view: ArrayView, index: Any) -> Reply:
    """Return the elements' bytes in C order; checked before they are sent, and closed with the view."""
    array = np.ascontiguousarray(view[index]) if index is not None else None
    pieces = _pieces(view, array)
    size = view.nbytes if array is None else array.nbytes
    return stream_reply(request, pieces, media_type=RAW, size=size)


def _pieces(view: ArrayView, array: np.ndarray[Any, Any] | None) -> Iterator[memoryview]:
    with view:
        slabs = view.slabs(_PIECE_BYTES) if array is None else iter([array])
        for slab in slabs:
            raw = bytes_of(slab)
            for start in range(0, len(raw), _PIECE_BYTES):
                yield raw[start : start + _PIECE_BYTES]


def facts_of(view: ArrayView, path: str) -> dict[str, Json]:
    """Return what a client must know to read an array."""
    is_text = view.dtype == object
    facts: dict[str, Json] = {
        "kind": "array",
        "shape": list(view.shape),
        "dtype": "str" if is_text else description_of(view.dtype),
        "size": view.nbytes,
        "sealed": view.sealed,
        "token": change_token(path),
        "origin": view.origin if isinstance(view, SealedView) else "",
        "give": view.base.facts.give if isinstance(view, SealedView) else ("O" if is_text else ""),
    }
    return facts
