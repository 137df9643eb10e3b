"""Awkward arrays: which buffers a form needs, and the two ways in which HDF5 files hold them."""

import json

import awkward
import h5py
import numpy as np
import pytest

from holdfast.errors import InvalidInputError, TooLargeError, UnreadableError
from holdfast.formats.awkward import AwkwardStructure, Buffer, assembled, buffers_of, lists_of
from holdfast.formats.hdf5 import HDF5
from holdfast.formats.source import Source
from holdfast.testing.formats import FormatTests, Sample, describe

ARRAYS = {
    "records": awkward.Array(
        [{"x": 1.0, "hits": [1, 2], "name": "ab"}, {"x": None, "hits": [], "name": "c"}]
    ),
    "unions": awkward.Array([1, [2, 3], "a", True]),
    "deep lists": awkward.Array([[[1.5]], [], [[], [2.5, 3.5]]]),
    "regular": awkward.to_regular(awkward.Array([[1, 2], [3, 4]])),
    "times": awkward.Array(np.array(["2026-11-29T16:00"], "M8[ns]")),
    "masked": awkward.Array(
        awkward.contents.ByteMaskedArray(
            awkward.index.Index8(np.array([1, 0, 1], "i1")), awkward.contents.NumpyArray([1, 2, 3]), True
        )
    ),
    "picked": awkward.Array(
        awkward.contents.IndexedArray(
            awkward.index.IndexU32(np.array([2, 0], "u4")), awkward.contents.NumpyArray([1, 2, 3])
        )
    ),
    "empty": awkward.Array([]),
}


def write(group, array):
    """Store an array as Awkward Array's own documentation does."""
    form, length, _ = awkward.to_buffers(awkward.to_packed(array), container=group)
    group.attrs["form"], group.attrs["length"] = form.to_json(), json.dumps(length)


def packed_buffers(array):
    _, _, container = awkward.to_buffers(awkward.to_packed(array))
    return {name: np.asarray(buffer).tobytes() for name, buffer in container.items()}


class TestBuffersInHdf5(FormatTests):
    @pytest.fixture(params=sorted(ARRAYS.keys() - {"times"}))  # HDF5 has no times
    def sample(self, request, tmp_path):
        array = ARRAYS[request.param]
        with h5py.File(tmp_path / "a.h5", "w") as file:
            write(file.create_group("deep/events"), array)
        return Sample(HDF5, tmp_path / "a.h5", awkward=[({"dataset": "deep/events"}, packed_buffers(array))])


class TestListsInHdf5(FormatTests):
    @pytest.fixture(params=["<i4", "<f8", "u1"])
    def sample(self, request, tmp_path):
        lists = [[1, 2, 3], [], [4]] * 3
        with h5py.File(tmp_path / "a.h5", "w") as file:
            data = file.create_dataset("lists", (len(lists),), h5py.vlen_dtype(np.dtype(request.param)))
            for number, each in enumerate(lists):
                data[number] = each
        kind = np.dtype(request.param).newbyteorder("<")
        buffers = {
            "node0-offsets": np.cumsum([0, *map(len, lists)]).astype("<i8").tobytes(),
            "node1-data": np.array([each for part in lists for each in part], kind).tobytes(),
        }
        return Sample(HDF5, tmp_path / "a.h5", awkward=[({"dataset": "lists"}, buffers)])


class TestSparseInHdf5(FormatTests):
    @pytest.fixture(params=["csr", "csc", "h5sparse"])
    def sample(self, request, tmp_path):
        import scipy.sparse

        matrix = scipy.sparse.random_array((20, 30), density=0.1, rng=np.random.default_rng(1))
        kind = request.param
        with h5py.File(tmp_path / "a.h5ad", "w") as file:
            group = file.create_group("X")
            stored = matrix.asformat("csr" if kind == "h5sparse" else kind)
            for name in ("data", "indices", "indptr"):
                group.create_dataset(name, data=getattr(stored, name), chunks=True, compression="gzip")
            if kind == "h5sparse":
                group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", matrix.shape
            else:
                group.attrs["encoding-type"], group.attrs["shape"] = f"{kind}_matrix", matrix.shape
        return Sample(HDF5, tmp_path / "a.h5ad", sparse=[({"dataset": "X"}, matrix.toarray())])


