"""Servers as processes: signals, addresses that cannot be used, and the other messages of ASGI."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from holdfast.errors import BusyError, ForbiddenError, InvalidInputError
from holdfast.http.edge import Site
from holdfast.http.reply import text_reply
from holdfast.http.routing import Mount, Route
from holdfast.http.serving import listen, url_of

SERVER = """
from holdfast.http.edge import Site
from holdfast.http.reply import text_reply
from holdfast.http.routing import Mount, Route
from holdfast.http.serving import serve
routes = [Route("GET", "/", lambda request: text_reply("hello")),
          Route("PUT", "/", lambda request: text_reply("written"), scope="write")]
serve(Site([Mount("", routes)]), port=0, ready=lambda url: print(url, flush=True))
print("ended", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_ends_well_on_a_signal(number):
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", SERVER], text=True, env=environment, **pipes)
    url = child.stdout.readline().strip()
    with urllib.request.urlopen(url, timeout=20) as answer:
        assert answer.read() == b"hello"
    with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=20) as answer:
        assert answer.read() == b"written"
    child.send_signal(number)
    said, logged = child.communicate(timeout=30)
    assert (child.returncode, said) == (0, "ended\n")
    assert "PUT / 200 by anonymous from 127.0.0.1" in logged


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BusyError, match=f"{port} cannot be used.*--port"):
            listen("127.0.0.1", port)


def test_hosts_that_are_not_ours_are_refused():
    for host, port in (("no.such.host.invalid", 0), ("127.0.0.1", 99_999)):
        with pytest.raises(InvalidInputError, match="not an address"):
            listen(host, port)
    with pytest.raises(BusyError):
        listen("192.0.2.1", 0)


def test_a_port_of_the_system_needs_rights(monkeypatch):
    def refuse(self, address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ForbiddenError, match="above 1023"):
        listen("127.0.0.1", 80)


def test_the_address_is_one_that_this_machine_reaches():
    for host, expected in (("0.0.0.0", "http://127.0.0.1:"), ("127.0.0.1", "http://127.0.0.1:")):
        with listen(host, 0) as listener:
            assert url_of(listener).startswith(expected)
    if socket.has_ipv6:
        with listen("::1", 0) as listener:
            assert url_of(listener).startswith("http://[::1]:")


def step(site, scope, incoming):
    """Run an application that never waits; return what it sends."""
    sent, waiting = [], list(incoming)

    class Given:
        def __init__(self, value=None):
            self.value = value

        def __await__(self):
            return self.value
            yield

    def send(message):
        sent.append(message)
        return Given()

    coroutine = site(scope, lambda: Given(waiting.pop(0)), send)
    with pytest.raises(StopIteration):
        coroutine.send(None)
    return sent


def test_the_life_of_a_server_and_web_sockets_are_answered():
    site = Site([Mount("", [Route("GET", "/", lambda request: text_reply("x"))])])
    life = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert [each["type"] for each in step(site, {"type": "lifespan"}, life)] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    closed = step(site, {"type": "websocket"}, [{"type": "websocket.connect"}])
    assert closed == [{"type": "websocket.close", "code": 1000}]
