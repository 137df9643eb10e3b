"""Whatever happens while files are added, every recorded file verifies and nothing else is left."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from hashlib import md5, sha256
from pathlib import Path

import pytest
import yaml

from crash.disks import cut_power, loop_disk, small_disk
from crash.kills import fail_everywhere, kill_everywhere
from crash.operations import Operation, Outcome
from holdfast.archive import Archive
from holdfast.archive.restoring import is_intact
from holdfast.errors import HashError, MissingFileError, StorageFullError

pytestmark = [pytest.mark.slow, pytest.mark.privileged]

IMPORT = """
from holdfast.archive import Archive
archive = Archive(directory / 'store')
archive.add_file('S0', 'P', directory / 'first', md5=False)
"""
ADD = Operation("archive.add_file('S1', 'Prod0', directory / 'source', 'sub/name'); ack('added')", IMPORT)
TREE = Operation("archive.add_tree('S1', 'Prod0', directory / 'tree'); ack('added')", IMPORT)
FOREST = Operation("archive.add_tree('S1', 'Prod0', directory / 'forest'); ack('added')", IMPORT)
MANY_ADDS = """
for number in range(20):
    (directory / 'source').write_bytes((b'twin', b'%d' % number)[number % 2])
    archive.add_file('S1', 'Prod0', directory / 'source', f'n{number}')
    ack(f'n{number}')
