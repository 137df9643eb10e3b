"""The edge against clients that are rude, slow, or gone."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from conftest_http import KEY, Ticks
from holdfast.errors import BusyError, NotFoundError, TransportError
from holdfast.http.auth import Access
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.guard import GuardedProtocol
from holdfast.http.limits import Limits
from holdfast.http.origin import Origin
from holdfast.http.pool import Gate
from holdfast.http.reply import Reply, ServerEvent, json_reply, live_reply, stream_reply
from holdfast.http.routing import Mount, Route, Upload
from holdfast.http.serving import running
from http_wire import connect, get, receive_all, send_raw


def status_and_body(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body, head.decode().lower()


def test_a_foreign_host_is_refused(url):
    status, body, _ = status_and_body(send_raw(url, get("/v1/", host="evil.example")))
    assert status == 421
    assert json.loads(body)["code"] == "misdirected"


def test_a_very_long_address_is_refused_and_a_long_one_is_not(url):
    status, _, _ = status_and_body(send_raw(url, get("/v1/json?" + "a" * 49_000)))
    assert status == 200
    status, body, _ = status_and_body(send_raw(url, get("/v1/json?" + "a" * 51_000)))
    assert status == 414
    assert b"use POST" in body


def test_five_thousand_uids_fit_an_address():
    site = Site([Mount("", [Route("GET", "/", lambda request: json_reply(len(request.raw_query)))])])
    uids = ",".join(f"%22{'0123abcd' * 4}%22" for _ in range(5000))
    with running(site) as url, Connection.to_url(url) as connection:
        answer = connection._transport.open("GET", f"/?{uids}", [])
        with answer:
            assert int(answer.read()) == len(uids)


def test_an_endless_head_is_cut_off(url):
    with connect(url) as link:
        link.sendall(b"GET /v1/ HTTP/1.1\r\nHost: localhost\r\n")
        with suppress(ConnectionError):
            for _ in range(300):
                link.sendall(b"X-Filler: " + b"a" * 4000 + b"\r\n")
        with suppress(ConnectionError):
            assert receive_all(link).startswith(b"HTTP/1.1 431")


def test_a_head_over_the_limit_is_refused(url):
    fields = [f"X-Filler-{number}: {'a' * 1000}" for number in range(100)]
    status, body, _ = status_and_body(send_raw(url, get("/v1/", *fields)))
    assert (status, json.loads(body)["code"]) == (431, "head-too-long")


def test_a_fault_at_a_late_head_is_no_fault_of_the_server(monkeypatch):
    monkeypatch.setattr(GuardedProtocol, "end_head", lambda self: 1 // 0)
    site = brief_site(lambda request: json_reply(1), limits=Limits(head_s=0.1))
    with running(site) as url, connect(url):
        time.sleep(0.4)
        assert send_raw(url, get("/slow")).startswith(b"HTTP/1.1 200 ")


def test_a_slow_head_is_dropped(url):
    with connect(url) as link:
        link.sendall(b"GET /v1/ HTTP/1.1\r\n")
        assert receive_all(link) == b""


def test_a_silent_connection_is_dropped(url):
    with connect(url) as link:
        assert receive_all(link) == b""


def test_a_stalled_upload_is_answered_and_aborted(site, url):
    aborted = []

    class Sink:
        def write(self, block):
            raise AssertionError("nothing came")

        def finish(self, received):
            raise AssertionError("nothing came")

        def abort(self, error):
            aborted.append(error)

    stalled = Site(
        [Mount("", [Route("PUT", "/", lambda request: Sink(), body=Upload)])], limits=Limits(idle_s=0.2)
    )
    with running(stalled) as address, connect(address) as link:
        link.sendall(b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
        answer = link.recv(65536)
    assert b" 502 " in answer.split(b"\r\n", 1)[0] + b" "
    assert "nothing arrived" in str(aborted[0])


def test_a_client_that_leaves_in_its_upload_leaves_nothing():
    states = []
    done = threading.Event()

    class Sink:
        def write(self, block):
            states.append(len(block))

        def finish(self, received):
            states.append("finished")

        def abort(self, error):
            states.append(type(error).__name__)
            done.set()

    site = Site([Mount("", [Route("PUT", "/", lambda request: Sink(), body=Upload)])])
    with running(site) as url:
        with connect(url) as link:
            link.sendall(
                b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 1_500_000
            )
        assert done.wait(10)
    assert states[-1] == "TransportError"
    assert "finished" not in states


def test_a_client_that_leaves_a_body_stops_it(tmp_path):
    made, closed = [], threading.Event()

    def pieces():
        try:
            for number in range(100_000):
                made.append(number)
                yield b"x" * 262_144
        finally:
            closed.set()

    site = Site([Mount("", [Route("GET", "/", lambda request: Reply(pieces(), size=100_000 * 262_144))])])
    with running(site) as url:
        with connect(url) as link:
            link.sendall(get("/"))
            link.recv(1000)
        assert closed.wait(10)
        count = len(made)
        assert Connection.to_url(url).open("HEAD", "/").status == 200
    assert len(made) <= count + 1
    assert count < 1000


def test_a_fault_in_the_middle_of_a_body_breaks_it_off_and_is_logged(caplog):
    def pieces():
        yield b"x" * 300_000
        raise ZeroDivisionError

    site = Site([Mount("", [Route("GET", "/", lambda request: Reply(pieces(), size=900_000))])])
    with running(site) as url, Connection.to_url(url) as connection, pytest.raises(TransportError):
        connection.get_bytes("/")
    assert "broke off by a fault" in caplog.text


def test_a_reader_that_stalls_is_dropped(payload):
    site = Site(
        [
            Mount(
                "",
                [Route("GET", "/", lambda request: Reply(iter([b"x" * 262_144] * 400), size=400 * 262_144))],
            )
        ],
        limits=Limits(idle_s=0.3),
    )
    with running(site) as url, connect(url) as link:
        link.sendall(get("/"))
        deadline = time.monotonic() + 10
        while site.metrics.in_flight == 0 and time.monotonic() < deadline:
            pass
        while site.metrics.in_flight and time.monotonic() < deadline:
            pass
        assert site.metrics.in_flight == 0


def test_a_connection_survives_every_error(url):
    link = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    link.connect()
    local = link.sock.getsockname()
    wanted = [
        ("GET", "/v1/missing", 404),
        ("GET", "/v1/nowhere", 404),
        ("DELETE", "/v1/json", 405),
        ("GET", "/v1/fault", 500),
        ("GET", "/v1/page?page[limit]=x", 400),
        ("GET", "/v1/page?nonsense=1", 400),
        ("POST", "/v1/echo", 401),
        ("GET", "/v1/page?a=%ff", 400),
        ("GET", "/v1/file?x=1", 200),
    ]
    for method, path, status in wanted:
        link.request(method, path, body=b"{}" if method == "POST" else None)
        answer = link.getresponse()
        answer.read()
        assert (path, answer.status) == (path, status)
        assert link.sock.getsockname() == local
    link.close()


def test_a_missing_key_says_how_to_send_one(url):
    status, body, head = status_and_body(
        send_raw(
            url, b"PUT /v1/raw HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
    )
    assert status == 401
    assert "www-authenticate: bearer" in head
    assert b"HOLDFAST_API_KEY" in body


def test_a_body_over_the_limit_is_refused(tcp):
    from holdfast.errors import TooLargeError

    with pytest.raises(TooLargeError, match="1000000 bytes"):
        tcp.open("PUT", "/v1/raw", body=b"x" * 1_000_001)


def test_writes_are_logged_with_who_and_when_and_without_the_key(tcp, caplog):
    caplog.set_level("INFO", "holdfast.access")
    tcp.open("PUT", "/v1/raw", {"api_key": KEY}, body=b"x").close()
    deadline = time.monotonic() + 10
    while not (found := [each for each in caplog.records if each.name == "holdfast.access"]):
        assert time.monotonic() < deadline, "the answer does not wait for the log, but the log must come"
    (record,) = found
    assert record.getMessage() == "PUT /v1/raw 200 by key from 127.0.0.1"
    assert record.created > 0


def test_garbage_is_a_400_and_not_a_500(url):
    for data in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        get("/%zz", host="a b"),
        get("//[?a=%"),
        get("/" + "a" * 70_000),
    ):
        answer = send_raw(url, data)
        assert not answer or answer.split()[1][:1] == b"4"


def test_preflights_and_errors_carry_cors_fields():
    routes = [Route("GET", "/", lambda request: json_reply(1))]
    site = Site([Mount("", routes)], origin=Origin(allow_origin=["*"]), access=Access.with_key(KEY))
    with running(site) as url:
        ask = ("Origin: http://a.example", "Access-Control-Request-Method: GET")
        raw = get("/", *ask).replace(b"GET /", b"OPTIONS /", 1)
        status, _, head = status_and_body(send_raw(url, raw))
        assert status == 204
        assert "access-control-allow-methods: get, head, options" in head
        assert "authorization" in head
        for path in ("/", "/nowhere"):
            status, _, head = status_and_body(send_raw(url, get(path, "Origin: http://a.example")))
            assert status in {401, 404}
            assert "access-control-allow-origin: *" in head


def test_idle_listeners_hold_no_thread_and_hear():
    listening = []

    class Source:
        def __init__(self):
            self.news = []

        def subscribe(self, wake):
            self.wake = wake
            listening.append(self)
            return lambda: listening.remove(self)

        def take(self):
            news, self.news = self.news, []
            return [ServerEvent(each) for each in news]

    site = Site([Mount("", [Route("GET", "/", lambda request: live_reply(Source(), poll_s=60.0))])])
    with running(site) as url:
        links = [connect(url) for _ in range(100)]
        threads = threading.active_count()
        for link in links:
            link.sendall(get("/"))
        deadline = time.monotonic() + 20
        while len(listening) < 100 and time.monotonic() < deadline:
            pass
        assert threading.active_count() < threads + 40
        for source in list(listening):
            source.news.append("hello")
            source.wake()
        for link in links:
            heard = b""
            while b"hello" not in heard:
                heard += link.recv(4096)
            link.close()
        while listening and time.monotonic() < deadline:
            pass
        assert listening == []


def test_a_stop_ends_listeners_at_once():
    class Forever(Ticks):
        def take(self):
            return []

    site = Site([Mount("", [Route("GET", "/", lambda request: live_reply(Forever(), poll_s=60.0))])])
    with running(site) as url:
        link = connect(url)
        link.sendall(get("/"))
        assert link.recv(4096).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
    assert time.monotonic() - started < 4.0
    link.close()


def test_the_gate_lets_pieces_through_in_order_one_in_each_turn():
    import asyncio

    loop = asyncio.new_event_loop()
    gate = Gate(loop)
    turns = [gate.turn() for _ in range(3)]
    turns[1].cancel()
    seen = []
    for number, turn in enumerate(turns):
        turn.add_done_callback(lambda _, number=number: seen.append(number))
    loop.call_soon(lambda: seen.append("small"))
    loop.run_until_complete(asyncio.wait([turns[0], turns[2]]))
    loop.close()
    order = [each for each in seen if each != 1]
    assert order.index("small") < order.index(2)
    assert order.index(0) < order.index(2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_connection_works_in_a_forked_child(tcp):
    assert tcp.get_json("/v1/") is not None
    pid = os.fork()
    if pid == 0:
        code = 1
        with suppress(Exception):
            code = 0 if tcp.get_json("/v1/items/a") == "a" else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert tcp.get_json("/v1/items/b") == "b"


def test_an_error_before_the_first_byte_has_its_own_status(site, url):
    closed = []

    def pieces():
        raise NotFoundError("the source is gone")
        yield b""

    def call(request):
        reply = stream_reply(request, pieces(), media_type="a/b", size=10)
        reply.on_close = lambda: closed.append(True)
        return reply

    failing = Site([Mount("", [Route("GET", "/", call)])])
    with running(failing) as address:
        for connection in (Connection.to_url(address), Connection.to_site(failing)):
            with pytest.raises(NotFoundError, match="source is gone"):
                connection.get_bytes("/")
            with pytest.raises(NotFoundError, match="source is gone"):
                connection.read_into("/", memoryview(bytearray(10)))
            connection.close()
    assert len(closed) == 4


def brief_site(call, **options):
    slow = Route("GET", "/slow", options.pop("slow", lambda request: json_reply(1)))
    return Site([Mount("", [Route("POST", "/", call, body=bytes, lane="brief"), slow])], **options)


def test_a_brief_route_runs_on_the_loop_while_nothing_else_does():
    began, release, seen = threading.Event(), threading.Event(), []

    def call(request):
        seen.append((threading.current_thread().name, request.may_wait))
        return json_reply(request.body.decode())

    def slow(request):
        began.set()
        release.wait(10)
        return json_reply(1)

    with running(brief_site(call, slow=slow)) as url, Connection.to_url(url) as connection:
        assert connection.open("POST", "/", body=b"quiet").read() == b'"quiet"'
        with connect(url) as link:
            link.sendall(get("/slow"))
            assert began.wait(10)
            assert connection.open("POST", "/", body=b"beside").read() == b'"beside"'
            release.set()
            receive_all(link)
    assert seen == [("holdfast-server", False), ("holdfast-io", True)]


def test_a_brief_route_that_finds_somebody_in_the_way_waits_in_a_thread():
    seen = []

    def call(request):
        seen.append(request.may_wait)
        if not request.may_wait:
            raise BusyError("somebody writes")
        return json_reply(request.body.decode())

    with running(brief_site(call)) as url, Connection.to_url(url) as connection:
        assert connection.open("POST", "/", body=b"x").read() == b'"x"'
        assert Connection.to_site(brief_site(call)).open("POST", "/", body=b"x").read() == b'"x"'
    assert seen == [False, True, True]


def test_a_brief_route_that_is_slow_leaves_the_loop_to_others_for_a_while():
    seen = []

    def call(request):
        seen.append(request.may_wait)
        time.sleep(0.3 if len(seen) == 1 else 0)
        return json_reply(1)

    with running(brief_site(call)) as url, Connection.to_url(url) as connection:
        for _ in range(3):
            connection.open("POST", "/", body=b"x").close()
    assert seen == [False, True, True]


def test_an_answer_comes_in_one_piece_and_an_interim_one_at_once():
    site = brief_site(lambda request: json_reply("done"))
    with running(site) as url, connect(url) as link:
        link.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"
        )
        assert link.recv(1000).startswith(b"HTTP/1.1 100 ")
        link.sendall(b"x")
        answer = link.recv(1000)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b'"done"')
        link.sendall(b"HEAD /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert link.recv(1000).endswith(b"\r\n\r\n")


def test_a_body_in_two_pieces_is_one_body():
    site = brief_site(lambda request: json_reply(request.body.decode()))
    with running(site) as url, connect(url) as link:
        for cut in (0, 1, 4):
            link.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n" + b"abcd"[:cut])
            time.sleep(0.05)
            link.sendall(b"abcd"[cut:])
            assert link.recv(1000).endswith(b'"abcd"')


def test_fixed_addresses_do_not_hide_what_stands_before_them():
    def says(word):
        return lambda request: json_reply([word, request.path, request.root])

    face = [Route("GET", "/{path:path}", says("any")), Route("GET", "/fixed", says("hidden"))]
    other = [Route("GET", "/fixed", says("fixed")), Route("GET", "/{path:path}", says("any"))]
    site = Site(
        [Mount("/a", face), Mount("/b", other), Mount("", [Route("GET", "/b/fixed", says("hidden"))])]
    )
    for connection in (Connection.to_site(site), None):
        with running(site) as url, connection or Connection.to_url(url) as each:
            base = each.address
            assert each.get_json("/a/fixed") == ["any", "/fixed", base + "/a"]
            assert each.get_json("/b/fixed") == ["fixed", "/fixed", base + "/b"]
            assert each.get_json("/b//fixed") == ["fixed", "/fixed", base + "/b"]
            assert each.get_json("/b/more") == ["any", "/more", base + "/b"]
