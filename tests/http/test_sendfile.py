"""Files that go onto the wire by ``sendfile``: whole, to slow readers, to none, beside others."""

from __future__ import annotations

import http.client
import os
import random
import socket
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest

from holdfast.errors import ChangedError, StorageError
from holdfast.http import edge, sendfile
from holdfast.http.body import FileRange
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.limits import Limits
from holdfast.http.reply import file_reply
from holdfast.http.routing import Mount, Route
from holdfast.http.sendfile import LEAST_BYTES, push
from holdfast.http.serving import running
from http_wire import connect, get, receive_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems copy")

SIZE = 40 * 1024 * 1024 + 12_345


@pytest.fixture(scope="module")
def content():
    return random.Random(0).randbytes(SIZE)


@pytest.fixture
def path(tmp_path, content):
    found = tmp_path / "x"
    found.write_bytes(content)
    return found


@pytest.fixture
def pushed(monkeypatch):
    """Collect how much was pushed."""
    found = []

    def counted(link, span, at, stop):
        reached = push(link, span, at, stop)
        found.append(reached - at)
        return reached

    monkeypatch.setattr(edge, "push", counted)
    return found


def site_of(path, **limits):
    route = Route("GET", "/", lambda request: file_reply(request, path))
    return Site([Mount("", [route])], limits=Limits(**limits))


def until(condition, wait_s=10.0):
    deadline = time.monotonic() + wait_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_a_file_and_its_ranges_come_whole_over_one_connection(path, content, pushed):
    with running(site_of(path)) as url:
        link = http.client.HTTPConnection(urlsplit(url).netloc)
        ranges = [(0, SIZE), (1, SIZE), (5_000_000, SIZE - 1), (7, 100), (0, LEAST_BYTES), (0, SIZE)]
        for start, stop in ranges:
            link.request("GET", "/", headers={"range": f"bytes={start}-{stop - 1}"})
            assert link.getresponse().read() == content[start:stop]
        link.close()
    assert sum(pushed) > 3 * SIZE - 20_000_000


def test_the_metrics_count_every_byte(path, pushed):
    site = site_of(path)
    with running(site) as url, connect(url) as link:
        link.sendall(get("/"))
        assert len(receive_all(link).partition(b"\r\n\r\n")[2]) == SIZE
    assert site.metrics.body_bytes == SIZE
    assert pushed


def test_where_the_system_cannot_all_bytes_pass_through_the_process(path, content, pushed, monkeypatch):
    monkeypatch.setattr(sendfile, "_CAN", False)
    with running(site_of(path)) as url, Connection.to_url(url) as connection:
        assert connection.get_bytes("/") == content
    assert not pushed


def test_a_file_system_that_cannot_is_read(path, content, pushed, monkeypatch):
    def refuse(*args):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(sendfile.os, "sendfile", refuse)
    with running(site_of(path)) as url, Connection.to_url(url) as connection:
        assert connection.get_bytes("/") == content
    assert pushed
    assert not any(pushed)


def test_a_slow_reader_gets_every_byte(path, content):
    with running(site_of(path)) as url, connect(url) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        link.sendall(get("/"))
        found = bytearray()
        while piece := link.recv(1 << 20):
            found += piece
            if len(found) % 7 == 0:
                time.sleep(0.03)
    assert bytes(found).partition(b"\r\n\r\n")[2] == content


def test_a_reader_that_stalls_is_dropped(path):
    site = site_of(path, idle_s=0.3)
    with running(site) as url, connect(url) as link:
        link.sendall(get("/"))
        until(lambda: site.metrics.in_flight)
        until(lambda: not site.metrics.in_flight)


def test_a_reader_that_leaves_costs_nothing(path):
    site = site_of(path)
    with running(site) as url:
        for size in (10, 3_000_000, 20_000_000):
            with connect(url) as link:
                link.sendall(get("/"))
                taken = 0
                while taken < size:
                    taken += len(link.recv(1 << 20))
            until(lambda: not site.metrics.in_flight)
        until(lambda: not [name for name in open_files() if name == str(path)])


def open_files():
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue


def test_several_at_once_are_all_whole(path, content):
    found = []
    with running(site_of(path)) as url, Connection.to_url(url) as connection:
        threads = [threading.Thread(target=lambda: found.append(connection.get_bytes("/"))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [each == content for each in found] == [True] * 4


def test_a_file_that_shrinks_breaks_off(path, caplog):
    def cut(request):
        reply = file_reply(request, path)
        os.truncate(path, SIZE // 2)
        return reply

    site = Site([Mount("", [Route("GET", "/", cut)])])
    with running(site) as url, connect(url) as link:
        link.sendall(get("/"))
        assert len(receive_all(link)) < SIZE
    assert "changed meanwhile" in caplog.text


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_a_push_ends_where_the_reader_does_not_take_more(path, pair):
    with FileRangeOf(path) as span:
        reached = push(pair[0], span, 0, span.stop)
    assert 0 < reached < SIZE
    assert pair[0].fileno() < 0


def test_a_push_to_nobody_ends(path, pair):
    pair[1].close()
    with FileRangeOf(path) as span:
        assert push(pair[0], span, 5, span.stop) == 5


def test_a_push_of_a_file_that_shrank_says_so(path, pair):
    with FileRangeOf(path) as span:
        os.truncate(path, 1000)
        with pytest.raises(ChangedError, match="ended at byte 1000"):
            push(pair[0], span, 0, span.stop)


def test_a_broken_disk_is_a_storage_error(path, pair, monkeypatch):
    def fail(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sendfile.os, "sendfile", fail)
    with FileRangeOf(path) as span, pytest.raises(StorageError, match="check the disk"):
        push(pair[0], span, 0, span.stop)


class FileRangeOf:
    def __init__(self, path):
        self.span = FileRange.open(path)

    def __enter__(self):
        return self.span

    def __exit__(self, *exc):
        self.span.close()