"""
MANY = Operation("archive.flush()", IMPORT + MANY_ADDS)
CLOSE = Operation(
    "archive.add_file('S1', 'Prod0', directory / 'source'); ack('source'); archive.close()", IMPORT
)
RECOVER = Operation(
    "Archive(directory / 'store').check(); ack('checked')", "from holdfast.archive import Archive"
)
FOREST_NAMES = {f"f{number:02}" for number in range(20)}
DISKS = ["ext4", "xfs", "ext4 -O fast_commit"]


@pytest.fixture
def make(tmp_path):
    def fresh():
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        (directory / "first").write_bytes(b"first")
        (directory / "source").write_bytes(b"content")
        (directory / "tree" / "sub").mkdir(parents=True)
        for name in ("a", "b", "sub/c"):
            (directory / "tree" / name).write_bytes(name.encode())
        (directory / "forest").mkdir()
        for name in FOREST_NAMES:
            (directory / "forest" / name).write_bytes(name.encode())
        Archive.create(directory / "store", "Test").close()
        return directory

    return fresh


def check_sound(directory, expected):
    """Open, verify, go on adding, and find nothing that no manifest knows."""
    with Archive(directory / "store") as archive:
        names = {entry.place.name for entry in archive.entries("S1")}
        assert names in expected
        for entry in archive.entries():
            archive.fetch_uuid(entry.uuid)
        (directory / "next").write_bytes(b"next")
        archive.add_file("S9", "P", directory / "next")
        report = archive.check()
        assert report.ok, str(report)
        assert not list(Path(archive.root).rglob("_holdfast*"))
        if not names:  # the name of the interrupted add is free again
            archive.add_file("S1", "Prod0", directory / "source", "sub/name")
    text = yaml.safe_load((directory / "store" / ".manifest" / "manifest.yaml").read_text())
    assert "next" in text["events"]["S9"]["P"]


def test_killed_add_is_there_or_not(make):
    def verify(directory, outcome):
        check_sound(directory, [{"sub/name"}] if outcome.acks else [{"sub/name"}, set()])

    assert kill_everywhere(ADD, make, verify) >= 20


def verify_acknowledged(directory, outcome):
    """What was acknowledged is there, whole; what the original is told is there for it too."""
    check_listed(directory / "store")
    with Archive(directory / "store") as archive:
        assert {entry.place.name for entry in archive.entries("S1")} >= set(outcome.acks)
        for entry in archive.entries():
            archive.fetch_uuid(entry.uuid)
        (directory / "next").write_bytes(b"next")
        archive.add_file("S9", "P", directory / "next")
        report = archive.check()
        assert report.ok, str(report)
        assert not list(Path(archive.root, "S1").rglob("_holdfast*"))
    check_listed(directory / "store")
    assert kept(directory / "store") == 0


def check_listed(root):
    """Read as the original does: the YAML, and the file under its name."""
    text = yaml.safe_load((root / ".manifest" / "manifest.yaml").read_text())
    for event, productions in text["events"].items():
        for production, names in productions.items():
            for name, facts in names.items():
                content = (root / event / production / name).read_bytes()
                assert facts["hash"] in (md5(content).hexdigest(), sha256(content).hexdigest())


def kept(root):
    connection = sqlite3.connect(root / ".manifest" / "manifest.db")
    [[count]] = connection.execute("SELECT count(*) FROM unsynced")
    connection.close()
    return count


SETTLING = "syncfs fsync fdatasync pwrite64 unlink rename symlink".split()


@pytest.mark.parametrize("operation", [MANY, CLOSE], ids=["many", "close"])
def test_writer_killed_while_files_are_brought_to_the_disk_loses_none(make, operation):
    assert kill_everywhere(operation, make, verify_acknowledged, SETTLING) >= 6


@pytest.mark.parametrize("operation", [MANY, CLOSE], ids=["many", "close"])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_failure_while_files_are_brought_to_the_disk_loses_none(make, operation, error):
    assert fail_everywhere(operation, make, verify_acknowledged, ["syncfs", "fsync", "fdatasync"], error) >= 3


TORN = 6


@pytest.fixture
def make_torn(make):
    """Make archives whose writer died, with files as a power cut leaves them."""
    adds = Operation("os._exit(0)", IMPORT + MANY_ADDS.replace("range(20)", f"range({TORN})"))

    def fresh():
        directory = make()
        assert adds.run(directory).code == 0
        names = sorted((directory / "store" / "S1" / "Prod0").glob("n*"))
        assert kept(directory / "store") == len(names) == TORN
        for number, name in enumerate(names):
            path = name.resolve()
            path.chmod(0o644)
            path.write_bytes(b"")
            if number % 2:
                path.unlink()
                name.unlink()
        return directory

    return fresh


def test_recovery_that_is_killed_is_gone_on_with(make_torn):
    def verify(directory, outcome):
        verify_acknowledged(directory, Outcome([f"n{number}" for number in range(TORN)], 0))

    calls = "syncfs fsync fdatasync pwrite64 linkat unlink rename renameat2 symlink".split()
    assert kill_everywhere(RECOVER, make_torn, verify, calls) >= 20


def test_recovery_that_fails_is_gone_on_with(make_torn):
    def verify(directory, outcome):
        verify_acknowledged(directory, Outcome([f"n{number}" for number in range(TORN)], 0))

    calls = "syncfs fsync fdatasync pwrite64 linkat symlink".split()
    assert fail_everywhere(RECOVER, make_torn, verify, calls) >= 10


def test_killed_tree_is_there_as_a_whole_or_not_at_all(make):
    whole = {"a", "b", "sub/c"}

    def verify(directory, outcome):
        check_sound(directory, [whole] if outcome.acks else [whole, set()])

    calls = "write pwrite64 fsync fdatasync linkat symlink mkdir rename unlink fchmod openat".split()
    assert kill_everywhere(TREE, make, verify, calls) >= 20


def test_killed_tree_of_many_files_is_there_as_a_whole_or_not_at_all(make):
    def verify(directory, outcome):
        check_sound(directory, [FOREST_NAMES] if outcome.acks else [FOREST_NAMES, set()])

    assert kill_everywhere(FOREST, make, verify, ["syncfs", "fsync", "fdatasync", "pwrite64", "mkdir"]) >= 10


def test_failed_sync_of_many_files_leaves_no_trace(make):
    def verify(directory, outcome):
        check_sound(directory, [FOREST_NAMES] if outcome.acks else [FOREST_NAMES, set()])

    assert fail_everywhere(FOREST, make, verify, ["syncfs", "fsync", "fdatasync"]) >= 3


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_failed_call_is_an_error_and_leaves_no_trace(make, error):
    def verify(directory, outcome):
        check_sound(directory, [{"sub/name"}] if outcome.acks else [{"sub/name"}, set()])

    calls = ["write", "pwrite64", "fsync", "fdatasync", "linkat", "symlink", "mkdir"]
    assert fail_everywhere(ADD, make, verify, calls, error) >= 8


ONE_BY_ONE = """
for number in range(10_000):
    content = (b'', b'twin', b'%d' % number, bytes([number % 251]) * 15_000)[number % 4]
    (directory / 'source').write_bytes(content)  # also empty ones, and links to others
    archive.add_file('S1', f'Prod{number % 3}', directory / 'source', f'n{number}')
    ack(number)
