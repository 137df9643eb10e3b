"""Prove that any text is a key."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.errors import InvalidInputError
from holdfast.store import Store

__all__ = ["KEYS", "KeyTests"]

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


class KeyTests:
    """Prove that keys stay apart."""

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
        calls: list[Callable[..., object]] = [
            lambda: store.set(key, (io.BytesIO(b""), {})),
            lambda: store.get(key),
            lambda: store.exists(key),
            lambda: store.delete(key),
            lambda: store.set_metadata(key, {}),
            lambda: store.get_metadata(key),
        ]
        for call in calls:
            with pytest.raises(InvalidInputError, match="key"):
                call()
