"""The store in a SQLite file keeps the contract."""

import pytest

from holdfast.store import SQLiteStore
from holdfast.testing import StoreTests


class TestSQLiteStore(StoreTests):
    @pytest.fixture
    def store(self, tmp_path):
        return SQLiteStore(tmp_path / "values.db")


class TestSQLiteStoreWithoutWaiting(StoreTests):
    @pytest.fixture
    def store(self, tmp_path):
        return SQLiteStore(tmp_path / "values.db", durability="os")


class TestSQLiteStoreInMemory(StoreTests):
    test_a_copied_handle_works_on_its_own = None

    @pytest.fixture
    def store(self):
        return SQLiteStore(":memory:")
