"""``holdfast records``: what each command prints, writes and ends with."""

import json

import numpy as np
import pytest

from holdfast.cli import run
from holdfast.records import Record
from holdfast.records.commands import sketch


@pytest.fixture
def record(tmp_path):
    record = Record(tmp_path / "data")
    record["walk"] = np.arange(80.0)
    record["deep/er"] = ["a", "b"]
    record.append("rows", [1, 2])
    (record.path / "note.txt").write_text("plain")
    return record


@pytest.fixture
def command(record, capsys):
    def call(verb, *arguments):
        code = run(["records", verb, str(record.path), *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_ls_lists_shape_type_size_and_verified(command):
    code, out, _ = command("ls")
    assert code == 0
    assert [line.split("\t") for line in out.splitlines()] == [
        ["deep", "record", "1 entries", "-", "-", "-"],
        ["note.txt", "file", "-", "-", "5 B", "no digests"],
        ["rows", "array", "1x2", "int64", "16 B", "yes"],
        ["walk", "array", "80", "float64", "640 B", "yes"],
    ]
    assert [row["key"] for row in json.loads(command("ls", "deep", "--json")[1])] == ["er"]
    assert command("ls", "walk")[1].startswith("walk\tarray")


def test_show_draws_a_sketch(command):
    code, out, _ = command("show", "walk")
    assert code == 0
    assert "▁" in out
    assert "█" in out
    assert "verified" in out
    assert command("show", "deep")[0] == command("show", "note.txt")[0] == 0
    assert sketch(np.array([1.0, np.nan, 1.0])) == "▁·▁"


def test_get_prints_json_or_writes_a_file(command, tmp_path):
    assert json.loads(command("get", "rows")[1]) == [[1, 2]]
    assert json.loads(command("get", "deep/er")[1]) == ["a", "b"]
    for suffix, load in (
        (".npy", np.load),
        (".csv", np.loadtxt),
        (".json", lambda path: json.loads(path.read_text())),
    ):
        target = tmp_path / f"out{suffix}"
        assert command("get", "walk", "--output", str(target))[0] == 0
        assert np.array_equal(load(target), np.arange(80.0))
        assert command("get", "walk", "--output", str(target))[0] == 4
    assert command("get", "walk", "--output", str(tmp_path / "x.xyz"))[0] == 2
    assert command("get", "note.txt", "--output", str(tmp_path / "copy.txt"))[0] == 0
    assert (tmp_path / "copy.txt").read_text() == "plain"
    assert command("get", "deep")[0] == 2


def test_rm_compact_and_check(command, record):
    assert command("compact")[0] == 0
    assert not list(record.path.glob("_rows*"))
    code, out, _ = command("check")
    assert (code, "foreign  note.txt" in out) == (0, True)
    assert command("rm", "deep/er")[0] == 0
    assert not (record.path / "deep").exists()
    assert command("rm", "deep/er")[0] == 3
    data = bytearray((record.path / "walk.h5").read_bytes())
    data[-900] ^= 1
    (record.path / "walk.h5").write_bytes(data)
    code, out, _ = command("check", "--json")
    assert code == 1
    assert [finding["uri"] for finding in json.loads(out)["findings"]] == ["walk"]


def test_a_missing_directory_is_named(capsys, tmp_path):
    assert run(["records", "ls", str(tmp_path / "nowhere")]) == 3
    assert "nowhere" in capsys.readouterr().err
