import pickle

import pytest

from holdfast.errors import InvalidInputError, TooLargeError
from holdfast.queries import (
    And,
    Comparison,
    Contains,
    Eq,
    Everything,
    FullText,
    In,
    Key,
    KeyLookup,
    KeyPresent,
    KeysFilter,
    Like,
    Not,
    NotIn,
    Or,
    Regex,
    SpecsQuery,
    StructureFamilyQuery,
    Subject,
    from_keywords,
)


@pytest.mark.parametrize(
    ("query", "metadata", "expected"),
    [
        (Key("a") == 1, {"a": 1.0}, True),
        (Key("a") == 1, {"a": True}, False),
        (Key("a") == True, {"a": 1}, False),  # noqa: E712
        (Key("a") == 0, {"a": -0.0}, True),
        (Key("a") == None, {"a": None}, True),  # noqa: E711
        (Key("a") == None, {}, False),  # noqa: E711
        (Key("a") != 1, {}, False),
        (Key("a") != 1, {"a": None}, True),
        (Not(Key("a") == 1), {}, True),
        (Key("a") == [1, {"b": 2.0}], {"a": [1.0, {"b": 2}]}, True),
        (Key("a") == [True], {"a": [1]}, False),
        (Key("a.b") == 1, {"a": {"b": 1}}, True),
        (Key("a.b") == 1, {"a.b": 1}, False),
        (Key("a", "b.c") == 1, {"a": {"b.c": 1}}, True),
        (Key(["b.c"]) == 1, {"b.c": 1}, True),
        (Key("a") > 5, {"a": "7"}, False),
        (Key("a") > "5", {"a": "7"}, True),
        (Key("a") > 5, {"a": True}, False),
        (Key("a") >= 2**53 + 1, {"a": float(2**53)}, False),
        (Key("a") < 10**400, {"a": 1.5}, True),
        (NotIn("a", [1]), {}, False),
        (NotIn("a", [1]), {"a": True}, True),
        (In("a", []), {"a": 1}, False),
        (In("a", [1, "x"]), {"a": 1.0}, True),
        (Contains("a", "b"), {"a": "abc"}, True),
        (Contains("a", "b"), {"a": ["abc"]}, False),
        (Contains("a", 1), {"a": [True, "1"]}, False),
        (Contains("a", 1), {"a": [1.0]}, True),
        (Like("a", "A%c"), {"a": "Abc"}, True),
        (Like("a", "a%"), {"a": "Abc"}, False),
        (Like("a", "a%", case_sensitive=False), {"a": "Abc\nd"}, True),
        (Like("a", r"5\%"), {"a": "5%"}, True),
        (Like("a", r"5\%"), {"a": "50"}, False),
        (Like("a", "_"), {"a": "é"}, True),
        (Like("a", "%ab%ab"), {"a": "abxab"}, True),
        (Like("a", "%ab%ab"), {"a": "xab"}, False),
        (Like("a", "[ab]*?"), {"a": "a"}, False),
        (Regex("a", "b"), {"a": "abc"}, True),
        (Regex("a", "^B"), {"a": "abc"}, False),
        (Regex("a", "B", case_sensitive=False), {"a": "abc"}, True),
        (KeyPresent("a"), {"a": None}, True),
        (KeyPresent("a", exists=False), {"a": None}, False),
        (FullText("half-cell"), {"a": {"b": ["the Half cell"]}}, True),
        (FullText("half-cell"), {"a": "half", "b": "cell"}, False),
        (FullText("half cell"), {"a": "half", "b": "cell"}, True),
        (FullText('"'), {"a": '"'}, False),
        (FullText("ÅNGSTRÖM"), {"a": "ångström"}, True),
        (And(), {}, True),
        (Or(), {}, False),
        (Everything(), {}, True),
        (from_keywords(**{"a.b": 1, "c": 2}), {"a.b": 1, "c": 2}, True),
    ],
)
def test_query_matches_by_its_meaning(query, metadata, expected):
    assert query.matches(metadata) is expected


def test_queries_about_the_node_itself_look_at_the_subject():
    subject = Subject("k", "array", ("s", "t"))
    assert KeyLookup("k").matches({}, subject)
    assert KeysFilter(["x", "k"]).matches({}, subject)
    assert StructureFamilyQuery("array").matches({}, subject)
    assert SpecsQuery(["s"], ["u"]).matches({}, subject)
    assert not SpecsQuery(["s"], ["t"]).matches({}, subject)


def test_truth_of_a_query_is_a_type_error():
    with pytest.raises(TypeError, match="&"):
        bool(Key("a") == 1)
    with pytest.raises(TypeError):
        (Key("a") == 1) and (Key("b") == 2)


def test_queries_tell_true_from_one_when_compared():
    assert (Key("a") == 1) != (Key("a") == True)  # noqa: E712
    assert hash(Key("a") == [1]) == hash(Key("a") == [1])
    assert len({Key("a") == 1, Key("a") == 1, Key("a") == 1.0}) == 2


def test_queries_pickle():
    query = (Key("a") == [1]) & ~(Key("b") > 2) | In("c", [1])
    again = pickle.loads(pickle.dumps(query))
    assert again == query
    assert again.size == query.size
    assert again.matches({"c": 1})


def test_query_keeps_its_own_copy_of_a_value():
    values = [1]
    query = Eq("a", values)
    values.append(2)
    assert query.matches({"a": [1]})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Key("a") > None,
        lambda: Key("a") > True,
        lambda: Key("a") == float("nan"),
        lambda: Key("a") == b"x",
        lambda: Key("a") == "\ud800",
        lambda: Key("a") == "\x00",
        lambda: Key("a") == 10**5000,
        lambda: Comparison("eq", "a", 1),
        lambda: In("a", "abc"),
        lambda: In("a", range(100_001)),
        lambda: Like("a", 5),
        lambda: KeyPresent("a", exists="no"),
        lambda: SpecsQuery("s"),
        lambda: StructureFamilyQuery("banana"),
        lambda: FullText(5),
        lambda: Key(5) == 1,
        lambda: Key([]) == 1,
        lambda: Not("x"),
        lambda: And(*[Key("a") == 1] * 1000),
        lambda: KeysFilter(5),
    ],
)
def test_bad_query_is_refused_when_it_is_made(make):
    with pytest.raises(InvalidInputError):
        make()


def test_deep_query_is_refused():
    query = Key("a") == 1
    for _ in range(63):
        query = ~query
    with pytest.raises(TooLargeError):
        Not(query)


def test_many_percent_signs_do_not_take_long():
    assert not Like("a", "%a" * 60 + "b").matches({"a": "a" * 5000})


def test_a_structure_family_that_there_is_not_is_refused():
    with pytest.raises(InvalidInputError, match=r"banana.*container"):
        StructureFamilyQuery("banana")
