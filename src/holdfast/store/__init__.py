"""Keep data and metadata under keys: in directories, SQLite files, memory, or on a server.

The back ends are loaded when they are first used.

>>> from holdfast.store import MemoryStore
>>> with MemoryStore() as store:
...     store.from_bytes("a", b"1")
...     store.to_bytes("a")
b'1'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.lazy import lazy_names
from holdfast.store.events import (
    EventManager,
    StoreDeleteEvent,
    StoreEvent,
    StoreKeyEvent,
    StoreModificationEvent,
    StoreProgressEndEvent,
    StoreProgressEvent,
    StoreProgressStartEvent,
    StoreProgressStepEvent,
    StoreSetEvent,
    StoreTransactionEndEvent,
    StoreTransactionEvent,
    StoreTransactionStartEvent,
    StoreUpdateEvent,
    get_event_manager,
    set_event_manager,
)

if TYPE_CHECKING:
    from holdfast.store.base import Store
    from holdfast.store.client import HTTPStore
    from holdfast.store.file_system import FileSystemStore, init_shared_store
    from holdfast.store.joined import JoinedStore
    from holdfast.store.memory import MemoryStore
    from holdfast.store.mounted import MountedStore
    from holdfast.store.sqlite import SQLiteStore
    from holdfast.store.value import Value

__all__ = [
    "EventManager",
    "FileSystemStore",
    "HTTPStore",
    "JoinedStore",
    "MemoryStore",
    "MountedStore",
    "SQLiteStore",
    "Store",
    "StoreDeleteEvent",
    "StoreEvent",
    "StoreKeyEvent",
    "StoreModificationEvent",
    "StoreProgressEndEvent",
    "StoreProgressEvent",
    "StoreProgressStartEvent",
    "StoreProgressStepEvent",
    "StoreSetEvent",
    "StoreTransactionEndEvent",
    "StoreTransactionEvent",
    "StoreTransactionStartEvent",
    "StoreUpdateEvent",
    "Value",
    "get_event_manager",
    "init_shared_store",
    "set_event_manager",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "FileSystemStore": "holdfast.store.file_system",
        "HTTPStore": "holdfast.store.client",
        "JoinedStore": "holdfast.store.joined",
        "MemoryStore": "holdfast.store.memory",
        "MountedStore": "holdfast.store.mounted",
        "SQLiteStore": "holdfast.store.sqlite",
        "Store": "holdfast.store.base",
        "Value": "holdfast.store.value",
        "init_shared_store": "holdfast.store.file_system",
    },
)