"""
CREATE = "from holdfast.archive import Archive; archive = Archive.create(directory / 'store', 'Test')"


def check_after_power_cut(directory, outcome):
    check_listed(directory / "store")
    with Archive(directory / "store") as archive:
        names = {entry.place.name for entry in archive.entries()}
        assert names >= {f"n{number}" for number in outcome.acks}
        for entry in archive.entries():
            number = int(entry.place.name[1:])
            content = Path(archive.fetch_uuid(entry.uuid)).read_bytes()
            assert content == (b"", b"twin", b"%d" % number, bytes([number % 251]) * 15_000)[number % 4]
        (directory / "next").write_bytes(b"next")
        archive.add_file("S9", "P", directory / "next")
        report = archive.check()
        assert report.ok, str(report)
    check_listed(directory / "store")


@pytest.mark.parametrize("flush_journal", [False, True])
@pytest.mark.parametrize("kind", DISKS)
def test_power_cut_keeps_what_was_acknowledged(tmp_path, kind, flush_journal):
    operation = Operation(ONE_BY_ONE, CREATE)
    with loop_disk(tmp_path, kind, size_mb=64) as disk:
        # The last one while files have been synced and their bytes are being forgotten.
        for acks in (1, 5, 40, 260, 700):
            cut_power(disk, operation, check_after_power_cut, acks=acks, flush_journal=flush_journal)


def test_power_cut_without_the_bytes_in_the_manifest_would_lose_files(tmp_path):
    without = "import holdfast.database.unsynced as unsynced; unsynced.keep = lambda connection, row: None\n"
    operation = Operation(ONE_BY_ONE, without + CREATE)
    with loop_disk(tmp_path) as disk, pytest.raises((HashError, MissingFileError)):
        cut_power(disk, operation, check_after_power_cut, acks=40)


@pytest.mark.parametrize("kind", DISKS)
def test_power_cut_after_recovery_loses_nothing(tmp_path, kind):
    recover = "archive.check(); ack('recovered'); time.sleep(60)"
    again = "import time; from holdfast.archive import Archive; archive = Archive(directory / 'store')"

    def cut_again(directory, outcome):
        process = Operation(recover, again).start(directory)
        assert process.stdout.readline() == "recovered\n"
        disk.cut(process=process)
        process.stdout.close()
        assert kept(directory / "store") == 0
        check_after_power_cut(directory, outcome)

    with loop_disk(tmp_path, kind) as disk:
        for acks in (5, 40):
            cut_power(disk, Operation(ONE_BY_ONE, CREATE), cut_again, acks=acks)


def test_reader_who_may_not_write_is_told_who_brings_files_back(tmp_path):
    def read(directory, outcome):
        connection = sqlite3.connect(directory / "store" / ".manifest" / "manifest.db")
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
        connection.close()
        disk.remount("ro")
        torn = []
        with Archive(directory / "store") as archive:
            for number in outcome.acks:
                place = ("S1", f"Prod{int(number) % 3}", f"n{number}")
                with archive.open_file(*place) as opened:
                    assert len(opened.read()) == archive.entry(*place).size
                if not is_intact(archive.root, archive.entry(*place)):
                    torn.append(place)
            assert torn
            for place in torn:
                with pytest.raises((HashError, MissingFileError), match="holdfast archive check"):
                    archive.fetch_file(*place)
            report = archive.check()
            assert not report.ok
            assert any("brings them back" in note for note in report.notes)
        disk.remount("rw")
        check_after_power_cut(directory, outcome)

    with loop_disk(tmp_path) as disk:
        cut_power(disk, Operation(ONE_BY_ONE, CREATE), read, acks=20)


@pytest.mark.parametrize("flush_journal", [False, True])
@pytest.mark.parametrize("kind", DISKS)
def test_power_cut_keeps_the_trees_that_were_acknowledged(tmp_path, kind, flush_journal):
    operation = Operation(
        """
        tree = directory / 'tree'
        tree.mkdir()
        for number in range(10_000):
            for each in range(20):
                (tree / f'f{each}').write_bytes(b'%d %d' % (number, each))
            archive.add_tree('S1', f'P{number}', tree)
            ack(number)
        """,
        "from holdfast.archive import Archive; archive = Archive.create(directory / 'store', 'Test')",
    )

    def verify(directory, outcome):
        with Archive(directory / "store") as archive:
            for number in outcome.acks:
                assert len(archive.entries("S1", f"P{number}")) == 20
            for entry in archive.entries():
                number, each = entry.place.production[1:], entry.place.name[1:]
                assert Path(archive.fetch_uuid(entry.uuid)).read_text() == f"{number} {each}"
            (directory / "next").write_bytes(b"next")
            archive.add_file("S9", "P", directory / "next")
            report = archive.check()
            assert report.ok, str(report)

    with loop_disk(tmp_path, kind) as disk:
        for acks in (1, 4, 12):
            cut_power(disk, operation, verify, acks=acks, flush_journal=flush_journal)


def test_full_disk_keeps_the_old_manifest(tmp_path):
    (tmp_path / "big").write_bytes(os.urandom(1_200_000))
    with small_disk(tmp_path, "1m") as disk:
        with Archive.create(disk / "store", "Test") as archive:
            (tmp_path / "little").write_bytes(b"small")
            archive.add_file("S1", "P", tmp_path / "little")
            archive.flush()
            before = (disk / "store" / ".manifest" / "manifest.yaml").read_bytes()
            for _ in range(3):
                with pytest.raises(StorageFullError):
                    archive.add_file("S1", "P", tmp_path / "big")
            assert (disk / "store" / ".manifest" / "manifest.yaml").read_bytes() == before
            assert [entry.place.name for entry in archive.entries()] == ["little"]
            assert archive.check().ok
            (tmp_path / "more").write_bytes(b"more")
            archive.add_file("S1", "P", tmp_path / "more")
        with Archive(disk / "store") as archive:
            assert archive.check().ok


def test_read_only_archive_is_read_and_refuses_to_grow(tmp_path):
    (tmp_path / "source").write_bytes(b"content")
    with loop_disk(tmp_path) as disk:
        with Archive.create(disk.path / "store", "Test") as archive:
            archive.add_file("S1", "P", tmp_path / "source")
        disk.remount("ro")
        with Archive(disk.path / "store") as archive:
            assert Path(archive.fetch_file("S1", "P", "source")).read_bytes() == b"content"
            assert archive.check().ok
            with pytest.raises(PermissionError, match=r"read-only|may not be written"):
                archive.add_file("S2", "P", tmp_path / "source")
        disk.remount("rw")


PROCESSES = """
import sys
from holdfast.archive import Archive
root, number, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with Archive(root) as archive:
    for turn in range(count):
        archive.add_file("S1", f"Prod{turn % 3}", f"{root}-sources/{number}-{turn}")
