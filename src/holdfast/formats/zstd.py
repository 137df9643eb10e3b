"""Zstandard frames: how much they become, told from their heads before anything is unpacked.

Owns reading these heads (RFC 8878, section 3.1.1); unpacks nothing.

>>> frame_size(bytes.fromhex("28b52ffd2003190000616263"))
(3, True)
"""

from __future__ import annotations

import struct

__all__ = ["frame_size"]

_MAGIC = 0xFD2FB528
_BLOCK_BYTES = 128 << 10


def frame_size(data: bytes) -> tuple[int, bool]:
    """Return how much a frame becomes.

    Parameters
    ----------
    data : bytes
        The frame.

    Returns
    -------
    tuple of int and bool
        What it says itself, in bytes, and True; else as much as its blocks may become, and False.

    Raises
    ------
    ValueError, EOFError, struct.error
        It is no frame, or is cut off.
    """
    magic, descriptor = struct.unpack_from("<IB", data)
    if magic != _MAGIC:
        raise ValueError("it is no zstd frame")
    is_single, flag = descriptor >> 5 & 1, descriptor >> 6
    at = 5 + (not is_single) + (0, 1, 2, 4)[descriptor & 3]
    width = (is_single, 2, 4, 8)[flag]
    if width:
        size = int.from_bytes(data[at : at + width], "little")
        return size + 256 if width == 2 else size, True
    return _blocks(data, at) * _BLOCK_BYTES, False


def _blocks(data: bytes, at: int) -> int:
    count, is_last = 0, False
    while not is_last:
        if at + 3 > len(data):
            raise EOFError("the compressed data ends early")
        header = int.from_bytes(data[at : at + 3], "little")
        is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        at += 3 + (1 if kind == 1 else size)
        count += 1
    return count
