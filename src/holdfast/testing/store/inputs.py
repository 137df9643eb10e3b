"""Prove that bad input leaves the old value intact."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.errors import InvalidInputError
from holdfast.store import Store
from holdfast.testing.store.streams import BrokenStream

__all__ = ["BAD_METADATA", "InputTests"]

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


class InputTests:
    """Prove what is refused."""

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
        calls: list[Callable[..., object]] = [
            lambda s: store.set("k", (s, {"b": 2})),
            lambda s: store.set_data("k", s),
        ]
        for call in calls:
            with pytest.raises(InvalidInputError, match="stream"):
                call(bad[stream] if stream != "text" else io.StringIO("new"))
        self.assert_old(store)

    @pytest.mark.parametrize(("metadata", "says"), BAD_METADATA, ids=range(len(BAD_METADATA)))
    def test_metadata_that_json_cannot_carry_is_refused_with_its_path(
        self, store: Store, metadata: Any, says: str
    ) -> None:
        store.set("k", (io.BytesIO(b"old"), {"a": 1}))
        calls: list[Callable[..., object]] = [
            lambda: store.set("k", (io.BytesIO(b"new"), metadata)),
            lambda: store.set_metadata("k", metadata),
            lambda: store.update_metadata("k", metadata),
        ]
        for call in calls:
            with pytest.raises(InvalidInputError, match=says):
                call()
        self.assert_old(store)

    def test_a_source_that_fails_midway_leaves_the_old_value(self, store: Store) -> None:
        store.set("k", (io.BytesIO(b"old"), {"a": 1}))
        with pytest.raises(RuntimeError, match="went away"):
            store.set("k", (BrokenStream(), {"b": 2}))
        with pytest.raises(RuntimeError, match="went away"):
            store.set_data("k", BrokenStream())
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
