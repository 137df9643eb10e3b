"""Own the few forms of CBOR that the original's server answers with, and no others.

>>> encode({"a": [1, "x", None]}).hex()
'a1616183016178f6'
"""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["encode"]

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP = range(6)
_SIZES = ((24, 1 << 8, "B"), (25, 1 << 16, "H"), (26, 1 << 32, "I"), (27, 1 << 64, "Q"))


def encode(value: Any) -> bytes:
    """Return a value as CBOR.

    Parameters
    ----------
    value : None, bool, int, float, str, bytes-like, list, tuple or dict
        Numbers of up to 64 bits.

    Returns
    -------
    bytes
        The encoding.

    References
    ----------
    RFC 8949, section 3.
    """
    parts: list[bytes] = []
    _put(value, parts)
    return b"".join(parts)


def _put(value: Any, parts: list[bytes]) -> None:
    if value is None or isinstance(value, bool):
        parts.append({None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value])
    elif isinstance(value, int):
        parts.append(_head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value))
    elif isinstance(value, float):
        parts.append(b"\xfb" + struct.pack(">d", value))
    elif isinstance(value, str):
        raw = value.encode()
        parts += (_head(_TEXT, len(raw)), raw)
    elif isinstance(value, dict):
        parts.append(_head(_MAP, len(value)))
        for pair in value.items():
            for each in pair:
                _put(each, parts)
    elif isinstance(value, list | tuple):
        parts.append(_head(_LIST, len(value)))
        for each in value:
            _put(each, parts)
    else:
        raw = bytes(value)
        parts += (_head(_BYTES, len(raw)), raw)


def _head(kind: int, number: int) -> bytes:
    if number < 24:
        return bytes([kind << 5 | number])
    for code, limit, form in _SIZES:
        if number < limit:
            return bytes([kind << 5 | code]) + struct.pack(f">{form}", number)
    raise OverflowError(f"{number} has more than 64 bits")
