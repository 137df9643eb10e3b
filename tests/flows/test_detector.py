"""A detector writes into the directory that we index and serve, and can open its file at any moment."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flows.wire import ShortBodyError, ask
from served import holdfast, served

# Many small cases, or servers that work for a while: minutes in all.
pytestmark = pytest.mark.slow

# h5py.File(…, "a") takes HDF5's own lock, and raises when anybody else holds one.
WRITER = """
import os, sys, time
import h5py, numpy as np
path, seconds, swmr = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "swmr"
opened = rows = 0
is_served, until = False, time.monotonic() + 60
while time.monotonic() < until:
    if not is_served and os.path.exists(path + ".served"):
        is_served, until = True, time.monotonic() + seconds
    with h5py.File(path, "a", libver="latest" if swmr else None) as file:
        opened += 1
        data = file.require_dataset("entry/counts", (rows, 64), "i4", maxshape=(None, 64), chunks=(8, 64)) \\
            if "entry/counts" not in file else file["entry/counts"]
        for _ in range(5):
            data.resize(rows + 1, axis=0)
            data[rows] = np.full(64, rows)
            rows += 1
            file.flush()
print(opened, rows)
"""


@pytest.mark.parametrize("library", ["plain", "swmr"])
def test_a_writer_opens_its_file_at_any_moment_while_we_index_and_serve(tmp_path, library):
    root = tmp_path / "lab"
    root.mkdir()
    (root / "other.json").write_text('{"n": 1}')
    path = root / "scan.h5"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "4", library],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with served(root, "--public", "--watch", "0.5") as server:
        Path(f"{path}.served").touch()
        reads = keep_reading(server.url, writer)
    said, complained = writer.communicate(timeout=30)
    assert writer.returncode == 0, complained
    opened, rows = map(int, said.split())
    assert opened > 3
    assert reads["answers"] > 10
    assert not reads["faults"], reads["faults"][:5]
    assert holdfast("index", root).returncode == 0
    with served(root, "--public") as server:
        answer = ask(server.url, "/api/v1/array/full/scan.h5/entry/counts")
        assert answer.status == 200, answer.body
        counts = np.frombuffer(answer.body, "<i4").reshape(-1, 64)
        assert np.array_equal(counts, np.repeat(np.arange(rows), 64).reshape(-1, 64))


def keep_reading(url: str, writer: subprocess.Popen[str]) -> dict[str, list[str] | int]:
    """Ask for the growing array again and again; a wrong number is a fault, an honest error is not."""
    faults: list[str] = []
    answers = 0
    while writer.poll() is None:
        try:
            answer = ask(url, "/api/v1/array/full/scan.h5/entry/counts")
        except ShortBodyError:  # the file changed between two pieces of a long body: broken off, never padded
            continue
        answers += 1
        if answer.status >= 500 and answer.status != 503:
            faults.append(f"{answer.status} {answer.body[:200]!r}")
        elif answer.status == 200:
            counts = np.frombuffer(answer.body, "<i4").reshape(-1, 64)
            expected = np.arange(len(counts))[:, None]
            if not np.all((counts == expected) | (counts == 0)):
                faults.append(f"wrong numbers: {counts[:, 0].tolist()}")
        time.sleep(0.02)
    return {"faults": faults, "answers": answers}


def test_a_file_that_still_grows_is_readable_and_says_so(tmp_path):
    root = tmp_path / "lab"
    root.mkdir()
    path = root / "log.bin"
    path.write_bytes(b"first")
    with served(root, "--public", "--watch", "0.2") as server, Path(path).open("ab", buffering=0) as file:
        deadline = time.monotonic() + 30
        state = None
        while state is None and time.monotonic() < deadline:
            file.write(b"more")
            answer = ask(server.url, "/api/v1/metadata/log.bin?include_data_sources=true")
            if answer.status == 200:
                [source] = answer.json()["data"]["attributes"]["data_sources"]
                state = source["assets"][0]["state"]
        assert state in ("growing", "pending")
