"""The store in a directory keeps the contract, in encore's layout, beside other programs."""

import io
import json
import multiprocessing
import os
import pickle
import time
from pathlib import Path

import pytest

from holdfast import files
from holdfast.errors import (
    ForbiddenError,
    HashError,
    InvalidInputError,
    MissingFileError,
    NotAStoreError,
    UnreadableError,
)
from holdfast.queries import Key
from holdfast.store import EventManager, FileSystemStore, StoreModificationEvent, init_shared_store, watching
from holdfast.testing import StoreTests
from stores_at_work import count_up, die_in_transaction, die_while_receiving, overwrite


def make(path, **options):
    path.mkdir(exist_ok=True)
    init_shared_store(path)
    return FileSystemStore(path, **options)


class TestFileSystemStore(StoreTests):
    @pytest.fixture
    def store(self, tmp_path):
        return make(tmp_path / "store", durability="os")


@pytest.fixture
def store(tmp_path):
    return make(tmp_path / "store")


@pytest.fixture(params=["watched", "looked at"])
def each_way(request, monkeypatch):
    """Let foreign changes be found both by watching and, as on shared file systems, by looking."""
    if request.param == "looked at":
        monkeypatch.setattr(watching, "_libc", object())


class Encore:
    """Do to files what encore 0.8 does."""

    def __init__(self, root):
        self.root = root

    def set(self, key, data, metadata):
        (self.root / f"{key}.metadata").write_text(json.dumps(metadata, ensure_ascii=False), encoding="utf-8")
        (self.root / f"{key}.data").write_bytes(data)

    def set_metadata(self, key, metadata):
        (self.root / f"{key}.metadata").write_bytes(json.dumps(metadata).encode())
        os.utime(self.root / f"{key}.data")

    def delete(self, key):
        (self.root / f"{key}.metadata").unlink()
        (self.root / f"{key}.data").unlink()

    def get(self, key):
        return (self.root / f"{key}.data").read_bytes(), json.loads(
            (self.root / f"{key}.metadata").read_bytes()
        )

    def keys(self):
        return sorted(path.name.removesuffix(".metadata") for path in self.root.glob("*.metadata"))


@pytest.fixture
def encore(store):
    return Encore(Path(store.path))


# the layout


def test_files_are_what_encore_reads(store, encore):
    store.set("k", (io.BytesIO(b"data"), {"é": 1}))
    store.set("run 7", (io.BytesIO(b""), {}))
    assert encore.get("k") == (b"data", {"é": 1})
    assert encore.get("run 7") == (b"", {})
    assert encore.keys() == ["k", "run 7"]
    assert sorted(os.listdir(store.path)) == [
        ".FSStore", ".holdfast", "k.data", "k.metadata", "run 7.data", "run 7.metadata",
    ]  # fmt: skip
    assert (encore.root / ".FSStore").read_bytes() == b"__version__ = 0\n"
    store.delete("k")
    assert encore.keys() == ["run 7"]
    assert not (encore.root / "k.data").exists()


def test_a_directory_of_encore_opens_in_place(tmp_path):
    root = tmp_path / "old"
    root.mkdir()
    init_shared_store(root)
    encore = Encore(root)
    for number in range(5):
        encore.set(f"k{number}", b"%d" % number, {"n": number, "s": "é"})
    encore.set("a%2Fb", b"literal", {})
    encore.set(".hidden", b"hidden", {"h": 1})
    with FileSystemStore(root) as store:
        assert sorted(store.query_keys()) == [".hidden", "a%2Fb", "k0", "k1", "k2", "k3", "k4"]
        assert store.to_bytes("k3") == b"3"
        assert list(store.query(n=2)) == [("k2", {"n": 2, "s": "é"})]
        assert store.to_bytes(".hidden") == b"hidden"
        assert sorted(store.glob("k[12]")) == ["k1", "k2"]


