"""A store directory survives death at every system call, power cuts, full disks and failing ones."""

import io
import itertools
import os
from pathlib import Path

import pytest

from crash.disks import cut_power, loop_disk, small_disk
from crash.kills import fail_everywhere, kill_everywhere
from crash.operations import Operation
from holdfast.errors import HoldfastError, StorageFullError
from holdfast.store import FileSystemStore, SQLiteStore, init_shared_store

pytestmark = [pytest.mark.slow, pytest.mark.privileged]

OPEN = """
import io
from holdfast.store import FileSystemStore
store = FileSystemStore(directory, durability={durability!r})
"""
MAKE = """
from holdfast.store import init_shared_store
init_shared_store(directory)
"""
SET = "store.set('k', (io.BytesIO(b'new data'), {'v': 'new'})); ack('done')"
SET_NEW = "store.set('a/b', (io.BytesIO(b'new data'), {'v': 'new'})); ack('done')"
METADATA = "store.update_metadata('k', {'v': 'new'}); ack('done')"
DELETE = "store.delete('k'); ack('done')"
TOGETHER = """
with store.transaction('both'):
    store.set('k', (io.BytesIO(b'new data'), {'v': 'new'}))
    store.set('k2', (io.BytesIO(b'new data'), {'v': 'new'}))
    store.delete('k3')
ack('done')
"""
OLD, NEW = (b"old data", {"v": "old"}), (b"new data", {"v": "new"})


@pytest.fixture
def make(tmp_path):
    numbers = itertools.count()

    def fresh():
        path = tmp_path / f"store{next(numbers)}"
        return filled(path)

    return fresh


def filled(path):
    path.mkdir()
    init_shared_store(path)
    store = FileSystemStore(path, durability="os")
    for key in ("k", "k2", "k3"):
        store.set(key, (io.BytesIO(OLD[0]), OLD[1]))
    return path


def pair(store, key):
    if not store.exists(key):
        return None
    value = store.get(key)
    assert value.verified
    return value.data.read(), value.metadata


def verifier(states, keys=("k",)):
    """Return the check that the keys are in the first state or, once acknowledged, surely in the last."""

    def verify(directory, outcome):
        store = FileSystemStore(directory)
        found = tuple(pair(store, key) for key in keys)
        assert found in states
        if "done" in outcome.acks:
            assert found == states[-1]
        assert os.listdir(Path(directory, ".holdfast", "staging")) == []
        for key, value in zip(keys, found, strict=True):
            files = [Path(directory, f"{key}{suffix}").exists() for suffix in (".data", ".metadata")]
            if "/" not in key:
                assert files == [value is not None] * 2
        assert store.check().ok
        store.set("k", (io.BytesIO(b"next"), {}))
        assert store.to_bytes("k") == b"next"

    return verify


