"""The npy format: the contract, and headers that lie."""

import struct

import numpy as np
import pytest

from holdfast.errors import InvalidTypeError, UnreadableError
from holdfast.formats.npy import NPY
from holdfast.formats.source import Source
from holdfast.testing.formats import FormatTests, Sample

RNG = np.random.default_rng(1)
ARRAYS = {
    "f8": RNG.random((5, 7)),
    "i2 big-endian": np.arange(24).reshape(2, 3, 4).astype(">i2"),
    "bool": RNG.random(100) > 0.5,
    "complex": (RNG.random((6, 6)) + 1j * RNG.random((6, 6))).astype("c8"),
    "bytes": np.array([b"a", b"bcd", b""]),
    "text": np.array([["é", "𝄞"], ["", "abc"]]),
    "datetime": np.array(["2026-11-29T16:00", "NaT"], "M8[ns]"),
    "structured": np.array([(1, 2.5, [1, 2])], [("a", "<i4"), ("b", ">f8"), ("c", "u1", (2,))]),
    "0-d": np.array(3.5),
    "empty": np.zeros((0, 3)),
    "fortran": np.asfortranarray(RNG.random((5, 6, 7))),
    "large": RNG.random((3, 1 << 17)),
}


class TestNpy(FormatTests):
    @pytest.fixture(params=sorted(ARRAYS))
    def sample(self, request, tmp_path):
        path = tmp_path / "a.npy"
        np.save(path, ARRAYS[request.param])
        return Sample(NPY, path, arrays=[({}, ARRAYS[request.param])])


def header(descr, shape, fortran=False):
    text = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


HOSTILE = {
    "a terabyte in a kilobyte": header("<f8", (1 << 37,)) + bytes(1000),
    "a product that overflows": header("<f8", (1 << 40, 1 << 40)) + bytes(1000),
    "a negative length": header("<f8", (-1,)),
    "too many axes": header("<f8", (1,) * 65),
    "a length that is no integer": header("<f8", (True,)),
    "pickled objects": header("|O", (1,)) + bytes(100),
    "objects in a field": header([("a", "|O")], (1,)) + bytes(100),
    "no type at all": header("<q17", (1,)) + bytes(100),
    "elements of no size": header("|V0", (1 << 60,)),
    "deep nesting": header("<f8", (1,)).replace(b"'<f8'", b"[" * 90 + b"]" * 90),
    "code in the header": b"\x93NUMPY\x01\x00" + struct.pack("<H", 20) + b"__import__('os').abort()",
    "a header longer than the file": b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31) + b"{}",
    "a version of the future": b"\x93NUMPY\x09\x00" + bytes(100),
    "keys missing": b"\x93NUMPY\x01\x00" + struct.pack("<H", 4) + b"{}  ",
    "only the magic": b"\x93NUMPY",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_header_is_refused_before_memory_is_taken(tmp_path, content):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with Source(path) as source, pytest.raises(UnreadableError, match=r"a\.npy"):
        NPY.describe(source)


@pytest.mark.parametrize("name", sorted(ARRAYS))
def test_what_is_written_is_what_numpy_loads(tmp_path, name):
    NPY.write(tmp_path / "a.npy", ARRAYS[name])
    found = np.load(tmp_path / "a.npy")
    assert found.dtype == ARRAYS[name].dtype
    assert found.tobytes() == ARRAYS[name].tobytes()


def test_objects_are_never_written(tmp_path):
    with pytest.raises(InvalidTypeError):
        NPY.write(tmp_path / "a.npy", np.array([object()]))
    assert list(tmp_path.iterdir()) == []
