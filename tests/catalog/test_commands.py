"""The catalog from the command line, on a directory and on a server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from catalog.lab import IMAGE
from holdfast.catalog import from_catalog
from holdfast.catalog.commands import _names, fraction
from holdfast.cli import run
from holdfast.errors import HashError, InvalidInputError, NotAcceptableError, NotFoundError


@pytest.fixture(params=["directory", "url"])
def target(request, lab):
    return str(lab) if request.param == "directory" else request.getfixturevalue("url")


def rows(capsys, *words):
    """Run a listing command with --json and return what it printed."""
    capsys.readouterr()
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_ls_lists_a_container(capsys, target):
    listed = rows(capsys, "ls", target)
    assert {row["key"]: row["family"] for row in listed}["table.csv"] == "table"
    inner = rows(capsys, "ls", target, "runs/scan.nxs/entry/data")
    image = next(row for row in inner if row["key"] == "image")
    assert (image["shape"], image["dtype"], image["size"]) == ([3, 5, 7], ">i4", 420)


def test_ls_in_a_pipe_is_a_line_an_entry(capsys, target):
    assert run(["ls", target, "many"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert lines[0].split("\t")[:2] == ["00.json", "bytes"]


def test_show_tells_all_of_one_node(capsys, target):
    shown = rows(capsys, "show", target, "runs/plain.npy")
    assert shown["shape"] == [10, 100]
    (file,) = shown["files"]
    assert file["location"] == "runs/plain.npy"
    assert file["digest"].startswith("blake3:")
    assert run(["show", target, "facts.json"]) == 0
    assert '"color": "red"' in capsys.readouterr().out


def test_search_looks_at_the_whole_subtree(capsys, target):
    found = rows(capsys, "search", target, 'color == "red" and n > 5')
    assert sorted(row["path"] for row in found) == [
        "facts.json",
        "many/06.json",
        "many/08.json",
        "many/10.json",
    ]
    within = rows(capsys, "search", target, "n > 5", "--in", "many", "--sort", "-n", "--limit", "2")
    assert [row["key"] for row in within] == ["11.json", "10.json"]


IN_SCAN = "runs/scan.nxs/entry/data/image"


def test_export_saves_a_node(capsys, target, tmp_path):
    assert run(["export", target, "table.csv", "-o", str(tmp_path / "t.json")]) == 0
    assert json.loads((tmp_path / "t.json").read_text())
    assert run(["export", target, "table.csv", "-o", str(tmp_path / "t.csv"), "--column", "y"]) == 0
    assert (tmp_path / "t.csv").read_text().split() == ["y", "0.5", "1.5", "2.5"]
    assert run(["export", target, "table.csv", "-o", str(tmp_path / "t.csv"), "--columns", "name,x"]) == 0
    assert (tmp_path / "t.csv").read_text().split() == ["name,x", "a,1", "b,2", "c,3"]
    assert run(["export", target, IN_SCAN, "-o", str(tmp_path / "a.npy"), "--slice", "1,::2,-1"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), IMAGE[1, ::2, -1])
    assert run(["export", target, IN_SCAN, "-o", str(tmp_path / "a.dat"), "--format", "npy"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "a.dat"), IMAGE)
    assert run(["export", target, "/", "-o", str(tmp_path / "all.h5"), "--fields", "many,runs"]) == 0
    with h5py.File(tmp_path / "all.h5") as file:
        assert set(file) == {"many", "runs"}
        np.testing.assert_array_equal(file[IN_SCAN][()], IMAGE)
    told = capsys.readouterr()
    assert told.out == ""
    assert "export: " in told.err


def test_export_says_what_is_wrong_by_its_exit_code(capsys, target, tmp_path):
    def failing(*words):
        capsys.readouterr()
        code = run(["export", target, *words])
        return code, capsys.readouterr().err

    kept = tmp_path / "b.png"
    kept.write_text("as it was")
    code, said = failing(IN_SCAN, "-o", str(kept))
    assert code == NotAcceptableError.exit_code == 2
    assert "slice=0,:,:" in said
    assert kept.read_text() == "as it was"
    assert failing(IN_SCAN, "-o", str(tmp_path / "b.npy"), "--column", "x")[0] == 2
    assert failing(IN_SCAN, "-o", str(tmp_path / "b.npy"), "--slice", "nonsense")[0] == 2
    assert failing(IN_SCAN, "-o", str(tmp_path / "b.npy"), "--slice", "99")[0] == 2
    code, said = failing("table.csv", "-o", str(tmp_path / "t.docx"))
    assert (code, "text/csv" in said) == (2, True)
    code, said = failing("table.csv", "-o", str(tmp_path / "nosuffix"))
    assert (code, "say the format" in said) == (2, True)
    assert failing("nowhere", "-o", str(tmp_path / "t.csv"))[0] == NotFoundError.exit_code == 3
    assert failing("table.csv", "-o", str(tmp_path / "t.csv"), "--columns", "z")[0] == 3
    assert failing("table.csv", "-o", str(tmp_path / "no" / "such" / "place.csv"))[0] != 0
    assert list(tmp_path.iterdir()) == [kept]


def test_export_to_standard_output(lab, tmp_path):
    source = Path(__file__).parents[2] / "src"
    words = ["export", str(lab), "table.csv", "-o", "-", "--format", "csv", "--columns", "x"]
    ended = subprocess.run(
        [sys.executable, "-m", "holdfast", *words],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert ended.stdout == b"x\n1\n2\n3\n"


def test_names_with_commas_are_quoted_as_in_csv():
    assert _names(['x,"a,b"', "y"]) == ["x", "a,b", "y"]
    assert _names(None) == []


def test_the_help_of_export_names_the_formats(capsys):
    assert run(["export", "--help"]) == 0
    said = capsys.readouterr().out
    for word in ("parquet", "tiff", "zip", "--slice", "--columns", "--format", "--output"):
        assert word in said


def test_download_brings_what_matches(capsys, target, tmp_path):
    assert run(["download", target, str(tmp_path / "stuff"), "--where", "n < 2"]) == 0
    assert sorted(from_catalog(tmp_path / "stuff").search_deep().keys()) == [
        "many",
        "many/00.json",
        "many/01.json",
    ]
    report = rows(capsys, "download", target, str(tmp_path / "many"), "--in", "many")
    assert report["checked"] == 12
    assert run(["download", target, str(tmp_path / "stuff" / "data")]) == 4
    assert "another destination" in capsys.readouterr().err


def test_check_finds_a_flipped_byte(capsys, own_lab):
    assert run(["check", str(own_lab)]) == 0
    data = bytearray((own_lab / "table.csv").read_bytes())
    data[0] ^= 1
    (own_lab / "table.csv").write_bytes(data)
    assert run(["check", str(own_lab)]) == 1
    assert "table.csv" in capsys.readouterr().out
    assert run(["check", str(own_lab), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    assert run(["check", str(own_lab), "--subset", "0%"]) == InvalidInputError.exit_code


def test_index_says_what_it_did(capsys, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert run(["index", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "bad.h5" in said.err
    assert said.out.startswith("2 files, 2 added")
    summary = rows(capsys, "index", str(tmp_path))
    assert (summary["files"], summary["unchanged"]) == (2, 2)


def test_a_strict_index_fails_with_what_cannot_be_read(capsys, tmp_path):
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert run(["index", str(tmp_path), "--strict"]) == 1
    assert "bad.h5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["ls", "{}", "nope"], NotFoundError.exit_code, "nope"),
        (["ls", "{}/nowhere"], NotFoundError.exit_code, "nowhere"),
        (["search", "{}", "color ="], InvalidInputError.exit_code, "color"),
        (["search", "{}", "n > 1", "--in", "notes.txt"], InvalidInputError.exit_code, "no entries"),
        (["ls", "http://127.0.0.1:9"], 1, "127.0.0.1:9"),
        (["ls", "gopher://x"], InvalidInputError.exit_code, "gopher"),
        (["ls", "{}", "--api-key-file", "/nope"], 0, ""),
        (["check", "{}/many"], NotFoundError.exit_code, "index"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else None,
)
def test_errors_are_one_clear_line(capsys, lab, words, code, says):
    assert run([word.format(lab) for word in words]) == code
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 1


def test_a_key_comes_from_a_file_the_option_or_the_environment(capsys, own_lab, tmp_path, monkeypatch):
    from holdfast.app import ServeOptions, build
    from holdfast.http.serving import running

    key = "c0de" * 16
    (tmp_path / "key").write_text(key + "\n")
    with build(ServeOptions(directory=own_lab, api_key=key)) as app, running(app.site) as url:
        assert run(["ls", url]) == 1
        assert run(["ls", url, "--api-key-file", str(tmp_path / "key")]) == 0
        assert run(["ls", url, "--api-key", key]) == 0
        monkeypatch.setenv("HOLDFAST_API_KEY", key)
        assert run(["ls", url]) == 0
    assert key not in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "10", "0%", "101%", "x%", "nan%", "-5%"])
def test_a_part_is_a_percentage(text):
    with pytest.raises(InvalidInputError):
        fraction(text)


def test_a_damaged_file_ends_with_the_code_of_its_error(capsys, own_lab, tmp_path):
    import os

    facts = (own_lab / "notes.txt").stat()
    (own_lab / "notes.txt").write_bytes(b"A note\n")
    os.utime(own_lab / "notes.txt", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert run(["download", str(own_lab), str(tmp_path / "stuff")]) == HashError.exit_code
    assert "notes.txt" in capsys.readouterr().err
    assert not (tmp_path / "stuff").exists()
