"""Keys, backups and upgrades from the command line."""

from __future__ import annotations

import json

import pytest

from holdfast.cli import run
from holdfast.cli.upkeep import lifetime
from holdfast.database import Database, locate
from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.http.auth import key_hash


@pytest.fixture
def lab(tmp_path):
    with Database(locate(tmp_path).database):
        return tmp_path


def find(lab, key):
    with Database(locate(lab).database, read_only=True) as database:
        return database.keys.check(key_hash(key))


def listed(lab, capsys):
    capsys.readouterr()
    assert run(["key", "list", str(lab), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_key_is_printed_once_and_only_its_digest_kept(lab, capsys):
    assert run(["key", "create", str(lab), "--scope", "write", "--expires", "30d", "--note", "beamline"]) == 0
    key = capsys.readouterr().out.strip()
    assert len(key) == 64
    assert find(lab, key).scope == "write"
    assert key.encode() not in locate(lab).database.read_bytes()
    (row,) = listed(lab, capsys)
    assert (row["scope"], row["note"]) == ("write", "beamline")
    assert row["expires"] > row["created"] > "2026"
    assert key not in json.dumps(row)


def test_a_revoked_key_opens_nothing(lab, capsys):
    run(["key", "create", str(lab), "--json"])
    made = json.loads(capsys.readouterr().out)
    assert find(lab, made["key"]).scope == "read"
    assert run(["key", "revoke", str(lab), str(made["id"])]) == 0
    assert find(lab, made["key"]) is None
    assert listed(lab, capsys) == []
    assert run(["key", "revoke", str(lab), str(made["id"])]) == NotFoundError.exit_code


@pytest.mark.parametrize(
    "words",
    [
        ["key", "create", "{}", "--scope", "all"],
        ["key", "create", "{}", "--expires", "soon"],
        ["key", "revoke", "{}", "x"],
    ],
)
def test_wrong_words_end_with_2_and_one_clear_line(lab, capsys, words):
    assert run([word.format(lab) for word in words]) == InvalidInputError.exit_code
    assert "Traceback" not in capsys.readouterr().err


def test_a_directory_without_a_catalog_says_what_to_do(tmp_path, capsys):
    assert run(["key", "list", str(tmp_path)]) == NotFoundError.exit_code
    assert "holdfast index" in capsys.readouterr().err


def test_a_backup_is_a_database(lab, tmp_path, capsys):
    assert run(["backup", str(lab), str(tmp_path / "copy.db")]) == 0
    uids = []
    for path in (locate(lab).database, tmp_path / "copy.db"):
        with Database(path, read_only=True) as database:
            uids.append(database.uid)
    assert uids[0] == uids[1]


def test_what_is_up_to_date_is_left_alone(lab, capsys):
    assert run(["upgrade", str(lab)]) == 0
    assert "up to date" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "30", "d", "0d", "-1d", "1y", "1 d", "9999999d"])
def test_a_lifetime_needs_a_number_and_a_unit(text):
    with pytest.raises(InvalidInputError):
        lifetime(text)
