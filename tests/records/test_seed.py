"""The seed "Records", sentence by sentence, and the 58 expectations that its original was measured by."""

import multiprocessing
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

import holdfast.records as cg
from holdfast.errors import InvalidInputError, InvalidTypeError, NotFoundError


@pytest.fixture
def record(tmp_path):
    return cg.Record(tmp_path / "some" / "directory" / "path")


class Warp(cg.Command):
    output_path = "unset/{name}"
    runs = 0

    def run(self):
        type(self).runs += 1
        if self.conf.name == "bad":
            raise RuntimeError("bad name")
        self.output["result"] = f"warped {self.conf.name}"


@pytest.fixture
def warp(tmp_path):
    return type(
        "Warp", (Warp,), {"output_path": f"{tmp_path}/warped/{{name}}", "runs": 0, "__module__": __name__}
    )


def test_01_constructing_touches_no_files(tmp_path, record):
    assert list(tmp_path.iterdir()) == []
    assert len(record) == 0
    assert list(tmp_path.iterdir()) == []


def test_02_to_04_arrays_come_back_and_lie_in_readable_files(record):
    array = np.arange(6.0).reshape(2, 3)
    record["a/b"] = array
    found = record["a/b"]
    assert (found.dtype, found.shape, found.tolist()) == (array.dtype, array.shape, array.tolist())
    with h5py.File(record.path / "a" / "b.h5") as file:
        assert np.array_equal(file["data"][()], array)


def test_05_to_07_other_files_give_their_path_directories_a_subrecord_missing_ones_an_error(record):
    record["image/x"] = 1
    (record.path / "image" / "path.jpg").write_bytes(b"jpeg")
    assert record["image/path.jpg"] == record.path / "image" / "path.jpg"
    assert isinstance(record["image"], cg.Record)
    assert record["image"].path == record.path / "image"
    for error in (KeyError, FileNotFoundError, NotFoundError):
        with pytest.raises(error, match="'nothing'"):
            record["nothing"]


def test_08_to_13_values(record):
    record["scalar"] = 2.5
    assert record["scalar"] == 2.5
    record["bool"] = np.array([True, False])
    assert record["bool"].dtype == bool
    record["str"] = "Hello"
    assert record["str"] == "Hello"
    assert type(record["str"]) is str
    record["list"] = ["a", "bb"]
    assert record["list"].tolist() == ["a", "bb"]
    record["bytes"] = b"raw"
    assert record["bytes"] == b"raw"
    with pytest.raises(TypeError):
        record["ragged"] = [[1, 2], [3]]
    assert sorted(os.listdir(record.path)) == ["bool.h5", "bytes.h5", "list.h5", "scalar.h5", "str.h5"]


def test_14_to_17_iteration_hides_names_with_underscore_but_they_can_be_read(record):
    record["b"], record["a/x"], record["_hidden"] = 1, 2, 3
    record["c.jpg"] = _file(record.path.parent / "c.jpg", b"c")
    assert list(record) == list(record.keys()) == ["a", "b", "c.jpg"]
    assert len(record) == 3
    assert [key for key, _ in record.items()] == list(record)
    assert list(record.values())[1:] == [1, record.path / "c.jpg"]
    assert record["_hidden"] == 3
    assert "b" in record
    assert "a/x" in record
    assert "nothing" not in record
    assert "../b" not in record


def test_18_to_19_overwriting_replaces_and_a_failed_one_keeps_the_old(record):
    record["x"] = np.zeros(3, "i4")
    record["x"] = np.ones((2, 2))
    assert record["x"].shape == (2, 2)
    for bad in ([[1], [2, 3]], None, object(), [None]):
        with pytest.raises(TypeError):
            record["x"] = bad
    assert record["x"].shape == (2, 2)


def test_20_to_23_dicts_and_records_are_written_whole_and_replace_what_was_there(record, tmp_path):
    snoopy, garfield = np.arange(3), np.arange(4)
    record["beings/animals"] = {"dogs": {"snoopy": snoopy}, "cats": {"garfield": garfield}}
    assert record["beings/animals/dogs/snoopy"].tolist() == [0, 1, 2]
    other = cg.Record(tmp_path / "other")
    other["deep/er"], other["top"] = np.eye(2), "text"
    other["pic.png"] = _file(tmp_path / "pic.png", b"png" * 200_000)
    record["beings/animals"] = other
    assert list(record["beings/animals"]) == ["deep", "pic.png", "top"]
    assert np.array_equal(record["beings/animals/deep/er"], np.eye(2))
    assert record["beings/animals/pic.png"].read_bytes() == b"png" * 200_000
    assert list(other) == ["deep", "pic.png", "top"]
    record["beings"] = {"one": 1}
    assert list(record["beings"]) == ["one"]
    record["beings"] = {}
    assert list(record["beings"]) == []


def test_24_an_array_and_a_directory_of_one_name_never_coexist(record):
    record["x/inner"] = 1
    record["x"] = np.zeros(2)
    assert record["x"].tolist() == [0, 0]
    assert not (record.path / "x").exists()
    record["x"] = {"inner": 2}
    assert record["x/inner"] == 2
    assert not (record.path / "x.h5").exists()
    record["q"] = np.zeros(2)
    with pytest.raises(InvalidInputError, match="below"):
        record["q/inner"] = 1
    assert list(record) == ["q", "x"]
    assert record["q"].tolist() == [0, 0]


