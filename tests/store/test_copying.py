"""Data are copied and hashed at once; both ways of copying give the same bytes, digests and progress."""

import errno
import io
import os

import pytest

from holdfast.errors import InvalidInputError, StorageFullError
from holdfast.events import EventBus
from holdfast.hashing import BLOCK_BYTES, hash_blocks
from holdfast.store import FileSystemStore, StoreProgressStepEvent, init_shared_store
from holdfast.store.copying import BlockHasher

SIZE = 5 * BLOCK_BYTES + 77


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "store"
    root.mkdir()
    init_shared_store(root)
    with FileSystemStore(root, durability="os") as store:
        yield store


@pytest.fixture(params=["in the kernel", "by reading", "by reading after a part"])
def way(request, monkeypatch):
    """Let the kernel copy, not at all, or no further than some bytes."""
    copied, real = [], os.copy_file_range

    def refuse(source, target, size, *places):
        if request.param == "by reading" or len(copied) == 2:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        copied.append(size)
        return real(source, target, size, *places)

    if request.param != "in the kernel":
        monkeypatch.setattr(os, "copy_file_range", refuse)


@pytest.mark.parametrize("step", [BLOCK_BYTES, 300_001, 1 << 20, 1 << 30])
def test_a_file_arrives_whole_with_its_digests_and_progress(store, source, way, step):
    seen = []

    def hear(event):
        seen.append(event.step)

    store.event_manager = EventBus()
    store.event_manager.connect(StoreProgressStepEvent, hear)
    store.from_file("k", source, step)
    assert seen == [*range(step, SIZE, step), SIZE]
    value = store.get("k")
    assert value.verified
    with open(source, "rb", 0) as file:
        assert value.digests == hash_blocks(file)
    assert value.data.read() == source.read_bytes()
    assert store.check().ok


def test_a_full_disk_is_told_and_the_old_value_stays(store, source, monkeypatch):
    store.from_bytes("k", b"old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(StorageFullError):
        store.from_file("k", source)
    assert store.to_bytes("k") == b"old"
    assert os.listdir(f"{store.path}/.holdfast/staging") == []


@pytest.mark.parametrize("step", [0, -1])
def test_a_buffer_of_no_size_is_refused(store, source, step):
    with pytest.raises(InvalidInputError, match="buffer_size"):
        store.from_file("k", source, step)
    assert not store.exists("k")


def test_hashing_takes_pieces_and_what_was_written_in_turn(source):
    data, hasher = source.read_bytes(), BlockHasher()
    with open(source, "rb", 0) as file:
        hasher.update(data[:100])
        hasher.update_written(file.fileno(), 100, 700_000)
        hasher.update(bytearray(data[700_100:700_200]))
        hasher.update_written(file.fileno(), 700_200, SIZE - 700_200)
        found = hasher.digests()
        hasher.close()
    assert found == hash_blocks(io.BytesIO(data))
