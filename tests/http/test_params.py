"""Parameters of addresses become structs; what is wrong is named."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest

from holdfast.errors import InvalidInputError
from holdfast.http.params import decode_params
from holdfast.http.request import Query, Request


class Search(msgspec.Struct):
    limit: Annotated[int, msgspec.Meta(ge=0, le=300)] = msgspec.field(default=100, name="page[limit]")
    fields: Annotated[list[Literal["", "count"]], msgspec.Meta(description="what")] | None = None
    sort: list[str] = []
    deep: bool = False
    scale: float = 1.0


def test_values_have_their_types():
    pairs = [
        ("page[limit]", "5"),
        ("fields", ""),
        ("fields", "count"),
        ("sort", "a"),
        ("deep", "true"),
        ("scale", "2"),
    ]
    assert decode_params(pairs, Search) == Search(5, ["", "count"], ["a"], True, 2.0)


def test_of_a_single_parameter_the_last_counts():
    assert decode_params([("page[limit]", "1"), ("page[limit]", "2")], Search).limit == 2


@pytest.mark.parametrize(
    ("pair", "name"),
    [
        (("page[limit]", "five"), "page[limit]"),
        (("page[limit]", "301"), "page[limit]"),
        (("page[limit]", "-1"), "page[limit]"),
        (("page[limit]", "1" * 5000), "page[limit]"),
        (("fields", "nonsense"), "fields"),
        (("deep", "perhaps"), "deep"),
        (("scale", "x"), "scale"),
        (("limit", "5"), "limit"),
    ],
)
def test_what_is_wrong_is_named(pair, name):
    with pytest.raises(InvalidInputError) as caught:
        decode_params([pair], Search)
    assert name in str(caught.value)


def test_the_key_and_what_a_route_reads_itself_are_passed_over():
    pairs = [("api_key", "x"), ("filter[eq][condition][key]", "a")]
    assert decode_params(pairs, Search, ("filter[",)) == Search()
    with pytest.raises(InvalidInputError, match=r"filter\[eq"):
        decode_params(pairs, Search)


@pytest.mark.parametrize("raw", [b"a=%ff", b"%ff=1", b"a=\xff"])
def test_a_query_that_is_not_utf_8_is_refused(raw):
    with pytest.raises(InvalidInputError, match="not UTF-8"):
        Query.parse(raw)


def test_too_many_parameters_are_refused():
    with pytest.raises(InvalidInputError, match="20000"):
        Query.parse(b"&".join([b"a=1"] * 20_001))


def test_an_idempotency_key_is_checked():
    def request(key):
        return Request({"method": "GET", "path": "/", "headers": [(b"idempotency-key", key)]})

    assert request(b"abc-1").idempotency_key == "abc-1"
    for wrong in (b"", b"a b", b"a" * 256, "é".encode()):
        with pytest.raises(InvalidInputError, match="printable ASCII"):
            _ = request(wrong).idempotency_key
