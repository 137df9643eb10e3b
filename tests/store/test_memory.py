"""The store in memory keeps the contract."""

import pytest

from holdfast.store import MemoryStore
from holdfast.testing import StoreTests


class TestMemoryStore(StoreTests):
    @pytest.fixture
    def store(self):
        return MemoryStore()
