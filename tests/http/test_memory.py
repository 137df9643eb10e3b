"""Bodies of any size leave the server's memory as it was."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

GIB = 2**30
SIZE = 4 * GIB
ALLOWED_BYTES = 32 * 2**20

SERVER = """
import os, sys
from holdfast.http.edge import Site
from holdfast.http.reply import Reply, file_reply, json_reply, stream_reply
from holdfast.http.routing import Mount, Route, Upload
from holdfast.http.serving import serve
from holdfast.http.zipstream import Entry, zip_reply

path = sys.argv[1]
stat = os.stat(path)
entry = Entry("a", path, stat.st_size, stat.st_mtime_ns)

class Drop:
    def write(self, block): pass
    def finish(self, received): return json_reply(received.size_bytes)
    def abort(self, error): pass

def memory(request):
    return Reply(open("/proc/self/status", "rb").read())

def pieces():
    piece = bytes(2**20)
    return (piece for _ in range(4096))

serve(Site([Mount("", [
    Route("GET", "/memory", memory),
    Route("GET", "/file", lambda request: file_reply(request, path)),
    Route("GET", "/zip", lambda request: zip_reply(request, [entry], filename="a")),
    Route("GET", "/made", lambda request: stream_reply(request, pieces(), media_type="a/b", size=2**32)),
    Route("PUT", "/", lambda request: Drop(), body=Upload),
])]), port=0, ready=lambda url: print(url, flush=True))
"""


@pytest.fixture
def server(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as target:
        target.truncate(SIZE)
    source = str(Path(__file__).parents[2] / "src")
    command = [sys.executable, "-c", SERVER, str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": source})
    try:
        yield http.client.HTTPConnection(urlsplit(child.stdout.readline().strip()).netloc, timeout=120)
    finally:
        child.terminate()
        assert child.wait(30) == 0
        child.stdout.close()


def ask(link, method, path, body=None, headers=None):
    link.request(method, path, body=body, headers=headers or {})
    return link.getresponse()


def peak(link):
    return int(re.search(rb"VmHWM:\s+(\d+) kB", ask(link, "GET", "/memory").read())[1]) * 1024


def drained(answer):
    buffer, total = bytearray(2**20), 0
    while count := answer.readinto(buffer):
        total += count
    return total


@pytest.mark.slow
def test_four_gib_each_way_leave_the_memory_as_it_was(server):
    piece = bytes(2**20)
    ask(server, "PUT", "/", body=iter([piece] * 8), headers={"content-length": str(8 * 2**20)}).read()
    for path in ("/file", "/zip", "/made"):
        ask(server, "GET", path, headers={"range": "bytes=0-9"} if path != "/made" else {}).read(10)
        server.close()
    rest = peak(server)
    for path in ("/file", "/zip", "/made"):
        assert drained(ask(server, "GET", path)) >= SIZE
    answer = ask(server, "PUT", "/", body=iter([piece] * 4096), headers={"content-length": str(SIZE)})
    assert int(answer.read()) == SIZE
    assert peak(server) <= rest + ALLOWED_BYTES
    server.close()
