"""Reading arrays: large ones over loopback, verified; small ones in-process and beside downloads."""

from __future__ import annotations

import http.client
import multiprocessing
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import h5py
import numpy as np
from measure import KEY, Row, Scale, back_to_back, milliseconds, rate, same, served, timed

__all__ = ["rows"]


def rows(scale: Scale) -> Iterator[Row]:
    """Give the rows of the table about reading."""
    import holdfast as hf
    from holdfast.catalog import index

    size = scale(256 << 20, 4 << 20)
    with tempfile.TemporaryDirectory() as name:
        directory = arrays(Path(name) / "arrays", size)
        index(directory)
        with served(directory) as url, hf.from_uri(url, api_key=KEY) as client:
            yield from large_reads(client, directory, size, scale(7, 1))
            yield fairness(url, directory, scale(300, 20))
        with hf.from_catalog(directory) as client:
            yield in_process(client, scale(2000, 50))


def arrays(directory: Path, size: int) -> Path:
    """Write random numbers as npy and contiguous HDF5, detector counts compressed, and a small array."""
    directory.mkdir()
    random = np.random.default_rng(0)
    values = random.random(size // 8).reshape(-1, 1024)
    np.save(directory / "large.npy", values)
    counts = random.poisson(3, size // 4).astype("int32").reshape(-1, 512, 512)
    with h5py.File(directory / "large.h5", "w") as file:
        file["contiguous"] = values
        file.create_dataset(
            "packed", data=counts, chunks=(1, 512, 512), compression="gzip", compression_opts=4
        )
    np.save(directory / "small.npy", np.arange(100.0).reshape(10, 10))
    return directory


def large_reads(client: object, directory: Path, size: int, rounds: int) -> Iterator[Row]:
    """Read the large arrays verified; beside a raw socket copy, and beside h5py on the local file."""
    truth = np.load(directory / "large.npy")
    for key in ("large.npy", "large.h5/contiguous"):
        node = client[key]  # type: ignore[index]
        same(key, bool(np.array_equal(node.read(), truth)), True)
        ours, raw = [], []
        for _ in range(rounds):
            ours.append(timed(node.read))
            raw.append(socket_copy(truth))
        mine, theirs = statistics.median(ours), statistics.median(raw)
        work = f"{size >> 20} MB {key} over loopback, verified"
        yield Row(
            work, rate(size, mine), f"socket copy {rate(size, theirs)}", theirs / mine, 0.5, at_most=False
        )
    packed = client["large.h5/packed"]  # type: ignore[index]

    def local() -> np.ndarray:
        with h5py.File(directory / "large.h5") as file:
            return file["packed"][()]

    same("packed", bool(np.array_equal(packed.read(), local())), True)
    mine, theirs = back_to_back(packed.read, local, max(rounds // 2, 1))
    work = f"{size >> 20} MB chunked gzip HDF5 over loopback"
    yield Row(work, rate(size, mine), f"h5py, local {rate(size, theirs)}", theirs / mine, 0.5, at_most=False)


def send(port: multiprocessing.Queue, size: int) -> None:
    """Send `size` bytes from memory to whoever connects, in another process."""
    block = memoryview(bytes(1 << 20))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port.put(server.getsockname()[1])
        connection, _ = server.accept()
        with connection:
            for start in range(0, size, len(block)):
                connection.sendall(block[: min(len(block), size - start)])


def socket_copy(truth: np.ndarray) -> float:
    """Return the seconds that a bare socket takes to fill such an array."""
    port: multiprocessing.Queue = multiprocessing.get_context("fork").Queue()
    sender = multiprocessing.get_context("fork").Process(target=send, args=(port, truth.nbytes))
    sender.start()
    with socket.create_connection(("127.0.0.1", port.get(timeout=30))) as connection:
        started = time.perf_counter()
        target = np.empty(truth.shape, truth.dtype)
        view, filled = memoryview(target).cast("B"), 0
        while filled < len(view):
            filled += connection.recv_into(view[filled : filled + (1 << 20)])
        seconds = time.perf_counter() - started
    sender.join()
    return seconds


def in_process(client: object, rounds: int) -> Row:
    """Read a small array without a socket."""
    node = client["small.npy"]  # type: ignore[index]
    same("small.npy", node.read().tolist(), np.arange(100.0).reshape(10, 10).tolist())
    seconds = statistics.median(timed(node.read) for _ in range(rounds))
    return Row("small array, in-process", milliseconds(seconds), "-", seconds * 1000, 0.2, unit="ms")


def fairness(url: str, directory: Path, rounds: int) -> Row:
    """Time small reads alone, then beside eight downloads at full speed from another process."""
    idle = probe(url, rounds)
    ready, stop = multiprocessing.Event(), multiprocessing.Event()
    crowd = multiprocessing.Process(target=download_without_end, args=(url, ready, stop))
    crowd.start()
    ready.wait(30)
    busy = probe(url, rounds)
    stop.set()
    crowd.join(30)
    reference = f"idle {milliseconds(idle)}"
    return Row("small reads beside 8 downloads, median", milliseconds(busy), reference, busy / idle, 5)


HEADERS = {"Authorization": f"Apikey {KEY}", "Accept": "application/octet-stream"}


def probe(url: str, rounds: int) -> float:
    """Return the median seconds of one small read on a kept connection."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        connection.request("GET", "/api/v1/array/full/small.npy?expected_shape=10,10&slice=", headers=HEADERS)
        answer = connection.getresponse()
        body = answer.read()
        times.append(time.perf_counter() - started)
        same("small read", (answer.status, len(body)), (200, 800))
    connection.close()
    return statistics.median(times)


def download_without_end(url: str, ready: object, stop: object) -> None:
    """Fetch the large file on eight connections, again and again, throwing it away."""

    def fetch() -> None:
        buffer = bytearray(1 << 20)
        while not stop.is_set():  # type: ignore[attr-defined]
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
            connection.request("GET", "/api/v1/array/full/large.npy", headers=HEADERS)
            answer = connection.getresponse()
            while not stop.is_set() and answer.readinto(buffer):  # type: ignore[attr-defined]
                ready.set()  # type: ignore[attr-defined]
            connection.close()

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
