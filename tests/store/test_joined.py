"""A joined store keeps the contract, and looks through its stores in order."""

import io

import pytest

from holdfast.errors import InvalidInputError
from holdfast.store import JoinedStore, MemoryStore
from holdfast.testing import StoreTests


class TestJoinedStore(StoreTests):
    @pytest.fixture
    def store(self):
        return JoinedStore([MemoryStore(), MemoryStore()])


@pytest.fixture
def store():
    first, second = MemoryStore(), MemoryStore()
    first.set("both", (io.BytesIO(b"first"), {"n": 1}))
    second.set("both", (io.BytesIO(b"second"), {"n": 2}))
    second.set("deep", (io.BytesIO(b"second"), {"n": 2}))
    return JoinedStore([first, second])


def test_the_first_store_that_has_a_key_answers(store):
    assert store.to_bytes("both") == b"first"
    assert store.to_bytes("deep") == b"second"
    assert sorted(store.query()) == [("both", {"n": 1}), ("deep", {"n": 2})]
    assert sorted(store.query_keys()) == ["both", "deep"]
    assert list(store.query_keys(n=2)) == ["deep"]


def test_changes_go_to_the_store_that_has_the_key(store):
    store.update_metadata("deep", {"m": 3})
    store.set("new", (io.BytesIO(b"1"), {}))
    store.set("deep", (io.BytesIO(b"2"), {"n": 4}))
    assert store.stores[1].get_metadata("deep") == {"n": 4}
    assert not store.stores[0].exists("deep")
    assert store.stores[0].exists("new")
    store.delete("both")
    assert store.to_bytes("both") == b"second"


def test_transactions_are_undone_in_all_stores(store):
    def change():
        with store.transaction("note"):
            store.set_metadata("both", {})
            store.set_metadata("deep", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change()
    assert sorted(store.query()) == [("both", {"n": 1}), ("deep", {"n": 2})]


def test_no_stores_are_refused():
    with pytest.raises(InvalidInputError, match="at least one"):
        JoinedStore([])
