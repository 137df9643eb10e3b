"""Whatever text comes from outside, our parsers answer with a value or with an error of ours, in time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast import paths, queries
from holdfast.errors import HoldfastError
from holdfast.hashing import Digest

EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
LONGEST_S = 2.0

# Fragments that a grammar trips over, glued together in any order, beside text of any kind.
PIECES = [
    "n", "color", '"red"', "'", '"', "\\", "==", "!=", "<=", ">", "and", "or", "not", "in", "[", "]", "(",
    ")", ",", ".", "1e999", "-0", "1" * 400, "null", "true", "NaN", "contains", "like", "%", "*", "..", "/",
    "\0", "\u2028", "é", "\ud800", "\udc80", ":", "-", "+", "bytes=", "blake3:", "file://", "~", "%2e",
]  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join),
    st.builds(lambda piece, n: piece * n, st.sampled_from(PIECES), st.integers(1, 3000)),
)
JSON_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(PIECES)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
WORDS = [
    "op",
    "key",
    "value",
    "values",
    "query",
    "queries",
    "pattern",
    "text",
    "include",
    "operator",
    "exists",
]
OPS = [
    "and",
    "or",
    "not",
    "eq",
    "noteq",
    "comparison",
    "in",
    "notin",
    "contains",
    "like",
    "regex",
    "fulltext",
    "specs",
]
TREES = st.recursive(
    st.one_of(JSON_VALUES, st.sampled_from(OPS)),
    lambda inner: st.dictionaries(st.sampled_from(WORDS), st.one_of(inner, st.sampled_from(OPS)), max_size=4),
    max_leaves=8,
)
FILTER_NAMES = st.builds(
    "filter[{}][condition][{}]".format,
    st.sampled_from([*queries.FILTERS, "tree", "nope", "", "]["]),
    st.sampled_from([*WORDS, "case_sensitive", "keys", ""]),
)
PAIRS = st.lists(st.tuples(FILTER_NAMES, st.one_of(TEXTS, JSON_VALUES.map(json.dumps))), max_size=6)

PARSERS: dict[str, tuple[Callable[[Any], object], st.SearchStrategy[Any]]] = {
    "queries.parse": (queries.parse, TEXTS),
    "queries.from_json": (queries.from_json, TREES),
    "queries.from_filters": (queries.from_filters, PAIRS),
    "queries.FullText": (lambda text: queries.FullText(text).matches({"a": text}), TEXTS),
    "queries.words": (queries.words, TEXTS),
    "paths.parse_key": (paths.parse_key, TEXTS),
    "paths.split_key": (paths.split_key, TEXTS),
    "paths.unquote_key": (paths.unquote_key, TEXTS),
    "paths.local_path": (
        paths.local_path,
        TEXTS.flatmap(lambda t: st.sampled_from([t, "~" + t, "file://" + t])),
    ),
    "paths.is_url": (paths.is_url, TEXTS),
    "hashing.Digest.parse": (Digest.parse, TEXTS),
}


@pytest.mark.parametrize("name", PARSERS)
def test_any_input_gives_a_value_or_an_error_of_ours(name):
    parse, inputs = PARSERS[name]

    @EXAMPLES
    @given(inputs)
    def check(value: Any) -> None:
        started = time.perf_counter()
        answer: object = None
        try:
            answer = parse(value)
        except HoldfastError as error:
            answer = error
        assert str(answer) or not isinstance(answer, HoldfastError), "an error that says nothing"
        assert time.perf_counter() - started < LONGEST_S

    check()


@EXAMPLES
@given(PAIRS)
def test_a_query_read_from_a_url_is_the_same_after_another_journey(pairs):
    try:
        query = queries.from_filters(pairs)
    except HoldfastError:
        return
    assert queries.from_filters(queries.to_filters(query)) == query
    assert queries.from_json(json.loads(json.dumps(queries.to_json(query)))) == query


@EXAMPLES
@given(TEXTS)
def test_a_quoted_key_comes_back(text):
    try:
        parts = paths.parse_key(text)
    except HoldfastError:
        return
    assert paths.unquote_key(paths.quote_key(parts)) == parts


@EXAMPLES
@given(st.lists(TEXTS, max_size=5))
def test_no_key_leaves_its_root(tmp_path_factory, parts):
    root = tmp_path_factory.getbasetemp() / "root"
    try:
        path = paths.join(root, parts)
    except HoldfastError:
        return
    assert root in path.parents or path == root
    assert ".." not in path.parts
