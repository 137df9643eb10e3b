"""A gigabyte is exported in bounded memory: the server's peak is measured after each format."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

ROWS, COLUMNS = 8192, 16_384
SIZE = ROWS * COLUMNS * 8
ALLOWED_KB = 160 * 1024
TABLE_ROWS, GROUP_ROWS = 16_000_000, 1_000_000

SERVER = """
import sys, time
from holdfast.app import ServeOptions, build
from holdfast.http.serving import running
with build(ServeOptions(directory=sys.argv[1], face="catalog", public=True)) as app, running(app.site) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[3] / "src")}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[str, int]]:
    """The address and the process of a server of a 1 GB array and a 256 MB table."""
    top = tmp_path_factory.mktemp("large")
    large = np.lib.format.open_memmap(top / "large.npy", "w+", "<f8", (ROWS, COLUMNS))
    large[-1, -1] = 7.0
    del large
    with pa.parquet.ParquetWriter(top / "t.parquet", pa.schema({"x": pa.float64(), "n": pa.int64()})) as out:
        for start in range(0, TABLE_ROWS, GROUP_ROWS):
            numbers = np.arange(start, start + GROUP_ROWS)
            out.write_table(pa.table({"x": numbers / 8, "n": numbers}))
    subprocess.run(
        [sys.executable, "-m", "holdfast", "index", str(top)], env=ENVIRONMENT, check=True, timeout=250
    )
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(top)],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
        process.terminate()


def fetched(url: str, path: str) -> tuple[int, bytes]:
    """Return the size and the last bytes of an answer."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=120)
    connection.request("GET", f"/api/v1/{path}")
    answer = connection.getresponse()
    assert answer.status == 200, answer.read(2000)
    size, last = 0, b""
    while piece := answer.read(1 << 20):
        size += len(piece)
        last = (last + piece)[-64:]
    connection.close()
    return size, last


def peak_kb(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "least"),
    [("bin", SIZE), ("npy", SIZE), ("h5", SIZE), ("tiff", SIZE), ("csv", SIZE // 2), ("json", SIZE // 2)],
)
def test_a_gigabyte_is_exported_in_bounded_memory(server, suffix, least):
    url, pid = server
    fetched(url, f"array/full/large.npy?format={suffix}&slice=0:10")
    before = peak_kb(pid)
    size, last = fetched(url, f"array/full/large.npy?format={suffix}")
    assert size >= least
    assert last[-6:].strip(b"]\n").endswith(b"7.0" if suffix in ("csv", "json") else b"\x1c@")
    print(f"{suffix}: {size} bytes, peak {before} + {peak_kb(pid) - before} kB")
    assert peak_kb(pid) - before <= ALLOWED_KB


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "json", "json-seq", "arrow", "parquet"])
def test_a_large_table_is_exported_in_bounded_memory(server, suffix):
    url, pid = server
    fetched(url, "table/full/t.parquet?format=csv&column=n")
    before = peak_kb(pid)
    size, last = fetched(url, f"table/full/t.parquet?format={suffix}")
    assert size > TABLE_ROWS * 4
    assert last
    print(f"{suffix}: {size} bytes, peak {before} + {peak_kb(pid) - before} kB")
    assert peak_kb(pid) - before <= ALLOWED_KB