@pytest.mark.usefixtures("each_way")
def test_each_program_sees_the_others_changes_at_its_next_call(store, encore):
    store.connect()
    store.set("k", (io.BytesIO(b"ours"), {"v": 1}))
    assert list(store.query_keys(v=1)) == ["k"]
    encore.set("k", b"theirs", {"v": 2})
    assert list(store.query_keys(v=1)) == []
    assert list(store.query_keys(v=2)) == ["k"]
    assert store.to_bytes("k") == b"theirs"
    encore.set("new", b"1", {"v": 2})
    assert sorted(store.glob("*")) == ["k", "new"]
    assert store.exists("new")
    encore.set_metadata("new", {"v": 3})
    assert store.get_metadata("new") == {"v": 3}
    assert list(store.query(where=Key("v") > 2)) == [("new", {"v": 3})]
    encore.delete("k")
    assert not store.exists("k")
    assert list(store.query_keys()) == ["new"]
    with pytest.raises(KeyError):
        store.get("k")
    store.set("k", (io.BytesIO(b"again"), {}))
    assert encore.get("k") == (b"again", {})
    store.delete("new")
    encore.set("new", b"back", {"v": 4})
    assert store.get_metadata("new") == {"v": 4}
    assert sorted(store.query_keys()) == ["k", "new"]


@pytest.mark.usefixtures("each_way")
def test_two_handles_see_each_other(store):
    other = FileSystemStore(store.path)
    store.connect()
    other.connect()
    for number in range(3):
        store.set_metadata("a/b", {"n": number})
        assert list(other.query_keys(n=number)) == ["a/b"]
        other.update_metadata("a/b", {"m": number})
        assert list(store.query_keys(m=number, n=number)) == ["a/b"]
    other.delete("a/b")
    assert list(store.query_keys()) == []


def test_a_change_in_place_of_the_same_size_is_seen(store, encore):
    """A write within one tick of the kernel's clock leaves the size and could leave the time."""
    for number in range(200):
        store.set("k", (io.BytesIO(b"%06d" % number), {"n": number}))
        encore.set("k", b"x%05d" % number, {"n": -number})
        assert store.to_bytes("k") == b"x%05d" % number
        assert store.get_metadata("k") == {"n": -number}
        assert list(store.query_keys(n=-number)) == ["k"]


# keys and names


def test_a_foreign_name_that_looks_escaped_is_never_overwritten(store, encore):
    encore.set("a%2Fb", b"foreign", {"f": 1})
    store.set("a/b", (io.BytesIO(b"ours"), {"o": 1}))
    assert store.to_bytes("a%2Fb") == b"foreign"
    assert store.to_bytes("a/b") == b"ours"
    assert sorted(store.query_keys()) == ["a%2Fb", "a/b"]
    store.delete("a/b")
    assert encore.get("a%2Fb") == (b"foreign", {"f": 1})


def test_a_foreign_hidden_key_is_written_where_it_lies(store, encore):
    encore.set(".hidden", b"foreign", {"f": 1})
    store.update_metadata(".hidden", {"o": 2})
    assert encore.get(".hidden") == (b"foreign", {"f": 1, "o": 2})
    assert list(store.query_keys()) == [".hidden"]
    store.delete(".hidden")
    assert list(store.query_keys()) == []
    store.set_metadata(".hidden", {})
    assert encore.keys() == []
    assert list(store.query_keys()) == [".hidden"]


def test_foreign_files_among_the_escaped_ones_keep_their_names(store):
    store.set_metadata("a/b", {"ours": 1})
    for name in ["plain", "a%2fb"]:
        for suffix, content in [(".metadata", "{}"), (".data", "foreign")]:
            with open(os.path.join(store.path, "%", name + suffix), "w") as file:
                file.write(content)
    assert sorted(store.query_keys()) == ["%/a%2fb", "%/plain", "a/b"]
    assert store.to_bytes("%/plain") == b"foreign"
    store.set("%/plain", (io.BytesIO(b"changed"), {}))
    assert store.to_bytes("%/plain") == b"changed"


def test_a_copied_directory_works_without_its_index(store, tmp_path):
    keys = ["plain", "a/b", "é" * 300, ".hidden"]
    for key in keys:
        store.set(key, (io.BytesIO(key.encode()), {"key": key}))
    copied = tmp_path / "copy"
    copied.mkdir()
    os.system(f"cp -r {store.path}/* {store.path}/.FSStore {copied}")
    other = FileSystemStore(copied)
    assert sorted(other.query_keys()) == sorted(keys)
    assert [other.to_bytes(key) for key in keys] == [key.encode() for key in keys]


def test_names_that_are_not_utf8_are_no_keys_and_are_reported(store):
    path = os.fsencode(store.path)
    open(path + b"/\xff.metadata", "w").close()
    assert list(store.query_keys()) == []
    assert [finding.kind for finding in store.check().findings] == ["extra"]


# verified, or not


