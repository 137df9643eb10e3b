"""The HDF5 format: the contract for every element type and layout, and metadata."""

import json
import os
import subprocess
import sys
import tarfile

import h5py
import numpy as np
import pytest

from holdfast.errors import InvalidTypeError, MissingDependencyError, NotFoundError, UnreadableError
from holdfast.formats.hdf5 import HDF5
from holdfast.formats.registry import detect
from holdfast.formats.source import Source
from holdfast.testing.formats import FormatTests, Sample, describe, indexes, nodes

RNG = np.random.default_rng(2)
ARRAYS = np.arange(24, dtype="i2").reshape(4, 2, 3)
UTF8 = h5py.string_dtype("utf-8", 4)
TEXTS = np.array(["Ag", "", "é𝄞"])


def dataset(name, array, **options):
    return (name, lambda file: file.create_dataset(name, data=array, **options), array)


CASES = {
    "contiguous": [dataset("g/a", RNG.random((5, 7))), dataset("b", np.arange(10, dtype=">i4"))],
    "chunked": [
        dataset(
            "a",
            RNG.integers(0, 9, (30, 40)),
            chunks=(7, 9),
            compression="gzip",
            shuffle=True,
            fletcher32=True,
        )
    ],
    "one long axis": [dataset("a", np.arange(3_000_000, dtype="u2"), chunks=(65536,), compression="lzf")],
    "scalars": [dataset("a", np.float32(2.5)), dataset("b", np.array(7)), dataset("c", np.array([3 + 4j]))],
    "booleans": [dataset("a", np.array([[True, False], [False, True]]))],
    "text": [("a", lambda file: file.create_dataset("a", data=TEXTS.astype(object)), TEXTS)],
    "text 0-d": [("a", lambda file: file.create_dataset("a", data="Ag"), np.array("Ag"))],
    "bytes": [dataset("a", np.array([b"ab", b"", b"abcd"]))],
    "bytes in UTF-8, chunked": [
        (
            "a",
            lambda file: file.create_dataset("a", data=np.array([b"ab", b"c"], UTF8), chunks=(1,)),
            np.array([b"ab", b"c"], "S4"),
        )
    ],
    "enumeration, chunked": [
        (
            "a",
            lambda file: file.create_dataset(
                "a",
                data=np.array([0, 2], "i1"),
                dtype=h5py.enum_dtype({"OFF": 0, "ON": 2}, "i1"),
                chunks=(1,),
            ),
            np.array([0, 2], "i1"),
        )
    ],
    "empty": [dataset("a", np.zeros((0, 3))), dataset("b", np.zeros((2, 0), "S4"))],
    "half": [dataset("a", np.arange(4, dtype="f2"))],
    "complex": [dataset("a", (RNG.random((3, 4)) + 1j).astype("c8"))],
    "structured": [dataset("a", np.array([(1, 2.5, [1, 2]), (3, 4.5, [5, 6])], "i4, >f8, (2,)u1"))],
    "datetime": [
        (
            "a",
            lambda file: file.create_dataset(
                "a",
                data=(times := np.array(["2026-11-29", "NaT"], "M8[ns]")).astype(
                    h5py.opaque_dtype(times.dtype)
                ),
            ),
            np.array(["2026-11-29", "NaT"], "M8[ns]"),
        )
    ],
    "array type": [
        (
            "a",
            lambda file: file.create_dataset("a", (4,), np.dtype(("i2", (2, 3)))).__setitem__(..., ARRAYS),
            ARRAYS,
        )
    ],
    "enumeration": [
        (
            "a",
            lambda file: file.create_dataset(
                "a", data=np.array([0, 2], "i1"), dtype=h5py.enum_dtype({"OFF": 0, "ON": 2}, "i1")
            ),
            np.array([0, 2], "i1"),
        )
    ],
    "never written": [
        ("a", lambda file: file.create_dataset("a", (3,), "f8", fillvalue=7.0), np.full(3, 7.0))
    ],
    "chunks never written": [
        (
            "a",
            lambda file: file.create_dataset("a", (3, 4), "i4", chunks=(2, 2), fillvalue=9),
            np.full((3, 4), 9, "i4"),
        )
    ],
    "compact": [("a", lambda file: compact(file, np.arange(5.0)), np.arange(5.0))],
}


