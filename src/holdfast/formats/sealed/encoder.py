r"""Own the HDF5 bytes in front of the data: superblock, root group and the headers of two data sets.

It does not know digests or facts: ``seal`` does. Everything is little endian, readable since HDF5 1.8:
superblock 2, object headers 2, contiguous layout (message version 3, class 1).

>>> from holdfast.formats.sealed.datatypes import datatype_message
>>> import numpy as np
>>> head = compose_head(datatype_message(np.dtype("<f8")), (3,), 24, (536, 64), 600)
>>> head[:8], len(head) == data_offset(datatype_message(np.dtype("<f8")), (3,), 24)
(b'\x89HDF\r\n\x1a\n', True)
"""

from __future__ import annotations

import struct
from functools import lru_cache

from holdfast.formats.sealed.lookup3 import lookup3

__all__ = ["SEAL_NAME", "compose_head", "data_offset"]

SEAL_NAME = "_holdfast"
"""The name of the data set that holds the seal; it is hidden wherever entries are listed."""

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_UNDEFINED = 0xFFFFFFFFFFFFFFFF
_DATASPACE, _LINK_INFO, _DATATYPE, _FILL, _LINK, _LAYOUT, _GROUP_INFO = 1, 2, 3, 5, 6, 8, 10
_SUPERBLOCK_BYTES = 48
_BYTE_TYPE = bytes.fromhex("100000000100000000000800")
# Data of this size and more starts on a page, so that blocks can be mapped and read without copying.
_PAGE_FROM_BYTES = 64 * 1024


@lru_cache(maxsize=256)
def data_offset(datatype: bytes, shape: tuple[int, ...], data_bytes: int) -> int:
    """Return where the data starts in a file.

    Parameters
    ----------
    datatype : bytes
        The datatype message of ``data``.
    shape : tuple of int
        The shape of ``data``.
    data_bytes : int
        The size of its contiguous bytes.

    Returns
    -------
    int
        Offset in bytes: a multiple of 64, of 4096 for data of 64 KiB and more.
    """
    step = 4096 if data_bytes >= _PAGE_FROM_BYTES else 64
    used = (
        _SUPERBLOCK_BYTES + len(_root(0, 0)) + len(_dataset(datatype, shape, 0, 0)) + len(_seal_header(0, 0))
    )
    return -(-used // step) * step


@lru_cache(maxsize=256)
def compose_head(
    datatype: bytes, shape: tuple[int, ...], data_bytes: int, seal_range: tuple[int, int], file_bytes: int
) -> bytes:
    """Return all bytes before the data.

    Parameters
    ----------
    datatype : bytes
        The datatype message of ``data``.
    shape : tuple of int
        The shape of ``data``; () for a scalar.
    data_bytes : int
        The size of its contiguous bytes; 0 leaves its address undefined, as HDF5 does.
    seal_range : tuple of int
        Offset and size of the data set ``_holdfast``.
    file_bytes : int
        The size of the whole file.

    Returns
    -------
    bytes
        From the signature up to `data_offset`.

    References
    ----------
    HDF5 File Format Specification, version 3: II.A superblock, IV.A object headers.
    """
    start = data_offset(datatype, shape, data_bytes)
    seal_offset, seal_bytes = seal_range
    data_header = _dataset(datatype, shape, start if data_bytes else _UNDEFINED, data_bytes)
    seal_header = _seal_header(seal_offset, seal_bytes)
    first = _SUPERBLOCK_BYTES + len(_root(0, 0))
    body = _root(first, first + len(data_header)) + data_header + seal_header
    return (_superblock(file_bytes) + body).ljust(start, b"\0")


def _superblock(file_bytes: int) -> bytes:
    head = _SIGNATURE + struct.pack("<BBBBQQQQ", 2, 8, 8, 0, 0, _UNDEFINED, file_bytes, _SUPERBLOCK_BYTES)
    return _checked(head)


@lru_cache(maxsize=4)
def _root(data_address: int, seal_address: int) -> bytes:
    return _object_header(
        [
            (_LINK_INFO, struct.pack("<BBQQ", 0, 0, _UNDEFINED, _UNDEFINED)),
            (_GROUP_INFO, b"\0\0"),
            (_LINK, _hard_link("data", data_address)),
            (_LINK, _hard_link(SEAL_NAME, seal_address)),
        ]
    )


def _hard_link(name: str, address: int) -> bytes:
    return struct.pack("<BBB", 1, 0, len(name)) + name.encode("ascii") + struct.pack("<Q", address)


def _seal_header(offset: int, size: int) -> bytes:
    return _dataset(_BYTE_TYPE, (size,), offset, size)


def _dataset(datatype: bytes, shape: tuple[int, ...], address: int, size: int) -> bytes:
    space = struct.pack(f"<BBBB{len(shape)}Q", 2, len(shape), 0, 1 if shape else 0, *shape)
    return _object_header(
        [
            (_DATASPACE, space),
            (_DATATYPE, datatype),
            (_FILL, b"\x03\x0a"),  # allocate late, write if set, none defined
            (_LAYOUT, struct.pack("<BBQQ", 3, 1, address, size)),
        ]
    )


def _object_header(messages: list[tuple[int, bytes]]) -> bytes:
    body = b"".join(struct.pack("<BHB", kind, len(data), kind == _DATATYPE) + data for kind, data in messages)
    return _checked(b"OHDR" + struct.pack("<BBI", 2, 2, len(body)) + body)


def _checked(data: bytes) -> bytes:
    return data + struct.pack("<I", lookup3(data))
