"""NumPy's ``.npy`` files.

Owns their header; reads no pickled objects. Elements are read in place by `rawarray`.

References
----------
NEP 1, "A Simple File Format for NumPy Arrays".
"""

from __future__ import annotations

import ast
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import InvalidTypeError, UnreadableError
from holdfast.files import open_atomic
from holdfast.formats.base import ArrayReader, Described, Description, Format, OpenFile
from holdfast.formats.rawarray import RawArray, Segment
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure, packed
from holdfast.types import PathLike

__all__ = ["NPY", "Header", "NpyFile", "NpyFormat", "read_header"]

_MAGIC = b"\x93NUMPY"
_PREFIX_BYTES = 12
_MAX_HEADER_BYTES = 64 << 10
_MAX_AXES = 64
_MAX_DEPTH = 32


class NpyFormat(Format):
    """One array in a ``.npy`` file."""

    name = "npy"
    media_types = ("application/x-npy",)
    suffixes = (".npy",)
    is_frame = True

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the magic bytes."""
        return head.startswith(_MAGIC)

    def describe(self, source: Source) -> Description:
        """Return type and shape from the header.

        Raises
        ------
        UnreadableError
            A damaged header, pickled objects, or a file shorter than its header says.
        """
        array = _array(source)
        return Description(Described("", "array", {}, array.structure.to_json()), self.media_types[0])

    def open(self, source: Source) -> OpenFile:
        """Open the array."""
        with source.closed_on_failure():
            return NpyFile(source, _array(source))

    def write(self, path: PathLike, value: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Write an array as a new file in one step.

        Raises
        ------
        InvalidTypeError
            The array holds Python objects.
        """
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise InvalidTypeError(f"{path}: an array of Python objects cannot be written as npy")
        with open_atomic(path) as out:
            np.lib.format.write_array_header_2_0(
                _Writer(out), np.lib.format.header_data_from_array_1_0(array)
            )
            flat = np.ascontiguousarray(array.T if _is_fortran(array) else array).reshape(-1)
            out.write(flat.view(np.uint8).data if flat.nbytes else b"")


class _Writer:
    """What NumPy's header function wants: an object with ``write``."""

    def __init__(self, out: Any) -> None:
        self.write = out.write


def _is_fortran(array: np.ndarray) -> bool:
    return bool(array.flags.f_contiguous and not array.flags.c_contiguous)


class NpyFile(OpenFile):
    """An open ``.npy`` file."""

    def __init__(self, source: Source, array: RawArray) -> None:
        self._source = source
        self._array = array

    def array(self, parameters: Mapping[str, Any]) -> ArrayReader:
        """Return the array."""
        return self._array

    def close(self) -> None:
        """Give the descriptor back."""
        self._source.close()


def _array(source: Source) -> RawArray:
    header = read_header(source.read, source.size, source.name)
    structure = ArrayStructure.build(header.dtype, header.shape)
    return RawArray(
        structure, [Segment(source, header.offset, structure.nbytes)], is_fortran=header.is_fortran
    )


@dataclass(frozen=True, slots=True)
class Header:
    """What the head of npy data says: where the elements start, their type, order and shape."""

    offset: int
    dtype: np.dtype
    is_fortran: bool
    shape: tuple[int, ...]


def read_header(read: Callable[[int, int], memoryview], size: int, name: str) -> Header:
    """Read the head of npy data, which may be a file or lie inside one.

    Parameters
    ----------
    read : callable
        Takes an offset and a number of bytes, counted from the start of the data.
    size : int
        Size of the data in bytes.
    name : str
        What errors call it.

    Raises
    ------
    UnreadableError
        A damaged header, pickled objects, or less data than the header says.
    """
    offset, text = _header(read, size, name)
    dtype, is_fortran, shape = _parse(text, name)
    if dtype.subdtype is not None:
        dtype, inner = dtype.subdtype
        shape = (*shape, *inner)
    if dtype.hasobject:
        raise UnreadableError(f"{name} holds pickled Python objects, which are never loaded")
    if packed(dtype) != dtype:
        raise UnreadableError(f"{name} has gaps between the fields of its elements; save it packed")
    needed = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if needed > size - offset:
        raise UnreadableError(
            f"{name} claims {needed} bytes of data and has {size - offset}: it is truncated"
        )
    return Header(offset, dtype, is_fortran, shape)


def _header(read: Callable[[int, int], memoryview], size: int, name: str) -> tuple[int, str]:
    """Return where the data starts and the header's text."""
    head = bytes(read(0, min(size, _PREFIX_BYTES)))
    if not head.startswith(_MAGIC) or len(head) < 10:
        raise UnreadableError(f"{name} is no npy file")
    version = head[6]
    if version not in (1, 2, 3):
        raise UnreadableError(f"{name} has npy version {version}; versions 1 to 3 are known")
    start = 10 if version == 1 else 12
    length = int(struct.unpack_from("<H" if version == 1 else "<I", head.ljust(12, b"\0"), 8)[0])
    if length > _MAX_HEADER_BYTES or start + length > size:
        raise UnreadableError(f"{name} has an impossible header of {length} bytes")
    text = bytes(read(start, length))
    try:
        return start + length, text.decode("utf-8" if version == 3 else "latin-1")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{name} has a damaged header") from error


def _parse(text: str, path: str) -> tuple[np.dtype, bool, tuple[int, ...]]:
    """Read the header's dictionary; nothing in it is believed before it is checked."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise UnreadableError(f"{path} has a damaged header") from error
    if not isinstance(value, dict) or set(value) != {"descr", "fortran_order", "shape"}:
        raise UnreadableError(f"{path} has a damaged header: it must name descr, fortran_order and shape")
    shape, is_fortran = value["shape"], value["fortran_order"]
    if not isinstance(is_fortran, bool) or not isinstance(shape, tuple) or len(shape) > _MAX_AXES:
        raise UnreadableError(f"{path} has a damaged header: {shape!r} is no shape")
    if not all(type(length) is int and 0 <= length < 1 << 62 for length in shape):
        raise UnreadableError(f"{path} has a damaged header: {shape!r} is no shape")
    return _dtype(value["descr"], path), is_fortran, shape


def _dtype(descr: Any, path: str) -> np.dtype:
    try:
        if _depth(descr) > _MAX_DEPTH:
            raise UnreadableError(f"{path} has elements nested more than {_MAX_DEPTH} deep")
        dtype = np.lib.format.descr_to_dtype(descr)
    except (TypeError, ValueError, KeyError, IndexError, SyntaxError, RecursionError) as error:
        raise UnreadableError(f"{path} has an impossible element type {str(descr)[:80]!r}") from error
    if dtype.itemsize == 0 and dtype.kind == "V":
        raise UnreadableError(f"{path} has elements of no size")
    return dtype


def _depth(descr: Any) -> int:
    return 1 + max(map(_depth, descr), default=0) if isinstance(descr, list | tuple) else 0


NPY = NpyFormat()
