import json

import pytest

from holdfast.errors import InvalidInputError
from holdfast.queries import (
    And,
    Comparison,
    Contains,
    Eq,
    Field,
    FullText,
    In,
    Key,
    KeyLookup,
    KeyPresent,
    KeysFilter,
    Like,
    Not,
    NotEq,
    NotIn,
    Or,
    Regex,
    SpecsQuery,
    StructureFamilyQuery,
    from_filters,
    from_json,
    parse,
    to_filters,
    to_json,
)

ALL = [
    Eq("a.b", [1, {"x": None}]),
    NotEq(["a.b"], "é"),
    Comparison("le", "n", 1.5),
    In("n", [1, True, None]),
    NotIn("n", []),
    Contains("tags", "u"),
    Like("s", "re%"),
    Like("s", "re%", case_sensitive=False),
    Regex("s", "^r", case_sensitive=False),
    KeyPresent("nested.t", exists=False),
    FullText('a-b "c"'),
    SpecsQuery(["x"], ["y"]),
    StructureFamilyQuery("table"),
    KeysFilter(["a", "b"]),
    KeyLookup("a.b"),
    Eq('["x"]', 1),
    Eq(Field(("a", "0"), walk=True), 1),
    Or(Key("a") == 1, Not(Key("b") == 2)),
]


@pytest.mark.parametrize("query", ALL, ids=repr)
def test_json_form_reads_back(query):
    assert from_json(json.loads(json.dumps(to_json(query)))) == query


@pytest.mark.parametrize("query", ALL, ids=repr)
def test_filters_read_back(query):
    assert from_filters(to_filters(query)) == And(query)


def test_filters_of_one_kind_are_paired_by_position():
    query = from_filters(
        [
            ("filter[eq][condition][key]", "color"),
            ("filter[eq][condition][key]", "n"),
            ("filter[eq][condition][value]", '"red"'),
            ("filter[eq][condition][value]", "5"),
            ("page[limit]", "1"),
        ]
    )
    assert query == And(Key("color") == "red", Key("n") == 5)


def test_filters_are_spelled_as_tiled_spells_them():
    assert to_filters(In("color", ["red", "blue"])) == [
        ("filter[in][condition][key]", "color"),
        ("filter[in][condition][value]", '["red", "blue"]'),
    ]
    assert to_filters(Regex("color", "^r")) == [
        ("filter[regex][condition][key]", "color"),
        ("filter[regex][condition][pattern]", "^r"),
        ("filter[regex][condition][case_sensitive]", "true"),
    ]
    assert to_filters(Like("color", "re%"))[1] == ("filter[like][condition][pattern]", '"re%"')
    assert to_filters(KeyPresent("a"))[1] == ("filter[keypresent][condition][exists]", "true")
    assert to_filters(Key("n") < 6)[0] == ("filter[comparison][condition][operator]", "lt")


@pytest.mark.parametrize(
    "pairs",
    [
        [("filter[nope][condition][key]", "a")],
        [("filter[eq][key]", "a")],
        [("filter[", "a")],
        [("filter[eq][condition][key]", "a")],
        [("filter[eq][condition][key]", "a"), ("filter[eq][condition][value]", "red")],
        [("filter[eq][condition][key]", "a"), ("filter[eq][condition][value]", "NaN")],
        [("filter[eq][condition][key]", "a"), ("filter[eq][condition][value]", "[" * 100_000)],
        [("filter[eq][condition][key]", "a"), ("filter[eq][condition][value]", "9" * 5000)],
        [("filter[eq][condition][key]", "a"), ("filter[eq][condition][other]", "1")],
        [("filter[in][condition][key]", "a"), ("filter[in][condition][value]", "5")],
        [("filter[comparison][condition][operator]", "lt"), ("filter[comparison][condition][key]", "a")],
        [("filter[keypresent][condition][key]", "a"), ("filter[keypresent][condition][exists]", "maybe")],
        [("filter[specs][condition][include]", '"x"'), ("filter[specs][condition][exclude]", "[]")],
        [("filter[keys_filter][condition][keys]", "[1]")],
        [("filter[tree][condition][query]", '{"op": "eq"}')],
        [("filter[tree][condition][query]", '{"op": "not", "query": 5}')],
        [("filter[tree][condition][query]", '{"op": "and", "queries": 5}')],
        [("filter[tree][condition][query]", '{"op": "eq", "key": 5, "value": 1}')],
        [("filter[tree][condition][query]", '{"op": "eq", "key": {"path": 3}, "value": 1}')],
        [
            (
                "filter[tree][condition][query]",
                '{"op":"not","query":' * 80 + '{"op":"and","queries":[]}' + "}" * 80,
            )
        ],
        [("filter[access_tags_filter][condition][tags]", "[]")],
    ],
)
def test_malformed_filter_is_refused(pairs):
    with pytest.raises(InvalidInputError):
        from_filters(pairs)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", And()),
        ('color == "red" and n > 5', And(Key("color") == "red", Key("n") > 5)),
        (
            "a = 1 or b != -2.5e3 and c <= 'it\\'s \"x\"'",
            Or(Key("a") == 1, And(Key("b") != -2500.0, Key("c") <= 'it\'s "x"')),
        ),
        ("not (a in [1, 'x', true, null])", Not(In("a", [1, "x", True, None]))),
        ("a not in [1]", NotIn("a", [1])),
        ("tags contains 'x'", Contains("tags", "x")),
        ("s like 'a%' and s ilike 'b%'", And(Like("s", "a%"), Like("s", "b%", case_sensitive=False))),
        ("s ~ '^a\\\\d' | s ~* 'b'", Or(Regex("s", "^a\\d"), Regex("s", "b", case_sensitive=False))),
        ("entry.sample.name == 'AgBehenate'", Key("entry.sample.name") == "AgBehenate"),
        ("`a b`.`c.d` exists", KeyPresent(["a b", "c.d"])),
        ("debug", KeyPresent("debug")),
        ("key in ['a', 'b']", KeysFilter(["a", "b"])),
        ("key == 'a'", KeysFilter(["a"])),
        ("`key` == 'a'", Key("key") == "a"),
        ("family == 'array' & spec == 'x'", And(StructureFamilyQuery("array"), SpecsQuery(["x"]))),
        ("family != 'array'", Not(StructureFamilyQuery("array"))),
        ("text 'hello world'", FullText("hello world")),
        ("a == [1, [2]]", Key("a") == [1, [2]]),
        ("entry/x@units == 'mm'", Key("entry/x@units") == "mm"),
    ],
)
def test_language_of_the_command_line(text, query):
    assert parse(text) == query


@pytest.mark.parametrize(
    "text",
    [
        *(
            "color ==",
            "== 5",
            "a == red",
            "(a == 1",
            "a == 1)",
            "a == 1 b == 2",
            "a > null",
            "a like 5",
            "a in 5",
        ),
        *("key > 5", "a == 'x", "a == '\\q'", "a ? 5", "and", "not", "a == [1", "family 'x'", "a == 'x' \\"),
        *("(" * 200 + "a" + ")" * 200, "a == " + "[" * 5000, "a in " + "[" * 5000 + "]" * 5000),
        *("a == " + "9" * 5000, "x" * 1_000_001),
    ],
    ids=lambda text: text[:20],
)
def test_language_says_where_it_stumbles(text):
    with pytest.raises(InvalidInputError):
        parse(text)
