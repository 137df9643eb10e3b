"""Nothing that a client can write into an address is a fault of the server."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PATHS = [
    "/metadata/box",
    "/metadata/box/a.h5/cube",
    "/search/box/sub",
    "/search-deep/box",
    "/distinct/keys",
    "/array/full/box/a.h5/cube",
    "/array/full/box/a.h5/record",
    "/array/full/box/a.h5/empty",
    "/array/full/box/a.h5/scalar",
    "/array/full/box/t.csv/B",
    "/array/block/box/a.h5/zipped",
    "/table/full/box/t.csv",
    "/table/partition/box/t.csv",
    "/container/full/box",
    "/asset/bytes/box",
    "/asset/manifest/box",
    "/assets/1",
    "/assets/2/digests",
]
FILTERS = [
    "eq",
    "noteq",
    "comparison",
    "in",
    "notin",
    "contains",
    "like",
    "regex",
    "keypresent",
    "fulltext",
    "specs",
    "structure_family",
    "keys_filter",
    "lookup",
    "tree",
    "x",
]
FIELDS = [
    "key",
    "value",
    "pattern",
    "operator",
    "text",
    "exists",
    "include",
    "exclude",
    "keys",
    "case_sensitive",
    "query",
]
NAMES = [
    "fields",
    "select_metadata",
    "include_data_sources",
    "omit_links",
    "max_depth",
    "page[offset]",
    "page[limit]",
    "page[cursor]",
    "sort",
    "metadata",
    "counts",
    "specs",
    "slice",
    "block",
    "expected_shape",
    "format",
    "filename",
    "column",
    "field",
    "partition",
    "id",
    "relative_path",
]

name = st.one_of(
    st.sampled_from(NAMES),
    st.builds("filter[{}][condition][{}]".format, st.sampled_from(FILTERS), st.sampled_from(FIELDS)),
    st.text(max_size=8),
)
value = st.one_of(
    st.sampled_from(
        [
            "",
            "n",
            "color",
            "a.b",
            "true",
            "false",
            "null",
            "0",
            "-1",
            "1",
            "2",
            "1:2",
            "::-1",
            "...",
            "0,0",
            "1e400",
            "NaN",
            '"red"',
            "[1, 2]",
            '["a"]',
            "{}",
            "[]",
            "{",
            "(",
            "^r",
            "%",
            "gt",
            "lt",
            "json",
            "csv",
            "npy",
            "arrow",
            "application/json",
            "count",
            "metadata",
            "-",
            "-n",
            "table",
            "99999999999999999999",
            "t.csv",
            "../x",
            "*",
            "[*]",
            "a[0]",
            "\x00",
            "\ud7ff",
            "é",
            '{"op": "eq", "key": ["n"], "value": 5}',
            '{"op": "not"}',
            "scalar",
        ]
    ),
    st.text(max_size=20),
    st.integers().map(str),
)
headers = st.dictionaries(
    st.sampled_from(["accept", "range", "if-range", "if-none-match", "if-modified-since", "holdfast-verify"]),
    st.one_of(
        st.sampled_from(["*/*", "text/csv", "bytes=0-5", '"x"', "blocks", "application/vnd.holdfast.frames"]),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    ),
    max_size=2,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=400)
@given(st.sampled_from(PATHS), st.lists(st.tuples(name, value), max_size=4), headers)
def test_no_query_is_a_500(local, path, pairs, fields):
    target = f"/api/v1{path}?{urlencode(pairs, quote_via=quote)}"
    with local._transport.open("GET", target, list(fields.items())) as answer:
        body = answer.read()
        assert answer.status < 500, (answer.status, body[:300])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    st.sampled_from(["metadata", "search", "array/full", "table/full", "container/full", "distinct"]),
    st.text(max_size=60),
)
def test_no_path_is_a_500(local, kind, path):
    with local._transport.open("GET", f"/api/v1/{kind}/{quote(path, safe='/')}", []) as answer:
        answer.read()
        assert answer.status < 500
