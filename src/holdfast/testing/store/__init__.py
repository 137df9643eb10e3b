"""Own the contract of `holdfast.store.Store` as tests.

>>> class TestMyStore(StoreTests):
...     @pytest.fixture
...     def store(self):
...         return MemoryStore()
"""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest

from holdfast.store import EventManager, MemoryStore, Store, StoreEvent
from holdfast.testing.store.changes import ChangeTests
from holdfast.testing.store.inputs import BAD_METADATA, InputTests
from holdfast.testing.store.keys import KEYS, KeyTests
from holdfast.testing.store.queries import QueryTests
from holdfast.testing.store.values import ValueTests

__all__ = ["BAD_METADATA", "KEYS", "StoreTests"]


class StoreTests(ValueTests, KeyTests, QueryTests, ChangeTests, InputTests):
    """Prove a back end. A subclass gives the fixture `store`: an empty one for each test."""

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store; overridden by each back end's test."""
        return MemoryStore()

    @pytest.fixture
    def events(self, store: Store) -> list[Any]:
        """Return the list that fills with the events of the store."""
        heard: list[Any] = []
        store.event_manager = EventManager()
        store.event_manager.connect(StoreEvent, heard.append, filter={"source": store})
        return heard

    def test_a_store_is_a_context_manager(self, store: Store) -> None:
        assert not store.is_connected()
        with store as entered:
            assert entered is store
            assert store.is_connected()
            store.from_bytes("k", b"1")
        assert not store.is_connected()
        store.connect()
        assert store.to_bytes("k") == b"1"
        store.disconnect()

    def test_info_describes_the_store(self, store: Store) -> None:
        info = store.info()
        assert info["type"] == type(store).__name__
        assert info["readonly"] is False
        assert "version" in info

    def test_a_copied_handle_works_on_its_own(self, store: Store) -> None:
        store.set("k", (io.BytesIO(b"1"), {"a": 1}))
        other = copy.copy(store)
        assert other.to_bytes("k") == b"1"
        assert list(other.query(a=1)) == [("k", {"a": 1})]
        other.disconnect()
        assert store.to_bytes("k") == b"1"

    def test_check_finds_nothing_wrong(self, store: Store) -> None:
        store.set("k", (io.BytesIO(b"1"), {"a": 1}))
        store.from_bytes("a/b", b"2" * 600_000)
        report = store.check()
        assert report.ok
        assert report.checked == 2
