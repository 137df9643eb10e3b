"""Arrays as they are: their bytes alone, and as NumPy's own files.

References
----------
numpy.lib.format.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from holdfast.formats.exports.base import ArrayExport, ArrayPart, Exported
from holdfast.types import Buffer

__all__ = ["NPY", "RAW", "NpyExport", "RawExport", "npy_header", "raw_bytes"]


class RawExport(ArrayExport):
    """The bytes of the elements in C order, in the byte order of their type."""

    media_types = ("application/octet-stream",)
    suffixes = ("bin",)

    def export(self, part: ArrayPart) -> Exported:
        """Return the bytes of the elements."""
        return Exported(map(raw_bytes, part.slabs()), part.nbytes)


class NpyExport(ArrayExport):
    """A header and the elements as they are; any type that has no objects, any shape."""

    media_types = ("application/x-npy",)
    suffixes = ("npy",)

    def export(self, part: ArrayPart) -> Exported:
        """Return the bytes of a npy file."""
        header = npy_header(part.dtype, part.shape)
        return Exported(_after(header, part.slabs()), len(header) + part.nbytes)


def raw_bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """Return the bytes of a C-contiguous array of any type without a copy."""
    flat = array.reshape(-1)
    return memoryview(b"") if flat.nbytes == 0 else flat.view(np.uint8).data


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
    """
    out = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    try:
        np.lib.format.write_array_header_1_0(out, header)
    except ValueError:
        out = io.BytesIO()
        np.lib.format.write_array_header_2_0(out, header)
    return out.getvalue()


def _after(header: bytes, slabs: Iterable[np.ndarray[Any, Any]]) -> Iterator[Buffer]:
    yield header
    yield from map(raw_bytes, slabs)


NPY, RAW = NpyExport(), RawExport()
