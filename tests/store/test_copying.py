"""Large data are moved and hashed at once: the same bytes and digests however the system gives them."""

import errno
import io
import os
import time

import pytest

from holdfast.errors import HashError, InvalidInputError, StorageFullError
from holdfast.events import EventBus
from holdfast.hashing import BLOCK_BYTES, hash_blocks
from holdfast.store import FileSystemStore, StoreProgressStepEvent, arriving, init_shared_store
from holdfast.store.arriving import PIECE_BYTES, BlockDigester, BlockVerifier
from holdfast.store.copying import BlockHasher

SIZE = 22 * BLOCK_BYTES + 77
STEPS = pytest.mark.parametrize("step", [BLOCK_BYTES, 300_001, 1 << 20, 1 << 22, 1 << 30])


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


@pytest.fixture(params=["all at once", "a part at a time"])
def way(request, monkeypatch):
    """Let the system give and take all that is asked for, or less."""
    if request.param == "all at once":
        return
    readv, preadv, write = os.readv, os.preadv, os.write
    monkeypatch.setattr(os, "readv", lambda file, views: readv(file, [views[0][:300_000]]))
    monkeypatch.setattr(os, "preadv", lambda file, views, at: preadv(file, [views[0][:300_000]], at))
    monkeypatch.setattr(os, "write", lambda file, piece: write(file, piece[:300_000]))


@pytest.fixture
def seen(store):
    """Return what progress is told."""
    steps = []

    def hear(event):
        steps.append(event.step)

    store.event_manager = EventBus()
    store.event_manager.connect(StoreProgressStepEvent, hear)
    yield steps
    store.event_manager.disconnect(StoreProgressStepEvent, hear)


@STEPS
def test_a_file_arrives_whole_with_its_digests_and_progress(store, source, way, seen, step):
    store.from_file("k", source, step)
    assert seen == [*range(step, SIZE, step), SIZE]
    value = store.get("k")
    assert value.verified
    with open(source, "rb", 0) as file:
        assert value.digests == hash_blocks(file)
    assert value.data.read() == source.read_bytes()
    assert store.check().ok


@STEPS
def test_a_file_leaves_whole_and_verified_with_its_progress(store, source, way, seen, tmp_path, step):
    store.from_file("k", source)
    target = tmp_path / "target"
    target.write_bytes(b"older" * SIZE)
    seen.clear()
    store.to_file("k", target, step)
    assert seen == [*range(step, SIZE, step), SIZE]
    assert target.read_bytes() == source.read_bytes()
    seen.clear()
    assert store.to_bytes("k", step) == source.read_bytes()
    assert seen == [*range(step, SIZE, step), SIZE]


@pytest.mark.parametrize("size", [SIZE // 2, SIZE + PIECE_BYTES])
def test_a_source_of_another_size_than_it_had_arrives_as_it_is(store, source, monkeypatch, size):
    real = os.fstat

    def lie(descriptor):
        monkeypatch.undo()
        facts = list(real(descriptor))
        facts[6] = size
        return os.stat_result(facts)

    monkeypatch.setattr(os, "fstat", lie)
    store.from_file("k", source)
    assert os.fstat is real
    assert store.to_bytes("k") == source.read_bytes()
    assert store.check().ok


@pytest.mark.parametrize("at", [0, 2 * BLOCK_BYTES, 10 * BLOCK_BYTES, SIZE - 1])
def test_a_flipped_byte_never_leaves(store, source, tmp_path, at):
    store.from_file("k", source)
    path = f"{store.path}/k.data"
    facts = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    target = tmp_path / "target"
    target.write_bytes(b"old")
    for call in (lambda: store.to_file("k", target), lambda: store.to_bytes("k")):
        with pytest.raises(HashError, match=f"'k' is damaged in block {at // BLOCK_BYTES} "):
            call()
    assert target.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["source", "store", "target"]


def test_a_full_disk_is_told_and_the_old_value_stays(store, source, tmp_path, monkeypatch):
    store.from_bytes("k", b"old")
    store.from_file("large", source)
    target = tmp_path / "target"
    target.write_bytes(b"old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageFullError, match=r"k\.data"):
        store.from_file("k", source)
    with pytest.raises(StorageFullError, match="target"):
        store.to_file("large", target)
    monkeypatch.undo()
    assert store.to_bytes("k") == target.read_bytes() == b"old"
    assert os.listdir(f"{store.path}/.holdfast/staging") == []


def test_a_source_that_cannot_be_read_leaves_the_old_value(store, source, monkeypatch):
    store.from_bytes("k", b"old")
    real, calls = os.readv, []

    def fail(file, views):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(file, views)

    monkeypatch.setattr(os, "readv", fail)
    with pytest.raises(OSError, match="error"):
        store.from_file("k", source)
    assert store.to_bytes("k") == b"old"
    assert os.listdir(f"{store.path}/.holdfast/staging") == []


@pytest.mark.parametrize("step", [0, -1])
def test_a_buffer_of_no_size_is_refused(store, source, step):
    with pytest.raises(InvalidInputError, match="buffer_size"):
        store.from_file("k", source, step)
    assert not store.exists("k")


class Slow:
    """Hash like blake3, so slowly that whoever waits takes a share."""

    def __init__(self, inner):
        self._inner = inner

    def update(self, piece):
        time.sleep(0.01)
        self._inner.update(piece)

    def hexdigest(self):
        return self._inner.hexdigest()


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, SIZE])
@pytest.mark.parametrize("is_slow", [False, True])
def test_all_ways_of_hashing_agree(size, is_slow):
    data, hasher = os.urandom(size), BlockHasher()
    for start in range(0, size, 100_000):
        hasher.update(bytearray(data[start : start + 100_000]))
    found = hasher.digests()
    hasher.close()
    with BlockDigester() as digester:
        if is_slow:
            digester._whole = Slow(digester._whole)
        for start in range(0, size, PIECE_BYTES):
            digester.add(data[start : start + PIECE_BYTES])
        assert digester.digests() == found
    if size:
        assert found == hash_blocks(io.BytesIO(data))


def test_no_buffer_is_filled_before_it_was_looked_at(monkeypatch):
    data, seen = os.urandom(SIZE), []

    class Verifier(BlockVerifier):
        def _check(self, piece, first):
            time.sleep(0.005)
            seen.append(bytes(piece))
            super()._check(piece, first)

    def read(view, at):
        view[: len(data) - at] = data[at : at + len(view)]
        return min(len(view), len(data) - at)

    with Verifier(hash_blocks(io.BytesIO(data)), "it") as verifier:
        steps = arriving.Steps(1 << 20, lambda done: None)
        assert arriving.move(read, lambda piece: None, verifier, steps) == SIZE
        verifier.wait()
    assert b"".join(seen) == data
