"""Names that rebinding could use are refused; CORS fields go out only where they were asked for."""

from __future__ import annotations

import socket

import pytest

from holdfast.http.origin import Origin
from holdfast.http.request import Request


def request(origin=None):
    headers = [] if origin is None else [(b"origin", origin.encode())]
    return Request({"method": "GET", "path": "/", "query_string": b"", "headers": headers})


@pytest.mark.parametrize(
    "host",
    [None, "localhost", "LOCALHOST:80", "127.0.0.1:8000", "[::1]:8000", "192.168.1.7",
     socket.gethostname(),
     "data.example:443"],
)  # fmt: skip
def test_own_names_and_addresses_are_known(host):
    assert Origin(["data.example"]).knows_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "",
        "[x",
        'localhost:80"x',
        "localhost/x",
        "a@localhost",
        "localhost:",
        "localhost:123456",
        "lo\ncalhost",
    ],
)
def test_other_names_are_not(host):
    assert not Origin(["data.example"]).knows_host(host)


def test_a_star_knows_every_host():
    assert Origin(["*"]).knows_host("any.example")
    assert not Origin(["*"]).knows_host('any.example"')


def test_without_allow_origin_nothing_goes_out():
    assert Origin().headers_for(request("http://a.example")) == []
    assert Origin().preflight_for(["GET"]) == []


def test_a_star_allows_every_page():
    fields = dict(Origin(allow_origin=["*"]).headers_for(request()))
    assert fields["access-control-allow-origin"] == "*"
    assert "Content-Range" in fields["access-control-expose-headers"]


def test_named_pages_are_answered_by_their_name():
    origin = Origin(allow_origin=["http://a.example"])
    assert (
        dict(origin.headers_for(request("http://a.example")))["access-control-allow-origin"]
        == "http://a.example"
    )
    assert origin.headers_for(request("http://b.example")) == [("vary", "Origin")]
    assert origin.headers_for(request()) == [("vary", "Origin")]
