"""A small site with one route of each kind, reached both ways."""

from __future__ import annotations

import msgspec
import pytest

from holdfast.errors import HashError, NotFoundError, TooLargeError
from holdfast.http.auth import Access
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.limits import Limits
from holdfast.http.receive import BytesReceiver
from holdfast.http.reply import (
    Reply,
    bytes_reply,
    file_reply,
    json_reply,
    live_reply,
    stream_reply,
    text_reply,
)
from holdfast.http.routing import Mount, Route, Upload
from holdfast.http.serving import running

KEY = "ab" * 32


class Page(msgspec.Struct):
    limit: int = msgspec.field(default=10, name="page[limit]")
    fields: list[str] = []
    exact: bool = False


class Document(msgspec.Struct):
    name: str
    n: int


def missing(request):
    raise NotFoundError("no entry 'x'; list them first", key="x")


def fault(request):
    raise ZeroDivisionError


def breaks_off(request):
    def pieces():
        yield b"a" * 400_000
        raise HashError("block 1 of 'x' is damaged", block=1)

    return stream_reply(request, pieces(), media_type="application/octet-stream", size=800_000)


class Ticks:
    """A live source of three events."""

    def __init__(self):
        self.left = 3
        self.stopped = False

    def subscribe(self, wake):
        self.wake = wake
        return lambda: setattr(self, "stopped", True)

    def take(self):
        from holdfast.http.reply import ServerEvent

        if self.left == 0:
            return None
        self.left -= 1
        self.wake()
        return [ServerEvent(f"tick\n{self.left}", id=str(self.left))]


def make_routes(path):
    return [
        Route("GET", "/", lambda request: json_reply({"root": request.root}), scope="open", lane="inline"),
        Route("GET", "/json", lambda request: json_reply({"args": dict(request.args)}), lane="inline"),
        Route("GET", "/page", lambda request: json_reply(msgspec.to_builtins(request.params(Page)))),
        Route("GET", "/items/{path:path}", lambda request: json_reply(request.args["path"])),
        Route("GET", "/missing", missing),
        Route("GET", "/fault", fault),
        Route("GET", "/file", lambda request: file_reply(request, path, filename="täst.bin")),
        Route("GET", "/bytes", lambda request: bytes_reply(request, b"0123456789", etag='"x"')),
        Route("GET", "/large", lambda request: Reply(b"z" * 3_000_000)),
        Route(
            "GET",
            "/stream",
            lambda request: stream_reply(
                request, (bytes([n]) * 100_000 for n in range(20)), media_type="a/b", size=2_000_000
            ),
            lane="heavy",
        ),
        Route("GET", "/chunks", lambda request: Reply(iter([b"a", b"", b"b" * 600_000]))),
        Route("GET", "/breaks", breaks_off),
        Route("GET", "/live", lambda request: live_reply(Ticks(), poll_s=5.0)),
        Route("GET", "/empty", lambda request: Reply(status=204)),
        Route(
            "POST",
            "/echo",
            lambda request: text_reply(repr(request.json(Document))),
            scope="write",
            body=Document,
        ),
        Route("PUT", "/raw", lambda request: Reply(request.body), scope="write", body=bytes),
        Route("PUT", "/upload", receive, scope="write", body=Upload),
    ]


def receive(request):
    if request.headers.get("refuse"):
        raise TooLargeError("not taken")
    return BytesReceiver(
        50_000_000,
        lambda data, received: json_reply(
            {"size": received.size_bytes, "digests": {k: str(v) for k, v in received.digests.items()}}
        ),
    )


@pytest.fixture(scope="session")
def payload(tmp_path_factory):
    path = tmp_path_factory.mktemp("payload") / "payload.bin"
    path.write_bytes(bytes(range(256)) * 12_345)
    return path


@pytest.fixture(scope="session")
def site(payload):
    return Site(
        [Mount("/v1", make_routes(payload))],
        access=Access.with_key(KEY, public=True),
        limits=Limits(url_bytes=50_000, body_bytes=1_000_000, idle_s=1.0, head_s=1.0),
    )


@pytest.fixture(scope="session")
def url(site):
    with running(site) as address:
        yield address


@pytest.fixture
def tcp(url):
    with Connection.to_url(url, api_key=KEY, timeout_s=20.0) as connection:
        yield connection


@pytest.fixture
def local(site):
    return Connection.to_site(site)


@pytest.fixture(params=["tcp", "local"])
def connection(request):
    return request.getfixturevalue(request.param)
