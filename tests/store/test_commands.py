"""The commands of the store face."""

import io
import json
import os
import subprocess
import sys

import pytest

from holdfast.cli import run
from holdfast.store import FileSystemStore, SQLiteStore, init_shared_store
from served import environment, holdfast, served


@pytest.fixture
def place(tmp_path):
    init_shared_store(tmp_path)
    store = FileSystemStore(tmp_path)
    for number in range(3):
        store.set(f"run/{number}", (io.BytesIO(b"%d" % number), {"n": number, "s": "é"}))
    return tmp_path


@pytest.fixture
def say(capsys):
    def call(*arguments):
        code = run(["store", *map(str, arguments)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def test_listing_shows_keys_and_metadata(say, place):
    code, out, _ = say("ls", place, "--json")
    assert code == 0
    assert json.loads(out) == [{"key": f"run/{n}", "metadata": {"n": n, "s": "é"}} for n in range(3)]
    long = json.loads(say("ls", place, "--long", "--json")[1])
    assert [(row["key"], row["size"], row["verified"]) for row in long] == [
        (f"run/{n}", 1, True) for n in range(3)
    ]
    assert "run/2" in say("ls", place)[1]


def test_query_and_glob_find_keys(say, place):
    assert [row["key"] for row in json.loads(say("query", place, "n > 0", "--json")[1])] == ["run/1", "run/2"]
    assert json.loads(say("query", place, "n == 1", "-s", "n", "--json")[1]) == [
        {"key": "run/1", "metadata": {"n": 1}}
    ]
    assert json.loads(say("glob", place, "*2", "--json")[1]) == [{"key": "run/2"}]
    code, _, err = say("query", place, "n >")
    assert code == 2
    assert "holdfast:" in err


def test_setting_keeps_what_is_not_given(say, place, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"new data")
    assert say("set", place, "run/1", source)[0] == 0
    assert say("set", place, "run/1", "-f", "n=5", "-f", "t=text")[0] == 0
    value = FileSystemStore(place).get("run/1")
    assert (value.data.read(), value.metadata) == (b"new data", {"n": 5, "s": "é", "t": "text"})
    assert say("set", place, "new", "--metadata", '{"a": [1]}')[0] == 0
    assert FileSystemStore(place).get_metadata("new") == {"a": [1]}
    assert say("set", place, "new")[0] == 2
    assert say("set", place, "new", "-m", "[]")[0] == 2
    assert say("set", place, "new", "-f", "x")[0] == 2


def test_getting_writes_data_facts_or_metadata(say, place, tmp_path):
    target = tmp_path / "target"
    assert say("get", place, "run/2", "-o", target)[0] == 0
    assert target.read_bytes() == b"2"
    assert json.loads(say("get", place, "run/2", "--metadata", "--json")[1]) == {"n": 2, "s": "é"}
    assert json.loads(say("get", place, "run/2", "--json")[1])["size"] == 1
    code, _, err = say("get", place, "absent")
    assert code == 3
    assert "no key 'absent'" in err


def test_removing_is_all_or_nothing(say, place):
    assert say("rm", place, "run/0", "absent")[0] == 3
    assert FileSystemStore(place).exists("run/0")
    assert say("rm", place, "run/0", "run/1")[0] == 0
    assert list(FileSystemStore(place).query_keys()) == ["run/2"]


def test_check_says_what_is_wrong(say, place):
    assert say("check", place)[0] == 0
    (place / "orphan.data").write_bytes(b"x")
    code, out, _ = say("check", place, "--json")
    assert code != 0
    assert [finding["kind"] for finding in json.loads(out)["findings"]] == ["extra"]


def test_a_directory_can_be_made_a_store(say, tmp_path):
    assert say("ls", tmp_path / "new")[0] != 0
    assert say("init", tmp_path / "new")[0] == 0
    assert say("ls", tmp_path / "new")[0] == 0


def test_a_sqlite_file_is_a_store_too(say, tmp_path):
    path = tmp_path / "values.db"
    with SQLiteStore(path) as store:
        store.set_metadata("k", {"n": 1})
    assert json.loads(say("ls", path, "--json")[1]) == [{"key": "k", "metadata": {"n": 1}}]


def test_bytes_go_through_pipes_and_a_server(place):
    data = os.urandom(100_000)
    with served("store", place) as server:
        arguments = [sys.executable, "-m", "holdfast", "store"]
        settings = environment(HOLDFAST_API_KEY=server.key)
        put = subprocess.run(
            [*arguments, "set", server.url, "piped", "-"], input=data, env=settings, check=False
        )
        assert put.returncode == 0
        got = subprocess.run(
            [*arguments, "get", server.url, "piped"], capture_output=True, env=settings, check=False
        )
        assert got.stdout == data
        assert holdfast("store", "rm", server.url, "piped").returncode != 0
    assert FileSystemStore(place).to_bytes("piped") == data
