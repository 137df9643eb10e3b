"""Small requests over kept connections, against servers that answer as they like."""

from __future__ import annotations

import os
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from holdfast.errors import InvalidInputError, TransportError
from holdfast.http.client.faults import StaleConnectionError
from holdfast.http.client.line import Head, LineAnswer
from holdfast.http.client.tcp import Tcp, TcpAnswer

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Script:
    """A server that answers each request with the next of its lines, and counts its connections."""

    def __init__(self, answers: list[list[bytes] | None]) -> None:
        self.answers, self.requests, self.connections = list(answers), [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while self.answers:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            with link, suppress(ConnectionError):
                self.talk(link)

    def talk(self, link: socket.socket) -> None:
        while self.answers:
            request = b""
            while b"\r\n\r\n" not in request:
                more = link.recv(65536)
                if not more:
                    return
                request += more
            self.requests.append(request)
            parts = self.answers.pop(0)
            if parts is None:
                return
            for part in parts:
                link.sendall(part)


@contextmanager
def scripted(*answers: list[bytes] | None, timeout_s: float = 5.0) -> Iterator[tuple[Script, Tcp]]:
    script = Script(list(answers))
    tcp = Tcp(script.url, timeout_s)
    try:
        yield script, tcp
    finally:
        tcp.close()
        with suppress(OSError):
            # Closing alone would not wake who waits in it.
            script.listener.shutdown(socket.SHUT_RDWR)
        script.listener.close()
        script.thread.join(5)


def read(tcp, method="GET", target="/", body=None):
    with tcp.open(method, target, [("a", "b")], body) as answer:
        return answer.status, answer.read()


def test_answers_of_known_size_share_one_connection_whole_or_in_bits():
    bits = [bytes([each]) for each in OK]
    empty = b"HTTP/1.1 204 No Content\r\n\r\n"
    with scripted([OK], bits, [empty], [OK[:50], OK[50:]]) as (script, tcp):
        assert [read(tcp) for _ in range(4)] == [(200, b"ok"), (200, b"ok"), (204, b""), (200, b"ok")]
        assert script.connections == 1
    assert script.requests[0].startswith(b"GET / HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\na: b\r\n" in script.requests[0]


def test_head_and_body_go_out_in_one_write_and_an_empty_body_has_a_size():
    with scripted([OK], [OK], [OK]) as (script, tcp):
        read(tcp, "POST", body=b"hello")
        read(tcp, "POST", body=b"")
        read(tcp, "PUT")
    assert script.requests[0].endswith(b"content-length: 5\r\n\r\nhello")
    assert all(b"content-length: 0\r\n" in each for each in script.requests[1:])


ODD = {
    "chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", True),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, True),
    "folded": (b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 2\r\n\r\nok", True),
    "compressed": (
        b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\ncontent-length: 10\r\n\r\n" + zlib.compress(b"ok"),
        True,
    ),
    "old": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", False),
    "closing": (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", False),
    "more than announced": (OK + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong", False),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_answers_are_read_and_only_clean_connections_are_kept(name):
    answer, stays = ODD[name]
    with scripted([answer], [OK]) as (script, tcp):
        assert read(tcp) == (200, b"ok")
        if not stays:
            assert len(tcp._lines._kept) == 0
            return
        assert read(tcp) == (200, b"ok")
        assert script.connections == 1


def test_an_answer_without_size_ends_with_its_connection():
    with scripted([b"HTTP/1.1 200 OK\r\n\r\nok"]) as (script, tcp), tcp.open("GET", "/", []) as answer:
        assert isinstance(answer, TcpAnswer)
        script.answers.clear()
        script.listener.close()
        assert answer.read(2) == b"ok"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1",
        b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 30,
        b"HTTP/1.1 200 OK\r\ncontent length: 1",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\nx: y",
        b"HTTP/1.1 99 OK\r\ncontent-length: 1",
        b"HTTP/2 200 OK\r\ncontent-length: 1",
        b"ICY 200 OK\r\ncontent-length: 1",
        b"",
    ],
)
def test_heads_that_are_not_plain_are_left_to_the_library(head):
    assert Head.parse(head) is None


def test_words_and_fields_of_a_head_are_kept():
    head = Head.parse("HTTP/1.1 404 Nicht da ü\r\nX-A:  b \r\ncontent-length: 0\r\nx-a: c".encode("latin-1"))
    assert (head.status, head.reason, head.headers.all("x-a"), head.size) == (
        404,
        "Nicht da ü",
        ["b", "c"],
        0,
    )
    assert Head.parse(b"HTTP/1.1 304\r\netag: x").size == 0


@pytest.mark.parametrize(
    "garbage", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000]
)
def test_what_is_no_answer_is_an_error_of_ours(garbage):
    with scripted([garbage, b""], None) as (script, tcp):
        script.answers.pop()
        with pytest.raises(TransportError):
            read(tcp)


def test_a_body_that_breaks_off_says_how_much_is_missing():
    with scripted([b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\nok"]) as (_, tcp):
        with pytest.raises(StaleConnectionError, match="999999999998 bytes early"):
            read(tcp)
        assert len(tcp._lines._kept) == 0


def test_a_server_that_says_nothing_is_given_up_in_time():
    with scripted([b"HTTP/1.1 200 OK\r\n"], timeout_s=0.2) as (script, tcp):
        script.answers.append([b""])
        with pytest.raises(TransportError, match="did not answer in time"):
            read(tcp)


def test_a_kept_connection_that_the_server_ended_is_replaced():
    with scripted([OK], [OK]) as (script, tcp):
        assert read(tcp) == (200, b"ok")
        (link,) = tcp._lines._kept
        link.shutdown(socket.SHUT_RDWR)
        assert read(tcp) == (200, b"ok")
        assert script.connections == 2


def test_an_answer_that_was_given_up_does_not_disturb_the_next():
    long = b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n"
    with scripted([long, b"x" * 1000], [OK]) as (script, tcp):
        with tcp.open("GET", "/", []) as answer:
            assert answer.read(10) == b"x" * 10
        assert read(tcp) == (200, b"ok")
        assert script.connections == 2


def test_the_body_of_an_answer_to_head_is_not_waited_for():
    with scripted([b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"], [OK]) as (script, tcp):
        with tcp.open("HEAD", "/", []) as answer:
            assert isinstance(answer, LineAnswer)
            assert (answer.headers.get("content-length"), answer.read()) == ("7", b"")
        assert read(tcp) == (200, b"ok")
        assert script.connections == 1


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("/a b", []),
        ("/\r\nx: y", []),
        ("/", [("x", "a\r\ny: b")]),
        ("/", [("x\n", "a")]),
        ("/", [("x", "\0")]),
    ],
)
def test_nothing_can_be_smuggled_into_a_head(target, fields):
    with scripted() as (_, tcp), pytest.raises(InvalidInputError, match="line break"):
        tcp.open("GET", target, fields)


def test_what_a_head_cannot_hold_is_told_without_telling_the_key():
    with scripted() as (_, tcp), pytest.raises(InvalidInputError, match="cannot hold") as raised:
        tcp.open("GET", "/", [("authorization", "Apikey secret☃")])
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_does_not_use_the_connections_of_its_parent():
    with scripted([OK], [OK], [OK]) as (script, tcp):
        assert read(tcp) == (200, b"ok")
        pid = os.fork()
        if pid == 0:
            link = tcp._lines._take
            tcp._lines._connect = lambda: "new"
            os._exit(0 if link() == "new" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert read(tcp) == (200, b"ok")
        assert script.connections == 1


def test_many_threads_never_share_a_connection(url):
    tcp, wrong = Tcp(url), []

    def ask(number):
        for each in range(30):
            status, body = read(tcp, target=f"/v1/items/{number}-{each}")
            if (status, body) != (200, f'"{number}-{each}"'.encode()):
                wrong.append((status, body))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tcp.close()
    assert wrong == []
