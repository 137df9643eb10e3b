import os

import pytest

from holdfast.database import Database, ObjectName, locate, names, register_resolver, resolve
from holdfast.errors import InvalidInputError, NotFoundError

UID = "0123456789abcdef" * 2


def test_repository_keeps_its_own_database(tmp_path):
    Database(tmp_path / "catalog.db").close()
    for target in (tmp_path, tmp_path / "catalog.db"):
        location = locate(target)
        assert (location.kind, location.directory, location.database) == (
            "repository",
            tmp_path,
            tmp_path / "catalog.db",
        )


def test_plain_directory_gets_a_hidden_one(tmp_path):
    location = locate(tmp_path)
    assert (location.kind, location.database) == ("hidden", tmp_path / ".holdfast" / "catalog.db")
    assert not location.exists
    assert os.listdir(tmp_path) == []
    Database(location.database).close()
    assert locate(location.database).directory == tmp_path
    assert location.beside("store.db") == tmp_path / ".holdfast" / "store.db"


def test_directory_that_cannot_be_written_has_it_in_the_state_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (tmp_path / "runs").mkdir()
    (tmp_path / "other" / "runs").mkdir(parents=True)
    first, second = locate(tmp_path / "runs"), locate(tmp_path / "other" / "runs")
    assert first.kind == second.kind == "state"
    assert first.database != second.database
    assert (tmp_path / "state") in first.database.parents


def test_user_says_where(tmp_path):
    location = locate(tmp_path, tmp_path / "x" / "mine.db")
    assert (location.kind, location.directory) == ("given", tmp_path)


def test_absent_directory_is_said(tmp_path):
    with pytest.raises(NotFoundError):
        locate(tmp_path / "absent")


@pytest.mark.parametrize(
    "name",
    [
        ObjectName(UID, "records", ("a", "b c", "é/ü@%")),
        ObjectName(UID, "analysis", ("x",), "7"),
        ObjectName(UID, "catalog"),
    ],
)
def test_object_name_reads_back(name):
    assert ObjectName.parse(str(name)) == name
    assert str(name).isascii()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "holdfast:1/records/a",
        f"holdfast:{UID}/other/a",
        f"holdfast:{UID}/records//a",
        f"holdfast:{UID}/records/a@b@c",
    ],
)
def test_other_texts_are_no_object_names(text):
    with pytest.raises(InvalidInputError):
        ObjectName.parse(text)


def test_resolver_answers_for_its_face(monkeypatch):
    monkeypatch.setattr(names, "_resolvers", {})  # what is registered here must not answer for other tests
    register_resolver("store", lambda name: name.path)
    assert resolve(ObjectName(UID, "store", ("a",))) == ("a",)
    with pytest.raises(NotFoundError):
        resolve(ObjectName(UID, "archive", ("a",)))
    with pytest.raises(InvalidInputError):
        register_resolver("attic", lambda name: None)
