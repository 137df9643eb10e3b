"""What a peer sends: frames, ranges, conditions, media types, parameters. Ours answers or says why not."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.errors import (
    HashError,
    HoldfastError,
    RangeNotSatisfiableError,
    TransportError,
    UnreadableError,
)
from holdfast.http import negotiation, params
from holdfast.http.frames import FrameReader, frames
from holdfast.http.origin import Origin
from holdfast.http.ranges import Validators, parse_range, select

EXAMPLES = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), database=None)
PIECES = [
    "bytes",
    "=",
    "-",
    ",",
    " ",
    "0",
    "9",
    "9" * 25,
    '"',
    "W/",
    "*",
    "etag",
    ";",
    "q=",
    "1.5",
    "/",
    "text",
    "json",
]
PIECES += [
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 9999 23:59:59 -9999",
    "[",
    "]",
    ":",
    "::1",
    "é",
    "\t",
    "localhost",
]
FIELDS = st.one_of(
    st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=40),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
)
BODIES = st.lists(st.binary(max_size=300), max_size=6)


def sent(pieces: list[bytes]) -> bytes:
    return b"".join(bytes(part) for part in frames(pieces))


def received(body: bytes, cuts: list[int]) -> bytes:
    """Feed a body in parts; return what came out, after its end was seen."""
    reader, out, start = FrameReader(), bytearray(), 0
    for stop in [*sorted(min(cut, len(body)) for cut in cuts), len(body)]:
        for piece in reader.feed(body[start:stop]):
            out += piece
        start = stop
    reader.finish()
    return bytes(out)


@EXAMPLES
@given(BODIES, st.lists(st.integers(0, 2000), max_size=8))
def test_frames_arrive_whatever_the_parts_they_come_in(pieces, cuts):
    assert received(sent(pieces), cuts) == b"".join(pieces)


@EXAMPLES
@given(BODIES, st.integers(0, 10**6), st.integers(0, 7))
def test_a_flipped_bit_in_frames_is_always_an_error(pieces, position, bit):
    body = bytearray(sent(pieces))
    body[position % len(body)] ^= 1 << bit
    with pytest.raises((HashError, UnreadableError, TransportError, HoldfastError)):
        received(bytes(body), [])


@EXAMPLES
@given(BODIES, st.integers(0, 10**6))
def test_frames_that_break_off_are_always_an_error(pieces, position):
    body = sent(pieces)
    with pytest.raises(TransportError):
        received(body[: position % len(body)], [])


@EXAMPLES
@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=4))
def test_bytes_that_are_no_frames_give_nothing_but_errors_of_ours(body, cuts):
    with suppress(HoldfastError):
        assert received(body, cuts) == b""


@EXAMPLES
@given(FIELDS, st.integers(0, 10**6))
def test_a_range_lies_inside_the_body(field, size):
    try:
        span = parse_range(field, size)
    except RangeNotSatisfiableError:
        return
    assert span is None or 0 <= span[0] < span[1] <= size


NAMES = ["range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]


@EXAMPLES
@given(
    st.dictionaries(st.sampled_from(NAMES), FIELDS),
    st.integers(0, 10**6),
    st.sampled_from([None, '"etag"', 'W/"etag"']),
    st.sampled_from([None, 784111777.0, 0.0]),
)
def test_conditions_decide_on_bytes_of_the_body(headers, size, etag, modified):
    try:
        chosen = select(headers, size, Validators(etag, modified))
    except HoldfastError:
        return
    assert chosen.status in (200, 206, 304)
    assert 0 <= chosen.start <= chosen.stop <= size


class Parameters(msgspec.Struct, kw_only=True):
    limit: int = msgspec.field(default=100, name="page[limit]")
    ratio: float = 0.0
    flag: bool = False
    names: list[str] = []
    one: str | None = None


PAIRS = st.lists(
    st.tuples(st.one_of(st.sampled_from(["page[limit]", "ratio", "flag", "names", "one"]), FIELDS), FIELDS),
    max_size=6,
)
ORIGIN = Origin(["localhost"])

PARSERS: dict[str, tuple[Callable[[Any], object], st.SearchStrategy[Any]]] = {
    "accept": (
        lambda field: negotiation.choose(field, ["application/json", "text/csv"], {"csv": "text/csv"}),
        FIELDS,
    ),
    "host": (ORIGIN.knows_host, FIELDS),
    "parameters": (lambda pairs: params.decode_params(pairs, Parameters), PAIRS),
}


@pytest.mark.parametrize("name", PARSERS)
def test_any_field_gives_a_value_or_an_error_of_ours(name):
    parse, inputs = PARSERS[name]

    @EXAMPLES
    @given(inputs)
    def check(value: Any) -> None:
        started = time.perf_counter()
        with suppress(HoldfastError):
            parse(value)
        assert time.perf_counter() - started < 1

    check()
