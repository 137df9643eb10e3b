"""Large data are moved and hashed at once: the same bytes and digests however the system gives them."""

import errno
import io
import os
import threading
import time

import pytest

from holdfast.errors import HashError, InvalidInputError, StorageFullError
from holdfast.events import EventBus
from holdfast.hashing import BLOCK_BYTES, hash_blocks
from holdfast.store import FileSystemStore, StoreProgressStepEvent, init_shared_store
from holdfast.store.digesting import BlockHasher
from holdfast.store.moving import PIECE_BYTES, BlockDigester, BlockVerifier, Steps, fill, move

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


def reading(data):
    """Return what reads from bytes."""

    def read(view, at):
        view[: len(data) - at] = data[at : at + len(view)]
        return min(len(view), len(data) - at)

    return read


def quiet():
    return Steps(1 << 20, lambda done: None)


def rest(*arguments):
    time.sleep(0.003)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, PIECE_BYTES, PIECE_BYTES + 1, SIZE])
@pytest.mark.parametrize("slow", ["nothing", "reading", "digesting", "writing"])
def test_all_ways_of_hashing_agree_whoever_waits_for_whom(size, slow):
    data, hasher, copy = os.urandom(size), BlockHasher(), bytearray()
    for start in range(0, size, 100_000):
        hasher.update(bytearray(data[start : start + 100_000]))
    found = hasher.digests()
    hasher.close()
    helpers = set()

    class Digester(BlockDigester):
        def piece(self, piece):
            if slow == "digesting":
                rest()
            super().piece(piece)

        def block(self, number, block):
            helpers.add(threading.get_ident())
            super().block(number, block)

    def read(view, at):
        if slow == "reading":
            rest()
        return reading(data)(view, at)

    def write(piece):
        if slow == "writing":
            rest()
        copy.extend(piece)

    digester = Digester()
    assert move(read, write, digester, quiet()) == size
    assert copy == data
    assert digester.digests() == found
    if slow == "digesting" and size == SIZE:
        assert threading.get_ident() in helpers
        assert len(helpers) == 2 or helpers == {threading.get_ident()}
    if size:
        assert found == hash_blocks(io.BytesIO(data))


@pytest.mark.parametrize("failing", ["read", "write", "look", "tell"])
@pytest.mark.parametrize("at", [0, 3])
def test_whatever_fails_ends_the_moving_and_its_thread(failing, at):
    data, calls = os.urandom(SIZE), []

    class BrokenError(Exception):
        pass

    def fail(name):
        if name == failing:
            calls.append(name)
            if len(calls) > at:
                raise BrokenError(name)

    class Verifier(BlockVerifier):
        def block(self, number, block):
            fail("look")
            super().block(number, block)

    def read(view, offset):
        fail("read")
        return reading(data)(view, offset)

    verifier = Verifier(hash_blocks(io.BytesIO(data)), "it")
    with pytest.raises(BrokenError):
        move(read, lambda piece: fail("write"), verifier, Steps(1 << 20, lambda done: fail("tell")))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("holdfast-beside")]


def test_no_buffer_is_filled_before_it_was_written_and_looked_at():
    data, copy, seen = os.urandom(SIZE), bytearray(), {}

    class Verifier(BlockVerifier):
        def block(self, number, block):
            rest()
            seen[number] = bytes(block)
            super().block(number, block)

    def write(piece):
        time.sleep(0.002)
        copy.extend(piece)

    assert move(reading(data), write, Verifier(hash_blocks(io.BytesIO(data)), "it"), quiet()) == SIZE
    assert copy == data
    assert b"".join(seen[number] for number in sorted(seen)) == data


def test_memory_is_filled_and_damage_is_told():
    data, view = os.urandom(SIZE), memoryview(bytearray(SIZE))
    verifier = BlockVerifier(hash_blocks(io.BytesIO(data)), "it")
    assert fill(reading(data), view, verifier, quiet()) == SIZE
    assert view == data
    damaged = bytearray(data)
    damaged[-1] ^= 1
    with pytest.raises(HashError, match="it is damaged in block 22"):
        fill(reading(damaged), view, verifier, quiet())
    assert fill(reading(data[:-77]), view, verifier, quiet()) == SIZE - 77
