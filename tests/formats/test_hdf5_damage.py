"""Damaged HDF5 files: whatever bytes are wrong, the answer is ours, or the worker is given up."""

import os
import random
import signal

import h5py
import numpy as np
import pytest

from holdfast.errors import HoldfastError
from holdfast.formats.hdf5 import HDF5
from holdfast.formats.source import Source
from holdfast.testing.formats import nodes

RIGHT, ERROR = 0, 1


def whole(path, libver):
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs["a"] = "x"
        file["g/text"] = "text"
        file["g/texts"] = np.array(["a", "bb"], object)
        options = {"chunks": (3, 30), "compression": "gzip", "shuffle": True, "fletcher32": True}
        file.create_dataset("g/c", data=np.arange(1000).reshape(10, 100), **options)
        file["structured"] = np.zeros(3, [("a", "i4"), ("b", "f8")])
        file["link"] = h5py.SoftLink("/g/text")
    return path.read_bytes()


def read_all(path):
    """Describe and read a file; return whether it was right or an error of ours."""
    try:
        with Source(path) as source:
            root = HDF5.describe(source).root
        with HDF5.open(Source(path)) as opened:
            for node in nodes(root):
                if node.family == "array":
                    reader = opened.array(node.parameters)
                    if reader.structure.nbytes < 1 << 24:
                        reader.read()
    except HoldfastError:
        return ERROR
    return RIGHT


def read_in_child(path):
    """Read a file in a process of its own, for ten seconds at most; return how that ended."""
    child = os.fork()
    if not child:
        code = 99
        try:
            signal.alarm(10)
            code = read_all(path)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.slow
@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("seed", range(4))
def test_damage_anywhere_is_an_error_of_ours_or_harmless(tmp_path, libver, seed):
    chance = random.Random(seed)
    sound = whole(tmp_path / "sound.h5", libver)
    endings = []
    for number in range(150):
        damaged = bytearray(sound)
        for _ in range(chance.choice([1, 2, 5, 20])):
            damaged[chance.randrange(min(len(sound), 4000))] = chance.randrange(256)
        path = tmp_path / f"{number}.h5"
        path.write_bytes(damaged)
        endings.append(read_in_child(path))
    # A worker that looks into such a file is ended after its time; only crashes of Python are faults here.
    assert set(endings) <= {RIGHT, ERROR, -signal.SIGALRM}
    assert endings.count(-signal.SIGALRM) < 5