def compact(file, array):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple(array.shape)
    made = h5py.h5d.create(file.id, b"a", h5py.h5t.py_create(array.dtype), space, plist)
    h5py.Dataset(made)[...] = array


class TestHdf5(FormatTests):
    @pytest.fixture(params=[*CASES, "user block", "latest library"])
    def sample(self, request, tmp_path):
        path = tmp_path / "a.h5"
        case = CASES.get(request.param, CASES["contiguous"])
        options = {"user block": {"userblock_size": 1024}, "latest library": {"libver": "latest"}}
        with h5py.File(path, "w", **options.get(request.param, {})) as file:
            for _, make, _ in case:
                make(file)
        return Sample(HDF5, path, arrays=[({"dataset": name}, array) for name, _, array in case])


def written(tmp_path, fill, name="a.h5", **options):
    path = tmp_path / name
    with h5py.File(path, "w", **options) as file:
        fill(file)
    return Sample(HDF5, path)


def read(sample, name, index=...):
    with HDF5.open(Source(sample.path)) as opened:
        return opened.array({"dataset": name}).read(index)


def test_groups_data_sets_and_attributes_become_a_tree(tmp_path):
    def fill(file):
        file.attrs["owner"] = "me"
        file["entry/data"] = np.arange(3)
        file["entry"].attrs["NX_class"] = "NXentry"
        file["entry/data"].attrs["units"] = np.array([b"mm"])

    root = describe(written(tmp_path, fill))
    assert [(node.key, node.family, node.metadata) for node in nodes(root)] == [
        ("", "container", {"owner": "me"}),
        ("entry", "container", {"NX_class": "NXentry"}),
        ("data", "array", {"units": "mm"}),
    ]


def test_values_of_one_element_are_collected_under_their_path(tmp_path):
    def fill(file):
        file["entry/sample/name"] = np.array([b"AgBehenate\0\0"])
        file["entry/T"] = 4.5
        file["entry/n"] = np.array([[7]])
        file["entry/ok"] = True
        file["entry/z"] = 1 + 2j
        file["entry/state"] = np.int8(2)
        file["entry/bad"] = np.array([np.nan])
        file["entry/text"] = "é"
        file["entry/raw"] = np.bytes_(b"a\xff")
        file["entry/many"] = np.arange(2)
        file["entry/long"] = "x" * 5000
        file.create_dataset("entry/mode", data=1, dtype=h5py.enum_dtype({"FLY": 1}, "i1"))
        file.attrs["entry"] = "an attribute named like a group"

    metadata = describe(written(tmp_path, fill)).metadata
    assert metadata == {
        "entry": {
            "sample": {"name": "AgBehenate"},
            "T": 4.5,
            "n": 7,
            "ok": True,
            "z": [1.0, 2.0],
            "state": 2,
            "bad": None,
            "text": "é",
            "raw": "a\\xff",
            "mode": "FLY",
        },
        "@entry": "an attribute named like a group",
        "holdfast": {"nonfinite": ["entry.bad"]},
    }
    json.dumps(metadata, allow_nan=False).encode()


def test_attributes_of_every_type_become_json(tmp_path):
    def fill(file):
        values = {
            "f": np.float32(1.5),
            "i": np.arange(3),
            "nan": [1.0, np.inf],
            "text": "é",
            "texts": ["a", "b"],
            "bytes": np.bytes_(b"ab\0c\xe9"),
            "bool": np.bool_(True),
            "struct": np.array((1, 2.0), "i4, f8"),
            "none": h5py.Empty("f4"),
            "ref": file.ref,
            "complex": 2j,
        }
        for name, value in values.items():
            file.attrs[name] = value

    found = describe(written(tmp_path, fill)).metadata
    assert found["holdfast"] == {"nonfinite": ["nan.1"]}
    assert (found["f"], found["i"], found["nan"]) == (1.5, [0, 1, 2], [1.0, None])
    assert (found["text"], found["texts"], found["bytes"]) == ("é", ["a", "b"], "ab\\x00c\\xe9")
    assert (found["bool"], found["struct"], found["none"], found["complex"]) == (
        True,
        {"f0": 1, "f1": 2.0},
        None,
        [0.0, 2.0],
    )
    json.dumps(found, allow_nan=False)