def test_25_to_29_appending(record):
    for row in range(4):
        record.append("deep/rows", np.full(3, row))
    assert record["deep/rows"].tolist() == [[row] * 3 for row in range(4)]
    for number in range(2):
        record.append("tree", {"a": number, "b": {"c": np.zeros(2)}})
    assert record["tree/a"].tolist() == [0, 1]
    assert record["tree/b/c"].shape == (2, 2)
    other = cg.Record(record.path.parent / "source")
    other["a"], other["b/c"] = 5, np.ones(2)
    record["fresh/a"] = np.array([4])
    record.append("fresh", other)
    assert record["fresh/a"].tolist() == [4, 5]
    assert record["fresh/b/c"].tolist() == [[1, 1]]
    for wrong in (np.zeros(4), np.zeros(3), "text", 1j):
        with pytest.raises(TypeError):
            record.append("deep/rows", wrong)
    assert len(record["deep/rows"]) == 4


def test_30_to_34_appending_to_what_was_written_and_by_two_records(record):
    record["x"] = np.array([1, 2])
    record.append("x", 3)
    record["x"] = np.array([9])
    record.append("x", 10)
    assert record["x"].tolist() == [9, 10]
    record.append("empty", np.empty(0))
    assert record["empty"].shape == (1, 0)
    record.append("text", "a")
    record.append("text", "bb")
    assert record["text"].tolist() == ["a", "bb"]
    other = cg.Record(record.path)
    for number in range(3):
        record.append("both", number)
        other.append("both", 10 + number)
    assert record["both"].tolist() == other["both"].tolist() == [0, 10, 1, 11, 2, 12]
    record.extend("both", [7, 8])
    assert record["both"].tolist()[-2:] == [7, 8]


def test_35_to_40_deleting_removes_empty_parents_up_to_the_record(record):
    record["a/b/c"] = 1
    record["a/d.txt"] = _file(record.path.parent / "d.txt", b"d")
    del record["a/b/c"]
    assert sorted(os.listdir(record.path)) == ["a"]
    assert "b" not in record["a"]
    del record["a/d.txt"]
    assert os.listdir(record.path) == []
    record["x/y/z"], record["x/w"] = 1, 2
    record.append("x/rows", 1)
    del record["x"]
    assert os.listdir(record.path) == []
    for key in ("x", "x/y", "nothing"):
        with pytest.raises(KeyError):
            del record[key]
    assert record.path.exists()


def test_41_to_47_commands(warp, tmp_path):
    record = cg.Record(tmp_path / "warped" / "tom")
    assert record.cmd_spec is None
    assert record.cmd_status == "unbegun"
    command = warp(name="tom")
    assert command.status == "unbegun"
    command()
    assert command.status == record.cmd_status == "done"
    assert record.cmd_spec == {"type": f"{__name__}|{warp.__qualname__}", "name": "tom"}
    assert record["result"] == "warped tom"
    assert list(record) == ["result"]
    record["extra"] = 1
    command()
    assert list(record) == ["result"]
    assert cg.require(warp(name="tom"))["result"] == "warped tom"
    assert warp.runs == 2
    bad = warp(name="bad")
    with pytest.raises(RuntimeError):
        bad()
    assert bad.status == "stopped"
    other = type("Other", (warp,), {"output_path": f"{tmp_path}/warped/tom"})
    assert other(name="tom", more=1).status == "unbegun"


def test_48_to_50_are_proved_by_the_history_checker():
    from records import test_history

    assert test_history.__doc__


@pytest.mark.parametrize(
    "key", ["/etc/x", "../x", "a/../../x", "", "a//b", "a/", "nul\0", ".", "a/./b", 5, "x" * 300]
)
def test_57_keys_cannot_leave_the_record(record, key):
    record["safe"] = 1
    for use in (
        lambda: record[key],
        lambda: record.__setitem__(key, 1),
        lambda: record.__delitem__(key),
        lambda: record.append(key, 1),
        lambda: record.open(key),
    ):
        with pytest.raises((InvalidInputError, InvalidTypeError)):
            use()
    assert key not in record
    assert list(record) == ["safe"]


def test_keys_may_contain_dots(record):
    record["v1.2"] = 1
    record.append("v1.3", 2)
    assert list(record) == ["v1.2", "v1.3"]
    assert record["v1.2"] == 1


def test_mapping_methods(record):
    record.update({"a": 1, "b": [1, 2]})
    assert record.setdefault("a", 5) == 1
    assert record.setdefault("c", 7) == 7
    assert record.get("nothing") is None
    assert record.get("nothing", 3) == 3
    assert record.pop("b").tolist() == [1, 2]
    assert record.pop("b", None) is None
    with pytest.raises(KeyError):
        record.pop("b")
    record["d/e"] = 4
    assert record.pop("d") == {"e": 4}
    record["f.txt"] = _file(record.path.parent / "f.txt", b"text")
    assert record.pop("f.txt") == b"text"
    record.clear()
    assert len(record) == 0


def _append(path, number):
    record = cg.Record(path, durability="group")
    for row in range(20):
        record.append("rows", [number, row])
    record.close()


def test_records_pickle_and_survive_fork(record):
    import pickle

    record["x"] = 1
    record.append("rows", [9, 9])
    assert pickle.loads(pickle.dumps(record)) == record
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_append, args=(record.path, number)) for number in range(2)]
    for worker in workers:
        worker.start()
    pid = os.fork()
    if pid == 0:
        record.append("rows", [8, 8])
        os._exit(0)
    os.waitpid(pid, 0)
    for worker in workers:
        worker.join()
    assert sorted(record["rows"].tolist()) == sorted(
        [[9, 9], [8, 8], *([n, r] for n in range(2) for r in range(20))]
    )


def _file(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Path(path)