def test_a_flipped_byte_is_an_error(store):
    store.set("k", (io.BytesIO(b"0123456789"), {"a": 1}))
    flip(store, "k.data")
    for call in [store.get, store.to_bytes, store.get_data, lambda key: store.get_data_range(key, 9, 10)]:
        with pytest.raises(HashError, match="'k'"):
            call("k")
    assert store.get_metadata("k") == {"a": 1}
    assert [(finding.kind, finding.uri) for finding in store.check().findings] == [("changed", "k")]
    store.set_data("k", io.BytesIO(b"repaired"))
    assert store.check().ok


def test_a_flipped_byte_in_large_data_is_an_error_where_it_is_read(store, tmp_path):
    data = bytes(range(256)) * 4000
    store.from_bytes("k", data)
    flip(store, "k.data", at=700_000)
    value = store.get("k")
    assert value.verified
    assert value.range(0, 500_000).read() == data[:500_000]
    with pytest.raises(HashError, match="block 2"):
        value.range(600_000, 600_001).read()
    with pytest.raises(HashError):
        store.to_bytes("k")
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(HashError):
        store.to_file("k", target)
    assert target.read_bytes() == b"old"


def test_a_flipped_byte_of_metadata_is_reported_and_never_served(store):
    store.set_metadata("k", {"value": 1000})
    flip(store, "k.metadata", at=-2)
    assert store.get_metadata("k") == {"value": 1000}
    assert [finding.uri for finding in store.check().findings] == ["k.metadata"]


def flip(store, name, at=0):
    """Change one byte and put the times back, as a failing disk does."""
    path = os.path.join(store.path, name)
    facts = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(at, 0 if at >= 0 else 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize("size", [10, 600_000])
def test_what_another_program_wrote_is_served_unverified_and_then_known(store, encore, size):
    store.set("k", (io.BytesIO(b"ours"), {"a": 1}))
    assert store.get("k").verified
    data = b"t" * size
    encore.set("k", data, {"a": 2})
    backdate(store, "k")
    value = store.get("k")
    assert not value.verified
    assert value.data.read() == data
    assert value.metadata == {"a": 2}
    assert store.get("k").verified
    flip(store, "k.data")
    with pytest.raises(HashError):
        store.to_bytes("k")


def backdate(store, key, seconds=5):
    for suffix in (".data", ".metadata"):
        path = os.path.join(store.path, key + suffix)
        before = time.time() - seconds
        os.utime(path, (before, before))


def test_a_young_foreign_file_is_looked_at_again(store, encore):
    encore.set("k", b"first", {})
    assert store.to_bytes("k") == b"first"
    facts = os.stat(encore.root / "k.data")
    (encore.root / "k.data").write_bytes(b"other")
    os.utime(encore.root / "k.data", ns=(facts.st_mtime_ns, facts.st_mtime_ns))
    value = store.get("k")
    assert value.data.read() == b"other"
    assert not value.verified


def test_foreign_data_without_change_are_verified_from_the_second_reading(store, encore):
    encore.set("k", b"data", {})
    backdate(store, "k")
    assert [store.get("k").verified for _ in range(3)] == [False, True, True]


# bad input


def test_a_missing_directory_or_magic_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no directory"):
        FileSystemStore(tmp_path / "absent")
    with pytest.raises(NotAStoreError, match="init_shared_store"):
        FileSystemStore(tmp_path)
    with pytest.raises(FileNotFoundError):
        init_shared_store(tmp_path / "absent")
    init_shared_store(tmp_path, magic_fname="MAGIC")
    FileSystemStore(tmp_path, magic_fname="MAGIC").from_bytes("k", b"1")
    with pytest.raises(NotAStoreError):
        FileSystemStore(tmp_path)
    with pytest.raises(InvalidInputError, match="magic"):
        FileSystemStore(tmp_path, magic_fname="x.data")
    with pytest.raises(InvalidInputError, match="durability"):
        FileSystemStore(tmp_path, durability="none")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b'"text"',
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b"\0" * 9,
    ],
)
def test_a_corrupt_metadata_file_concerns_its_key_only(store, encore, caplog, content):
    store.set_metadata("good", {"n": 1})
    store.set("bad", (io.BytesIO(b"data"), {"n": 1}))
    (encore.root / "bad.metadata").write_bytes(content)
    for call in [
        lambda: store.get("bad"),
        lambda: store.get_metadata("bad"),
        lambda: store.update_metadata("bad", {}),
        lambda: store.set_data("bad", io.BytesIO(b"")),
    ]:
        with pytest.raises(UnreadableError, match=r"bad\.metadata"):
            call()
    assert list(store.query()) == [("good", {"n": 1})]
    assert list(store.query_keys(n=1)) == ["good"]
    assert list(store.query_keys()) == ["good"]
    assert "bad.metadata" in caplog.text
    assert store.exists("bad")
    assert [(finding.kind, finding.uri) for finding in store.check().findings] == [("unreadable", "bad")]
    assert (encore.root / "bad.data").read_bytes() == b"data"
    store.set_metadata("bad", {"n": 2})
    assert store.to_bytes("bad") == b"data"
    assert store.check().ok
    (encore.root / "bad.metadata").write_bytes(content)
    store.delete("bad")
    assert not store.exists("bad")