def test_what_is_collected_is_bounded(tmp_path):
    def fill(file):
        for n in range(2100):
            file[f"v{n:04}"] = n
        for n in range(100):
            file[f"w{n:03}"] = "y" * 4000

    metadata = describe(written(tmp_path, fill)).metadata
    assert metadata["holdfast"]["left_out"] >= 100
    assert len(metadata) == 2001
    assert len(json.dumps(metadata)) < 300 << 10


def test_lists_of_variable_length_and_references_read_as_text(tmp_path):
    def fill(file):
        ragged = file.create_dataset("ragged", (2,), h5py.vlen_dtype("i4"))
        ragged[0], ragged[1] = [1, 2, 3], []
        file["target"] = 1.0
        file.create_dataset("refs", data=[file["target"].ref], dtype=h5py.ref_dtype)
        mixed = np.dtype([("n", "i4"), ("name", h5py.string_dtype())])
        file.create_dataset("mixed", data=np.array([(1, "Ag"), (2, "AgBe")], mixed))

    sample = written(tmp_path, fill)
    assert read(sample, "ragged").tolist() == ["[1, 2, 3]", "[]"]
    assert read(sample, "refs").tolist() == ["/target"]
    assert read(sample, "mixed").tolist() == [(1, "Ag"), (2, "AgBe")]


def test_long_doubles_keep_their_value(tmp_path):
    array = np.arange(4, dtype=np.longdouble) / 3
    sample = written(tmp_path, lambda file: file.create_dataset("a", data=array))
    np.testing.assert_array_equal(read(sample, "a"), array)


def test_dimension_scales_make_an_xarray_data_set(tmp_path):
    def fill(file):
        file.attrs["title"] = "t"
        file["x"], file["y"] = np.arange(3), np.arange(2.0)
        file["T"] = np.zeros((2, 3))
        for name in "xy":
            file[name].make_scale(name)
        file["T"].dims[0].attach_scale(file["y"])
        file["T"].dims[1].attach_scale(file["x"])
        file["T"].attrs["units"] = "K"
        file["depth"] = 3.0

    root = describe(written(tmp_path, fill))
    assert root.specs == ["xarray_dataset"]
    assert root.metadata["attrs"]["title"] == "t"
    found = {node.key: (node.specs, node.structure["dims"], node.metadata["attrs"]) for node in root.children}
    assert found["T"] == (["xarray_data_var"], ["y", "x"], {"units": "K"})
    assert found["x"] == (["xarray_coord"], ["x"], {})
    assert found["depth"] == (["xarray_data_var"], [], {})


def test_a_netcdf_dimension_without_values_is_an_axis_and_no_array(tmp_path):
    def fill(file):
        file.create_dataset("y", (2,), ">f4")
        file["y"].make_scale("This is a netCDF dimension but not a netCDF variable.         2")
        file["T"] = np.zeros(2)
        file["T"].dims[0].attach_scale(file["y"])

    root = describe(written(tmp_path, fill))
    assert root.specs == ["xarray_dataset"]
    assert [(node.key, node.structure["dims"]) for node in root.children] == [("T", ["y"])]


def test_a_group_with_other_things_in_it_is_no_xarray_data_set(tmp_path):
    def fill(file):
        file["x"] = np.arange(3)
        file["x"].make_scale("x")
        file["other"] = np.zeros((2, 2))

    root = describe(written(tmp_path, fill))
    assert (root.specs, [node.specs for node in root.children]) == ([], [[], []])


def test_a_group_inside_itself_is_listed_once(tmp_path):
    def fill(file):
        file["a/b/x"] = 1
        file["a/b/loop"] = file["a"]
        file["a/b/soft"] = h5py.SoftLink("/a")
        file["endless"] = h5py.SoftLink("/endless")

    found = [(node.key, node.family) for node in nodes(describe(written(tmp_path, fill)))]
    assert found == [
        ("", "container"),
        ("a", "container"),
        ("b", "container"),
        ("loop", "container"),
        ("soft", "container"),
        ("x", "array"),
        ("endless", "bytes"),
    ]


