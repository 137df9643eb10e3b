"""A 4 GB array is read in slices, in one process, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROWS, COLUMNS = 4096, 131_072
ALLOWED_KB = 192 * 1024

READER = """
import resource, sys
import holdfast as hf
client = hf.from_catalog(sys.argv[1])
array = client["large.npy"]
assert array.nbytes == 2**32, array.nbytes
array[:64].sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
total = sum(float(array[row:row + 64].sum()) for row in range(0, array.shape[0], 64))
assert total == 7.0, total
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_four_gb_are_read_in_slices_in_bounded_memory(tmp_path):
    large = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", "<f8", (ROWS, COLUMNS))
    large[4000, 5] = 7.0
    del large
    environment = {"PYTHONPATH": str(Path(__file__).parents[3] / "src")}
    for command in (["-m", "holdfast", "index", str(tmp_path)], ["-c", READER, str(tmp_path)]):
        said = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            env=environment,
            timeout=280,
            check=False,
        )
        assert said.returncode == 0, said.stderr
    assert int(said.stdout) <= ALLOWED_KB
