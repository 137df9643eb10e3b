"""The media type of an answer."""

from __future__ import annotations

import pytest

from holdfast.errors import NotAcceptableError
from holdfast.http.negotiation import choose, negotiate
from holdfast.http.request import Request

OFFERED = ("application/octet-stream", "application/json", "text/csv")


def request(accept=None, query=b""):
    headers = [] if accept is None else [(b"accept", accept.encode())]
    return Request({"method": "GET", "path": "/", "query_string": query, "headers": headers})


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, OFFERED[0]),
        ("", OFFERED[0]),
        ("*/*", OFFERED[0]),
        ("text/csv", OFFERED[2]),
        ("TEXT/CSV; charset=utf-8", OFFERED[2]),
        ("text/*", OFFERED[2]),
        ("application/json;q=0.2, text/csv;q=0.9", OFFERED[2]),
        ("text/html, application/json", OFFERED[1]),
        ("text/html, */*;q=0.1", OFFERED[0]),
        ("application/json, text/csv", OFFERED[1]),
    ],
)
def test_the_weights_of_the_client_decide(accept, expected):
    assert choose(accept, OFFERED) == expected


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "application/json;q=nonsense", "x"])
def test_what_is_not_possible_names_what_is(accept):
    with pytest.raises(NotAcceptableError, match="application/octet-stream, application/json, text/csv"):
        choose(accept, OFFERED)


def test_format_wins_over_accept_and_may_be_short():
    aliases = {"csv": "text/csv"}
    assert negotiate(request("application/json", b"format=csv"), OFFERED, aliases) == "text/csv"
    assert negotiate(request("application/json", b"format=CSV"), OFFERED, aliases) == "text/csv"
    assert negotiate(request(None, b"format=application/json"), OFFERED, aliases) == "application/json"
    assert negotiate(request("application/json", b"format="), OFFERED, aliases) == "application/json"


def test_an_unknown_format_is_refused_with_the_short_names():
    with pytest.raises(NotAcceptableError, match=r"'xlsx' is not possible.*format=csv"):
        negotiate(request(None, b"format=xlsx"), OFFERED, {"csv": "text/csv", "png": "image/png"})


def test_frames_are_no_type_to_choose():
    frames = "application/vnd.holdfast.frames"
    assert choose(frames, OFFERED) == OFFERED[0]
    assert choose(f"{frames}, text/csv;q=0.9", OFFERED) == "text/csv"
    with pytest.raises(NotAcceptableError) as caught:
        choose(f"{frames}, text/html", OFFERED)
    assert caught.value.details == {"possible": list(OFFERED)}
