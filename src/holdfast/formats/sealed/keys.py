"""Own the idempotency keys of an entry: the last 10,000 appends that had one, over every folding.

It does not read files. A key of any text becomes 16 bytes; in a base each takes 32 with its rows.

>>> index = KeyIndex()
>>> index.add(key_bytes("run-1/0"), 5, 2)
>>> KeyIndex.from_bytes(index.to_bytes()).get(key_bytes("run-1/0"))
5
"""

from __future__ import annotations

import struct

from blake3 import blake3

from holdfast.types import Buffer

__all__ = ["KEPT_KEYS", "KeyIndex", "key_bytes"]

KEPT_KEYS = 10_000
"""How many appends are remembered."""

_ENTRY = struct.Struct("<16sQQ")


def key_bytes(key: str) -> bytes:
    """Return the 16 bytes that stand for an idempotency key; never those of no key."""
    return blake3(key.encode("utf-8", "surrogateescape")).digest(16)


class KeyIndex:
    """Map the keys of recent appends to their first rows; adding forgets the oldest beyond `KEPT_KEYS`."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[bytes, tuple[int, int]] = {}

    @classmethod
    def from_bytes(cls, raw: Buffer) -> KeyIndex:
        """Return the keys that a base carries."""
        index = cls()
        index._rows = {key: (first, count) for key, first, count in _ENTRY.iter_unpack(raw)}
        return index

    def to_bytes(self) -> bytes:
        """Return the keys as a base carries them, the oldest first."""
        return b"".join(_ENTRY.pack(key, first, count) for key, (first, count) in self._rows.items())

    def add(self, key: bytes, first_row: int, n_rows: int) -> None:
        """Remember an append."""
        self._rows.pop(key, None)
        self._rows[key] = (first_row, n_rows)
        if len(self._rows) > KEPT_KEYS:
            del self._rows[next(iter(self._rows))]

    def discard(self, key: bytes) -> None:
        """Forget an append that was taken back."""
        self._rows.pop(key, None)

    def get(self, key: bytes) -> int | None:
        """Return the first row of the append that had a key, None if none is remembered."""
        found = self._rows.get(key)
        return None if found is None else found[0]