def test_metadata_without_data_is_told(store, encore):
    encore.set("k", b"data", {"a": 1})
    (encore.root / "k.data").unlink()
    assert store.exists("k")
    assert store.get_metadata("k") == {"a": 1}
    with pytest.raises(MissingFileError, match="data file of key 'k'"):
        store.get("k")
    assert [(finding.kind, finding.uri) for finding in store.check().findings] == [("missing", "k")]
    store.from_bytes("k", b"back")
    assert store.to_bytes("k") == b"back"
    (encore.root / "k.data").unlink()
    store.delete("k")
    assert not store.exists("k")


def test_data_without_metadata_are_no_key_until_metadata_are_set(store, encore):
    (encore.root / "k.data").write_bytes(b"orphan")
    assert not store.exists("k")
    with pytest.raises(KeyError):
        store.get("k")
    assert [(finding.kind, finding.uri) for finding in store.check().findings] == [("extra", "k")]
    store.set_metadata("k", {"a": 1})
    assert store.to_bytes("k") == b"orphan"
    assert store.check().ok


def test_a_damaged_index_is_made_again(store):
    store.set("k", (io.BytesIO(b"data"), {"a": 1}))
    store.disconnect()
    path = os.path.join(store.path, ".holdfast", "store.db")
    root = store.path
    del store
    for suffix in ("-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.unlink(path + suffix)
    with open(path, "wb") as file:
        file.write(b"not a database" * 1000)
    other = FileSystemStore(root)
    assert other.to_bytes("k") == b"data"
    assert list(other.query_keys(a=1)) == ["k"]


# handles and processes


def test_handles_are_pickled_by_address(store):
    store.from_bytes("k", b"1")
    other = pickle.loads(pickle.dumps(store))
    assert other.to_bytes("k") == b"1"
    assert (other.path, other.durability) == (store.path, store.durability)


def test_a_handle_survives_a_fork(store):
    store.connect()
    store.from_bytes("before", b"1")
    list(store.query())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.from_bytes("child", store.to_bytes("before"))
            answer = ",".join(sorted(store.query_keys())).encode()
        except BaseException as error:
            answer = repr(error).encode()
        os.write(writer, answer)
        os._exit(0)
    os.close(writer)
    store.from_bytes("parent", b"2")
    with open(reader, "rb") as told:
        assert b"before,child" in told.read()
    os.waitpid(child, 0)
    assert sorted(store.query_keys()) == ["before", "child", "parent"]


def test_processes_lose_nothing(store):
    store.multiset_metadata(["counter", "shared"], [{"n": 0}, {}])
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=count_up, args=(store.path, f"p{each}", 8)) for each in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert store.get_metadata("counter") == {"n": 24}
    assert len(store.get_metadata("shared")) == 24
    assert len(list(store.query_keys(by="p1"))) == 8
    assert store.check().ok


def test_readers_see_whole_pairs_while_a_process_overwrites(store):
    store.set("k", (io.BytesIO(b"%08d" % 0 * 10), {"n": 0}))
    process = multiprocessing.get_context("spawn").Process(target=overwrite, args=(store.path, 400))
    process.start()
    seen = []
    while process.is_alive():
        value = store.get("k")
        data, metadata = value
        assert data.read() == b"%08d" % metadata["n"] * 10
        assert value.verified
        seen.append(metadata["n"])
        assert [row[0] for row in store.query()] == ["k"]
    process.join()
    assert seen == sorted(seen)
    assert len(set(seen)) > 2


