"""A user reads sparse and awkward arrays; over TCP and within one process the same."""

from __future__ import annotations

import json

import awkward
import h5py
import numpy as np
import pytest
import scipy.sparse
import sparse

from holdfast.catalog import download, from_catalog, from_uri, index
from holdfast.errors import InvalidInputError, OutOfRangeError
from holdfast.queries import StructureFamilyQuery
from served import KEY, served

CUBE = sparse.random((6, 5, 4), density=0.3, random_state=3)
MATRIX = scipy.sparse.random_array((300, 40), density=0.05, rng=np.random.default_rng(3), format="csr")
EVENTS = awkward.Array([{"t": 0.5, "hits": [1, 2, 3]}, {"t": 1.5, "hits": []}, {"t": 2.5, "hits": [4]}])


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    top = tmp_path_factory.mktemp("uneven")
    sparse.save_npz(top / "cube.npz", CUBE)
    scipy.sparse.save_npz(top / "matrix.npz", MATRIX)
    np.savez(top / "plain.npz", a=np.arange(5), b=np.eye(3))
    with h5py.File(top / "events.h5", "w") as file:
        form, length, _ = awkward.to_buffers(awkward.to_packed(EVENTS), container=file.create_group("events"))
        file["events"].attrs.update({"form": form.to_json(), "length": length})
        lists = file.create_dataset("lists", (2,), h5py.vlen_dtype("f4"))
        lists[0], lists[1] = [1, 2], [3]
    index(top)
    return top


@pytest.fixture(scope="module", params=["tcp", "local"])
def client(request, directory):
    if request.param == "local":
        with from_catalog(directory) as opened:
            yield opened
        return
    with served(directory) as server, from_uri(server.url, KEY) as opened:
        yield opened


@pytest.mark.parametrize("index", [..., 2, (slice(1, 5, 2), ..., -1), (slice(None, None, -1), 0)])
def test_sparse_arrays_are_sliced_as_numpy_slices(client, index):
    node = client["cube.npz"]
    assert (node.shape, node.ndim, node.dtype) == (CUBE.shape, 3, CUBE.dtype)
    assert np.array_equal(node[index].to_dense(), CUBE.todense()[index])


def test_sparse_arrays_become_those_of_other_libraries(client):
    assert (client["matrix.npz"].read().to_scipy() != MATRIX).nnz == 0
    assert (client["cube.npz"].read().to_sparse() == CUBE).all()
    assert np.array_equal(np.asarray(client["matrix.npz"]), MATRIX.toarray())


def test_blocks_are_read_alone(client):
    node = client["matrix.npz"]
    assert node.read_block((0, 0)).nnz == MATRIX.nnz
    with pytest.raises(InvalidInputError, match="block"):
        node.read_block((0, 1))
    with pytest.raises(OutOfRangeError):
        node[300]


def test_awkward_arrays_are_read_and_their_buffers_taken_alone(client):
    node = client["events.h5/events"]
    assert (len(node), node.form["fields"]) == (3, ["t", "hits"])
    assert node.read().to_list() == EVENTS.to_list()
    assert node[1:, "hits"].to_list() == [[], [4]]
    [key] = [each["form_key"] for each in node.form["contents"] if each["class"] == "NumpyArray"]
    assert set(node.buffers([key])) == {f"{key}-data"}
    assert client["events.h5/lists"].read().to_list() == [[1, 2], [3]]


def test_they_are_found_by_family(client):
    assert list(client.search(StructureFamilyQuery("sparse"))) == ["cube.npz", "matrix.npz"]
    assert list(client["events.h5"].search(StructureFamilyQuery("awkward"))) == ["events", "lists"]


def test_they_are_exported(client, tmp_path):
    client["matrix.npz"].export(tmp_path / "m.csv", slice=slice(0, 10))
    assert (tmp_path / "m.csv").read_text().startswith("dim0,dim1,data\n")
    client["events.h5/events"].export(tmp_path / "e.json")
    assert json.loads((tmp_path / "e.json").read_text()) == EVENTS.to_list()


def test_what_they_are_is_shown(client):
    assert repr(client["cube.npz"]) == "<Sparse 'cube.npz' float64 (6, 5, 4)>"
    assert repr(client["events.h5/events"]) == "<Awkward 'events.h5/events' of 3 items: t, hits>"
    assert "float64" in client["cube.npz"]._repr_html_()
    assert "RecordArray" in client["events.h5/events"]._repr_html_()


def test_other_npz_files_are_containers_of_arrays(client):
    assert {key: node.shape for key, node in client["plain.npz"].items()} == {"a": (5,), "b": (3, 3)}
    assert client["plain.npz/b"][1].tolist() == [0, 1, 0]


def test_they_are_taken_home_and_read_there(client, tmp_path):
    download(client, tmp_path / "stuff")
    with from_catalog(tmp_path / "stuff") as taken:
        assert (taken["matrix.npz"].read().to_scipy() != MATRIX).nnz == 0
        assert taken["events.h5/events"].read().to_list() == EVENTS.to_list()
