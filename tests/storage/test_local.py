"""The directory storage keeps the contract, and its files are ordinary files."""

import os

import pytest

from holdfast.errors import NotFoundError
from holdfast.storage import LocalStorage
from holdfast.testing import StorageTests


@pytest.fixture(params=["sync", "group", "os"])
def durability(request):
    return request.param


class TestLocalStorage(StorageTests):
    @pytest.fixture
    def storage(self, tmp_path):
        return LocalStorage(tmp_path / "store")


class TestLocalStorageWithoutWaiting(StorageTests):
    @pytest.fixture
    def storage(self, tmp_path):
        return LocalStorage(tmp_path, durability="os")


def test_object_is_an_ordinary_file_at_its_key(tmp_path, durability):
    LocalStorage(tmp_path, durability=durability).put("a/b.txt", b"x")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"x"
    (tmp_path / "a" / "c.txt").write_bytes(b"put by hand")
    assert [found.key for found in LocalStorage(tmp_path).list()] == ["a/b.txt", "a/c.txt"]


def test_links_special_files_and_own_names_are_no_objects(tmp_path):
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "_holdfast.0123456789abcdef.tmp").write_bytes(b"")
    (tmp_path / ".holdfast").mkdir()
    (tmp_path / ".holdfast" / "x").write_bytes(b"")
    storage = LocalStorage(tmp_path)
    assert [found.key for found in storage.list()] == ["real"]
    for key in ("link", "fifo"):
        with pytest.raises(NotFoundError, match=key):
            storage.get(key)
