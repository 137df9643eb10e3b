"""Small requests that are answered where their last bytes are read: the same answers as on the long way."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time

import pytest

from holdfast.errors import BusyError, ConflictError, NotFoundError
from holdfast.http.auth import Access, key_hash
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.guard import GuardedProtocol
from holdfast.http.limits import Limits
from holdfast.http.origin import Origin
from holdfast.http.principal import Principal
from holdfast.http.reply import Reply, empty_reply, json_reply
from holdfast.http.routing import Mount, Route
from holdfast.http.serving import Serving, running
from http_wire import connect, receive_all, send_raw

KEY = "ab" * 32


def call(request):
    """Do what the body says."""
    what = request.body.decode()
    if what == "conflict":
        raise ConflictError("taken")
    if what == "fault":
        raise ZeroDivisionError
    if what == "stream":
        return Reply(iter([b"a", b"b"]), media_type="text/plain")
    if what == "nothing":
        return empty_reply()
    if what == "fields":
        return json_reply(1, headers={"x-one": "1"})
    if what == "broken":
        return json_reply(1, headers={"x-one": "1\r\nx-two: 2"})
    return json_reply([what, request.principal.name, request.root, request.path])


def site_of(call=call, **options):
    routes = [Route("POST", "/do", call, scope="write", body=bytes, lane="brief")]
    return Site([Mount("/v1", routes), Mount("", routes)], **options)


def post(path, body, *fields, version="1.1", size=None):
    head = [f"POST {path} HTTP/{version}", "Host: localhost", f"Content-Length: {size or len(body)}", *fields]
    return "\r\n".join([*head, "", ""]).encode() + body


def without_date(answer):
    return re.sub(rb"date: [^\r]*\r\n", b"", answer)


def come_before(url, request, often):
    """Send a request on connections of its own, so that its head is known."""
    for _ in range(often):
        with connect(url) as link:
            link.sendall(request)
            link.recv(10_000)


CASES = [
    ("/do", b"", []),
    ("/do", b"x", []),
    ("/v1/do", b"x", []),
    ("/do", b"conflict", []),
    ("/do", b"fault", []),
    ("/do", b"stream", []),
    ("/do", b"nothing", []),
    ("/do", b"fields", []),
    ("/do", b"broken", []),
    ("/do", b"x" * 5000, []),
    ("/do", b"x", ["Authorization: Apikey wrong"]),
    ("/do", b"x", ["Origin: http://a.example"]),
    ("/do", b"x", ["Content-Digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"]),
    ("/do", b"x", ["Host: evil.example"]),
    ("/do", b"x", ["X-Filler: " + "a" * 70_000]),
]


@pytest.mark.parametrize(("path", "body", "fields"), CASES, ids=range(len(CASES)))
@pytest.mark.parametrize("allowed", [(), ("http://a.example",)])
def test_an_answer_at_once_is_the_answer_of_the_long_way(path, body, fields, allowed):
    """Also when the same head comes for the third time, and is not parsed any more."""
    access = Access.with_key(KEY)
    with running(site_of(access=access, origin=Origin(allow_origin=allowed))) as url:
        key = [] if any(each.startswith("Auth") for each in fields) else [f"Authorization: Apikey {KEY}"]
        # A question mark leads the long way.
        answers = [
            send_raw(url, post(path + mark, body, *key, *fields, "Connection: close"))
            for mark in ("", "", "", "", "?")
        ]
    at_once, *again, long_way = map(without_date, answers)
    assert at_once == long_way
    assert again == [long_way] * 3
    assert at_once.startswith(b"HTTP/1.1 ") == (body != b"broken")


def test_without_a_key_nothing_is_done():
    seen = []
    with running(site_of(lambda request: seen.append(1), access=Access.with_key(KEY, public=True))) as url:
        answer = send_raw(url, post("/do", b"x", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'www-authenticate: Bearer realm="holdfast"' in answer
    assert seen == []


def test_it_makes_no_task():
    tasks = []

    class Counting(Site):
        async def __call__(self, scope, receive, send):
            tasks.append(scope["path"])
            await super().__call__(scope, receive, send)

    site = Counting([Mount("", [Route("POST", "/do", call, body=bytes, lane="brief")])])
    with running(site) as url, Connection.to_url(url) as connection:
        # What was slow at first is left to threads for a while.
        for _ in range(20):
            connection.open("POST", "/do", body=b"x").close()
        assert len(tasks) < 20
        tasks.clear()
        connection.open("POST", "/do", {"a": 1}, body=b"x").close()
        assert tasks == ["/do"]


def test_what_is_remembered_of_a_head_is_no_pass():
    held, now = {}, {"key": KEY}
    access = Access(lambda digest: Principal("tom", "write") if digest == key_hash(now["key"]) else None)
    access._known = held
    with running(site_of(access=access)) as url:
        fields = [f"Authorization: Apikey {KEY}", "Connection: close"]
        for _ in range(4):
            assert b"200 OK" in send_raw(url, post("/do", b"x", *fields))
        # The key is revoked; what Access remembers of it for a second is over.
        now["key"] = "other"
        held.clear()
        assert b" 401 " in send_raw(url, post("/do", b"x", *fields)).split(b"\r\n")[0]


def test_requests_that_come_together_are_answered_in_order():
    with running(site_of()) as url, connect(url) as link:
        link.sendall(
            post("/do", b"1")
            + post("/do?", b"2")
            + post("/do", b"3")
            + post("/do", b"4", "Connection: close")
        )
        answers = receive_all(link)
    assert re.findall(rb'\["(\d)"', answers) == [b"1", b"2", b"3", b"4"]
    assert answers.count(b"connection: close") == 1


def test_a_connection_is_kept_or_ended_as_the_client_says():
    with running(site_of()) as url:
        assert send_raw(url, post("/do", b"x", version="1.0")).startswith(b"HTTP/1.1 200 ")
        with connect(url) as link:
            for _ in range(3):
                link.sendall(post("/do", b"x"))
                assert link.recv(1000).startswith(b"HTTP/1.1 200 ")


@pytest.fixture
def parsed(monkeypatch):
    """Give the addresses of the heads that are parsed."""
    seen, original = [], GuardedProtocol.on_headers_complete

    def on_headers_complete(self):
        seen.append(self.url)
        original(self)

    monkeypatch.setattr(GuardedProtocol, "on_headers_complete", on_headers_complete)
    return seen


def test_a_head_that_came_before_is_not_parsed_again(parsed):
    with running(site_of()) as url, connect(url) as link:
        for number in range(20):
            link.sendall(post("/do", b"%02d" % number))
            assert b'["%02d"' % number in link.recv(1000)
        # The first one of all may take long, and send the next ones the long way for a while.
        assert len(parsed) < 20
        parsed.clear()
        for piece in (post("/do", b"20"), post("/do", b"2", size=2), b"1"):
            link.sendall(piece)
            time.sleep(0.05)
        assert re.findall(rb'\["(\d*)"', link.recv(10_000)) == [b"20", b"21"]
    assert parsed == []


def test_requests_that_come_together_are_parsed_though_their_heads_came_before(parsed):
    request = post("/do", b"1")
    with running(site_of()) as url, connect(url) as link:
        come_before(url, request, 3)
        parsed.clear()
        link.sendall(request + post("/do?", b"2") + request + post("/do", b"4", "Connection: close"))
        answers = receive_all(link)
        assert parsed
    assert re.findall(rb'\["(\d)"', answers) == [b"1", b"2", b"1", b"4"]


def test_requests_are_cut_anywhere():
    first, second = post("/do", b"1"), post("/do", b"2", "Connection: close")
    with running(site_of()) as url:
        come_before(url, first, 3)
        come_before(url, second, 3)
        for cut in range(1, len(first + second)):
            with connect(url) as link:
                link.sendall((first + second)[:cut])
                time.sleep(0.002)
                link.sendall((first + second)[cut:])
                answers = receive_all(link)
            assert re.findall(rb'\["(\d)"', answers) == [b"1", b"2"], cut


def test_a_head_that_came_before_is_no_head_inside_another_one():
    request = post("/do", b"1")
    beginning = post("/do", b"", "X-One: a").removesuffix(b"\r\n")
    with running(site_of()) as url:
        come_before(url, request, 3)
        with connect(url) as link:
            # The first message ends in the middle of what arrives; the second one is half there.
            link.sendall(post("/do", b"0") + beginning + b"X-Two: ")
            time.sleep(0.1)
            link.sendall(request)
            link.shutdown(socket.SHUT_WR)
            answers = receive_all(link)
    assert answers.count(b"HTTP/1.1 200 ") == 1
    assert b'["1"' not in answers


@pytest.mark.parametrize("head", [b"\r\n\r\n", b"POST /do HTTP/1.1\nHost: localhost\nContent-Length: 5\n\n"])
def test_heads_that_are_odd_are_left_to_the_parser(parsed, head):
    odd = head + post("/do", b"1", "Connection: close")
    with running(site_of()) as url:
        answers = {without_date(send_raw(url, odd)) for _ in range(5)}
    assert len(answers) == 1
    assert len(parsed) in {0, 5}


@pytest.mark.parametrize("often", [0, 3])
def test_a_body_that_does_not_come_is_timed_by_the_edge(often):
    limits = Limits(head_s=0.2, idle_s=0.3)
    with running(site_of(limits=limits)) as url, connect(url) as link:
        come_before(url, post("/do", b"xyzz"), often)
        link.sendall(post("/do", b"xy", size=4))
        answer = link.recv(1000)
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"nothing arrived" in answer


@pytest.mark.parametrize("often", [0, 3])
def test_a_body_that_is_late_is_whole(often):
    with running(site_of(limits=Limits(head_s=0.2, idle_s=5))) as url, connect(url) as link:
        come_before(url, post("/do", b"wxyz"), often)
        link.sendall(post("/do", b"ab", size=4))
        time.sleep(0.5)
        link.sendall(b"cd")
        assert b'["abcd"' in link.recv(1000)


@pytest.mark.parametrize("often", [0, 3])
def test_a_client_that_leaves_before_its_body_leaves_nothing(often):
    seen = []
    with running(site_of(lambda request: seen.append(1) or json_reply(1))) as url:
        come_before(url, post("/do", b"wxyz"), often)
        seen.clear()
        with connect(url) as link:
            link.sendall(post("/do", b"ab", size=4))
        assert send_raw(url, post("/do", b"x", "Connection: close")).startswith(b"HTTP/1.1 200 ")
    assert seen == [1]


@pytest.mark.parametrize("often", [0, 3])
def test_a_stopping_server_answers_what_has_begun_to_come(often):
    site = site_of()
    servers = []
    original = Serving.__init__

    class Known(Serving):
        def __init__(self, *args):
            original(self, *args)
            servers.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("holdfast.http.serving.Serving", Known)
        with running(site) as url, connect(url) as link:
            come_before(url, post("/do", b"wxyz"), often)
            link.sendall(post("/do", b"ab", size=4))
            time.sleep(0.1)
            servers[0].stop()
            time.sleep(0.3)
            link.sendall(b"cd")
            answer = receive_all(link)
    assert b'["abcd"' in answer
    assert b"connection: close" in answer


def test_who_finds_others_in_the_way_waits_in_a_thread_and_is_asked_once_more():
    seen = []

    def call(request):
        seen.append((threading.current_thread().name, request.may_wait))
        if not request.may_wait:
            raise BusyError("somebody writes")
        return json_reply(request.body.decode())

    with running(site_of(call)) as url, Connection.to_url(url) as connection:
        for _ in range(4):
            assert connection.open("POST", "/do", body=b"x").read() == b'"x"'
    assert seen == [("holdfast-server", False), ("holdfast-io", True)] * 4


@pytest.mark.parametrize("often", [0, 3])
def test_an_answer_is_closed_when_it_is_on_its_way_and_slow_closing_makes_cautious(often):
    arrived, seen = threading.Event(), []
    arrived.set()

    def call(request):
        seen.append((request.may_wait, arrived.is_set()))
        return Reply(b"{}", media_type="application/json", on_close=close)

    def close():
        if not arrived.is_set():
            seen.append(arrived.wait(5))
            time.sleep(0.1)

    with running(site_of(call)) as url:
        come_before(url, post("/do", b"x", "Connection: close"), often)
        arrived.clear()
        seen.clear()
        with connect(url) as link:
            link.sendall(post("/do", b"x", "Connection: close"))
            assert link.recv(1000).endswith(b"{}")
            arrived.set()
            send_raw(url, post("/do", b"x", "Connection: close"))
    assert seen == [(False, False), True, (True, True)]


def test_answers_are_counted_and_writes_logged(caplog):
    site = site_of()
    with (
        caplog.at_level(logging.INFO, "holdfast.access"),
        running(site) as url,
        Connection.to_url(url) as connection,
    ):
        connection.open("POST", "/do", body=b"x").close()
        with pytest.raises(ConflictError):
            connection.open("POST", "/do", body=b"conflict")
        with pytest.raises(NotFoundError):
            connection.open("POST", "/none", body=b"x")
    said = [record.getMessage() for record in caplog.records if record.name == "holdfast.access"]
    assert said == [
        "POST /do 200 by anonymous from 127.0.0.1",
        "POST /do 409 by anonymous from 127.0.0.1",
    ]
    assert 'method="POST",status="200"} 1' in site.metrics.text()
    assert 'method="POST",status="409"} 1' in site.metrics.text()
    assert site.metrics.in_flight == 0
