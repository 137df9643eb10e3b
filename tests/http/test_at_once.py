"""Small requests that are answered where their last bytes are read: the same answers as on the long way."""

from __future__ import annotations

import logging
import re
import threading
import time

import pytest

from holdfast.errors import BusyError, ConflictError, NotFoundError
from holdfast.http.auth import Access, key_hash
from holdfast.http.client import Connection
from holdfast.http.edge import Site
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
    access = Access.with_key(KEY)
    with running(site_of(access=access, origin=Origin(allow_origin=allowed))) as url:
        key = [] if any(each.startswith("Auth") for each in fields) else [f"Authorization: Apikey {KEY}"]
        # A question mark leads the long way.
        answers = [
            send_raw(url, post(path + mark, body, *key, *fields, "Connection: close")) for mark in ("", "?")
        ]
    at_once, long_way = map(without_date, answers)
    assert at_once == long_way
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
        for _ in range(2):
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


def test_a_body_that_does_not_come_is_timed_by_the_edge():
    limits = Limits(head_s=0.2, idle_s=0.3)
    with running(site_of(limits=limits)) as url, connect(url) as link:
        link.sendall(post("/do", b"xy", size=4))
        answer = link.recv(1000)
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"nothing arrived" in answer


def test_a_body_that_is_late_is_whole():
    with running(site_of(limits=Limits(head_s=0.2, idle_s=5))) as url, connect(url) as link:
        link.sendall(post("/do", b"ab", size=4))
        time.sleep(0.5)
        link.sendall(b"cd")
        assert b'["abcd"' in link.recv(1000)


def test_a_client_that_leaves_before_its_body_leaves_nothing():
    seen = []
    with running(site_of(lambda request: seen.append(1) or json_reply(1))) as url:
        with connect(url) as link:
            link.sendall(post("/do", b"ab", size=4))
        assert send_raw(url, post("/do", b"x", "Connection: close")).startswith(b"HTTP/1.1 200 ")
    assert seen == [1]


def test_a_stopping_server_answers_what_has_begun_to_come():
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
        assert connection.open("POST", "/do", body=b"x").read() == b'"x"'
    assert seen == [("holdfast-server", False), ("holdfast-io", True)]


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
    assert [each.rpartition(" from ")[0] for each in said] == [
        "POST /do 200 by anonymous",
        "POST /do 409 by anonymous",
    ]
    assert 'method="POST",status="200"} 1' in site.metrics.text()
    assert 'method="POST",status="409"} 1' in site.metrics.text()
    assert site.metrics.in_flight == 0
