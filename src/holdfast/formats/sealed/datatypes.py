"""Own the way from a numpy type to an HDF5 datatype message, and to its written description and back.

It does not convert values: ``values`` does. Plain types need no h5py; structured ones are encoded by it.

>>> import numpy as np
>>> datatype_message(np.dtype("<i4")).hex()
'100800000400000000002000'
>>> dtype_of(description_of(np.dtype([("a", "<i4")])))
dtype([('a', '<i4')])
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import numpy as np

from holdfast.errors import InvalidTypeError, UnreadableError
from holdfast.types import Json

__all__ = ["STRING_DTYPE", "STRING_MESSAGE", "datatype_message", "description_of", "dtype_of"]

STRING_DTYPE = "str"
"""How facts name variable-length UTF-8 strings."""

STRING_MESSAGE = bytes.fromhex("1901010010000000100000000100000000000800")
"""The datatype message of variable-length UTF-8 strings, NUL-terminated, 16 bytes each in the file."""

_MAX_MESSAGE_BYTES = 60_000
_LITTLE, _SIGNED = 0x00, 0x08
# size: (bit offset of the sign, exponent location, exponent bits, mantissa bits, exponent bias)
_FLOATS = {2: (15, 10, 5, 10, 15), 4: (31, 23, 8, 23, 127), 8: (63, 52, 11, 52, 1023)}
_BOOL_MESSAGE = bytes.fromhex("180200000100000010080000010000000000080046414c534500000054525545000000000001")


@lru_cache(maxsize=512)
def datatype_message(dtype: np.dtype[Any]) -> bytes:
    """Return the body of the HDF5 datatype message of a numpy type.

    Parameters
    ----------
    dtype : dtype
        Any type that HDF5 can hold; datetime64 and timedelta64 become opaque with a tag that h5py knows.

    Returns
    -------
    bytes
        The message body as it stands in an object header.

    Raises
    ------
    InvalidTypeError
        For types that HDF5 cannot hold: objects, fixed-width str in a field, over-large descriptions.
    """
    plain = _plain_message(dtype)
    if plain is not None:
        return plain
    message = _foreign_message(dtype)
    if len(message) > _MAX_MESSAGE_BYTES:
        raise InvalidTypeError(f"a type with {len(dtype.names or ())} fields is too large for HDF5; split it")
    return message


def _plain_message(dtype: np.dtype[Any]) -> bytes | None:
    order = 1 if dtype.byteorder == ">" else _LITTLE
    kind, size = dtype.kind, dtype.itemsize
    if kind in "iu":
        return struct.pack("<BBBBIHH", 0x10, order | (_SIGNED if kind == "i" else 0), 0, 0, size, 0, 8 * size)
    if kind == "f" and size in _FLOATS:
        return _float_message(order, size)
    if kind == "c" and size // 2 in _FLOATS:
        return _complex_message(_float_message(order, size // 2), size)
    if kind == "b":
        return _BOOL_MESSAGE
    if kind == "S" and size:
        return struct.pack("<BBBBI", 0x13, 1, 0, 0, size)
    return None


def _float_message(order: int, size: int) -> bytes:
    sign, exponent, exponent_bits, mantissa_bits, bias = _FLOATS[size]
    head = struct.pack("<BBBBI", 0x11, order | 0x20, sign, 0, size)
    return head + struct.pack("<HHBBBBI", 0, 8 * size, exponent, exponent_bits, 0, mantissa_bits, bias)


def _complex_message(part: bytes, size: int) -> bytes:
    members = b"".join(
        struct.pack("<8sI28x", name, offset) + part for name, offset in ((b"r", 0), (b"i", size // 2))
    )
    return struct.pack("<BBBBI", 0x16, 2, 0, 0, size) + members


def _foreign_message(dtype: np.dtype[Any]) -> bytes:
    import h5py  # 0.2 s, and only types beyond the plain ones need it

    try:
        encoded: bytes = h5py.h5t.py_create(_with_opaque_times(dtype, h5py), logical=True).encode()
    except (TypeError, ValueError) as error:
        raise InvalidTypeError(
            f"values of type {dtype} cannot be held in HDF5 ({error}); convert them first"
        ) from error
    return encoded[2:]


def _with_opaque_times(dtype: np.dtype[Any], h5py: Any) -> np.dtype[Any]:
    """Return the type with every datetime64 and timedelta64 in it marked for h5py."""
    if dtype.kind in "mM":
        return h5py.opaque_dtype(dtype)  # type: ignore[no-any-return]  # h5py ships no types
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return np.dtype((_with_opaque_times(base, h5py), shape))
    if dtype.names is None:
        return dtype
    fields: Any = dtype.fields
    return np.dtype(
        {
            "names": list(dtype.names),
            "formats": [_with_opaque_times(fields[name][0], h5py) for name in dtype.names],
            "offsets": [fields[name][1] for name in dtype.names],
            "itemsize": dtype.itemsize,
        }
    )


@lru_cache(maxsize=512)
def description_of(dtype: np.dtype[Any]) -> Json:
    """Return the description of a type as it stands in the facts.

    Parameters
    ----------
    dtype : dtype
        The type.

    Returns
    -------
    str or list
        numpy's ``descr``: a string, or a list of fields.

    Raises
    ------
    InvalidTypeError
        For types whose fields overlap.
    """
    try:
        return np.lib.format.dtype_to_descr(dtype)
    except ValueError as error:
        raise InvalidTypeError(
            f"values of type {dtype} cannot be described ({error}); repack them"
        ) from error


def dtype_of(description: Json) -> np.dtype[Any]:
    """Return the type that a description names.

    Parameters
    ----------
    description : str or list
        What `description_of` gave, after a trip through JSON.

    Returns
    -------
    dtype
        The type.

    Raises
    ------
    UnreadableError
        When the description is not one.
    """
    try:
        return np.lib.format.descr_to_dtype(_as_tuples(description))
    except (TypeError, ValueError, SyntaxError, KeyError) as error:
        raise UnreadableError(f"the recorded type {description!r} is not a numpy type: {error}") from error


def _as_tuples(description: Json) -> Any:
    if not isinstance(description, list):
        return description
    return [(_title(name), _as_tuples(kind), *map(tuple, shape)) for name, kind, *shape in description]


def _title(name: Json) -> Any:
    return tuple(name) if isinstance(name, list) else name