def test_files_keep_the_modes_of_what_they_replace(store):
    store.from_bytes("k", b"1")
    os.chmod(os.path.join(store.path, "k.data"), 0o640)
    store.from_bytes("k", b"2")
    assert os.stat(os.path.join(store.path, "k.data")).st_mode & 0o777 == 0o640


def test_what_a_dead_writer_left_is_swept(store):
    staging = os.path.join(store.path, ".holdfast", "staging")
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=die_while_receiving, args=(store.path,))
    process.start()
    process.join()
    assert len(os.listdir(staging)) == 1
    assert FileSystemStore(store.path).exists("k") is False
    assert os.listdir(staging) == []


def test_events_are_told_after_the_files_are_there(store, encore):
    heard = []
    store.event_manager = EventManager()
    store.event_manager.connect(StoreModificationEvent, lambda event: heard.append(encore.get(event.key)))
    store.set("k", (io.BytesIO(b"1"), {"a": 1}))
    assert heard == [(b"1", {"a": 1})]


def test_watched_and_unwatched_stores_close_what_they_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with make(tmp_path / "store") as store:
            store.from_bytes("k", b"1" * 600_000)
            value = store.get("k")
            value.data.read(10)
            list(store.query())
        del value, store
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_a_disconnected_store_leaves_one_index_file_and_opens_again(store):
    store.connect()
    store.from_bytes("k", b"1")
    store.disconnect()
    hidden = os.path.join(store.path, ".holdfast")
    assert sorted(os.listdir(hidden)) == ["staging", "store.db"]
    assert store.to_bytes("k") == b"1"
    store.from_bytes("k", b"2")
    assert store.to_bytes("k") == b"2"


def test_a_lock_holder_that_died_stops_nobody(store):
    store.set("k", (io.BytesIO(b"old"), {"v": "old"}))
    process = multiprocessing.get_context("spawn").Process(target=die_in_transaction, args=(store.path,))
    process.start()
    process.join()
    assert store.get_metadata("k") == {"v": "old"}
    store.set("k", (io.BytesIO(b"next"), {"v": "next"}))
    assert store.to_bytes("k") == b"next"


def test_links_that_leave_the_store_are_refused(store, encore, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "facts").write_text('{"secret": 1}')
    encore.set("inside", b"data", {})
    encore.set("k", b"", {})
    (encore.root / "k.data").unlink()
    (encore.root / "k.data").symlink_to(tmp_path / "secret")
    with pytest.raises(ForbiddenError, match="outside"):
        store.get("k")
    (encore.root / "m.data").write_bytes(b"")
    (encore.root / "m.metadata").symlink_to(tmp_path / "facts")
    with pytest.raises(UnreadableError, match="outside"):
        store.get_metadata("m")
    assert sorted(store.query_keys()) == ["inside", "k"]
    (encore.root / "k.data").unlink()
    (encore.root / "k.data").symlink_to("inside.data")
    assert store.to_bytes("k") == b"data"
    store.set("k", (io.BytesIO(b"own"), {}))
    assert store.to_bytes("inside") == b"data"
    assert not (encore.root / "k.data").is_symlink()


@pytest.mark.parametrize("durability", ["sync", "group", "os"])
def test_every_durability_keeps_what_it_is_given(tmp_path, durability):
    with make(tmp_path / "store", durability=durability) as store:
        store.multiset(["a", "b/c"], [(io.BytesIO(b"1"), {"n": 1}), (io.BytesIO(b"2" * 600_000), {"n": 2})])
        store.delete("a")
    files.flush()
    other = FileSystemStore(tmp_path / "store")
    assert list(other.query()) == [("b/c", {"n": 2})]
    assert other.check().ok


def test_deleted_keys_leave_no_rows_for_ever(tmp_path):
    store = make(tmp_path / "store", durability="os")
    keys = [f"k{number}" for number in range(600)]
    store.multiset_metadata(keys, ({} for _ in keys))
    for key in keys:
        store.delete(key)
    store.set_metadata("k0", {"back": 1})
    assert len(store._index.deleted()) < 256
    assert list(store.query()) == [("k0", {"back": 1})]
    assert FileSystemStore(store.path)._index.deleted() == []


def test_a_large_foreign_directory_is_learned_at_once(store, encore):
    for number in range(1200):
        (encore.root / f"k{number}.metadata").write_bytes(b'{"n": %d}' % (number % 7))
    assert len(list(store.query_keys(n=3))) == 171
    assert len(list(store.glob("k1?"))) == 10
