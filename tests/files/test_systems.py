"""One decision a directory: local or shared."""

import json
import os

import pytest

from holdfast import files
from holdfast.errors import NotFoundError, SharedFileSystemError


@pytest.fixture
def shared(tmp_path):
    files.declare_file_system(tmp_path, "shared")
    yield tmp_path
    files.declare_file_system(tmp_path, None)


def test_memory_file_system_is_local():
    assert files.file_system("/dev/shm") == files.FileSystem("local", "tmpfs")


def test_unknown_file_system_counts_as_shared():
    found = files.file_system("/proc")
    assert found.kind == "shared"
    assert "0x9fa0" in found.name


def test_missing_directory_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="none"):
        files.file_system(tmp_path / "none")


def test_declaration_holds_below_and_can_be_taken_back(tmp_path):
    (tmp_path / "d").mkdir()
    before = files.file_system(tmp_path / "d")
    files.declare_file_system(tmp_path, "shared")
    assert files.file_system(tmp_path / "d").kind == "shared"
    files.declare_file_system(tmp_path, None)
    assert files.file_system(tmp_path / "d") == before


def test_writer_of_a_local_directory_needs_no_choice(tmp_path):
    files.declare_file_system(tmp_path, "local")
    files.require_writer(tmp_path, "append")
    files.declare_file_system(tmp_path, None)


def test_shared_directory_refuses_until_this_host_is_chosen(shared):
    with pytest.raises(SharedFileSystemError, match="serve it from one node"):
        files.require_writer(shared, "append")
    files.choose_writer(shared)
    files.require_writer(shared, "append")


def test_shared_directory_of_another_host_refuses(shared):
    files.choose_writer(shared)
    [name] = os.listdir(shared)
    (shared / name).write_text(json.dumps({"host": "other-host"}))
    with pytest.raises(SharedFileSystemError, match="other-host"):
        files.require_writer(shared, "append")


def test_host_and_boot_are_told_apart_by_something():
    assert files.host_id()
    assert files.boot_id()
    assert files.host_id() == files.host_id()