def test_lists_in_another_byte_order_are_an_error_and_never_wrong_numbers(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("lists", (2,), h5py.vlen_dtype(np.dtype(">f8")))
    [node] = describe(Sample(HDF5, tmp_path / "a.h5")).children
    assert node.family == "bytes"
    assert "byte order" in node.metadata["error"]
    with HDF5.open(Source(tmp_path / "a.h5")) as opened, pytest.raises(UnreadableError, match="byte order"):
        opened.array({"dataset": "lists"})


@pytest.mark.parametrize("name", ARRAYS)
def test_the_buffers_of_a_form_are_those_that_the_library_expects(name):
    form, length, container = awkward.to_buffers(awkward.to_packed(ARRAYS[name]))
    found = buffers_of(json.loads(form.to_json()))
    assert {buffer.key: buffer.dtype for buffer in found} == form.expected_from_buffers()
    structure = AwkwardStructure(length, json.loads(form.to_json()))
    assert assembled(structure, container).to_list() == ARRAYS[name].to_list()


DEEP = {"class": "NumpyArray", "primitive": "int64", "form_key": "x"}
for _ in range(100):
    DEEP = {"class": "RegularArray", "size": 1, "content": DEEP}

NO_FORMS = {
    "text": "float64",
    "a list": [],
    "no class": {"primitive": "int64"},
    "an unknown class": {"class": "Evil", "form_key": "a"},
    "no key": {"class": "NumpyArray", "primitive": "int64"},
    "a key that leads elsewhere": {"class": "NumpyArray", "primitive": "int64", "form_key": "../a"},
    "objects": {"class": "NumpyArray", "primitive": "O", "form_key": "a"},
    "fields": {"class": "NumpyArray", "primitive": "i4,i4", "form_key": "a"},
    "an index of floats": {**lists_of("int64"), "offsets": "f8"},
    "an index that is a list": {**lists_of("int64"), "offsets": ["i64"]},
    "a content that is text": {**lists_of("int64"), "content": "int64"},
    "deep nesting": DEEP,
    "ten thousand fields": {"class": "RecordArray", "contents": [{"class": "EmptyArray"}] * 10_001},
}


@pytest.mark.parametrize("form", NO_FORMS.values(), ids=NO_FORMS)
def test_what_is_no_form_is_refused(form):
    with pytest.raises(InvalidInputError):
        AwkwardStructure.from_json({"length": 1, "form": form})


@pytest.mark.parametrize("length", [-1, None, "1", 1.5, True])
def test_what_is_no_length_is_refused(length):
    with pytest.raises(InvalidInputError):
        AwkwardStructure.from_json({"length": length, "form": lists_of("int64")})


@pytest.mark.parametrize(
    "attributes",
    [
        {"form": "{", "length": 1},
        {"form": json.dumps(lists_of("O")), "length": 1},
        {"form": 1, "length": "x"},
    ],
)
def test_a_group_that_only_has_such_attributes_stays_a_group(tmp_path, attributes):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["g/data"] = [1, 2]
        file["g"].attrs.update(attributes)
    [group] = describe(Sample(HDF5, tmp_path / "a.h5")).children
    assert (group.family, [child.key for child in group.children]) == ("container", ["data"])
    assert group.metadata["form"] == attributes["form"]


def opened(tmp_path, change):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write(file.create_group("g"), awkward.Array([[1, 2], [3]]))
        change(file["g"])
    return HDF5.open(Source(tmp_path / "a.h5"))


def test_a_buffer_that_is_missing_or_of_another_type_is_an_error(tmp_path):
    def miss(group):
        del group["node1-data"]

    def retype(group):
        del group["node1-data"]
        group["node1-data"] = np.array([1.0, 2.0, 3.0])

    for change in (miss, retype):
        with opened(tmp_path, change) as file, pytest.raises((UnreadableError, KeyError), match="node1-data"):
            file.awkward({"dataset": "g"}).buffers()


def test_only_the_named_buffers_are_read_and_never_too_much(tmp_path):
    with opened(tmp_path, lambda group: None) as file:
        reader = file.awkward({"dataset": "g"})
        assert list(reader.buffers(["node1"])) == ["node1-data"]
        assert list(reader.buffers(["node0-offsets"])) == ["node0-offsets"]
        assert reader.buffers([]) == {}
        with pytest.raises(TooLargeError):
            reader.buffers(most_bytes=40)


def test_lists_that_are_too_large_together_are_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("lists", (2,), h5py.vlen_dtype("f8"))
        data[0], data[1] = np.zeros(1000), np.zeros(10)
    with HDF5.open(Source(tmp_path / "a.h5")) as opened, pytest.raises(TooLargeError):
        opened.awkward({"dataset": "lists"}).buffers(most_bytes=5000)


def test_buffers_that_do_not_fit_the_form_make_no_array():
    structure = AwkwardStructure(3, lists_of("int64"))
    for buffers in ({}, {"node0-offsets": np.array([0, 9, 9, 9]), "node1-data": np.arange(2)}):
        with pytest.raises(UnreadableError, match="awkward"):
            assembled(structure, buffers)


def test_the_form_key_of_a_buffer_is_what_stands_before_its_last_dash():
    assert Buffer("a-b-data", np.dtype("i8")).form_key == "a-b"
