"""Own bodies made from readers: raw bytes, npy, JSON and CSV of arrays, in bounded memory.

It does not open files: it is given what reads.

>>> import numpy as np
>>> from holdfast.catalog.routes.bodies import json_rows
>>> b"".join(json_rows(iter([np.array([[1, 2]]), np.array([[3, 4]])])))
b'[[1,2],[3,4]]'
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from holdfast.errors import NotAcceptableError
from holdfast.http.reply import encode_json

__all__ = ["check_csv", "csv_rows", "json_rows", "npy_header", "raw_bytes", "raw_pieces", "row_blocks"]

_MAX_AXES_OF_CSV = 2
ROWS_BYTES = 256 * 1024
"""How much of an array is turned into text at once."""


def raw_bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """Return the bytes of a C-contiguous array of any type without a copy."""
    flat = array.reshape(-1)
    return memoryview(b"") if flat.nbytes == 0 else flat.view(np.uint8).data


def raw_pieces(slabs: Iterable[np.ndarray[Any, Any]]) -> Iterator[memoryview]:
    """Give the bytes of slabs."""
    for slab in slabs:
        yield raw_bytes(slab)


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the head of a npy file.

    Parameters
    ----------
    dtype : numpy.dtype
        Without objects.
    shape : tuple of int
        The shape.

    Returns
    -------
    bytes
        Version 1.0, or 2.0 for very long type descriptions.

    References
    ----------
    numpy.lib.format.
    """
    out = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    try:
        np.lib.format.write_array_header_1_0(out, header)
    except ValueError:
        out = io.BytesIO()
        np.lib.format.write_array_header_2_0(out, header)
    return out.getvalue()


def row_blocks(
    read: Callable[[Any], np.ndarray[Any, Any]], shape: tuple[int, ...], itemsize: int
) -> Iterator[np.ndarray[Any, Any]]:
    """Give a selection in blocks of whole rows along its first axis.

    Parameters
    ----------
    read : callable
        Takes a slice along the first axis of the selection (``...`` for a scalar).
    shape : tuple of int
        The shape of the selection.
    itemsize : int
        The size of an element, bytes.

    Yields
    ------
    ndarray
        Blocks of about 256 KiB, at least one row each.
    """
    if not shape:
        yield read(...)
        return
    rows = max(1, ROWS_BYTES // max(1, math.prod(shape[1:]) * itemsize))
    for start in range(0, shape[0], rows):
        yield read(slice(start, min(start + rows, shape[0])))


def json_rows(blocks: Iterator[np.ndarray[Any, Any]]) -> Iterator[bytes]:
    """Give nested JSON lists; numbers that are not finite become null, bytes become text."""
    opened = False
    for block in blocks:
        if block.ndim == 0:
            yield encode_json(_jsonable(block.tolist()))
            return
        text = encode_json(_jsonable(block.tolist()))[1:-1]
        yield (b"," if opened else b"[") + text
        opened = True
    yield b"]" if opened else b"[]"


def _jsonable(value: Any) -> Any:
    if isinstance(value, list):
        return [_jsonable(each) for each in value]
    if isinstance(value, tuple):
        return [_jsonable(each) for each in value]
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def csv_rows(blocks: Iterator[np.ndarray[Any, Any]], names: tuple[str, ...] | None = None) -> Iterator[bytes]:
    """Give comma-separated lines; of a structured array a line of its field names first.

    Parameters
    ----------
    blocks : iterator of ndarray
        Of at most two axes; a structured one of one axis.
    names : tuple of str, optional
        Field names.

    Yields
    ------
    bytes
        Whole lines.
    """
    if names is not None:
        yield _lines([names])
    for block in blocks:
        values = np.atleast_1d(block).tolist()
        rows = (
            values if names is not None or block.ndim == _MAX_AXES_OF_CSV else [[value] for value in values]
        )
        yield _lines([[_cell(value) for value in row] for row in rows])


def check_csv(ndim: int, names: tuple[str, ...] | None, possible: list[str]) -> None:
    """Refuse arrays that have no rows and columns.

    Raises
    ------
    NotAcceptableError
        With the formats that are possible.
    """
    if ndim > (1 if names is not None else _MAX_AXES_OF_CSV):
        raise NotAcceptableError(
            f"an array of {ndim} axes has no form as CSV; slice it or ask for {', '.join(possible)}",
            possible=possible,
        )


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
