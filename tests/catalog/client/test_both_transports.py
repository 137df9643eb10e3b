"""A user looks around, searches and slices; over TCP and within one process the same."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import pickle
import threading

import h5py
import numpy as np
import pytest

from catalog.lab import IMAGE, NOISE
from holdfast.catalog import from_catalog, from_uri
from holdfast.errors import (
    InvalidInputError,
    MissingFileError,
    NotAcceptableError,
    NotFoundError,
)
from holdfast.queries import (
    Contains,
    FullText,
    In,
    Key,
    KeyPresent,
    Like,
    Not,
    NotIn,
    Or,
    Regex,
    SpecsQuery,
    StructureFamilyQuery,
)

DATA = "runs/scan.nxs/entry/data"


def test_the_tree_is_the_directory(client):
    assert sorted(client) == ["facts.json", "many", "notes.txt", "odd ä#?%.txt", "runs", "table.csv"]
    assert sorted(client["runs"]) == ["ext", "plain.npy", "scan.nxs"]
    assert client["runs", "scan.nxs"] == client["runs/scan.nxs"] == client["runs"]["scan.nxs"]
    assert len(client) == 6
    assert "runs/scan.nxs/entry" in client
    assert "runs/other" not in client
    assert client.path == ()


def test_families_tell_what_nodes_are(client):
    families = {key: node.structure_family for key, node in client.items()}
    assert families["runs"] == "container"
    assert families["table.csv"] == "table"
    assert families["notes.txt"] == "bytes"
    assert client["runs/plain.npy"].structure_family == "array"


def test_an_absent_entry_is_a_key_error_that_names_it(client):
    with pytest.raises(NotFoundError, match="nope"):
        client["runs/nope"]


@pytest.mark.parametrize(
    "index",
    [
        ...,
        (1, 2, 3),
        (slice(1, 3), ..., slice(None, None, -1)),
        (slice(None, None, -2), -1),
        (None, 0),
        (..., None),
        (slice(5, 2),),
        ([0, 2], slice(None), [1, 1]),
        (IMAGE > 50,),
    ],
    ids=["all", "one", "reversed", "rows", "new axis", "new last axis", "nothing", "positions", "mask"],
)
def test_slices_are_numpys(client, index):
    array = client[f"{DATA}/image"]
    expected = IMAGE[index]
    found = array[index]
    np.testing.assert_array_equal(found, expected)
    assert np.shape(found) == np.shape(expected)
    assert found.dtype == expected.dtype


@pytest.mark.parametrize("index", [3, (0, 0, 7), (0, 0, 0, 0)])
def test_a_slice_outside_is_an_index_error(client, index):
    with pytest.raises(IndexError):
        client[f"{DATA}/image"][index]


@pytest.mark.parametrize("name", ["noise", "point", "empty", "flags", "complex", "names", "pairs", "image"])
def test_every_type_reads_as_h5py_reads_it(client, lab, name):
    with h5py.File(lab / "runs" / "scan.nxs", "r", locking=False) as file:
        expected = np.asarray(file[f"entry/data/{name}"][()])
    found = client[f"{DATA}/{name}"].read()
    np.testing.assert_array_equal(found, expected)
    assert np.asarray(found).dtype == expected.dtype
    assert client[f"{DATA}/{name}"].shape == expected.shape


def test_text_reads_as_text(client):
    assert [str(word) for word in client[f"{DATA}/words"]] == ["ä", "longer"]


def test_an_array_says_what_it_is(client):
    noise = client[f"{DATA}/noise"]
    assert (noise.shape, noise.ndim, noise.size, noise.nbytes) == ((64, 1024), 2, 65536, 524288)
    assert noise.dtype == np.float64
    assert [sum(axis) for axis in noise.chunks] == [64, 1024]
    np.testing.assert_array_equal(np.asarray(noise), NOISE)
    np.testing.assert_array_equal(noise.to_dask()[3:5, ::-100].compute(), NOISE[3:5, ::-100])
    assert client[f"{DATA}/image"].metadata["units"] == "counts"


def test_a_table_reads_whole_by_columns_and_lazily(client):
    table = client["table.csv"]
    assert table.columns == ["x", "y", "name"]
    assert list(table.read()["y"]) == [0.5, 1.5, 2.5]
    assert list(table.read(columns=["name", "x"]).columns) == ["name", "x"]
    np.testing.assert_array_equal(table["x"], [1, 2, 3])
    np.testing.assert_array_equal(table["x"][::-1], [3, 2, 1])
    assert [str(name) for name in table.read_columns()["name"]] == ["a", "b", "c"]
    with pytest.raises(NotFoundError, match="nope"):
        table["nope"]
    with pytest.raises(NotFoundError):
        table.read(columns=["x", "nope"])


def test_a_file_without_structure_reads_as_bytes(client):
    assert client["notes.txt"].read() == b"a note\n"
    assert client["odd ä#?%.txt"].read() == b"a name that URLs must quote\n"


def test_a_linked_data_set_reads_and_an_absent_one_names_its_file(client):
    np.testing.assert_array_equal(client["runs/scan.nxs/entry/linked"].read(), np.arange(10.0))
    with pytest.raises((MissingFileError, NotFoundError), match=r"gone\.h5"):
        client["runs/scan.nxs/entry/absent"].read()


def keys_of(hits):
    return sorted(hits.keys())


def test_searches_look_at_children_and_deep_ones_at_everything(client):
    assert keys_of(client.search(Key("color") == "red")) == ["facts.json"]
    assert len(client.search_deep(Key("color") == "red")) == 7
    assert keys_of(client["many"].search(Key("n") > 9)) == ["10.json", "11.json"]
    assert keys_of(client.search_deep(Key("entry.sample.name") == "AgBehenate")) == ["runs/scan.nxs"]
    assert len(client.search(Key("color") == "red").search(Key("n") > 5)) == 1
    assert len(client.search(Key("color") == "red").search(Key("n") > 7)) == 0


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (Key("n") == 7, 1),
        (Key("n") != 7, 11),
        (Key("n") <= 2, 3),
        (In("color", ["blue", "green"]), 6),
        (NotIn("color", ["blue"]), 6),
        (Not(Key("color") == "blue"), 6),
        (Or(Key("n") == 1, Key("n") == 2), 2),
        ((Key("n") == 1) | ~(Key("n") < 11), 2),
        ((Key("n") > 3) & (Key("color") == "red"), 4),
        (Like("color", "r%"), 6),
        (Regex("color", "^b"), 6),
        (Contains("color", "lu"), 6),
        (KeyPresent("n"), 12),
        (KeyPresent("zz"), 0),
        (FullText("blue"), 6),
        (FullText('a "b" OR (c'), 0),
        (StructureFamilyQuery("array"), 0),
        (SpecsQuery(["none"]), 0),
        (Key("n") == True, 0),  # noqa: E712 # numbers are not truth values
    ],
    ids=str,
)
def test_every_query_means_the_same_here_as_in_its_reference(client, query, count):
    found = client["many"].search(query)
    assert len(found) == count
    assert len(list(found)) == count
    matching = [key for key, node in client["many"].items() if query.matches(node.metadata)]
    if not isinstance(query, (StructureFamilyQuery, SpecsQuery)):
        assert keys_of(found) == sorted(matching)


def test_hits_are_looked_up_listed_and_sliced(client):
    hits = client["many"].search(Key("color") == "red")
    assert hits["04.json"].metadata["n"] == 4
    with pytest.raises(NotFoundError):
        hits["05.json"]
    assert "05.json" not in hits
    assert hits.keys()[0] == "00.json"
    assert hits.keys()[-1] == "10.json"
    assert [node.metadata["n"] for node in hits.values().head(2)] == [0, 2]
    assert [key for key, _ in hits.items()[1:3]] == ["02.json", "04.json"]
    deep = client.search_deep(Key("color") == "red")
    assert deep["many/04.json"].metadata["n"] == 4
    with pytest.raises(NotFoundError):
        deep["many/05.json"]


def test_sorting_is_by_value_and_missing_comes_last(client):
    many = client["many"]
    assert [node.metadata["n"] for node in many.sort(("n", -1)).values().head(3)] == [11, 10, 9]
    assert [node.metadata["n"] for node in many.sort("color", ("n", -1)).values()][:2] == [11, 9]
    for direction in (1, -1):
        assert client.sort(("n", direction)).keys().first() == "facts.json"
    assert many.sort(("n", 1)).keys().tail(2) == ["10.json", "11.json"]


def test_distinct_values_are_counted(client):
    found = client["many"].distinct("color", structure_families=True, counts=True)
    colors = {entry["value"]: entry["count"] for entry in found["metadata"]["color"]}
    assert colors == {"blue": 6, "red": 6}
    narrowed = client["many"].search(Key("n") < 3).distinct("color", counts=True)
    assert {entry["value"]: entry["count"] for entry in narrowed["metadata"]["color"]} == {
        "blue": 1,
        "red": 2,
    }


def test_files_behind_nodes_are_told_with_their_digests(client, lab):
    own, linked, absent = client["runs/scan.nxs"].assets()
    assert (own.location, own.is_directory, own.link) == ("runs/scan.nxs", False, None)
    assert own.size == (lab / "runs" / "scan.nxs").stat().st_size
    assert str(own.digest).startswith("blake3:")
    assert {linked.link, absent.link} == {"ext/raw.h5", "gone.h5"}
    (directory,) = client["runs"].assets()
    assert directory.is_directory


def test_files_are_exported_as_they_are(client, lab, tmp_path):
    (path,) = client["table.csv"].raw_export(tmp_path / "out")
    assert path.read_bytes() == (lab / "table.csv").read_bytes()
    own, linked = client["runs/scan.nxs"].raw_export(tmp_path / "scan")
    assert (own, linked) == (tmp_path / "scan" / "scan.nxs", tmp_path / "scan" / "ext" / "raw.h5")
    assert own.read_bytes() == (lab / "runs" / "scan.nxs").read_bytes()
    written = client["many"].raw_export(tmp_path / "many")
    assert len(written) == 12
    assert {path.name for path in written} == {f"{number:02}.json" for number in range(12)}


def test_data_is_exported_in_other_formats(client, tmp_path):
    client[f"{DATA}/noise"].export(tmp_path / "a.npy", slice=(slice(3), slice(None, 5)))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), NOISE[:3, :5])
    client[f"{DATA}/noise"].export(tmp_path / "a.csv", slice=(slice(2), slice(3)))
    np.testing.assert_allclose(np.loadtxt(tmp_path / "a.csv", delimiter=","), NOISE[:2, :3])
    client["table.csv"].export(tmp_path / "t.csv", columns=["y", "x"])
    assert next(csv.reader(io.StringIO((tmp_path / "t.csv").read_text()))) == ["y", "x"]
    client["many"].export(tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text())
    with pytest.raises(NotAcceptableError, match="csv"):
        client[f"{DATA}/noise"].export(tmp_path / "a.docx")
    assert not (tmp_path / "a.docx").exists()


def test_nodes_show_themselves(client):
    assert "runs" in repr(client)
    assert "6" in repr(client)
    assert "float64" in repr(client[f"{DATA}/noise"])
    for node in (client, client["table.csv"], client[f"{DATA}/image"], client["notes.txt"]):
        assert node._repr_html_().startswith("<div>")
        assert node.key in repr(node)


def test_a_file_without_structure_is_not_converted(client, tmp_path):
    with pytest.raises(NotAcceptableError, match="raw_export"):
        client["notes.txt"].export(tmp_path / "a.csv")


def test_a_local_node_is_named_for_ever(lab):
    with from_catalog(lab) as client:
        uid = client.session.uid
        assert client["runs/scan.nxs"].uri == f"holdfast:{uid}/catalog/runs/scan.nxs"


def test_a_malformed_query_is_an_error_of_ours(client):
    with pytest.raises(InvalidInputError):
        len(client.search(Regex("color", "(")))


def test_nodes_pickle_and_go_on(client):
    array = pickle.loads(pickle.dumps(client[f"{DATA}/image"]))
    np.testing.assert_array_equal(array[0], IMAGE[0])
    hits = pickle.loads(pickle.dumps(client["many"].search(Key("n") > 9)))
    assert keys_of(hits) == ["10.json", "11.json"]


def test_nodes_survive_fork(client):
    array = client[f"{DATA}/image"]
    np.testing.assert_array_equal(array[0], IMAGE[0])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for number, row in enumerate(pool.map(array.read, [0, 1, 2])):
            np.testing.assert_array_equal(row, IMAGE[number])
    np.testing.assert_array_equal(array[1], IMAGE[1])


def test_nodes_work_from_many_threads(client):
    wrong = []

    def work(number):
        for turn in range(10):
            row = (number + turn) % 64
            if not np.array_equal(client[f"{DATA}/noise"][row], NOISE[row]):
                wrong.append(row)
            if len(client.search_deep(Key("color") == "red")) != 7:
                wrong.append("search")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_node_opens_by_its_own_address(url):
    array = from_uri(url)[f"{DATA}/image"]
    again = from_uri(array.uri)
    np.testing.assert_array_equal(again[2], IMAGE[2])
    odd = from_uri(url)["odd ä#?%.txt"]
    assert from_uri(odd.uri).read() == odd.read()


def test_answers_within_the_process_equal_those_over_tcp(lab, url):
    local, remote = from_catalog(lab), from_uri(url)
    for (key, here), (other, there) in zip(
        local.search_deep().items(), remote.search_deep().items(), strict=True
    ):
        assert key == other
        assert here.item["attributes"] == there.item["attributes"]
        assert here.data_sources() == there.data_sources()


def test_reading_within_the_process_opens_no_socket(lab, monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    client = from_catalog(lab)
    np.testing.assert_array_equal(client[f"{DATA}/image"].read(), IMAGE)
    assert len(client.search_deep(Key("color") == "red")) == 7
