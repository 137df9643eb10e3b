"""Small files count with one commit: their bytes are in the manifest until the disk has the files."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from holdfast import files
from holdfast.archive import Archive, writers
from holdfast.archive.settling import _MANY_FILES, _MOST_BYTES
from holdfast.errors import HashError, MissingFileError, StorageError

DEATH = """
import os, signal, sys
from holdfast.archive import Archive
archive = Archive(sys.argv[1])
for number, path in enumerate(sys.argv[2:]):
    archive.add_file("S1", "Prod0", path, f"sub/{number}" if number % 2 else str(number))
os.kill(os.getpid(), signal.SIGKILL)
"""
COUNT = 5


def database(archive, statement, *values):
    connection = sqlite3.connect(Path(archive.root, ".manifest", "manifest.db"))
    try:
        with connection:
            return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


def kept(archive):
    return {row[0] for row in database(archive, "SELECT uuid FROM unsynced")}


def stored(archive, entry):
    return Path(archive.root, entry.place.directory, entry.uuid)


def listed(archive):
    data = yaml.safe_load(Path(archive.root, ".manifest", "manifest.yaml").read_text())
    return {name for event in data["events"].values() for names in event.values() for name in names}


@pytest.fixture
def dead(archive, file):
    """Return an archive to which a writer added, and died before it synced all but the first file."""
    archive.close()
    paths = [str(file(f"source{number}", b"content %d" % number)) for number in range(COUNT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", DEATH, archive.root, *paths]
    done = subprocess.run(command, env=environment, timeout=30, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Archive(archive.root) as opened:
        assert len(kept(opened)) == COUNT - 1
        yield opened


def tear(archive):
    """Do to the files what a power cut does; return how many files were damaged."""
    entries = [entry for entry in archive.entries() if entry.uuid in kept(archive)]
    for number, entry in enumerate(entries):
        path = stored(archive, entry)
        path.chmod(0o644)
        if number % 3 == 0:
            path.write_bytes(b"")
        elif number % 3 == 1:
            path.write_bytes(b"\0" * entry.size)
        else:
            path.unlink()
        if number % 2:
            Path(archive.root, entry.place.path).unlink()
    return len(entries)


def assert_whole(archive):
    for number in range(COUNT):
        name = f"sub/{number}" if number % 2 else str(number)
        assert Path(archive.fetch_file("S1", "Prod0", name)).read_bytes() == b"content %d" % number
    report = archive.check()
    assert report.ok, str(report)
    assert kept(archive) == set()
    assert not list(Path(archive.root).rglob("_holdfast*"))


def test_bytes_of_a_small_file_are_kept_until_it_is_synced(archive, file):
    archive.add_file("S1", "Prod0", file("a", b"a"))  # who comes seldom writes the YAML, and syncs for it
    added = archive.add_file("S1", "Prod0", file("b", b"bytes"))
    large = archive.add_file("S1", "Prod0", file("c", b"c" * (_MOST_BYTES + 1)))
    assert kept(archive) == {added["uuid"]}
    assert large["uuid"] not in kept(archive)
    assert database(archive, "SELECT content FROM unsynced") == [(b"bytes",)]
    archive.flush()
    assert kept(archive) == set()
    assert archive.check().ok


def test_bytes_are_never_many(archive, file):
    most = 0
    for number in range(2 * _MANY_FILES + 10):
        archive.add_file("S1", "Prod0", file("source", b"%d" % number), str(number))
        most = max(most, len(kept(archive)))
    assert most <= _MANY_FILES
    archive.close()
    assert kept(archive) == set()


def test_bytes_are_forgotten_soon_when_nobody_adds(archive, file):
    for name in "abc":
        archive.add_file("S1", "Prod0", file(name, name.encode()))
    for _ in range(200):
        if len(listed(archive)) == 3:  # which is written last
            break
        threading.Event().wait(0.02)
    assert kept(archive) == set()
    assert listed(archive) == {"a", "b", "c"}


def test_original_is_never_told_of_a_file_that_is_not_on_the_disk(dead):
    assert listed(dead) == {"0"}
    tear(dead)
    dead.check()
    dead.flush()
    assert listed(dead) == {"0", "sub/1", "2", "sub/3", "4"}


def test_what_a_dead_writer_left_is_synced_by_the_next_one(dead, file):
    dead.add_file("S1", "Prod1", file("next", b"next"))
    assert_whole(dead)


def test_torn_files_are_brought_back_by_reading(dead):
    assert tear(dead) == COUNT - 1
    assert_whole(dead)


def test_torn_files_are_brought_back_by_opening_one(dead):
    tear(dead)
    for entry in dead.entries():
        with dead.open_file(entry.place.event, entry.place.production, entry.place.name) as opened:
            assert len(opened.read()) == entry.size
    assert_whole(dead)


def test_torn_files_are_brought_back_by_adding(dead, file):
    tear(dead)
    dead.add_file("S1", "Prod1", file("next", b"next"))
    assert kept(dead) == set()
    assert_whole(dead)


def test_torn_files_are_brought_back_by_a_check(dead):
    tear(dead)
    report = dead.check()
    assert report.ok, str(report)
    assert_whole(dead)


def test_what_is_no_torn_file_is_moved_aside(dead):
    [entry, *_] = [entry for entry in dead.entries() if entry.uuid in kept(dead)]
    stored(dead, entry).unlink()
    stored(dead, entry).write_bytes(b"somebody's")
    Path(dead.root, entry.place.path).unlink()
    Path(dead.root, entry.place.path).write_bytes(b"another's")
    assert_whole(dead)
    aside = Path(dead.root, ".manifest", "aside")
    assert {path.read_bytes() for path in aside.iterdir()} == {b"somebody's", b"another's"}


def test_damaged_bytes_harm_no_good_file(dead):
    database(dead, "UPDATE unsynced SET content = x'00'")
    assert_whole(dead)


def test_damaged_bytes_are_never_taken_for_a_file(dead):
    entry = dead.entry("S1", "Prod0", "sub/1")
    database(dead, "UPDATE unsynced SET content = x'00' WHERE uuid = ?", entry.uuid)
    stored(dead, entry).unlink()
    with pytest.raises(MissingFileError, match="gone"):
        dead.fetch_file("S1", "Prod0", "sub/1")
    assert [(each.kind, each.uri) for each in dead.check().findings] == [("missing", "S1/Prod0/sub/1")]
    assert kept(dead) == {entry.uuid}


def test_damage_to_a_file_of_a_living_writer_is_told(archive, file):
    archive.add_file("S1", "Prod0", file("a", b"a"))
    archive.add_file("S1", "Prod0", file("b", b"b"))
    path = stored(archive, archive.entry("S1", "Prod0", "b"))
    path.chmod(0o644)
    path.write_bytes(b"B")
    with Archive(archive.root) as reader, pytest.raises(HashError, match="damaged"):
        reader.fetch_file("S1", "Prod0", "b")
    with pytest.raises(HashError, match="damaged"):
        archive.open_file("S1", "Prod0", "b")
    assert {each.kind for each in archive.check().findings} == {"changed", "permissions"}


def test_file_that_another_writer_has_to_sync_is_no_twin(archive, file):
    archive.add_file("S1", "Prod0", file("a", b"a"))
    first = archive.add_file("S1", "Prod0", file("b", b"same"))
    own = archive.add_file("S1", "Prod0", file("c", b"same"))
    with Archive(archive.root) as other:
        copied = other.add_file("S1", "Prod0", file("d", b"same"))
        paths = [Path(archive.root, "S1", "Prod0", each["uuid"]) for each in (first, own, copied)]
        assert paths[0].samefile(paths[1])
        assert not paths[0].samefile(paths[2])
        archive.flush()
        linked = other.add_file("S1", "Prod0", file("e", b"same"))
    assert Path(archive.root, "S1", "Prod0", linked["uuid"]).stat().st_nlink > 1
    assert archive.check().ok


def test_equal_contents_are_one_file_after_they_were_brought_back(dead, file):
    tear(dead)
    again = dead.add_file("S1", "Prod1", file("again", b"content 1"))
    assert Path(dead.root, "S1", "Prod1", again["uuid"]).samefile(
        stored(dead, dead.entry("S1", "Prod0", "sub/1"))
    )
    assert_whole(dead)


def test_database_without_the_table_goes_on(archive, file):
    archive.add_file("S1", "Prod0", file("a", b"a"))
    head = archive.head()
    archive.close()
    database(archive, "DROP TABLE unsynced")
    with Archive(archive.root) as again:
        assert again.check(head=head).ok
        assert Path(again.fetch_file("S1", "Prod0", "a")).read_bytes() == b"a"
        again.add_file("S1", "Prod0", file("b", b"b"))
        again.add_file("S1", "Prod0", file("c", b"c"))
        report = again.check(head=head)
        assert report.ok, str(report)
    with Archive(archive.root) as last:
        assert last.check(head=head).ok


@pytest.fixture
def failing(monkeypatch):
    """Let the disk refuse everything that Python syncs; SQLite's own files are spared."""

    def fail(descriptor):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        yield lambda: patch.setattr(os, "fsync", fail), patch.undo


