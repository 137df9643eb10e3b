"""Prove queries by metadata and by pattern."""

from __future__ import annotations

import io
from typing import Any

import pytest

from holdfast.queries import Key, Not
from holdfast.store import Store

__all__ = ["QueryTests"]


class QueryTests:
    """Prove keyword equality, query trees and patterns."""

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