def test_a_slice_of_compressed_data_is_verified_down_to_the_bit(tmp_path):
    from holdfast.errors import HashError
    from holdfast.testing.formats import block_digests

    array = RNG.random((400, 512))
    sample = written(tmp_path, lambda file: file.create_dataset("a", data=array, chunks=(16, 512)))
    digests = block_digests(sample.path)
    data = bytearray(sample.path.read_bytes())
    data[len(data) - 1000] ^= 1
    sample.path.write_bytes(data)
    with HDF5.open(Source(sample.path, digests=digests)) as opened:
        reader = opened.array({"dataset": "a"})
        assert reader.is_verified
        np.testing.assert_array_equal(reader.read(slice(0, 16)), array[:16])
        with pytest.raises(HashError, match="block"):
            reader.read()


def test_a_filter_that_is_not_installed_is_named_with_its_remedy(tmp_path, monkeypatch):
    def fill(file):
        file.create_dataset("a", (4,), "i4", chunks=(4,), compression=32099, allow_unknown_filter=True)

    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4,))
        plist.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, (1,))
        made = h5py.h5d.create(file.id, b"a", h5py.h5t.NATIVE_INT32, h5py.h5s.create_simple((4,)), plist)
        made.write_direct_chunk((0,), bytes(16), 0)
    assert [node.family for node in nodes(describe(Sample(HDF5, path)))] == ["container", "array"]
    with pytest.raises(MissingDependencyError, match=r"filter 32099 .*HDF5_PLUGIN_PATH"):
        read(Sample(HDF5, path), "a")


FILTERS = ("Bitshuffle", "Blosc", "Blosc2", "BZip2", "LZ4", "Zstd")
WITHOUT_PLUGIN = """
import sys
sys.modules["hdf5plugin"] = None  # as if it were not installed
import importlib.machinery, importlib.util
known = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "hdf5plugin" else known(name, package)
from holdfast.errors import MissingDependencyError
from holdfast.formats.hdf5 import HDF5
from holdfast.formats.source import Source
for name in sys.argv[1:]:
    with Source(name) as source:
        [array] = HDF5.describe(source).root.children
        assert array.structure["shape"] == [50, 60]
    with HDF5.open(Source(name)) as opened:
        try:
            opened.array({"dataset": "a"}).read(0)
        except MissingDependencyError as error:
            print(error)
"""


def compressed(tmp_path, name):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    array = np.random.default_rng(2).integers(0, 9, (50, 60))
    options = getattr(hdf5plugin, name)()
    path = tmp_path / f"{name}.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=array, chunks=(10, 60), **options)
    return Sample(HDF5, path), array


@pytest.mark.parametrize("name", FILTERS)
def test_filters_of_hdf5plugin_are_found_and_slices_read_right(tmp_path, name):
    sample, array = compressed(tmp_path, name)
    with HDF5.open(Source(sample.path)) as opened:
        reader = opened.array({"dataset": "a"})
        for index in indexes(2):
            if index not in (5, -1):
                np.testing.assert_array_equal(reader.read(index), array[index])


def test_without_hdf5plugin_the_shape_is_known_and_reading_names_the_extra(tmp_path):
    paths = [str(compressed(tmp_path, name)[0].path) for name in FILTERS]
    # netCDF4, once imported by another test, names its own plug-ins in the environment.
    environment = {name: value for name, value in os.environ.items() if name != "HDF5_PLUGIN_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PLUGIN, *paths],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(FILTERS), done.stdout
    assert all(line.endswith("pip install 'holdfast[hdf5]'") for line in lines)


@pytest.mark.parametrize("name", FILTERS)
def test_a_damaged_chunk_of_a_plugin_filter_is_an_error(tmp_path, name):
    sample, _ = compressed(tmp_path, name)
    data = bytearray(sample.path.read_bytes())
    with h5py.File(sample.path, "r") as file:
        chunk = file["a"].id.get_chunk_info(2)
    start, size = chunk.byte_offset, chunk.size
    data[start : start + size] = b"\xa5" * size
    sample.path.write_bytes(data)
    with pytest.raises(UnreadableError):
        read(sample, "a")


def test_an_archive_that_begins_with_an_hdf5_file_is_none(tmp_path):
    written(tmp_path, lambda file: file.create_dataset("a", data=1))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "a.h5", "a.h5")
    with Source(tmp_path / "a.tar") as source:
        assert detect(source).name == "bytes"


