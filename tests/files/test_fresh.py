"""New files that a database decides about: sealed, never replacing, on the disk when we are told so."""

import errno
import os
import stat

import pytest

from holdfast import files
from holdfast.errors import AlreadyExistsError, NotFoundError, StorageError, StorageFullError
from holdfast.files import SyncPoint, create_new, fresh, kernel, sync_new
from holdfast.files.kernel import start_writing


@pytest.fixture
def many(tmp_path):
    """Write many files through a sync point; return their paths."""

    def write(count=20):
        paths = [str(tmp_path / f"f{number}") for number in range(count)]
        for path in paths:
            os.close(create_new(path, path.encode()))
        return paths

    return write


@pytest.fixture
def calls(monkeypatch):
    """Note which system calls wait for the disk."""
    made = []

    def note(name, call):
        def noted(descriptor):
            made.append(name)
            return call(descriptor)

        return noted

    monkeypatch.setattr(os, "fsync", note("fsync", os.fsync))
    monkeypatch.setattr(fresh, "syncfs", note("syncfs", fresh.syncfs))
    return made


def test_new_file_is_complete_and_sealed(tmp_path):
    before = os.umask(0o027)
    try:
        os.close(create_new(tmp_path / "a", memoryview(b"content")))
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o440


def test_new_file_never_replaces(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(AlreadyExistsError, match="a: it exists already"):
        create_new(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_new_file_needs_its_directory(tmp_path):
    with pytest.raises(NotFoundError):
        create_new(tmp_path / "none" / "a", b"")


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(descriptor, data):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(StorageFullError):
        create_new(tmp_path / "a", b"content")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("kind", "expected"), [("ext4", 1), ("xfs", 1), ("btrfs", 2), ("nfs", 2)])
def test_directory_is_synced_too_where_the_file_system_keeps_no_order(
    tmp_path, monkeypatch, calls, kind, expected
):
    monkeypatch.setattr(fresh, "file_system", lambda path: files.FileSystem("local", kind))
    descriptor = create_new(tmp_path / "a", b"content")
    sync_new(descriptor, tmp_path)
    os.close(descriptor)
    assert calls == ["fsync"] * expected


def test_many_files_are_one_call_where_it_tells_of_failures(tmp_path, monkeypatch, calls, many):
    monkeypatch.setattr(fresh, "file_system", lambda path: files.FileSystem("local", "ext4"))
    monkeypatch.setattr(fresh, "can_syncfs", lambda: True)
    monkeypatch.setattr(fresh, "_dirty_kib", lambda: 0)
    with SyncPoint(tmp_path) as point:
        point.wait(many(), [str(tmp_path)])
    assert calls == ["syncfs"]


@pytest.mark.parametrize("reason", ["old kernel", "shared", "few", "other disk", "much else"])
def test_files_are_synced_one_by_one_where_the_one_call_is_no_good(
    tmp_path, monkeypatch, calls, many, reason
):
    kind = "fuse" if reason == "shared" else "ext4"
    monkeypatch.setattr(fresh, "file_system", lambda path: files.FileSystem("local", kind))
    monkeypatch.setattr(fresh, "can_syncfs", lambda: reason != "old kernel")
    monkeypatch.setattr(fresh, "_dirty_kib", lambda: 1 << 30 if reason == "much else" else 0)
    directories = [str(tmp_path), "/proc"] if reason == "other disk" else [str(tmp_path)]
    if reason == "other disk":
        monkeypatch.setattr(fresh, "sync_directory", lambda path: calls.append("directory"))
    with SyncPoint(tmp_path) as point:
        paths = many(3 if reason == "few" else 20)
        point.wait(paths, directories)
    assert [call for call in calls if call == "fsync"] == ["fsync"] * len(
        paths if reason == "other disk" else [*paths, tmp_path]
    )


def test_failure_of_one_of_many_is_told(tmp_path, monkeypatch, many):
    monkeypatch.setattr(fresh, "can_syncfs", lambda: False)
    paths = many()
    with SyncPoint(tmp_path) as point, pytest.raises(NotFoundError):
        point.wait([*paths, str(tmp_path / "gone")], [str(tmp_path)])


def test_after_a_failure_there_is_no_second_try(tmp_path, monkeypatch, many):
    def fail(descriptor):
        raise OSError(errno.EIO, "failed")

    monkeypatch.setattr(fresh, "can_syncfs", lambda: True)
    monkeypatch.setattr(fresh, "file_system", lambda path: files.FileSystem("local", "ext4"))
    monkeypatch.setattr(fresh, "_dirty_kib", lambda: 0)
    monkeypatch.setattr(fresh, "syncfs", fail)
    with SyncPoint(tmp_path) as point:
        paths = many()
        with pytest.raises(StorageError, match="the device reports an error"):
            point.wait(paths, [str(tmp_path)])
        with pytest.raises(StorageError, match="write it anew"):
            point.wait(paths, [str(tmp_path)])


def test_what_the_system_has_to_write_is_read_from_it(monkeypatch, tmp_path):
    assert 0 <= fresh._dirty_kib() < 1 << 40


def test_closed_sync_point_keeps_no_descriptor(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with SyncPoint(tmp_path):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("release", "expected"), [("5.16.0-x", False), ("5.17.0", True), ("6.1.2-fc", True)])
def test_syncfs_counts_only_where_it_tells_of_failures(monkeypatch, release, expected):
    kernel.can_syncfs.cache_clear()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "host", release, "", "")))
    try:
        assert kernel.can_syncfs() is expected
    finally:
        kernel.can_syncfs.cache_clear()


def test_syncfs_says_what_is_wrong():
    with pytest.raises(OSError, match="Bad file descriptor"):
        kernel.syncfs(-1)


def test_a_large_file_goes_to_the_disk_while_it_is_written(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(fresh, "_EARLY_BYTES", 250_000)
    monkeypatch.setattr(
        fresh, "start_writing", lambda fd, *part: begun.append(part) or start_writing(fd, *part)
    )
    with files.open_atomic(tmp_path / "a", durability="os") as out:
        write = files.write_early(out)
        for number in range(8):
            write(bytes([number]) * 100_000)
    assert begun == [(0, 300_000), (300_000, 300_000)]
    assert (tmp_path / "a").read_bytes() == b"".join(bytes([number]) * 100_000 for number in range(8))
    start_writing(-1, 0, 1)  # nothing is said of failures
