"""Bodies of gigabytes pass through in bounded memory, at both ends."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from served import KEY, Served, environment, holdfast, served

pytestmark = pytest.mark.slow

GIGABYTES = 4
ALLOWED_MB = 48
HEADERS = {"Authorization": f"Apikey {KEY}", "Accept": "application/octet-stream"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """Hold an array of 4 GB (a sparse file: it takes no room on the disk) in a directory of its own."""
    root = tmp_path_factory.mktemp("large") / "lab"
    (root / "folder").mkdir(parents=True)
    rows = GIGABYTES * (1 << 30) // 8192
    np.lib.format.open_memmap(root / "folder" / "large.npy", "w+", "f8", (rows, 1024)).flush()
    done = holdfast("index", root, timeout_s=300)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def server(directory) -> Iterator[Served]:
    with served(directory, timeout_s=600) as running:
        yield running


def peak_mb(process: int) -> float:
    [line] = [
        line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) / 1024


def fetch(url: str, target: str) -> int:
    """Read a body to its end, throwing it away; return its size."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    connection.request("GET", target, headers=HEADERS)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read(500)
    size, buffer = 0, bytearray(1 << 20)
    while read := answer.readinto(buffer):
        size += read
    connection.close()
    return size


def asset_of(server: Served, path: str) -> int:
    import json

    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.request("GET", f"/api/v1/metadata/{path}?include_data_sources=true", headers=HEADERS)
    item = json.loads(connection.getresponse().read())
    connection.close()
    return item["data"]["attributes"]["data_sources"][0]["assets"][0]["id"]


def test_a_server_sends_gigabytes_of_array_file_and_zip_in_bounded_memory(server):
    small = fetch(server.url, "/api/v1/array/full/folder/large.npy?slice=0:1")
    assert small == 8192
    file, folder = asset_of(server, "folder/large.npy"), asset_of(server, "folder")
    before = peak_mb(server.process.pid)
    size = GIGABYTES << 30
    assert fetch(server.url, f"/api/v1/assets/{file}") == size + 128
    assert fetch(server.url, f"/api/v1/assets/{folder}") > size
    assert fetch(server.url, "/api/v1/array/full/folder/large.npy?slice=0:262144") == 2 << 30
    assert peak_mb(server.process.pid) < before + ALLOWED_MB


IN_SLICES = """
import resource, sys
import numpy as np
import holdfast as hf
with hf.from_catalog(sys.argv[1]) as client:
    node = client["folder/large.npy"]
    node[0:10]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total, step = 0.0, 2048
    for start in range(0, node.shape[0], step):
        total += float(node[start:start + step].sum())
    assert total == 0.0
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def test_an_array_read_in_process_in_slices_takes_the_memory_of_a_slice(directory):
    done = subprocess.run(
        [sys.executable, "-c", IN_SLICES, directory],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 16 * 2 + ALLOWED_MB
