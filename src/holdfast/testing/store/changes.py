"""Prove events, transactions and threads."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest

from holdfast.store import (
    EventManager,
    Store,
    StoreDeleteEvent,
    StoreModificationEvent,
    StoreProgressEndEvent,
    StoreProgressEvent,
    StoreProgressStartEvent,
    StoreProgressStepEvent,
    StoreSetEvent,
    StoreTransactionEndEvent,
    StoreTransactionStartEvent,
    StoreUpdateEvent,
)
from holdfast.testing.store.streams import BrokenStream

__all__ = ["ChangeTests"]


class ChangeTests:
    """Prove what is told, and that changes happen together."""

    def test_new_keys_are_set_and_old_ones_updated(self, store: Store, events: list[Any]) -> None:
        store.set("k", (io.BytesIO(b"1"), {"a": 1}))
        store.set("k", (io.BytesIO(b"2"), {"b": 2}))
        store.set_data("k", io.BytesIO(b"3"))
        store.set_metadata("k", {"c": 3})
        store.update_metadata("k", {"d": 4})
        store.from_bytes("k2", b"")
        store.set_metadata("k3", {"e": 5})
        store.delete("k")
        told = [event for event in events if isinstance(event, StoreModificationEvent)]
        assert [(type(event), event.key, event.metadata, event.action) for event in told] == [
            (StoreSetEvent, "k", {"a": 1}, "set"),
            (StoreUpdateEvent, "k", {"b": 2}, "update"),
            (StoreUpdateEvent, "k", {"b": 2}, "update"),
            (StoreUpdateEvent, "k", {"c": 3}, "update"),
            (StoreUpdateEvent, "k", {"c": 3, "d": 4}, "update"),
            (StoreSetEvent, "k2", {}, "set"),
            (StoreSetEvent, "k3", {"e": 5}, "set"),
            (StoreDeleteEvent, "k", {"c": 3, "d": 4}, "delete"),
        ]
        assert all(event.source is store for event in events)

    def test_progress_counts_bytes_in(self, store: Store, events: list[Any]) -> None:
        store.set("k", (io.BytesIO(b"0123456789"), {"a": 1}), 4)
        kinds = [type(event) for event in events]
        assert kinds[0] is StoreProgressStartEvent
        assert kinds[-2:] == [StoreProgressEndEvent, StoreSetEvent]
        assert events[0].steps == -1
        assert [event.step for event in events if isinstance(event, StoreProgressStepEvent)][-1] == 10
        progress = [event for event in events if isinstance(event, StoreProgressEvent)]
        assert len({event.operation_id for event in progress}) == 1
        assert all((event.key, event.metadata) == ("k", {"a": 1}) for event in progress)
        assert events[-2].exit_state == "normal"
        events.clear()
        store.set("k2", store.get("k"))
        assert next(e for e in events if isinstance(e, StoreProgressStartEvent)).steps == 10

    @pytest.mark.parametrize("way", ["to_file", "to_bytes"])
    def test_progress_counts_bytes_out(
        self, store: Store, events: list[Any], tmp_path: Path, way: str
    ) -> None:
        store.from_bytes("k", b"0123456789" * 100_000)
        events.clear()
        if way == "to_file":
            store.to_file("k", tmp_path / "out", 300_000)
        else:
            store.to_bytes("k", 300_000)
        assert [type(events[0]), type(events[-1])] == [StoreProgressStartEvent, StoreProgressEndEvent]
        assert events[0].steps == 1_000_000
        steps = [event.step for event in events[1:-1]]
        assert steps[-1] == 1_000_000
        assert steps == sorted(steps)

    def test_a_failed_source_tells_an_exception_and_no_change(self, store: Store, events: list[Any]) -> None:
        with pytest.raises(RuntimeError):
            store.set("k", (BrokenStream(), {}))
        assert events[-1].exit_state == "exception"
        assert not [event for event in events if isinstance(event, StoreModificationEvent)]

    def test_a_listener_sees_the_change_done(self, store: Store) -> None:
        store.event_manager = EventManager()
        seen: list[bytes] = []
        store.event_manager.connect(StoreSetEvent, lambda event: seen.append(store.to_bytes(event.key)))
        store.from_bytes("k", b"there")
        assert seen == [b"there"]

    def test_a_transaction_is_seen_inside_and_then_outside(self, store: Store, events: list[Any]) -> None:
        store.set("old", (io.BytesIO(b"0"), {"a": 0}))
        store.from_bytes("gone", b"1")
        events.clear()
        seen: list[Any] = []

        def look() -> None:
            seen.append([sorted(store.query_keys()), store.to_bytes("old"), store.exists("new")])

        with store.transaction("note"):
            store.set("new", (io.BytesIO(b"12"), {"a": 1}))
            store.update_metadata("old", {"b": 2})
            store.update_metadata("old", {"c": 3})
            store.from_bytes("old", b"00")
            store.delete("gone")
            assert store.to_bytes("new") == b"12"
            assert store.get("new").metadata == {"a": 1}
            assert store.get("new").size == 2
            assert store.get_metadata("old") == {"a": 0, "b": 2, "c": 3}
            assert store.to_bytes("old") == b"00"
            assert not store.exists("gone")
            assert sorted(store.query_keys()) == ["new", "old"]
            assert [key for key, _ in store.query(a=1)] == ["new"]
            assert sorted(store.glob("*o*")) == ["old"]
            with pytest.raises(KeyError):
                store.get("gone")
            with pytest.raises(KeyError):
                store.delete("gone")
            assert not [e for e in events if isinstance(e, StoreModificationEvent)]
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
        assert seen == [[["gone", "old"], b"0", False]]
        assert sorted(store.query_keys()) == ["new", "old"]
        assert store.to_bytes("old") == b"00"
        assert store.get_metadata("old") == {"a": 0, "b": 2, "c": 3}
        kept = [event for event in events if not isinstance(event, StoreProgressEvent)]
        assert [type(event) for event in kept] == [
            StoreTransactionStartEvent,
            StoreTransactionEndEvent,
            StoreSetEvent,
            StoreUpdateEvent,
            StoreUpdateEvent,
            StoreUpdateEvent,
            StoreDeleteEvent,
        ]
        assert kept[1].state == "done"
        assert kept[3].metadata == {"a": 0, "b": 2}

    def test_a_failed_transaction_leaves_nothing(self, store: Store, events: list[Any]) -> None:
        store.set("old", (io.BytesIO(b"0"), {"a": 0}))
        events.clear()
        with pytest.raises(ZeroDivisionError), store.transaction("note"):
            store.set("new", (io.BytesIO(b"1"), {}))
            store.set("old", (io.BytesIO(b"2"), {"a": 1}))
            store.delete("old")
            raise ZeroDivisionError
        assert list(store.query()) == [("old", {"a": 0})]
        assert store.to_bytes("old") == b"0"
        kept = [event for event in events if not isinstance(event, StoreProgressEvent)]
        assert [type(event) for event in kept] == [StoreTransactionStartEvent, StoreTransactionEndEvent]
        assert kept[1].state == "failed"

    def test_nested_transactions_join(self, store: Store, events: list[Any]) -> None:
        with pytest.raises(ZeroDivisionError), store.transaction("outer"):
            with store.transaction("inner"):
                store.from_bytes("a", b"1")
            store.multiset_metadata(["b"], [{}])
            raise ZeroDivisionError
        assert list(store.query_keys()) == []
        with store.transaction("outer"):
            with store.transaction("inner"):
                store.from_bytes("a", b"1")
            assert store.exists("a")
        assert list(store.query_keys()) == ["a"]
        starts = [event for event in events if isinstance(event, StoreTransactionStartEvent)]
        assert [event.notes for event in starts] == ["outer", "outer"]

    def test_deleted_and_set_again_inside_a_transaction_starts_empty(self, store: Store) -> None:
        store.set("k", (io.BytesIO(b"old"), {"a": 1}))
        with store.transaction("note"):
            store.delete("k")
            store.set_metadata("k", {"b": 2})
            store.update_metadata("k", {"c": 3})
        assert store.to_bytes("k") == b""
        assert store.get_metadata("k") == {"b": 2, "c": 3}

    def test_a_key_made_and_deleted_inside_a_transaction_never_was(self, store: Store) -> None:
        with store.transaction("note"):
            store.from_bytes("k", b"1")
            store.delete("k")
        assert not store.exists("k")

    def test_metadata_of_a_new_key_can_be_read_inside_a_transaction(self, store: Store) -> None:
        with store.transaction("note"):
            store.set_metadata("k", {"a": 1})
            assert store.get("k").data.read() == b""
            store.update_metadata("k", {"b": 2})
            assert store.get("k").metadata == {"a": 1, "b": 2}
        assert store.to_bytes("k") == b""

    def test_threads_lose_no_update(self, store: Store) -> None:
        store.set_metadata("shared", {})

        def work(name: int) -> None:
            for number in range(10):
                store.from_bytes(f"own{name}-{number}", b"%d" % number)
                store.update_metadata("shared", {f"{name}-{number}": number})

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.get_metadata("shared")) == 40
        assert len(list(store.glob("own*"))) == 40
