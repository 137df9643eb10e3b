"""The store in a SQLite file keeps the contract."""

import io
import os
import pickle
import sqlite3

import pytest

from holdfast.errors import HashError, InvalidInputError, UnreadableError
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


@pytest.fixture
def store(tmp_path):
    return SQLiteStore(tmp_path / "values.db", durability="os")


def test_a_disconnected_store_is_one_file_and_opens_again(store):
    store.from_bytes("k", b"1")
    store.disconnect()
    assert [name for name in os.listdir(os.path.dirname(store.path)) if "-lock" not in name] == ["values.db"]
    assert store.to_bytes("k") == b"1"
    assert pickle.loads(pickle.dumps(store)).to_bytes("k") == b"1"


def test_large_data_are_replaced_by_small_ones_without_a_trace(store):
    store.from_bytes("k", b"x" * 3_000_000)
    store.from_bytes("k", b"small")
    store.from_bytes("large", b"y" * 3_000_000)
    store.delete("large")
    assert store.to_bytes("k") == b"small"
    store.disconnect()
    connection = sqlite3.connect(store.path)
    assert connection.execute("SELECT count(*) FROM pieces").fetchone() == (0,)
    connection.close()


def test_a_reader_of_large_data_sees_one_state(store):
    old = os.urandom(3_000_000)
    store.from_bytes("k", old)
    value = store.get("k")
    first = value.data.read(1_000_000)
    store.from_bytes("k", os.urandom(3_000_000))
    assert first + value.data.read() == old


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET data = x'00010203'",
        "UPDATE entries SET metadata = '{\"a\":2}'",
        "UPDATE entries SET digest = zeroblob(32)",
    ],
)
def test_damage_is_an_error(store, damage):
    store.set("k", (io.BytesIO(b"data"), {"a": 1}))
    store.disconnect()
    connection = sqlite3.connect(store.path)
    connection.execute(damage)
    connection.commit()
    connection.close()
    with pytest.raises(HashError):
        store.get("k")
    assert [finding.kind for finding in store.check().findings] == ["changed"]


def test_damaged_pieces_are_an_error(store):
    store.from_bytes("k", b"x" * 3_000_000)
    store.disconnect()
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE pieces SET data = zeroblob(1048576) WHERE number = 1")
    connection.commit()
    connection.close()
    assert store.get("k").range(0, 10).read() == b"x" * 10
    with pytest.raises(HashError):
        store.to_bytes("k")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "other.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(UnreadableError):
        SQLiteStore(tmp_path / "other.db")
    with pytest.raises(InvalidInputError, match="durability"):
        SQLiteStore(tmp_path / "new.db", durability="none")
    with pytest.raises(InvalidInputError, match="pickled"):
        pickle.dumps(SQLiteStore(":memory:"))


def test_many_values_get_an_index_of_the_fields_that_are_asked_for(store):
    keys = [f"k{number}" for number in range(1500)]
    store.multiset_metadata(keys, ({"n": number % 10, "f": number / 7} for number in range(1500)))
    for _ in range(2):
        assert len(list(store.query_keys(n=3))) == 150
        assert list(store.query_keys(f=3 / 7)) == ["k3"]
    store.update_metadata("k3", {"n": 4})
    assert len(list(store.query_keys(n=3))) == 149
    store.disconnect()
    connection = sqlite3.connect(store.path)
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'field_%'")}
    connection.close()
    assert names == {"field_n", "field_f"}


@pytest.mark.parametrize(("length", "carries"), [(20, True), (2000, False)])
def test_an_index_carries_small_metadata_along(store, length, carries):
    keys = [f"k{number}" for number in range(1500)]
    store.multiset_metadata(keys, ({"n": number % 10, "text": "x" * length} for number in range(1500)))
    assert len(list(store.query_keys(n=3))) == 150
    store.set_metadata("k3", {"n": 3, "text": "y" * 5000})
    store.set_metadata("k4", {"n": 3})
    store.delete("k13")
    found = dict(store.query(n=3))
    assert len(found) == 150
    assert found["k3"]["text"] == "y" * 5000
    assert found["k4"] == {"n": 3}
    assert "k13" not in found
    store.disconnect()
    connection = sqlite3.connect(store.path)
    ((text,),) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'field_n'")
    assert ("key, metadata, digest, seal" in text) is carries
    connection.execute("UPDATE entries SET metadata = replace(metadata, 'y', 'z') WHERE key = 'k3'")
    connection.commit()
    connection.close()
    with pytest.raises(HashError, match="'k3'"):
        list(store.query(n=3))
