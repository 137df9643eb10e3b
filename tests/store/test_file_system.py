"""The store in a directory keeps the contract, in encore's layout."""

import pytest

from holdfast.store import FileSystemStore, init_shared_store
from holdfast.testing import StoreTests


class TestFileSystemStore(StoreTests):
    @pytest.fixture
    def store(self, tmp_path):
        path = tmp_path / "store"
        path.mkdir()
        init_shared_store(path)
        return FileSystemStore(path)
