"""What clients stand on: addresses, keys, redirects, patience, and downloads that go on."""

from __future__ import annotations

import base64
import os
import pickle
import socket
import threading
import time

import pytest

from holdfast.errors import BusyError, HashError, InvalidInputError, InvalidTypeError, TransportError
from holdfast.hashing import hash_bytes
from holdfast.http.client import Connection
from holdfast.http.client.address import split_address, target
from holdfast.http.edge import Site
from holdfast.http.reply import Reply, bytes_reply, empty_reply, file_reply, json_reply
from holdfast.http.routing import Mount, Route
from holdfast.http.serving import running

KEY = "ef" * 32


def site_of(*routes):
    return Site([Mount("", [Route("GET", path, call) for path, call in routes])])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000", ("http://localhost:8000", "", None)),
        ("http://localhost:8000/store/x/", ("http://localhost:8000", "/store/x", None)),
        ("https://key:s%40cret@data.example/a b", ("https://data.example", "/a%20b", "s@cret")),
        ("http://127.0.0.1:1/?api_key=abc", ("http://127.0.0.1:1", "", "abc")),
        ("http://[::1]:80/x", ("http://[::1]:80", "/x", None)),
    ],
)
def test_an_address_is_taken_apart(url, expected):
    assert split_address(url) == expected


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://a:b", "localhost:8000", "", "http://[::1"])
def test_what_is_no_address_is_refused_without_its_key(url):
    with pytest.raises(InvalidInputError):
        split_address(url)
    with pytest.raises(InvalidInputError) as caught:
        split_address("ftp://user:secret@host/?api_key=secret")
    assert "secret" not in str(caught.value)


def test_parameters_are_quoted_repeated_and_left_out():
    asked = {"a": ["x y", "é"], "b": None, "c": True, "d": 5}
    assert target("/é x", asked) == "/%C3%A9%20x?a=x%20y&a=%C3%A9&c=true&d=5"
    assert target("/a", [("q", "1"), ("q", "2")]) == "/a?q=1&q=2"


def test_the_key_is_nowhere_to_be_seen(monkeypatch):
    connection = Connection.to_url(f"http://key:{KEY}@127.0.0.1:9/store")
    assert connection.address == "http://127.0.0.1:9/store"
    assert connection.uri_of("/a b") == "http://127.0.0.1:9/store/a%20b"
    stored = pickle.dumps(connection)
    assert KEY.encode() not in stored
    assert KEY not in repr(connection)
    assert pickle.loads(stored).address == connection.address
    with pytest.raises(TransportError) as caught:
        connection.get_json("/")
    assert KEY not in str(caught.value)


def test_a_local_connection_is_not_pickled():
    with pytest.raises(InvalidTypeError, match="pickle what opened it"):
        pickle.dumps(Connection.to_site(site_of()))


def test_redirects_stay_on_the_server():
    def elsewhere(request):
        return empty_reply(307, {"location": "http://evil.example/"})

    site = site_of(
        ("/old", lambda request: empty_reply(307, {"location": "/new?a=1"})),
        ("/new", lambda request: json_reply(request.query.get("a"))),
        ("/round", lambda request: empty_reply(307, {"location": "/round"})),
        ("/elsewhere", elsewhere),
    )
    with running(site) as url, Connection.to_url(url) as connection:
        assert connection.get_json("/old") == "1"
        with pytest.raises(TransportError, match="another server"):
            connection.get_json("/elsewhere")
        with pytest.raises(TransportError, match="another server"):
            connection.get_json("http://evil.example/x")
        with pytest.raises(TransportError, match="circles"):
            connection.get_json("/round")


def test_a_busy_server_is_asked_again(monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    asked = []

    def busy_twice(request):
        asked.append(1)
        if len(asked) < 3:
            raise BusyError("later")
        return json_reply(len(asked))

    def always(request):
        raise BusyError("never")

    with (
        running(site_of(("/", busy_twice), ("/always", always))) as url,
        Connection.to_url(url) as connection,
    ):
        assert connection.get_json("/") == 3
        assert slept == [1.0, 1.0]
        with pytest.raises(BusyError, match="never"):
            connection.get_json("/always")


class Rude(threading.Thread):
    """A server that answers as it is told and closes each connection after so many answers."""

    def __init__(self, answers):
        super().__init__(daemon=True)
        self.answers = list(answers)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.heads = []

    def run(self):
        for answer in self.answers:
            link, _ = self.listener.accept()
            with link:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += link.recv(65536)
                self.heads.append(head.decode("latin-1").lower())
                link.sendall(answer)
        self.listener.close()


def plain(body, *fields, status="200 OK", size=None):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if size is None else size}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_stale_connection_is_replaced_for_reads():
    server = Rude([plain(b"1"), b"", plain(b"3")])
    server.start()
    with Connection.to_url(server.url, timeout_s=10.0) as connection:
        assert connection.get_json("/") == 1
        assert connection.get_json("/") == 3
    server.join(10)


