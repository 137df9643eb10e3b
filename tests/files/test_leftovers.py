"""The sweeper takes what dead writers left, and nothing else."""

import os

import pytest

from holdfast import files
from holdfast.errors import NotFoundError
from holdfast.files.leftovers import temporary_beside

OURS = "_holdfast.0123456789abcdef.tmp"


@pytest.mark.parametrize(
    "name", ["a.tmp", "_holdfast.tmp", "_holdfast.0123456789abcde.tmp", OURS + "x", "x" + OURS, OURS + "\n"]
)
def test_names_of_others_are_not_ours(name):
    assert not files.is_temporary(name)


def test_temporary_lies_beside_its_target():
    path = temporary_beside("/a/b/c")
    assert os.path.dirname(path) == "/a/b"
    assert files.is_temporary(os.path.basename(path))
    assert files.is_temporary(temporary_beside("c"))


def test_sweep_takes_files_directories_and_links_of_dead_writers(tmp_path):
    (tmp_path / OURS).write_bytes(b"x")
    (tmp_path / OURS.replace("0", "1")).mkdir()
    (tmp_path / OURS.replace("0", "1") / "inside").write_bytes(b"")
    (tmp_path / OURS.replace("0", "2")).symlink_to("nowhere")
    (tmp_path / "user.tmp").write_bytes(b"")
    assert len(files.sweep(tmp_path, older_than_s=0)) == 3
    assert os.listdir(tmp_path) == ["user.tmp"]


def test_sweep_spares_the_young(tmp_path):
    (tmp_path / OURS).write_bytes(b"x")
    assert files.sweep(tmp_path) == []


def test_sweep_spares_living_writers(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE")
    with files.open_atomic(tmp_path / "a") as out, files.build_directory(tmp_path / "d"):
        assert files.sweep(tmp_path, older_than_s=0) == []
        out.write(b"x")
    assert sorted(os.listdir(tmp_path)) == ["a", "d"]


def test_sweep_looks_below_if_asked(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / OURS).write_bytes(b"")
    assert files.sweep(tmp_path, older_than_s=0) == []
    assert files.sweep(tmp_path, older_than_s=0, recursive=True) == [tmp_path / "d" / OURS]


def test_sweep_of_no_directory_is_an_error(tmp_path):
    with pytest.raises(NotFoundError, match="none"):
        files.sweep(tmp_path / "none")
