"""Own bytes by key: get, get_range, put, head, list, delete, copy, on a disk or in memory.

What the bytes mean belongs to ``formats`` and the faces; whole trees of user files to the catalog.

>>> storage = MemoryStorage()
>>> _ = storage.put("a/b", b"bytes")
>>> storage.get_range("a/b", 1, 3)
b'yt'
"""

from holdfast.storage.base import Stat, Storage
from holdfast.storage.local import LocalStorage
from holdfast.storage.memory import MemoryStorage

__all__ = ["LocalStorage", "MemoryStorage", "Stat", "Storage"]