"""


def test_many_processes_lose_nothing(tmp_path):
    root, processes, count = tmp_path / "store", 8, 40
    Archive.create(root, "Test").close()
    (tmp_path / "store-sources").mkdir()
    for number in range(processes):
        for turn in range(count):
            (tmp_path / "store-sources" / f"{number}-{turn}").write_bytes(b"%d %d" % (number, turn))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESSES, str(root), str(number), str(count)],
            env=environment,
            stderr=subprocess.PIPE,
        )
        for number in range(processes)
    ]
    for process in running:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    with Archive(root) as archive:
        assert len(archive.entries()) == processes * count
        report = archive.check()
        assert report.ok, str(report)
    text = yaml.safe_load((root / ".manifest" / "manifest.yaml").read_text())
    assert sum(len(names) for names in text["events"]["S1"].values()) == processes * count


RACE = """
import sys
from holdfast.archive import AlreadyPresentException, Archive
root, number = sys.argv[1], sys.argv[2]
with Archive(root) as archive:
    sys.stdin.readline()
    for turn in range(20):
        try:
            archive.add_file("S1", "P", f"{root}-sources/{number}", f"name{turn}")
            print(turn, flush=True)
        except AlreadyPresentException:
            pass
"""


def test_exactly_one_of_many_processes_gets_a_name(tmp_path):
    root = tmp_path / "store"
    Archive.create(root, "Test").close()
    (tmp_path / "store-sources").mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    running = []
    for number in range(5):
        (tmp_path / "store-sources" / str(number)).write_bytes(b"%d" % number)
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", RACE, str(root), str(number)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    won = {}
    for number, process in enumerate(running):
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        for turn in out.split():
            assert turn not in won
            won[turn] = number
    assert len(won) == 20
    with Archive(root) as archive:
        for turn, number in won.items():
            assert Path(archive.fetch_file("S1", "P", f"name{turn}")).read_bytes() == b"%d" % number
        report = archive.check()
        assert report.ok, str(report)
