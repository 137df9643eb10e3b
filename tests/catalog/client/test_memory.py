"""A large array is read in slices with memory for a slice, over both transports."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from holdfast.catalog import index
from served import environment, served

ROWS, COLUMNS = 512, 1_048_576  # 4 GiB of float64
SLICE_ROWS = 4  # 32 MiB
READER = """
import resource, sys
from holdfast.catalog import from_catalog, from_uri

target, rows, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = from_uri(target) if target.startswith("http") else from_catalog(target)
array = client["large.npy"]
total = float(array[:step].sum())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for row in range(step, rows, step):
    total += float(array[row : row + step].sum())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, total)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A sparse file: its blocks take no room on the disk."""
    directory = tmp_path_factory.mktemp("large")
    with open(directory / "large.npy", "wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (ROWS, COLUMNS)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 8 * ROWS * COLUMNS)
        file.seek(-8, 2)
        file.write(np.float64(7.5).tobytes())
    index(directory, digest="never")
    return directory


def grown(target):
    """Read all of it in slices in a process of its own; returns how far its memory grew, MiB, and the sum."""
    command = [sys.executable, "-c", READER, str(target), str(ROWS), str(SLICE_ROWS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=True, env=environment())
    kilobytes, total = done.stdout.split()
    return int(kilobytes) / 1024, float(total)


@pytest.mark.slow
def test_reading_4_gb_in_process_needs_memory_for_a_slice(large):
    growth, total = grown(large)
    assert total == 7.5
    assert growth < 80


@pytest.mark.slow
def test_reading_4_gb_over_tcp_needs_memory_for_a_slice_at_both_ends(large):
    with served("catalog", "--public", large, "--digest", "never", timeout_s=280) as server:
        growth, total = grown(server.url)
        with open(f"/proc/{server.process.pid}/status") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    assert total == 7.5
    assert growth < 80
    assert peak < 250
