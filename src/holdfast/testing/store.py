"""Own the contract of `holdfast.store.Store` as tests.

>>> class TestMyStore(StoreTests):
...     @pytest.fixture
...     def store(self):
...         return MemoryStore()
"""

from __future__ import annotations

import copy
import io
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import InvalidInputError
from holdfast.queries import Key, Not
from holdfast.store import (
    EventManager,
    MemoryStore,
    Store,
    StoreDeleteEvent,
    StoreEvent,
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

__all__ = ["BAD_METADATA", "KEYS", "StoreTests"]

KEYS = [
    "plain",
    "two words",
    "a/b",
    "a/b/c",
    "/absolute",
    "trailing/",
    "//",
    "../esc",
    "..",
    ".",
    ".hidden",
    ".FSStore",
    ".holdfast",
    "catalog.db",
    "%",
    "100%",
    "a%2Fb",
    "%/a%2Fb",
    "%2Ehidden",
    "x.data",
    "x.metadata",
    "x",
    "back\\slash",
    "line\nbreak",
    "tab\tand\x7f",
    "quote\"'",
    "*?[a]",
    "ключ",
    "鍵/値",
    "e\u0301 and é",
    "😀",
    "a?query=1&b#fragment",
    "n" * 246,
    "n" * 247,
    "é" * 300,
    "s/" * 300,
    "data",
    "metadata",
    "a/data",
    "a/metadata",
    "query",
    "CON",
    "-rf",
    "~root",
    " ",
]
"""Keys that every store must keep apart."""

BAD_METADATA = [
    (5, "dict"),
    ([("a", 1)], "dict"),
    ({1: "a"}, "text"),
    ({"a": {"b": [1, {2}]}}, r"\['a'\]\['b'\]\[1\]"),
    ({"a": b"bytes"}, r"\['a'\]"),
    ({"a": float("nan")}, r"\['a'\]"),
    ({"a": [1.0, float("inf")]}, r"\['a'\]\[1\]"),
    ({"a": {"b": {3: 4}}}, r"\['a'\]\['b'\]"),
    ({"a": object()}, r"\['a'\]"),
    ({"a": "\ud800"}, r"\['a'\]"),
]
"""Metadata that JSON cannot carry, and what the error must say of it."""


class _BrokenStream(io.RawIOBase):
    """Give some bytes, then fail."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 3

    def read(self, size: int = -1) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the detector went away")
        return b"x" * 1000


class StoreTests:
    """Prove a back end. A subclass gives the fixture `store`: an empty one for each test."""

    remote = False
    """The store speaks to another process or thread, which has its own events."""

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store; overridden by each back end's test."""
        return MemoryStore()

    @pytest.fixture
    def events(self, store: Store) -> list[StoreEvent]:
        """Return the list that fills with the events of the store."""
        heard: list[StoreEvent] = []
        store.event_manager = EventManager()
        store.event_manager.connect(StoreEvent, heard.append, filter={"source": store})
        return heard

    # one key

    def test_a_pair_comes_back_as_it_was_set(self, store: Store) -> None:
        metadata = {"s": "é", "i": 1, "f": 2.5, "b": True, "n": None, "l": [1, [2]], "d": {"x": {"y": 1}}}
        store.set("k", (io.BytesIO(b"data"), metadata))
        data, found = store.get("k")
        assert data.read() == b"data"
        assert found == metadata
        assert store.get_metadata("k") == metadata
        assert store.get_data("k").read() == b"data"
        assert store.to_bytes("k") == b"data"

    def test_a_value_says_size_and_times(self, store: Store) -> None:
        before = time.time()
        store.set("k", (io.BytesIO(b"12345"), {}))
        value = store.get("k")
        assert value.size == 5
        assert before - 1 <= value.modified <= time.time() + 1
        assert value.created is None or before - 1 <= value.created <= time.time() + 1
        assert value.verified
        assert value.digest is not None

    def test_times_follow_changes_of_metadata(self, store: Store) -> None:
        store.from_bytes("k", b"1")
        first = store.get("k").modified
        store.set_metadata("k", {"a": 1})
        assert store.get("k").modified >= first

    def test_a_value_gives_one_stream_and_any_number_of_ranges(self, store: Store) -> None:
        store.from_bytes("k", b"0123456789")
        value = store.get("k")
        assert value.data is value.data
        assert value.data.read() == b"0123456789"
        assert value.data.read() == b""
        assert value.range(1, 3).read() == b"12"
        assert value.range(None, 2).read() == b"01"
        assert value.range(8).read() == b"89"
        assert value.range(8, 100).read() == b"89"
        assert value.range(50, 60).read() == b""
        assert value.range(5, 5).read() == b""
        assert value.range(5, 2).read() == b""

    @pytest.mark.parametrize("bounds", [(-1, None), (None, -1), (-3, -1)])
    def test_negative_ranges_are_refused(self, store: Store, bounds: tuple[int | None, int | None]) -> None:
        store.from_bytes("k", b"0123")
        with pytest.raises(OSError, match="negative"):
            store.get("k").range(*bounds)

    def test_get_data_range_excludes_its_end(self, store: Store) -> None:
        store.from_bytes("k", b"test2\n")
        with store.get_data_range("k", 1, 3) as stream:
            assert stream.read() == b"es"

    def test_ranges_of_large_data_cross_blocks(self, store: Store) -> None:
        data = bytes(range(256)) * 4096  # 1 MiB
        store.from_bytes("k", data)
        value = store.get("k")
        for start, stop in [(0, 10), (262143, 262145), (1, 1048575), (262144, 524288), (1048575, 2000000)]:
            assert value.range(start, stop).read() == data[start:stop]
        assert value.range(100).read(7) == data[100:107]
        assert value.data.read() == data

    def test_a_stream_can_be_sought(self, store: Store) -> None:
        data = bytes(range(256)) * 2048
        store.from_bytes("k", data)
        stream = store.get_data("k")
        stream.seek(300_000)
        assert stream.read(5) == data[300_000:300_005]
        stream.seek(-3, 2)
        assert stream.read() == data[-3:]
        assert stream.tell() == len(data)
        stream.seek(0)
        assert stream.read(3) == data[:3]

    def test_iterdata_tells_progress(self, store: Store) -> None:
        store.from_bytes("k", b"0123456789")
        steps: list[int] = []
        pieces = list(store.get("k").iterdata(4, progress=lambda step: steps.append(step)))
        assert pieces == [b"0123", b"4567", b"89"]
        assert steps == [4, 8, 10]

    def test_a_value_is_a_pair_and_a_context_manager(self, store: Store) -> None:
        store.set("k", (io.BytesIO(b"d"), {"a": 1}))
        value = store.get("k")
        assert len(value) == 2
        assert value[1] == {"a": 1}
        with value as stream:
            assert stream.read() == b"d"
        assert stream.closed

    def test_metadata_are_copies(self, store: Store) -> None:
        given: dict[str, Any] = {"a": [1]}
        store.set("k", (io.BytesIO(b""), given))
        given["a"].append(2)
        found = store.get_metadata("k")
        found["a"].append(3)
        value = store.get("k")
        value.metadata["a"].append(4)
        next(store.query())[1]["a"].append(5)
        assert store.get_metadata("k") == value.metadata == {"a": [1]}

    def test_a_value_can_be_set_in_another_key(self, store: Store) -> None:
        store.set("a", (io.BytesIO(b"d"), {"x": 1}))
        store.set("b", store.get("a"))
        assert store.to_bytes("b") == b"d"
        assert store.get_metadata("b") == {"x": 1}

    def test_a_value_got_before_an_overwrite_keeps_its_pair(self, store: Store) -> None:
        old, new = b"old" * 200_000, b"new" * 200_000
        store.set("k", (io.BytesIO(old), {"v": "old"}))
        value = store.get("k")
        store.set("k", (io.BytesIO(new), {"v": "new"}))
        assert value.metadata == {"v": "old"}
        assert value.data.read() == old

    def test_setting_closes_the_stream(self, store: Store) -> None:
        stream = io.BytesIO(b"d")
        store.set("k", (stream, {}))
        assert stream.closed

    def test_small_buffers_give_the_same_data(self, store: Store) -> None:
        store.set("k", (io.BytesIO(b"test4" * 8000), {}), 7)
        assert store.to_bytes("k", 11) == b"test4" * 8000

    def test_empty_data_are_kept(self, store: Store) -> None:
        store.from_bytes("k", b"")
        assert store.to_bytes("k") == b""
        assert store.get("k").size == 0
        assert store.get_data("k").read() == b""

    def test_set_data_keeps_the_metadata(self, store: Store) -> None:
        store.set("k", (io.BytesIO(b"1"), {"a": 1}))
        store.set_data("k", io.BytesIO(b"22"))
        assert store.get_metadata("k") == {"a": 1}
        assert store.to_bytes("k") == b"22"
        store.set_data("new", io.BytesIO(b"3"))
        assert store.get_metadata("new") == {}

    def test_set_metadata_keeps_the_data(self, store: Store) -> None:
        store.set("k", (io.BytesIO(b"1"), {"a": 1}))
        store.set_metadata("k", {"b": 2})
        assert store.get_metadata("k") == {"b": 2}
        assert store.to_bytes("k") == b"1"
        store.set_metadata("new", {"c": 3})
        assert store.to_bytes("new") == b""

    def test_update_metadata_merges(self, store: Store) -> None:
        store.set("k", (io.BytesIO(b"1"), {"a": 1, "b": 2}))
        store.update_metadata("k", {"b": 3, "c": 4})
        assert store.get_metadata("k") == {"a": 1, "b": 3, "c": 4}

    def test_delete_and_set_again(self, store: Store) -> None:
        store.set("k", (io.BytesIO(b"1"), {"a": 1}))
        store.delete("k")
        assert not store.exists("k")
        assert list(store.query_keys()) == []
        store.set_metadata("k", {"b": 1})
        assert store.to_bytes("k") == b""
        assert store.get_metadata("k") == {"b": 1}

    def test_missing_keys_are_key_errors(self, store: Store, tmp_path: Path) -> None:
        target = tmp_path / "target"
        target.write_bytes(b"old")
        assert not store.exists("k")
        for call in [
            lambda: store.get("k"),
            lambda: store.get_data("k"),
            lambda: store.get_data_range("k", 0, 1),
            lambda: store.get_metadata("k"),
            lambda: store.update_metadata("k", {}),
            lambda: store.delete("k"),
            lambda: store.to_bytes("k"),
            lambda: store.to_file("k", target),
            lambda: next(store.multiget(["k"])),
        ]:
            with pytest.raises(KeyError, match="no key 'k'"):
                call()
        assert target.read_bytes() == b"old"
        with pytest.raises(FileNotFoundError):
            store.from_file("k", tmp_path / "absent")

    def test_select_leaves_out_what_is_not_there(self, store: Store) -> None:
        store.set_metadata("k", {"a": 1, "b": 2})
        assert store.get_metadata("k", ["a", "missing"]) == {"a": 1}
        assert store.get_metadata("k", (name for name in ["b"])) == {"b": 2}
        assert store.get_metadata("k", []) == {}

    # keys

    @pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
    def test_any_text_is_a_key(self, store: Store, key: str) -> None:
        store.set(key, (io.BytesIO(key.encode()), {"key": key}))
        assert store.exists(key)
        assert store.to_bytes(key) == key.encode()
        assert store.get_metadata(key) == {"key": key}
        assert list(store.query_keys()) == [key]
        assert list(store.query(key=key)) == [(key, {"key": key})]
        store.update_metadata(key, {"more": 1})
        assert store.get_metadata(key) == {"key": key, "more": 1}
        store.delete(key)
        assert not store.exists(key)
        assert list(store.query_keys()) == []

    def test_all_keys_stay_apart(self, store: Store) -> None:
        for key in KEYS:
            store.set(key, (io.BytesIO(key.encode()), {"key": key}))
        assert sorted(store.query_keys()) == sorted(KEYS)
        assert {key: metadata["key"] for key, metadata in store.query()} == {key: key for key in KEYS}
        for key in KEYS:
            assert store.to_bytes(key) == key.encode()

    @pytest.mark.parametrize("key", ["", "nul\0", "\ud800", b"bytes", 5, None])
    def test_what_is_no_text_is_no_key(self, store: Store, key: Any) -> None:
        for call in [
            lambda: store.set(key, (io.BytesIO(b""), {})),
            lambda: store.get(key),
            lambda: store.exists(key),
            lambda: store.delete(key),
            lambda: store.set_metadata(key, {}),
            lambda: store.get_metadata(key),
        ]:
            with pytest.raises(InvalidInputError, match="key"):
                call()

    # many keys

    def test_generators_are_taken_wherever_iterables_are(self, store: Store) -> None:
        keys = [f"k{number}" for number in range(5)]
        store.multiset((key for key in keys), ((io.BytesIO(key.encode()), {"i": 1}) for key in keys))
        assert [value.data.read() for value in store.multiget(key for key in keys)] == [
            k.encode() for k in keys
        ]
        store.multiset_data((key for key in keys), (io.BytesIO(b"d") for _ in keys))
        assert [data.read() for data in store.multiget_data(key for key in keys)] == [b"d"] * 5
        store.multiset_metadata((key for key in keys), ({"n": key} for key in keys))
        store.multiupdate_metadata((key for key in keys), ({"m": key} for key in keys))
        assert list(store.multiget_metadata((key for key in keys), select=(n for n in ["m"]))) == [
            {"m": key} for key in keys
        ]

    def test_what_is_left_over_is_ignored(self, store: Store) -> None:
        store.multiset_metadata(["a", "b"], [{"n": 1}, {"n": 2}, {"n": 3}])
        store.multiset_metadata(["c", "d"], [{"n": 4}])
        assert sorted(store.query_keys()) == ["a", "b", "c"]

    def test_a_single_text_is_no_iterable_of_keys(self, store: Store) -> None:
        with pytest.raises(InvalidInputError, match="iterable"):
            store.multiset_metadata("ab", [{}, {}])
        with pytest.raises(InvalidInputError, match="iterable"):
            list(store.multiget("ab"))

    def test_multiget_fails_at_the_missing_key(self, store: Store) -> None:
        store.from_bytes("a", b"1")
        found = store.multiget(["a", "b"])
        assert next(found).data.read() == b"1"
        with pytest.raises(KeyError):
            next(found)

    def test_a_failing_multiset_changes_nothing(self, store: Store) -> None:
        store.set("a", (io.BytesIO(b"old"), {"v": 0}))
        values = [(io.BytesIO(b"new"), {"v": 1}), (_BrokenStream(), {"v": 2})]
        with pytest.raises(RuntimeError, match="went away"):
            store.multiset(["a", "b"], values)
        assert store.to_bytes("a") == b"old"
        assert store.get_metadata("a") == {"v": 0}
        assert not store.exists("b")

    # queries

    @pytest.fixture
    def filled(self, store: Store) -> Store:
        """Return the store with six keys."""
        rows: dict[str, dict[str, Any]] = {
            "a": {"n": 1, "s": "x", "l": [1, 2]},
            "b": {"n": 1.0, "s": "y", "d": {"e": "f"}},
            "c": {"n": True, "select": "s", "where": "w"},
            "d": {"n": None, "key": "v"},
            "e": {"m": 5, 'q"uote': 1, "do.t": 2},
            "f": {"n": "1", "big": 2**70, "f": 0.1},
        }
        store.multiset_metadata(list(rows), list(rows.values()))
        return store

    def test_no_condition_gives_everything(self, filled: Store) -> None:
        assert sorted(filled.query_keys()) == list("abcdef")
        assert dict(filled.query())["e"] == {"m": 5, 'q"uote': 1, "do.t": 2}

    @pytest.mark.parametrize(
        ("equal", "keys"),
        [
            ({"n": 1}, "abc"),
            ({"n": True}, "abc"),
            ({"n": 1.0}, "abc"),
            ({"n": None}, "d"),
            ({"missing": None}, ""),
            ({"n": "1"}, "f"),
            ({"l": [1, 2]}, "a"),
            ({"l": [2, 1]}, ""),
            ({"l": (1, 2)}, ""),
            ({"d": {"e": "f"}}, "b"),
            ({"n": 1, "s": "x"}, "a"),
            ({"n": 1, "s": "z"}, ""),
            ({"big": 2**70}, "f"),
            ({"big": 2.0**70}, "f"),
            ({"f": 0.1}, "f"),
            ({"f": 0.1000000001}, ""),
            ({'q"uote': 1}, "e"),
            ({"do.t": 2}, "e"),
            ({"key": "v"}, "d"),
            ({"n": float("nan")}, ""),
            ({"where": "w"}, "c"),
        ],
    )
    def test_keywords_compare_as_python_does(self, filled: Store, equal: dict[str, Any], keys: str) -> None:
        for _ in range(2):  # the second time an index may be there
            assert sorted(filled.query_keys(**equal)) == list(keys)
            assert sorted(key for key, _ in filled.query(**equal)) == list(keys)

    @pytest.mark.parametrize(
        ("where", "keys"),
        [
            ({"n": 1}, "ab"),
            ({"n": True}, "c"),
            ({"select": "s"}, "c"),
            (Key("n") == 1, "ab"),
            (Key("m") > 4, "e"),
            (Key("d.e") == "f", "b"),
            (Key("n") != 1, "cdf"),
            (Not(Key("n") == 1), "cdef"),
            ((Key("n") == 1) & (Key("s") == "y"), "b"),
            ((Key("m") == 5) | (Key("s") == "y"), "be"),
            ({}, "abcdef"),
        ],
    )
    def test_where_means_what_every_face_means(self, filled: Store, where: Any, keys: str) -> None:
        assert sorted(filled.query_keys(where=where)) == list(keys)
        assert sorted(key for key, _ in filled.query(where=where)) == list(keys)

    def test_where_and_keywords_must_both_hold(self, filled: Store) -> None:
        assert list(filled.query(where={"n": 1}, s="y")) == [("b", {"n": 1.0, "s": "y", "d": {"e": "f"}})]

    def test_query_selects_fields(self, filled: Store) -> None:
        assert list(filled.query(["s", "missing"], n=1, s="x")) == [("a", {"s": "x"})]
        assert list(filled.query(select=(name for name in ["s"]), s="x")) == [("a", {"s": "x"})]

    def test_queries_see_every_change(self, store: Store) -> None:
        store.set_metadata("k", {"m": 1})
        assert list(store.query_keys(m=1)) == ["k"]
        store.set_metadata("k", {"m": 2})
        assert list(store.query_keys(m=1)) == []
        store.update_metadata("k", {"n": 3})
        assert list(store.query_keys(m=2, n=3)) == ["k"]
        store.set_data("k", io.BytesIO(b"1"))
        assert list(store.query_keys(m=2, n=3)) == ["k"]
        store.delete("k")
        assert list(store.query_keys(m=2)) == []

    def test_glob_matches_as_fnmatch_does(self, store: Store) -> None:
        for key in ["key1", "key2", "Key3", "a/key4", "key[1]", "key12"]:
            store.set_metadata(key, {})
        assert sorted(store.glob("key?")) == ["key1", "key2"]
        assert sorted(store.glob("key*")) == ["key1", "key12", "key2", "key[1]"]
        assert sorted(store.glob("*key*")) == ["a/key4", "key1", "key12", "key2", "key[1]"]
        assert sorted(store.glob("key[!1]")) == ["key2"]
        assert sorted(store.glob("key[[]1]")) == ["key[1]"]
        assert sorted(store.glob("[")) == []
        assert sorted(store.glob("")) == []

    # files and bytes

    def test_files_and_bytes_go_in_and_out(self, store: Store, tmp_path: Path) -> None:
        data = bytes(range(256)) * 8000
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(data)
        target.write_bytes(b"older, and replaced")
        store.set_metadata("k", {"kept": True})
        store.from_file("k", source)
        assert store.get_metadata("k") == {"kept": True}
        store.to_file("k", target)
        assert target.read_bytes() == data == store.to_bytes("k")
        store.from_bytes("k", b"small", 2)
        store.to_file("k", str(target), 2)
        assert target.read_bytes() == b"small"
        assert store.get_metadata("k") == {"kept": True}

    # events

    def test_new_keys_are_set_and_old_ones_updated(self, store: Store, events: list[StoreEvent]) -> None:
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

    def test_progress_counts_bytes_in(self, store: Store, events: list[StoreEvent]) -> None:
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
        self, store: Store, events: list[StoreEvent], tmp_path: Path, way: str
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

    def test_a_failed_source_tells_an_exception_and_no_change(
        self, store: Store, events: list[StoreEvent]
    ) -> None:
        with pytest.raises(RuntimeError):
            store.set("k", (_BrokenStream(), {}))
        assert events[-1].exit_state == "exception"
        assert not [event for event in events if isinstance(event, StoreModificationEvent)]

    def test_a_listener_sees_the_change_done(self, store: Store) -> None:
        store.event_manager = EventManager()
        seen: list[bytes] = []
        store.event_manager.connect(StoreSetEvent, lambda event: seen.append(store.to_bytes(event.key)))
        store.from_bytes("k", b"there")
        assert seen == [b"there"]

    # transactions

    def test_a_transaction_is_seen_inside_and_then_outside(
        self, store: Store, events: list[StoreEvent]
    ) -> None:
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

    def test_a_failed_transaction_leaves_nothing(self, store: Store, events: list[StoreEvent]) -> None:
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

    def test_nested_transactions_join(self, store: Store, events: list[StoreEvent]) -> None:
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

    # threads

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

    # bad input

    @pytest.mark.parametrize("value", [None, 5, b"bytes", "text", (1,), (1, 2, 3), [io.BytesIO(b""), {}], {}])
    def test_what_is_no_pair_is_refused(self, store: Store, value: Any) -> None:
        store.set("k", (io.BytesIO(b"old"), {"a": 1}))
        with pytest.raises(InvalidInputError, match="pair"):
            store.set("k", value)
        self.assert_old(store)

    @pytest.mark.parametrize("stream", ["closed", "text", "bytes", "none", "numbers"])
    def test_bad_streams_are_refused(self, store: Store, stream: str) -> None:
        closed = io.BytesIO(b"new")
        closed.close()

        class Numbers:
            def read(self, size: int) -> int:
                return 5

        bad: dict[str, Any] = {
            "closed": closed,
            "text": io.StringIO("new"),
            "bytes": b"new",
            "none": None,
            "numbers": Numbers(),
        }
        store.set("k", (io.BytesIO(b"old"), {"a": 1}))
        for call in [lambda s: store.set("k", (s, {"b": 2})), lambda s: store.set_data("k", s)]:
            with pytest.raises(InvalidInputError, match="stream"):
                call(bad[stream] if stream != "text" else io.StringIO("new"))
        self.assert_old(store)

    @pytest.mark.parametrize(("metadata", "says"), BAD_METADATA, ids=range(len(BAD_METADATA)))
    def test_metadata_that_json_cannot_carry_is_refused_with_its_path(
        self, store: Store, metadata: Any, says: str
    ) -> None:
        store.set("k", (io.BytesIO(b"old"), {"a": 1}))
        for call in [
            lambda: store.set("k", (io.BytesIO(b"new"), metadata)),
            lambda: store.set_metadata("k", metadata),
            lambda: store.update_metadata("k", metadata),
        ]:
            with pytest.raises(InvalidInputError, match=says):
                call()
        self.assert_old(store)

    def test_a_source_that_fails_midway_leaves_the_old_value(self, store: Store) -> None:
        store.set("k", (io.BytesIO(b"old"), {"a": 1}))
        with pytest.raises(RuntimeError, match="went away"):
            store.set("k", (_BrokenStream(), {"b": 2}))
        with pytest.raises(RuntimeError, match="went away"):
            store.set_data("k", _BrokenStream())
        self.assert_old(store)

    def test_a_buffer_of_no_bytes_is_refused(self, store: Store) -> None:
        with pytest.raises(InvalidInputError, match="buffer_size"):
            store.set("k", (io.BytesIO(b"x"), {}), 0)

    @staticmethod
    def assert_old(store: Store) -> None:
        """Assert that the value from before is intact."""
        assert store.to_bytes("k") == b"old"
        assert store.get_metadata("k") == {"a": 1}
        assert list(store.query()) == [("k", {"a": 1})]

    # the handle

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
