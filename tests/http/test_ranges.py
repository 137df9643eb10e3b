"""What a GET is answered, by its Range and conditional fields alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import PreconditionFailedError, RangeNotSatisfiableError
from holdfast.hashing import Digest
from holdfast.http.ranges import Selected, Validators, etag_of, http_date, parse_range, select

NOW = 1_700_000_000.4
VALIDATORS = Validators('"x"', NOW)
DATE, EARLIER, LATER = http_date(NOW), http_date(NOW - 10), http_date(NOW + 10)
WHOLE, UNCHANGED = Selected(200, 0, 100), Selected(304, 0, 0)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=10-", (10, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=90-1000", (90, 100)),
        (" Bytes = 5 - 6 ", (5, 7)),
        (None, None),
        ("", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=a-b", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=--1", None),
        ("bytes=99999999999999999999999-", None),
    ],
)
def test_a_range_is_read_or_ignored(header, expected):
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_the_body_is_refused(header):
    with pytest.raises(RangeNotSatisfiableError) as caught:
        parse_range(header, 100)
    assert caught.value.details == {"size": 100}


def test_no_range_of_an_empty_body_can_be_given():
    with pytest.raises(RangeNotSatisfiableError):
        parse_range("bytes=0-", 0)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 200))
def test_a_range_never_leaves_the_body(first, last, size):
    try:
        span = parse_range(f"bytes={first}-{last}", size)
    except RangeNotSatisfiableError:
        assert first >= size
        return
    assert span is None or (0 <= span[0] < span[1] <= size and span == (first, min(last + 1, size)))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, WHOLE),
        ({"range": "bytes=0-9"}, Selected(206, 0, 10)),
        ({"if-none-match": '"x"'}, UNCHANGED),
        ({"if-none-match": '"a", W/"x"'}, UNCHANGED),
        ({"if-none-match": "*"}, UNCHANGED),
        ({"if-none-match": '"y"'}, WHOLE),
        ({"if-none-match": '"y"', "if-modified-since": LATER}, WHOLE),
        ({"if-modified-since": DATE}, UNCHANGED),
        ({"if-modified-since": EARLIER}, WHOLE),
        ({"if-modified-since": "yesterday"}, WHOLE),
        ({"if-match": '"x"'}, WHOLE),
        ({"if-match": "*"}, WHOLE),
        ({"if-unmodified-since": DATE}, WHOLE),
        ({"if-unmodified-since": "never"}, WHOLE),
        ({"range": "bytes=0-9", "if-range": '"x"'}, Selected(206, 0, 10)),
        ({"range": "bytes=0-9", "if-range": '"y"'}, WHOLE),
        ({"range": "bytes=0-9", "if-range": 'W/"x"'}, WHOLE),
        ({"range": "bytes=0-9", "if-range": DATE}, Selected(206, 0, 10)),
        ({"range": "bytes=0-9", "if-range": EARLIER}, WHOLE),
        ({"range": "bytes=0-9", "if-range": "Sun, 06 Nov 1994 08:49:" + "9" * 40 + " GMT"}, WHOLE),
        ({"range": "bytes=500-", "if-range": '"y"'}, WHOLE),
    ],
)
def test_conditions_decide_what_is_sent(headers, expected):
    assert select(headers, 100, VALIDATORS) == expected


@pytest.mark.parametrize(
    "headers", [{"if-match": '"y"'}, {"if-match": 'W/"x"'}, {"if-unmodified-since": EARLIER}]
)
def test_preconditions_that_do_not_hold_are_refused(headers):
    with pytest.raises(PreconditionFailedError, match="fetch it anew"):
        select(headers, 100, VALIDATORS)


def test_a_weak_tag_never_continues_a_body():
    weak = Validators('W/"x"')
    assert select({"range": "bytes=0-9", "if-range": 'W/"x"'}, 100, weak) == WHOLE
    with pytest.raises(PreconditionFailedError):
        select({"if-match": 'W/"x"'}, 100, weak)


def test_the_tag_of_bytes_is_their_digest():
    assert etag_of(Digest("md5", "ab" * 16)) == f'"md5-{"ab" * 16}"'
