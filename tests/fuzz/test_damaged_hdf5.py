"""HDF5 files damaged in their structure: the probe workers answer for every one, whatever libhdf5 does."""

from __future__ import annotations

import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from holdfast.formats.probe import Job, Probed, ProbeFailure
from holdfast.formats.workers import ProbePool

# Many small cases, or servers that work for a while: minutes in all.
pytestmark = pytest.mark.slow

FILES = 150
SECONDS_A_FILE = 5.0


def whole_file(path: Path) -> bytes:
    """Write a file with every kind of structure that a fault could lie in."""
    with h5py.File(path, "w") as file:
        file.attrs["title"] = "text of variable length"
        file["group/deep/plain"] = np.arange(50.0)
        file.create_dataset("packed", data=np.arange(400).reshape(20, 20), chunks=(5, 5), compression="gzip")
        file["text"] = ["one", "two"]
        file["fields"] = np.zeros(3, [("a", "<i4"), ("b", "S3")])
        file["soft"] = h5py.SoftLink("/group/deep/plain")
        file["gone"] = h5py.SoftLink("/nowhere")
        file["group/reference"] = file["packed"].ref
        file["scale"] = np.arange(20.0)
        file["scale"].make_scale("x")
        file["packed"].dims[0].attach_scale(file["scale"])
    return path.read_bytes()


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Damage the structure: flipped bytes, overwritten words, a missing end."""
    data = bytearray(whole)
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(len(data))
        kind = chance.randrange(4)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at : at + 8] = bytes([255]) * 8
        elif kind == 2:
            data[at : at + 4] = bytes(4)
        else:
            other = chance.randrange(len(data))
            data[at : at + 16] = data[other : other + 16]
    return bytes(data[: chance.randrange(len(data))]) if chance.random() < 0.1 else bytes(data)


def probed(paths: list[Path]) -> dict[Path, Probed]:
    pool = ProbePool(workers=2, timeout_s=SECONDS_A_FILE)
    try:
        return {job.path: found for job, found in pool.map([Job(path) for path in paths], [paths[0].parent])}
    finally:
        pool.close()


@pytest.mark.parametrize(
    "seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_every_damaged_file_gets_an_answer(tmp_path, seed):
    whole = whole_file(tmp_path / "whole.h5")
    chance = random.Random(seed)
    paths = [tmp_path / "whole.h5"]
    for number in range(FILES):
        paths.append(tmp_path / f"f{number:03d}.h5")
        paths[-1].write_bytes(damaged(whole, chance))
    answers = probed(paths)
    assert set(answers) == set(paths)
    first = answers[paths[0]]
    assert first.description is not None
    assert {child.key for child in first.description.root.children} >= {"group", "packed", "text"}
    for answer in answers.values():
        assert answer.description is not None or isinstance(answer.failure, ProbeFailure)