def test_netcdf_3_under_the_suffix_says_what_it_is(tmp_path):
    (tmp_path / "a.nc").write_bytes(b"CDF\x01" + bytes(100))
    with pytest.raises(UnreadableError, match="NetCDF-3"), Source(tmp_path / "a.nc") as source:
        HDF5.describe(source)


def test_hdf4_under_the_suffix_says_what_it_is(tmp_path):
    path = tmp_path / "a.hdf"
    path.write_bytes(b"\x0e\x03\x13\x01" + bytes(100))
    with pytest.raises(UnreadableError, match="HDF4"), Source(path) as source:
        HDF5.describe(source)


def test_a_small_file_that_claims_a_terabyte_is_listed_and_takes_no_memory(tmp_path):
    def fill(file):
        file.create_dataset("huge", (1 << 37,), "f8", chunks=(1 << 20,), fillvalue=1)

    sample = written(tmp_path, fill)
    assert describe(sample).children[0].structure["shape"] == [1 << 37]
    assert read(sample, "huge", slice(1 << 36, (1 << 36) + 2)).tolist() == [1, 1]


def test_a_tree_is_written_and_read_back(tmp_path):
    HDF5.write(tmp_path / "b.h5", {"g": {"x": np.arange(3), "t": TEXTS}}, {"title": "T"})
    sample = Sample(HDF5, tmp_path / "b.h5")
    assert describe(sample).metadata == {"title": "T"}
    assert read(sample, "g/x").tolist() == [0, 1, 2]
    assert read(sample, "g/t").tolist() == TEXTS.tolist()
    with pytest.raises(InvalidTypeError):
        HDF5.write(tmp_path / "c.h5", {"x": np.array([object()])})
    with pytest.raises(InvalidTypeError):
        HDF5.write(tmp_path / "c.h5", [1])
    assert not (tmp_path / "c.h5").exists()


LEFT_OPEN = """
import sys, threading
from holdfast.formats.hdf5 import HDF5
from holdfast.formats.registry import detect
from holdfast.formats.source import Source
from holdfast.hashing import hash_blocks
path = sys.argv[1]
file = HDF5.open(Source(path, digests=hash_blocks(open(path, "rb"))))
array = file.array({"dataset": "data"})
assert array.is_verified and array.read()[1] == 1
threading.Thread(target=lambda *held: threading.Event().wait(), args=(file, array), daemon=True).start()
"""


def test_a_file_left_open_does_not_crash_python_at_its_end(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=np.arange(9), chunks=(3,))
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN, tmp_path / "a.h5"],
        capture_output=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_names_that_no_path_can_hold_are_left_out_and_told(tmp_path):
    def fill(file):
        file["good"] = 1
        file["x" * 300] = 2
        h5py.h5g.create(file.id, b"caf\xe9")

    root = describe(written(tmp_path, fill))
    assert [node.key for node in root.children] == ["good"]
    assert sorted(root.metadata["holdfast"]["unlisted"]) == ["caf\\xe9", "x" * 300]


def test_a_named_type_and_a_type_without_an_equal_are_listed(tmp_path):
    def fill(file):
        file["type"] = np.dtype("f8")
        space = h5py.h5s.create_simple((2,))
        h5py.h5d.create(file.id, b"time", h5py.h5t.UNIX_D32LE, space)
        file.create_dataset("null", data=h5py.Empty("f4"))

    root = describe(written(tmp_path, fill))
    found = {node.key: node for node in root.children}
    assert found["type"].family == "container"
    assert "error" in found["time"].metadata
    assert found["null"].structure["shape"] == [0]
    with pytest.raises(NotFoundError):
        read(Sample(HDF5, tmp_path / "a.h5"), "type")
    assert read(Sample(HDF5, tmp_path / "a.h5"), "null").size == 0
