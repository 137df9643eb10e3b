"""The command lines do what they say, and their exit codes tell the truth."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.archive import Archive
from holdfast.archive.locutus import main as locutus_main
from holdfast.cli import run


@pytest.fixture
def holdfast(capsys):
    """Run ``holdfast archive …`` in this process; return exit code, output and error output."""

    def call(*arguments):
        code = run(["archive", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def locutus(capsys, monkeypatch):
    """Run ``locutus …`` in this process; return exit code, output and error output."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["locutus", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            locutus_main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def root(archive, file):
    archive.add_file("S1", "Prod0", file("a", b"aaa"))
    archive.add_file("S1", "Prod1", file("b", b"bbbb"))
    archive.close()
    return archive.root


def test_init_add_fetch_list(holdfast, tmp_path, file):
    code, out, _ = holdfast("init", tmp_path / "new", "--name", "Results", "--json")
    assert (code, json.loads(out)["name"]) == (0, "Results")
    code, out, _ = holdfast(
        "add", tmp_path / "new", "S1", "Prod0", file("a", b"a"), file("b", b"b"), "--json"
    )
    assert code == 0
    assert [each["file"] for each in json.loads(out)] == ["a", "b"]
    code, out, _ = holdfast("fetch", tmp_path / "new", "S1", "Prod0", "a")
    assert (code, Path(out.strip()).read_bytes()) == (0, b"a")
    code, out, _ = holdfast("list", tmp_path / "new")
    assert [line.split("\t")[:3] for line in out.splitlines()] == [["S1", "Prod0", "a"], ["S1", "Prod0", "b"]]
    assert holdfast("list", tmp_path / "new", "S1", "Prod0")[1] == out


def test_names_trees_and_md5_can_be_chosen(holdfast, root, file, tmp_path):
    assert holdfast("add", root, "S2", "P", file("c", b"c"), "--name", "sub/c", "--no-md5")[0] == 0
    file("t/x", b"x")
    file("t/y/z", b"z")
    assert holdfast("add", root, "S3", "P", tmp_path / "t", "--tree")[0] == 0
    with Archive(root) as archive:
        assert "md5" not in archive.entry("S2", "P", "sub/c").digests
        assert [entry.place.name for entry in archive.entries("S3")] == ["x", "y/z"]
    assert holdfast("add", root, "S4", "P", file("c"), file("d"), "--name", "x")[0] == 2


def test_info_find_log_and_head(holdfast, root):
    facts = json.loads(holdfast("info", root, "--json")[1])
    assert (facts["name"], facts["entries"], facts["size"], facts["foreign"]) == ("Test Store", 2, 7, 0)
    assert holdfast("head", root)[1].strip() == facts["head"]
    assert json.loads(holdfast("head", root, "--json")[1]) == {"head": facts["head"]}
    assert [each["name"] for each in json.loads(holdfast("find", root, "size > 3", "--json")[1])] == ["b"]
    rows = json.loads(holdfast("log", root, "--json")[1])
    assert [row["action"] for row in rows] == ["create", "add", "add"]
    assert f"sha256:{rows[-1]['hash']}" == facts["head"]
    assert len(holdfast("log", root)[1].splitlines()) == 3


def test_check_prints_a_report_and_its_exit_code_tells(holdfast, root, tmp_path):
    head = holdfast("head", root)[1].strip()
    code, out, _ = holdfast("check", root, "--head", head, "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["ok"], report["checked"], report["findings"]) == (True, 2, [])
    [path] = [path for path in Path(root, "S1", "Prod0").iterdir() if not path.is_symlink()]
    path.chmod(0o644)
    path.write_bytes(b"AAA")
    code, out, _ = holdfast("check", root, "--json")
    assert code == 1
    assert [(each["kind"], each["uri"]) for each in json.loads(out)["findings"]] == [
        ("permissions", "S1/Prod0/a"),
        ("changed", "S1/Prod0/a"),
    ]
    assert holdfast("check", root, "--head", "0" * 64, "--fast")[0] == 1
    assert holdfast("check", root, "--subset", "1/2")[0] in (0, 1)
    assert holdfast("check", root, "--subset", "x")[0] == 2
    assert holdfast("fetch", root, "S1", "Prod0", "a")[0] == 1


def test_check_repairs_from_a_copy(holdfast, root, tmp_path):
    shutil.copytree(root, tmp_path / "copy", symlinks=True)
    [path] = [path for path in Path(root, "S1", "Prod0").iterdir() if not path.is_symlink()]
    path.unlink()
    assert holdfast("check", root)[0] == 1
    assert holdfast("check", root, "--repair-from", tmp_path / "copy")[0] == 0
    assert holdfast("check", root)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("fetch", "S1", "Prod0", "none"), 3),
        (("fetch", "S9", "Prod0", "a"), 3),
        (("fetch", "S1", "Prod0", "a", "--hash", "0" * 32), 1),
        (("fetch", "S1", "Prod0", "a", "--hash", "xyz"), 2),
        (("add", "S1", "Prod0", "SOURCE", "--name", "a"), 4),
        (("add", "S1", "Prod0", "SOURCE", "--name", "../a"), 2),
        (("add", "S1", "Prod0", "/nowhere"), 3),
        (("add", "S1", "Prod0", "/"), 2),
        (("list", "S1", "none"), 3),
        (("list", "none"), 3),
        (("find", "size >"), 2),
        (("export",), 2),
        (("import", "/"), 2),
        (("add", "S1"), 2),
    ],
)
def test_failures_have_their_exit_codes_and_one_line(holdfast, root, file, arguments, code):
    verb, *rest = [str(file("source")) if each == "SOURCE" else each for each in arguments]
    got, out, err = holdfast(verb, root, *rest)
    assert (got, out) == (code, "")
    assert "Traceback" not in err
    assert err


