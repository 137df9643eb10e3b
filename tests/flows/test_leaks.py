"""Nothing accumulates: descriptors, threads, temporary files and memory are where they were before."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

import holdfast as hf
from flows.wire import ShortBodyError, ask
from holdfast.errors import HoldfastError
from holdfast.queries import Key
from served import KEY, holdfast, served


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("leaks") / "lab"
    root.mkdir()
    for number in range(20):
        np.save(root / f"a{number:02d}.npy", np.full((10, 10), number))
    np.save(root / "large.npy", np.zeros(8_000_000))
    assert holdfast("index", root).returncode == 0
    return root


def descriptors(process: int | str = "self") -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


def threads(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/task"))


def memory_mb(process: int) -> float:
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE") / 1e6


def use(client) -> None:
    for key in client.keys()[:5]:
        client[key].read()
    list(client.search(Key("n") > 1))
    with pytest.raises(HoldfastError):
        client["none"]


@pytest.mark.slow
def test_a_client_leaves_no_descriptor_and_no_thread(directory, tmp_path):
    def once(number: int) -> None:
        with hf.from_catalog(directory) as client:
            use(client)
        with served(directory) as server, hf.from_uri(server.url, api_key=KEY) as client:
            use(client)
            hf.download(client.search(Key("none") == 1), tmp_path / f"copy{number}")

    once(0)
    before, running = descriptors(), threading.active_count()
    for number in range(1, 4):
        once(number)
    assert descriptors() <= before
    assert threading.active_count() <= running


@pytest.mark.slow
def test_a_server_keeps_no_descriptor_thread_or_memory_of_its_requests(directory):
    with served(directory) as server:
        number = server.process.pid

        def requests() -> None:
            for key in range(20):
                assert ask(server.url, f"/api/v1/array/full/a{key:02d}.npy").status == 200
            assert ask(server.url, "/api/v1/array/full/large.npy").status == 200
            assert ask(server.url, "/api/v1/metadata/none").status == 404
            hang_up(server.url, "/api/v1/array/full/large.npy")

        requests()
        requests()
        before = descriptors(number), threads(number), memory_mb(number)
        for _ in range(10):
            requests()
        after = descriptors(number), threads(number), memory_mb(number)
    assert after[0] <= before[0] + 4
    assert after[1] <= before[1] + 4
    assert after[2] <= before[2] + 40


def hang_up(url: str, target: str) -> None:
    """Begin a large answer and leave."""
    import socket

    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(
            f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Apikey {KEY}\r\n\r\n".encode()
        )
        connection.recv(1000)


def test_a_client_that_leaves_does_not_disturb_the_next(directory):
    with served(directory) as server:
        for _ in range(20):
            hang_up(server.url, "/api/v1/array/full/large.npy")
        try:
            answer = ask(server.url, "/api/v1/array/full/a03.npy", timeout_s=5)
        except ShortBodyError as error:
            pytest.fail(str(error))
        assert np.frombuffer(answer.body).tolist() == [3.0] * 100 or answer.status == 200