def test_failed_sync_is_told_to_the_next_writer_and_then_mended(archive, file, failing, caplog):
    fail, heal = failing
    archive.add_file("S1", "Prod0", file("a", b"a"))
    archive.add_file("S1", "Prod0", file("b", b"b"))
    fail()
    with pytest.raises(StorageError, match="device"):
        archive.flush()
    assert "their bytes are in its manifest" in caplog.text
    with pytest.raises(StorageError, match="device"):
        archive.add_file("S1", "Prod0", file("c", b"c"))
    before = stored(archive, archive.entry("S1", "Prod0", "b")).stat().st_ino
    assert len(kept(archive)) == 1
    heal()
    archive.add_file("S1", "Prod0", file("c", b"c"))
    archive.flush()
    assert kept(archive) == set()
    # A page that failed once may look clean: the file was written anew.
    assert stored(archive, archive.entry("S1", "Prod0", "b")).stat().st_ino != before
    assert listed(archive) == {"a", "b", "c"}
    assert archive.check().ok


def test_what_could_not_be_synced_is_left_to_the_next_opening(archive, file, failing):
    fail, heal = failing
    archive.add_file("S1", "Prod0", file("a", b"a"))
    archive.add_file("S1", "Prod0", file("b", b"b"))
    fail()
    with pytest.raises(StorageError, match="device"):
        archive.close()
    heal()
    assert len(kept(archive)) == 1
    stored(archive, Archive(archive.root).entry("S1", "Prod0", "b")).unlink()
    with Archive(archive.root) as again:
        assert Path(again.fetch_file("S1", "Prod0", "b")).read_bytes() == b"b"
        assert kept(again) == set()
        assert again.check().ok