def test_a_write_is_not_repeated_without_an_idempotency_key():
    server = Rude([b"", plain(b"2"), b"", plain(b"4")])
    server.start()
    with Connection.to_url(server.url, timeout_s=10.0) as connection:
        with pytest.raises(TransportError):
            connection.send_json("POST", "/", 1)
        assert connection.get_json("/") == 2
        assert connection.send_json("POST", "/", 1, idempotency_key="k") == 4
    server.join(10)
    assert "idempotency-key: k" in server.heads[-1]


def test_an_answer_that_is_no_json_is_a_transport_error():
    server = Rude([plain(b"<html>")])
    server.start()
    with (
        Connection.to_url(server.url, timeout_s=10.0) as connection,
        pytest.raises(TransportError, match="JSON"),
    ):
        connection.get_json("/")
    server.join(10)


def test_bytes_are_compared_with_the_digests_that_came_along():
    wrong = "Content-Digest: blake3=:" + base64.b64encode(bytes(32)).decode() + ":"
    whole = "Repr-Digest: blake3=:" + base64.b64encode(bytes(32)).decode() + ":"
    server = Rude(
        [plain(b"abc", wrong), plain(b"abc", whole), plain(b"abc", whole, status="206 Partial Content")]
    )
    server.start()
    with Connection.to_url(server.url, timeout_s=10.0) as connection:
        for _ in range(2):
            with pytest.raises(HashError, match="/x"):
                connection.get_bytes("/x")
        assert connection.get_bytes("/x") == b"abc"
    server.join(10)


def test_errors_of_other_servers_have_a_class_and_their_words():
    server = Rude(
        [
            plain(b'{"detail": "No such entry."}', status="404 Not Found"),
            plain(b"<h1>x</h1>", status="502 Bad Gateway"),
        ]
    )
    server.start()
    with Connection.to_url(server.url, timeout_s=10.0) as connection:
        with pytest.raises(KeyError, match=r"No such entry\."):
            connection.get_json("/")
        with pytest.raises(TransportError, match="502: Bad Gateway"):
            connection.get_json("/")
    server.join(10)


DATA = os.urandom(3_000_000)
DIGEST = hash_bytes(DATA)


def test_a_download_that_breaks_off_goes_on(tmp_path):
    tag = f'ETag: "blake3-{DIGEST.hex}"'
    part = f"Content-Range: bytes 1000000-2999999/{len(DATA)}"
    server = Rude([
        plain(DATA[:1_000_000], tag, size=len(DATA)),
        plain(DATA[1_000_000:], tag, part, status="206 Partial Content"),
    ])  # fmt: skip
    server.start()
    with Connection.to_url(server.url, timeout_s=10.0) as connection:
        connection.fetch_file("/x", tmp_path / "x", digest=DIGEST, size=len(DATA))
    server.join(10)
    assert (tmp_path / "x").read_bytes() == DATA
    assert "range: bytes=1000000-" in server.heads[1]
    assert f'if-range: "blake3-{DIGEST.hex}"' in server.heads[1]


def test_a_download_of_other_bytes_is_an_error_and_leaves_nothing(tmp_path):
    site = site_of(("/x", lambda request: bytes_reply(request, DATA[:-1] + bytes([DATA[-1] ^ 1]))))
    with running(site) as url, Connection.to_url(url) as connection, pytest.raises(HashError, match="'x'"):
        connection.fetch_file("/x", tmp_path / "x", digest=DIGEST, size=len(DATA))
    assert os.listdir(tmp_path) == []


def test_a_server_that_sends_too_much_is_stopped(tmp_path):
    site = site_of(("/x", lambda request: Reply(iter([DATA] * 100))))
    with (
        running(site) as url,
        Connection.to_url(url) as connection,
        pytest.raises(HashError, match="more than"),
    ):
        connection.fetch_file("/x", tmp_path / "x", digest=DIGEST, size=len(DATA))
    assert os.listdir(tmp_path) == []


def test_a_part_of_another_file_is_thrown_away(tmp_path):
    (tmp_path / "source").write_bytes(DATA)
    site = site_of(
        ("/x", lambda request: file_reply(request, tmp_path / "source", etag=f'"blake3-{DIGEST.hex}"')),
    )
    (tmp_path / "x.part").write_bytes(DATA + b"longer than the file itself")
    with running(site) as url, Connection.to_url(url) as connection:
        connection.fetch_file("/x", tmp_path / "x", digest=DIGEST, size=len(DATA))
    assert (tmp_path / "x").read_bytes() == DATA
    assert sorted(os.listdir(tmp_path)) == ["source", "x"]


def test_a_download_without_a_digest_answers_with_it_and_leaves_verifying_to_the_server(tmp_path):
    def call(request):
        assert "holdfast-verify" not in request.headers
        return bytes_reply(request, DATA)

    site = site_of(("/x", call))
    with running(site) as url, Connection.to_url(url) as connection:
        assert connection.fetch_file("/x", tmp_path / "x") == DIGEST


def test_a_server_that_is_gone_keeps_the_part(tmp_path):
    server = Rude([plain(DATA[:1_000_000], size=len(DATA))])
    server.start()
    with Connection.to_url(server.url, timeout_s=10.0) as connection, pytest.raises(TransportError):
        connection.fetch_file("/x", tmp_path / "x", digest=DIGEST, size=len(DATA))
    server.join(10)
    assert (tmp_path / "x.part").read_bytes() == DATA[:1_000_000]
