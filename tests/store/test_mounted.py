"""A mounted store keeps the contract, and changes nothing outside its mount."""

import io

import pytest

from holdfast.errors import ForbiddenError
from holdfast.queries import KeyLookup
from holdfast.store import EventManager, MemoryStore, MountedStore, StoreEvent, StoreModificationEvent
from holdfast.testing import StoreTests


class TestMountedStore(StoreTests):
    @pytest.fixture
    def store(self):
        return MountedStore("", MemoryStore(), MemoryStore())


@pytest.fixture
def store():
    upper, lower = MemoryStore(), MemoryStore()
    upper.set("test1", (io.BytesIO(b"mounted"), {"from": "mounted"}))
    lower.set("test/test1", (io.BytesIO(b"backing"), {"from": "backing"}))
    lower.set("test/test2", (io.BytesIO(b"backing"), {"from": "backing"}))
    lower.set("other", (io.BytesIO(b"backing"), {"from": "backing"}))
    return MountedStore("test/", upper, lower)


def test_the_mounted_store_hides_what_is_below(store):
    assert store.to_bytes("test/test1") == b"mounted"
    assert store.to_bytes("test/test2") == b"backing"
    assert dict(store.query()) == {
        "test/test1": {"from": "mounted"},
        "test/test2": {"from": "backing"},
        "other": {"from": "backing"},
    }
    assert sorted(store.query_keys()) == ["other", "test/test1", "test/test2"]
    assert sorted(store.query_keys(where={"from": "backing"})) == ["other", "test/test2"]
    assert sorted(store.glob("test/*")) == ["test/test1", "test/test2"]
    assert list(store.query_keys(where=KeyLookup("test/test1"))) == ["test/test1"]


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.set_metadata("test/test2", {"a": 1}),
        lambda store: store.update_metadata("test/test2", {"a": 1}),
        lambda store: store.set_data("test/test2", io.BytesIO(b"new")),
    ],
)
def test_a_change_below_the_mount_copies_the_key_up(store, change):
    before = dict(store.backing_store.query())
    change(store)
    assert store.mount_store.exists("test2")
    assert dict(store.backing_store.query()) == before
    assert store.backing_store.to_bytes("test/test2") == b"backing"
    value = store.get("test/test2")
    assert (value.data.read(), value.metadata) in [
        (b"backing", {"a": 1}),
        (b"backing", {"from": "backing", "a": 1}),
        (b"new", {"from": "backing"}),
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.set("other", (io.BytesIO(b""), {})),
        lambda store: store.set_data("other", io.BytesIO(b"")),
        lambda store: store.set_metadata("new", {}),
        lambda store: store.update_metadata("other", {}),
        lambda store: store.delete("other"),
        lambda store: store.set_metadata("test/", {}),
        lambda store: store.delete("test/test2"),
    ],
)
def test_writes_outside_the_mount_are_refused(store, change):
    heard = []
    store.event_manager = EventManager()
    store.event_manager.connect(StoreModificationEvent, heard.append)
    before = dict(store.query())
    with pytest.raises(ForbiddenError, match=r"mount point|backing store"):
        change(store)
    assert dict(store.query()) == before
    assert heard == []


def test_a_failed_transaction_across_the_mount_changes_nothing(store):
    with pytest.raises(ForbiddenError):
        store.multiset_metadata(["test/test1", "other"], [{"a": 1}, {"a": 1}])
    assert store.get_metadata("test/test1") == {"from": "mounted"}


def test_deleting_the_upper_key_shows_the_lower_again(store):
    store.delete("test/test1")
    assert store.to_bytes("test/test1") == b"backing"


def test_push_moves_a_key_down(store):
    store.push("test/test1")
    assert not store.mount_store.exists("test1")
    assert store.backing_store.to_bytes("test/test1") == b"mounted"
    assert store.to_bytes("test/test1") == b"mounted"
    for key in ["test/test2", "other", "absent"]:
        with pytest.raises(KeyError):
            store.push(key)


def test_connecting_connects_both(store):
    store.connect()
    assert store.mount_store.is_connected()
    assert store.backing_store.is_connected()
    store.disconnect()
    assert store.to_bytes("other") == b"backing"


def test_events_carry_the_whole_key(store):
    heard = []
    store.event_manager = EventManager()
    store.event_manager.connect(StoreEvent, heard.append)
    store.set_metadata("test/new", {"a": 1})
    assert [(event.key, event.source) for event in heard] == [("test/new", store)]