def test_child_leaves_the_files_of_its_parent_to_it(archive, file):
    archive.add_file("S1", "Prod0", file("a", b"a"))
    mine = archive.add_file("S1", "Prod0", file("b", b"b"))
    path = file("c", b"c")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            archive.add_file("S1", "Prod0", path)
            archive.flush()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert kept(archive) == {mine["uuid"]}
    archive.flush()
    assert kept(archive) == set()
    assert listed(archive) == {"a", "b", "c"}


def test_threads_that_add_lose_nothing(archive, file):
    paths = [
        [file(f"{thread}-{number}", b"%d %d" % (thread, number)) for number in range(80)]
        for thread in range(6)
    ]
    faults = []

    def add(mine):
        try:
            for path in mine:
                archive.add_file("S1", "Prod0", path)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=add, args=(mine,)) for mine in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    archive.flush()
    assert kept(archive) == set()
    assert len(archive.entries()) == len(listed(archive)) == 480
    assert archive.check().ok


def test_a_mark_that_is_locked_before_it_is_collected_stays(tmp_path, monkeypatch):
    Archive.create(tmp_path / "a", "A").close()
    root = str(tmp_path / "a")
    folder = tmp_path / "a" / ".manifest" / "writers"
    folder.mkdir(exist_ok=True)
    (folder / "new").touch()
    (folder / "dead").touch()
    held = []
    alone = writers.alone

    def lock_meanwhile(*arguments):
        held.append(files.lock(folder / "new", create=False))
        return alone(*arguments)

    monkeypatch.setattr(writers, "alone", lock_meanwhile)
    writers.collect(root, lambda uuid: True)
    assert [path.name for path in folder.iterdir()] == ["new"]
    held[0].release()
