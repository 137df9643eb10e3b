"""Prove what is kept under one key and under many."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import InvalidInputError
from holdfast.store import Store
from holdfast.testing.store.streams import BrokenStream

__all__ = ["ValueTests"]


class ValueTests:
    """Prove data, metadata, facts and ranges."""

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
        calls: list[Callable[..., object]] = [
            lambda: store.get("k"),
            lambda: store.get_data("k"),
            lambda: store.get_data_range("k", 0, 1),
            lambda: store.get_metadata("k"),
            lambda: store.update_metadata("k", {}),
            lambda: store.delete("k"),
            lambda: store.to_bytes("k"),
            lambda: store.to_file("k", target),
            lambda: next(iter(store.multiget(["k"]))),
        ]
        for call in calls:
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
        values = [(io.BytesIO(b"new"), {"v": 1}), (BrokenStream(), {"v": 2})]
        with pytest.raises(RuntimeError, match="went away"):
            store.multiset(["a", "b"], values)
        assert store.to_bytes("a") == b"old"
        assert store.get_metadata("a") == {"v": 0}
        assert not store.exists("b")

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
