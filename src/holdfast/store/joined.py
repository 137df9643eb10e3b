"""Own the store that looks through several stores, the first one first.

>>> from holdfast.store import MemoryStore
>>> store = JoinedStore([MemoryStore(), MemoryStore()])
>>> store.from_bytes("k", b"data")
>>> [each.exists("k") for each in store.stores]
[True, False]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from holdfast.errors import InvalidInputError
from holdfast.reports import Report
from holdfast.store.base import Store
from holdfast.store.changes import Incoming, Outcome, missing
from holdfast.store.matching import Condition, Found
from holdfast.store.value import Value
from holdfast.types import Json

__all__ = ["JoinedStore"]


class JoinedStore(Store):
    """Show the keys of several stores as one; of a key that several have, the first store's.

    New keys, and the data and metadata of existing ones, are written to the first store that has the key,
    else to the first store.

    Parameters
    ----------
    stores : iterable of Store
        At least one.

    Notes
    -----
    A transaction is all or nothing in each store; a crash between the commits of two stores leaves one done.

    Raises
    ------
    InvalidInputError
        There are no stores.
    """

    def __init__(self, stores: Iterable[Store]) -> None:
        super().__init__()
        self.stores = list(stores)
        if not self.stores:
            raise InvalidInputError("a JoinedStore needs at least one store")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.stores,)

    def info(self) -> dict[str, Json]:
        """Describe the store; see `Store.info`."""
        infos = [store.info() for store in self.stores]
        return super().info() | {"readonly": infos[0]["readonly"], "stores": infos}

    def connect(self, credentials: object = None) -> None:
        """Connect all stores; see `Store.connect`."""
        for store in self.stores:
            if not store.is_connected():
                store.connect(credentials)
        super().connect(credentials)

    # Reading -------------------------------------------------------------------------------------------

    def _home(self, key: str) -> Store | None:
        return next((store for store in self.stores if store.exists(key)), None)

    def _find(self, key: str) -> Value:
        home = self._home(key)
        if home is None:
            raise missing(key)
        return home.get(key)

    def _text(self, key: str) -> str | None:
        home = self._home(key)
        return None if home is None else home._text_seen(key)

    def _has(self, key: str) -> bool:
        return self._home(key) is not None

    def _search(self, condition: Condition) -> Iterator[Found]:
        for number, store in enumerate(self.stores):
            for key, metadata in store._search_seen(condition):
                if not any(earlier.exists(key) for earlier in self.stores[:number]):
                    yield key, metadata

    def _keys(self, pattern: str) -> Iterator[str]:
        for number, store in enumerate(self.stores):
            for key in store.query_keys():
                if not any(earlier.exists(key) for earlier in self.stores[:number]):
                    yield key

    # Writing -------------------------------------------------------------------------------------------

    def _target(self, key: str) -> Store:
        return self._home(key) or self.stores[0]

    def _incoming(self, key: str, size: int = -1) -> Incoming:
        return self._target(key)._incoming(key, size)

    def _exclusive(self) -> AbstractContextManager[object]:
        held = ExitStack()
        try:
            for store in self.stores:
                if not store.info()["readonly"]:
                    held.enter_context(store._exclusive())
        except BaseException:
            held.close()
            raise
        return held

    def _apply(self, outcomes: Sequence[Outcome]) -> None:
        parts: dict[int, list[Outcome]] = {}
        for outcome in outcomes:
            parts.setdefault(self.stores.index(self._target(outcome.key)), []).append(outcome)
        for number, part in sorted(parts.items()):
            self.stores[number]._apply(part)

    def check(self) -> Report:
        """Verify all stores; see `Store.check`."""
        return Report.merged(store.check() for store in self.stores)