def test_no_store_and_existing_store_have_their_exit_codes(holdfast, root, tmp_path):
    for verb in ("list", "info", "check", "log", "head"):
        assert holdfast(verb, tmp_path)[0] == 5
    assert holdfast("init", root)[0] == 4
    assert holdfast("rebuild", root)[0] == 4


def test_several_failures_are_all_told(holdfast, root, file):
    code, _, err = holdfast("add", root, "S1", "Prod0", file("a"), "/nowhere", file("c", b"c"))
    assert code == 4
    assert "S1/Prod0/a" in err
    assert "/nowhere" in err
    assert holdfast("fetch", root, "S1", "Prod0", "c")[0] == 0


def test_export_and_import(holdfast, root, tmp_path):
    assert holdfast("export", root, "--bagit", tmp_path / "bag")[0] == 0
    assert holdfast("export", root, "--ocfl", tmp_path / "root", "--digest", "sha256")[0] == 0
    for number, source in enumerate(("bag", "root")):
        assert holdfast("init", tmp_path / f"again{number}")[0] == 0
        assert holdfast("import", tmp_path / f"again{number}", tmp_path / source)[0] == 0
        assert holdfast("check", tmp_path / f"again{number}")[0] == 0


def test_locutus_makes_and_fills_a_store_in_the_current_directory(locutus, tmp_path, monkeypatch, file):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert locutus("init", "--name", "X")[0] == 0
    code, out, _ = locutus("info")
    assert (code, ast.literal_eval(out)) == (0, {"name": "X", "events": {}})
    code, out, _ = locutus("store", "S1", "Prod0", file("a.txt", b"aaa"))
    added = ast.literal_eval(out)
    assert (code, set(added), added["file"]) == (0, {"file", "hash", "uuid"}, "a.txt")
    code, out, _ = locutus("fetch", "S1", "Prod0", "a.txt", "--hash", added["hash"])
    assert code == 0
    assert os.path.isabs(out.strip())
    assert Path(out.strip()).read_bytes() == b"aaa"
    code, out, _ = locutus("list", "S1", "Prod0")
    assert code == 0
    head, rule, row = out.splitlines()
    assert head == f"{'Resource':30} {'Hash':32} {'UUID':32}"
    assert rule == "-" * 96
    assert row == f"{'a.txt':30} {added['hash']:32} {added['uuid']:32}"
    assert json.loads(locutus("list", "S1", "Prod0", "--json")[1]) == {
        "a.txt": {"uuid": added["uuid"], "hash": added["hash"]}
    }
    assert json.loads(locutus("info", "--json")[1])["name"] == "X"


def test_locutus_tells_the_truth(locutus, tmp_path, monkeypatch, file):
    source = file("a.txt", b"aaa")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for verb in (("info",), ("store", "S", "P", source), ("fetch", "S", "P", "a"), ("list", "S", "P")):
        code, _, err = locutus(*verb)
        assert (code, "Traceback" in err) == (5, False)
    locutus("init", "--name", "X")
    assert locutus("init", "--name", "X")[0] == 4
    locutus("store", "S", "P", source)
    assert locutus("store", "S", "P", source)[0] == 4
    assert locutus("store", "S", "P", "none")[0] == 3
    assert locutus("fetch", "S", "P", "none")[0] == 3
    assert locutus("list", "S", "none")[0] == 3
    assert locutus("fetch", "S", "P", "a.txt", "--hash", "0" * 32)[0] == 1
    assert locutus("nonsense")[0] == 2


def test_locutus_asks_for_the_name(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", "from holdfast.archive.locutus import main; main()", "init"]
    done = subprocess.run(
        command,
        input="Asked\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=30,
        check=False,
    )
    assert (done.returncode, "Name for the store: " in done.stdout) == (0, True)
    with Archive(tmp_path) as archive:
        assert archive.name == "Asked"
