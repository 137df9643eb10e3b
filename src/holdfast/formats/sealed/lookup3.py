"""Own the checksum that HDF5 puts behind its metadata: Bob Jenkins' lookup3 (``hashlittle``).

It does not protect data: data is covered by blake3 digests in the seal.

>>> hex(lookup3(b"Four score and seven years ago"))
'0x17770551'
"""

from __future__ import annotations

import struct

__all__ = ["lookup3"]

_MASK = 0xFFFFFFFF
_START = 0xDEADBEEF


def lookup3(data: bytes) -> int:
    """Return the lookup3 checksum of bytes with initial value 0.

    Parameters
    ----------
    data : bytes
        The bytes of one HDF5 structure before its checksum.

    Returns
    -------
    int
        32 bits.

    References
    ----------
    HDF5 File Format Specification, version 3, "Checksum"; http://burtleburtle.net/bob/c/lookup3.c.
    """
    a = b = c = (_START + len(data)) & _MASK
    if not data:
        return c
    # The last 1 to 12 bytes are mixed differently; zeros added to them change nothing.
    words = struct.unpack(f"<{-(-len(data) // 12) * 3}I", data.ljust(-(-len(data) // 12) * 12, b"\0"))
    for start in range(0, len(words) - 3, 3):
        a, b, c = _mix(a + words[start], b + words[start + 1], c + words[start + 2])
    return _final(a + words[-3], b + words[-2], c + words[-1])


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    b, c = b & _MASK, c & _MASK
    for turn in (4, 6, 8, 16, 19, 4):
        # One step of the six: the letters change places after each.
        a = ((a - c) & _MASK) ^ (((c << turn) | (c >> (32 - turn))) & _MASK)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    a, b, c = a & _MASK, b & _MASK, c & _MASK
    for turn in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - (((b << turn) | (b >> (32 - turn))) & _MASK)) & _MASK
        a, b, c = b, c, a
    return b
