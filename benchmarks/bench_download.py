"""`download` of 500 files over loopback, verified, against `cp -r` and `sha256sum` of the same."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import KEY, Row, Scale, rate, same, served, timed

__all__ = ["rows"]


def rows(scale: Scale) -> Iterator[Row]:
    """Give the row of the table about downloading."""
    import holdfast as hf
    from holdfast.catalog import index

    files, size = scale(500, 20), scale(1_000_000_000, 2_000_000)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        source = frames(home / "source", files, size // files)
        index(source)
        ours, theirs = [], []
        with served(source) as url, hf.from_uri(url, api_key=KEY) as client:
            for number in range(scale(3, 1)):
                copied, taken = home / f"copied{number}", home / f"taken{number}"
                theirs.append(timed(lambda copied=copied: copy_and_check(source, copied)))
                ours.append(timed(lambda taken=taken: hf.download(client, taken)))
                names = [f"f{n:04d}.npy" for n in range(files)]
                matching, *_ = filecmp.cmpfiles(copied, taken / "data", names, shallow=False)
                same("download: files alike", len(matching), files)
                shutil.rmtree(copied)
                shutil.rmtree(taken)
    mine, reference = min(ours), min(theirs)
    yield Row(
        f"download {files} files, {size / 1e9:g} GB, verified",
        rate(size, mine),
        f"cp -r + sha256sum {rate(size, reference)}",
        reference / mine,
        0.5,
        at_most=False,
    )


def frames(directory: Path, files: int, size: int) -> Path:
    """Write files of random bytes as npy arrays."""
    directory.mkdir()
    random = np.random.default_rng(0)
    for number in range(files):
        np.save(directory / f"f{number:04d}.npy", random.integers(0, 255, size, dtype="uint8"))
    return directory


def copy_and_check(source: Path, target: Path) -> None:
    """Do what a careful person does by hand."""
    subprocess.run(["cp", "-r", source, target], check=True)
    subprocess.run("sha256sum *.npy > /dev/null", shell=True, cwd=target, check=True)
