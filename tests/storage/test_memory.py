"""The memory storage keeps the contract."""

import pytest

from holdfast.storage import MemoryStorage
from holdfast.testing import StorageTests


class TestMemoryStorage(StorageTests):
    @pytest.fixture
    def storage(self):
        return MemoryStorage()
