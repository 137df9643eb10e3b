"""Indexing a directory: the function in a running process, digests included, against `tiled register`."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import tifffile
from measure import Row, Scale, original, same, timed

__all__ = ["rows"]

REGISTER = """
import asyncio, json, sys, time
from pathlib import Path
from tiled.catalog import in_memory
from tiled.client import Context, from_context
from tiled.client.register import register
from tiled.server.app import build_app

directory = Path(sys.argv[1])
catalog = in_memory(readable_storage=[str(directory)], writable_storage=sys.argv[2])
with Context.from_app(build_app(catalog)) as context:
    client = from_context(context)
    started = time.perf_counter()
    asyncio.run(register(client, directory, key_from_filename=lambda name: name))
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "keys": sorted(client)}))
"""


def rows(scale: Scale) -> Iterator[Row]:
    """Give the rows of the table about indexing."""
    from holdfast.catalog import index

    with tempfile.TemporaryDirectory() as name:
        directory = laboratory(Path(name) / "lab", scale(300, 6), scale(500, 6), scale(500, 10))
        files = len(list(directory.iterdir()))
        index(laboratory(Path(name) / "warm", 2, 2, 2))  # the process is running: libraries are loaded
        first = timed(lambda: index(directory))
        again = min(timed(lambda: index(directory)) for _ in range(3))
        tiled = original("tiled-0.2.20")
        if tiled:
            yield beside_register(tiled, directory, files, first)
        yield Row(
            "index again, nothing changed",
            f"{again * 1000:.0f} ms",
            f"first time {first * 1000:.0f} ms",
            first / again,
            10,
            at_most=False,
        )


def beside_register(tiled: Path, directory: Path, files: int, first: float) -> Row:
    """Register the same files with Tiled; compare the keys, then the rates."""
    import holdfast as hf

    with tempfile.TemporaryDirectory() as storage:
        done = subprocess.run(
            [tiled, "-W", "ignore", "-c", REGISTER, directory, storage],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"tiled register failed:\n{done.stderr[-2000:]}")
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    same("index: keys", sorted(hf.from_catalog(directory)), theirs["keys"])
    return Row(
        f"index {files} small CSV, TIFF and HDF5 files, digests included",
        f"{files / first:,.0f} files/s",
        f"tiled register {files / theirs['seconds']:.0f} files/s",
        theirs["seconds"] / first,
        50,
        at_most=False,
    )


def laboratory(directory: Path, csv: int, tiff: int, hdf5: int) -> Path:
    """Write small CSV, TIFF and HDF5 files as instruments do; no numbered runs, which Tiled takes as one."""
    directory.mkdir()
    random = np.random.default_rng(0)
    for number in range(csv):
        rows = "\n".join(f"{i},{value:.6f}" for i, value in enumerate(random.random(50)))
        (directory / f"scan{number:04d}.csv").write_text("x,y\n" + rows + "\n")
    for number in range(tiff):
        tifffile.imwrite(directory / f"{number:04d}_image.tif", random.integers(0, 999, (16, 16), "u2"))
    for number in range(hdf5):
        with h5py.File(directory / f"frame{number:04d}.h5", "w") as file:
            file.attrs["number"] = number
            file["entry/data"] = random.random((10, 10))
            file["entry/sample/name"] = f"sample {number}"
    return directory
