"""Cleaning of metadata: anything a file may hold becomes JSON that every client can read."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.formats.metadata import Metadata, clean_text
from holdfast.queries.values import check_json


def cleaned(value):
    collected = Metadata()
    collected.put(("v",), value)
    return collected.to_json()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(1.5), 1.5),
        (np.longdouble(2.5), 2.5),
        (np.array([1, 2], ">i2"), [1, 2]),
        (np.array(3 + 4j, np.clongdouble), [3.0, 4.0]),
        (np.array(["2026-11-29"], "M8[D]"), ["2026-11-29"]),
        (np.timedelta64(5, "s"), "5 seconds"),
        (np.array((1, [2.0, 3.0]), "i4, (2,)f8"), {"f0": 1, "f1": [2.0, 3.0]}),
        (np.array([(1,), (2,)], [("a", "i4")]), [{"a": 1}, {"a": 2}]),
        (np.void(b"\x01\xff"), "01ff"),
        (np.bytes_(b"a\xffb"), "a\\xffb"),
        (10**30, 1e30),
        (10**400, str(10**400)[:80]),
        ({1: {"a\0": None}}, {"1": {"a": None}}),
        (True, True),
        (object, "<class 'object'>"),
    ],
)
def test_values_of_every_kind_become_json(value, expected):
    found = cleaned(value)
    assert found == {"v": expected}
    check_json(found)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), ANYTHING, max_size=5))
def test_whatever_is_put_in_the_database_can_keep(values):
    collected = Metadata()
    for key, value in values.items():
        collected.put((key,), value)
    found = collected.to_json()
    check_json(found)
    json.dumps(found, allow_nan=False).encode()


def test_groups_and_attributes_of_one_name_stand_side_by_side():
    collected = Metadata()
    collected.put(("entry",), "attribute")
    collected.put(("entry", "x"), 1)
    collected.put(("entry", "x"), 2)
    collected.put(("entry", "x"), 3)
    assert collected.to_json() == {
        "@entry": "attribute",
        "entry": {"x": 1, "@x": 2},
        "holdfast": {"left_out": 1},
    }


def test_what_is_deep_is_cut_and_what_is_much_is_counted():
    deep: list[object] = []
    for _ in range(200):
        deep = [deep]
    check_json(cleaned(deep))
    nested: dict[str, object] = {}
    for _ in range(200):
        nested = {"a": nested}
    check_json(cleaned(nested))
    assert cleaned(list(range(3000))) == {"holdfast": {"left_out": 1}}
    assert cleaned("x" * 300_000) == {"holdfast": {"left_out": 1}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\0\0", "a"),
        ("\0a", "\\x00a"),
        ("\ud800", "\\ud800"),
        ("caf\udce9", "caf\\xe9"),
        (b"\xc3\xa9", "é"),
        ("", ""),
    ],
)
def test_texts_lose_their_padding_and_keep_their_bytes_as_escapes(text, expected):
    assert clean_text(text) == expected