OPERATIONS = {
    "overwrite": (SET, [(OLD,), (NEW,)], ("k",)),
    "new escaped key": (SET_NEW, [(None,), (NEW,)], ("a/b",)),
    "metadata": (METADATA, [(OLD,), ((OLD[0], {"v": "new"}),)], ("k",)),
    "delete": (DELETE, [(OLD,), (None,)], ("k",)),
    "transaction": (TOGETHER, [(OLD, OLD, OLD), (NEW, NEW, None)], ("k", "k2", "k3")),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("durability", ["sync", "os"])
def test_death_at_every_system_call_leaves_old_or_new(make, name, durability):
    body, states, keys = OPERATIONS[name]
    operation = Operation(body, prepare=OPEN.format(durability=durability))
    assert kill_everywhere(operation, make, verifier(states, keys)) >= 10


@pytest.mark.parametrize("name", ["overwrite", "transaction"])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_every_failing_call_is_a_clear_error_with_the_old_value_intact(make, name, error):
    body, states, keys = OPERATIONS[name]
    operation = Operation(body, prepare=OPEN.format(durability="sync"))
    calls = ["write", "pwrite64", "fsync", "fdatasync"]
    assert fail_everywhere(operation, make, verifier(states, keys), calls, error) >= 4


FOREVER = """
for number in range(100000):
    with store.transaction('both'):
        store.set('k', (io.BytesIO(b'%08d' % number), {'n': number}))
        store.set('a/b', (io.BytesIO(b'%08d' % number), {'n': number}))
    ack(str(number))
"""


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
@pytest.mark.parametrize("flush_journal", [False, True])
def test_a_power_cut_loses_nothing_acknowledged_and_tears_nothing(tmp_path, kind, flush_journal):
    with loop_disk(tmp_path, kind, size_mb=64 if kind == "ext4" else 320) as disk:
        operation = Operation(FOREVER, prepare=MAKE + OPEN.format(durability="sync"))

        def verify(where, outcome):
            store = FileSystemStore(Path(where))
            value, other = store.get("k"), store.get("a/b")
            number = value.metadata["n"]
            assert value.data.read() == other.data.read() == b"%08d" % number
            assert other.metadata == {"n": number}
            assert value.verified
            assert other.verified
            assert number >= int(outcome.acks[-1])
            store.disconnect()

        cut_power(disk, operation, verify, acks=5, flush_journal=flush_journal)


def test_a_full_disk_is_told_and_the_old_value_is_intact(tmp_path):
    with small_disk(tmp_path, "2m") as path:
        directory = filled(Path(path) / "store")
        store = FileSystemStore(directory)
        with pytest.raises(StorageFullError, match="full"):
            store.set("k", (io.BytesIO(b"x" * 5_000_000), {"v": "new"}))
        with pytest.raises(StorageFullError):
            store.multiset(
                ["k", "k2"], [(io.BytesIO(b"y" * 700_000), {}), (io.BytesIO(b"y" * 5_000_000), {})]
            )
        assert pair(store, "k") == OLD
        assert os.listdir(directory / ".holdfast" / "staging") == []
        store.set("k", (io.BytesIO(b"small"), {}))
        assert store.to_bytes("k") == b"small"
        del store


def test_a_disk_that_turns_read_only_is_told(tmp_path):
    with loop_disk(tmp_path, "ext4", size_mb=32) as disk:
        directory = filled(disk.path / "store")
        store = FileSystemStore(directory)
        store.disconnect()
        store._index.close()
        del store
        disk.remount("ro")
        reader = FileSystemStore(directory)
        assert reader.info()["readonly"]
        assert pair(reader, "k") == OLD
        assert sorted(reader.query_keys(v="old")) == ["k", "k2", "k3"]
        for change in [
            lambda store: store.from_bytes("k", b"new"),
            lambda store: store.set_metadata("k", {}),
            lambda store: store.delete("k"),
            lambda store: store.multiset_metadata(["k"], [{}]),
        ]:
            with pytest.raises(HoldfastError, match=r"cannot be written|read-only"):
                change(reader)
        assert reader.check().ok
        reader.disconnect()
        reader._index.close()
        del reader


SQLITE = """
import io
from holdfast.store import SQLiteStore
store = SQLiteStore(directory / 'values.db', durability={durability!r})
"""


@pytest.mark.parametrize("name", ["overwrite", "transaction"])
def test_a_sqlite_store_survives_death_at_every_system_call(tmp_path, name):
    body, states, keys = OPERATIONS[name]
    numbers = itertools.count()

    def make():
        path = tmp_path / f"store{next(numbers)}"
        path.mkdir()
        with SQLiteStore(path / "values.db", durability="os") as store:
            for key in ("k", "k2", "k3"):
                store.set(key, (io.BytesIO(OLD[0]), OLD[1]))
        return path

    def verify(directory, outcome):
        store = SQLiteStore(Path(directory) / "values.db")
        found = tuple(pair(store, key) for key in keys)
        assert found in states
        if "done" in outcome.acks:
            assert found == states[-1]
        assert store.check().ok

    operation = Operation(body, prepare=SQLITE.format(durability="sync"))
    assert kill_everywhere(operation, make, verify) >= 3
