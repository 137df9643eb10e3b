"""One sealed file: what h5py sees, what comes back, and that no flipped bit is ever a wrong number."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.errors import HashError, HoldfastError, InvalidTypeError, NewerFormatError
from holdfast.formats.sealed import is_sealed, open_sealed, prepare, write
from holdfast.formats.sealed.datatypes import datatype_message, description_of, dtype_of
from holdfast.formats.sealed.lookup3 import lookup3
from holdfast.formats.sealed.seal import Facts, compose_seal, describe, parse_seal

RNG = np.random.default_rng(7)
NUMBERS = [
    "i1",
    "u1",
    "<i2",
    ">i2",
    "<u2",
    "<i4",
    ">u4",
    "<i8",
    ">i8",
    "<u8",
    "<f2",
    ">f2",
    "<f4",
    ">f4",
    "<f8",
    ">f8",
]
STRUCTURED = np.dtype([("a", "<i4"), ("b", ">f8", (2,)), ("t", "M8[ns]"), ("c", [("x", "i1"), ("s", "S3")])])
VALUES = {
    **{name: np.arange(12).reshape(3, 4).astype(name) for name in NUMBERS},
    "longdouble": np.linspace(0, 1, 5, dtype=np.longdouble),
    "bool": np.array([[True, False], [False, True]]),
    "c8": np.array([1 + 2j, -0.0], "c8"),
    "c16 big": np.array([1 + 2j, complex("nan")], ">c16"),
    "structured": np.zeros(3, STRUCTURED),
    "aligned": np.ones(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "datetime": np.array(["2020-01-01", "NaT"], "M8[us]"),
    "timedelta": np.array([5, -5], "m8[s]"),
    "S": np.array([b"a", b"bcd", b""]),
    "void": np.array([b"ab", b"cd"], "V2"),
    "scalar": np.float64(2.5),
    "rows without columns": np.zeros((3, 0)),
    "no rows": np.zeros((0, 3), "i4"),
    "transposed": np.arange(60).reshape(3, 4, 5).T,
    "strided": np.arange(100)[::7],
    "nan and minus zero": np.array([np.nan, -0.0, np.inf]),
    "page": RNG.random(8192),
    "several blocks": RNG.random(100_000),
    "a block exactly": RNG.random(32768),
}
TEXTS = {
    "str": "héllo 🙂",
    "empty str": "",
    "list": ["a", "", "ccc"],
    "nested": [["a", "bb"], ["c", "d"]],
    "objects": np.array(["x", "yy"], object),
    "none": np.array([], "U3"),
    "long": ["x" * 5000, "y" * 70_000],
    "many": [f"text {number}" for number in range(70_000)],
}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "entry.h5")


@pytest.mark.parametrize("name", NUMBERS)
def test_own_type_messages_are_those_of_h5py(name):
    dtype = np.dtype(name)
    assert datatype_message(dtype) == h5py.h5t.py_create(dtype, logical=True).encode()[2:]


def test_checksum_is_lookup3():
    assert lookup3(b"Four score and seven years ago") == 0x17770551
    assert lookup3(b"") == 0xDEADBEEF


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back_exactly_here_and_in_plain_h5py(path, name):
    value = VALUES[name]
    write(path, name, prepare(value), "os")
    with open_sealed(path) as view:
        ours = view.read()
        view.verify()
    with h5py.File(path) as file:
        theirs = np.asarray(file["data"][()], dtype=value.dtype)
        assert sorted(file) == ["_holdfast", "data"]
    for found in (ours, theirs):
        assert (found.dtype, found.shape, found.tobytes()) == (value.dtype, value.shape, value.tobytes())


@pytest.mark.parametrize("name", TEXTS)
def test_strings_come_back_here_and_in_plain_h5py(path, name):
    value = TEXTS[name]
    write(path, name, prepare(value), "os")
    ours = open_sealed(path).read()
    with h5py.File(path) as file:
        theirs = file["data"].asstr()[()]
    assert np.array_equal(np.asarray(ours, object), np.asarray(value, object))
    assert np.array_equal(np.asarray(theirs, object), np.asarray(value, object))
    assert type(ours) is str if isinstance(value, str) else isinstance(ours, np.ndarray)


@pytest.mark.parametrize("value", [b"", b"ab", b"ab\0", b"\0"])
def test_bytes_keep_their_length(path, value):
    write(path, "b", prepare(value), "os")
    assert open_sealed(path).read() == value


@given(dtype=hnp.scalar_dtypes() | hnp.array_dtypes(max_size=3), data=st.data())
def test_any_array_that_hdf5_can_hold_comes_back(tmp_path_factory, dtype, data):
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
    path = str(tmp_path_factory.mktemp("any") / "x.h5")
    try:
        prepared = prepare(array)
    except InvalidTypeError:
        return
    write(path, "x", prepared, "os")
    found = open_sealed(path).read()
    assert np.shape(found) == array.shape
    assert np.asarray(found, array.dtype).tobytes() == array.tobytes()


@given(hnp.array_dtypes(max_size=4, allow_subarrays=True))
def test_description_of_a_type_survives_json(dtype):
    import json

    if dtype.hasobject:
        return
    assert dtype_of(json.loads(json.dumps(description_of(dtype)))) == dtype


@pytest.mark.parametrize(
    "value",
    [
        None,
        {1, 2},
        object(),
        [[1, 2], [3]],
        ["a", 1],
        [b"a", "b"],
        [1, None],
        [2**70],
        [2**63 + 1, -1],
        np.array([1, "a"], object),
        np.array([[1], [2, 3]], object),
        np.zeros(1, [("f", "U3")]),
        np.ma.masked_array([1, 2], [True, False]),
        "nul\0inside",
        "\ud800",
        (number for number in range(3)),
        lambda: 1,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_held_is_a_type_error(value):
    with pytest.raises(TypeError):
        prepare(value)


def test_every_flip_of_a_small_file_is_an_error(path):
    write(path, "x", prepare(np.arange(20.0)), "os")
    good = Path(path).read_bytes()
    assert _silent(path, good, range(0, len(good) * 8, 7)) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "value", [np.arange(20.0), ["a", "bb", "ccc"], np.float64(1), np.zeros((0, 3)), True]
)
def test_every_single_flip_of_whole_small_files_is_an_error(path, value):
    write(path, "x", prepare(value), "os")
    good = Path(path).read_bytes()
    assert _silent(path, good, range(len(good) * 8)) == 0


def test_random_flips_of_a_large_file_never_give_a_wrong_number(path):
    array = RNG.random((500, 600))
    write(path, "x", prepare(array), "os")
    good = Path(path).read_bytes()
    for bit in RNG.integers(0, len(good) * 8, 150).tolist():
        _put(path, _flipped(good, bit))
        rows = slice(bit % 500, bit % 500 + 20)
        for index in (rows, Ellipsis):
            try:
                found = open_sealed(path)[index]
            except HashError:
                continue
            assert np.array_equal(found, array[index])


def test_every_truncation_is_an_error(path):
    write(path, "x", prepare(np.arange(20.0)), "os")
    good = Path(path).read_bytes()
    for size in range(60, len(good)):
        _put(path, good[:size])
        with pytest.raises(HoldfastError):
            open_sealed(path).read()


def test_a_hole_is_an_error(path):
    array = RNG.random(200_000)
    write(path, "x", prepare(array), "os")
    with open(path, "r+b") as file:
        file.seek(300_000)
        file.write(bytes(4096))
    with pytest.raises(HashError, match="damaged in the bytes"):
        open_sealed(path).read()
    assert np.array_equal(open_sealed(path)[:10], array[:10])


def test_change_by_another_program_is_an_error(path):
    write(path, "x", prepare(np.arange(9.0)), "os")
    with h5py.File(path, "r+") as file:
        file["data"][3] = 7
    with pytest.raises(HashError):
        open_sealed(path)
    write(path, "x", prepare(np.arange(9.0)), "os")
    with h5py.File(path, "r+") as file:
        file["data"].attrs["unit"] = "m"
    with pytest.raises(HashError, match="another program"):
        open_sealed(path)


def test_seal_survives_opening_for_writing_in_hdf5(path):
    write(path, "x", prepare(np.arange(9.0)), "os")
    with h5py.File(path, "r+"):
        pass
    assert np.array_equal(open_sealed(path).read(), np.arange(9.0))


def test_files_without_seal_are_told_apart(tmp_path):
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["data"] = [1, 2]
    (tmp_path / "text.h5").write_text("not HDF5")
    assert not is_sealed(tmp_path / "plain.h5")
    assert not is_sealed(tmp_path / "text.h5")
    assert not is_sealed(tmp_path / "absent.h5")
    with pytest.raises(HashError, match="no seal"):
        open_sealed(tmp_path / "plain.h5")


def test_newer_features_are_named():
    facts = Facts("<f8", (), 512, 8, "00" * 16, "00" * 16, read=("zstd",))
    seal = compose_seal(describe(facts), 520, bytes(32))
    with pytest.raises(NewerFormatError, match="zstd"):
        parse_seal(seal, 520 + len(seal), "x")


INDICES = [
    np.s_[...],
    np.s_[3],
    np.s_[-1],
    np.s_[2:9],
    np.s_[::3],
    np.s_[::-2],
    np.s_[5:2],
    np.s_[1:4, ::2],
    np.s_[..., 1],
    np.s_[2, 3:1:-1],
    np.s_[[1, 5, 2]],
    np.s_[np.array([True] * 5 + [False] * 35)],
    np.s_[None, 2:4],
    np.s_[:, 0, 2:4],
]


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("columns", [(4, 5), (300, 200)], ids=str)
def test_slices_are_those_of_numpy(path, index, columns):
    array = np.arange(40 * columns[0] * columns[1]).reshape(40, *columns)
    write(path, "x", prepare(array), "os")
    with open_sealed(path) as view:
        assert np.array_equal(view[index], array[index])
        assert type(view[index]) is type(array[index])


@pytest.mark.parametrize("index", [50, (0, 0, 0, 0), "a", 1.5, (..., ...)], ids=repr)
def test_bad_indices_are_index_errors(path, index):
    write(path, "x", prepare(np.zeros((4, 4, 4))), "os")
    with pytest.raises(IndexError):
        open_sealed(path)[index]


def test_slices_of_strings_read_their_strings(path):
    texts = np.array([[f"{row}-{column}" for column in range(30)] for row in range(3000)], object)
    write(path, "x", prepare(texts), "os")
    with open_sealed(path) as view:
        assert view.dtype == object
        assert np.array_equal(view[100:2000:7, 3], texts[100:2000:7, 3])


def test_dask_arrays_are_written_in_blocks_and_read_back(path):
    dask_array = pytest.importorskip("dask.array")
    array = RNG.random((400, 300))
    write(path, "x", prepare(dask_array.from_array(array, chunks=(70, 100))), "os")
    with open_sealed(path) as view:
        lazy = view.to_dask()
        assert np.array_equal(lazy[30:40].compute(), array[30:40])


def test_pandas_and_xarray_go_through_their_arrays(path):
    pandas, xarray = pytest.importorskip("pandas"), pytest.importorskip("xarray")
    for value, expected in [
        (pandas.Series([1, 2]), np.array([1, 2])),
        (pandas.Series(["a", "b"]), np.array(["a", "b"])),
        (pandas.DataFrame({"a": [1.0], "b": [2.0]}), np.array([[1.0, 2.0]])),
        (xarray.DataArray(np.eye(2), dims=("x", "y")), np.eye(2)),
    ]:
        write(path, "x", prepare(value), "os")
        assert np.array_equal(open_sealed(path).read(), expected)


def _flipped(good, bit):
    data = bytearray(good)
    data[bit // 8] ^= 1 << bit % 8
    return data


def _put(path, data):
    with open(path, "wb") as file:
        file.write(data)


def _silent(path, good, bits):
    """Count flips after which a read gives anything."""
    count = 0
    for bit in bits:
        _put(path, _flipped(good, bit))
        try:
            open_sealed(path).read()
            count += 1
        except HashError:
            pass
    _put(path, good)
    assert os.path.getsize(path) == len(good)
    return count
