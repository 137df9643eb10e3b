"""An atomic write is old or new, whatever happens at whichever system call."""

import os
import tempfile
from pathlib import Path

import pytest

from crash.disks import cut_power, loop_disk, small_disk
from crash.kills import fail_everywhere, kill_everywhere, run_with_fault
from crash.operations import Operation
from holdfast import files
from holdfast.errors import ReadOnlyError, StorageFullError

pytestmark = [pytest.mark.slow, pytest.mark.privileged]

OLD, NEW = b"old" * 1000, b"new" * 100_000
WRITE = """
files.write_atomic(directory / "a", [b"new" * 50_000] * 2, replace={replace}, durability={durability!r})
ack("written")
"""
NAMED = "import os; del os.O_TMPFILE"
IMPORT = "from holdfast import files"


def operation(*, replace=True, durability="sync", named=False):
    body = WRITE.format(replace=replace, durability=durability)
    return Operation(body, prepare=f"{IMPORT}\n{NAMED if named else ''}")


@pytest.fixture
def fresh(tmp_path):
    """Make directories that hold the old file, or none."""

    def make(old=True):
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        if old:
            (directory / "a").write_bytes(OLD)
        return directory

    return make


def check_old_or_new(directory, outcome, old=True):
    path = directory / "a"
    content = path.read_bytes() if path.exists() else None
    assert content == NEW or (content == (OLD if old else None) and not outcome.acks)
    files.sweep(directory, older_than_s=0)
    assert set(os.listdir(directory)) <= {"a"}


@pytest.mark.parametrize("named", [False, True])
def test_killed_replacement_is_old_or_new(fresh, named):
    assert kill_everywhere(operation(named=named), fresh, check_old_or_new) >= 6


@pytest.mark.parametrize("named", [False, True])
def test_killed_new_file_is_absent_or_whole(fresh, named):
    kills = kill_everywhere(
        operation(replace=False, named=named),
        lambda: fresh(old=False),
        lambda directory, outcome: check_old_or_new(directory, outcome, old=False),
    )
    assert kills >= 5


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT"])
@pytest.mark.parametrize("named", [False, True])
def test_failing_call_is_an_error_and_leaves_no_trace(fresh, named, error):
    def verify(directory, outcome):
        assert set(os.listdir(directory)) == {"a"}
        content = (directory / "a").read_bytes()
        if outcome.code == 0:
            assert content == NEW
        else:
            # The last call syncs the directory: then the new file is there, and not yet certain.
            assert content in (OLD, NEW)
            assert "StorageFullError" in outcome.error or "StorageError" in outcome.error
            assert str(directory) in outcome.error

    calls = ["write", "pwrite64", "fsync", "linkat", "rename", "openat"]
    assert fail_everywhere(operation(named=named), fresh, verify, calls, error) >= 5


def test_short_writes_are_continued(fresh):
    directory = fresh()
    limited = Operation(
        "files.write_atomic(directory / 'a', b'new' * 100_000)",
        prepare=f"{IMPORT}\nimport resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))",
    )
    outcome = limited.run(directory)
    assert "StorageFullError" in outcome.error
    assert (directory / "a").read_bytes() == OLD
    assert os.listdir(directory) == ["a"]


def test_full_disk_keeps_the_old_file(tmp_path):
    with small_disk(tmp_path, "1m") as disk:
        files.write_atomic(disk / "a", OLD)
        for hint in (0, 2 << 20):
            with (
                pytest.raises(StorageFullError, match=str(disk / "a")),
                files.open_atomic(disk / "a", size_hint=hint) as out,
            ):
                out.write(b"x" * (2 << 20))
            assert (disk / "a").read_bytes() == OLD
            assert os.listdir(disk) == ["a"]
        files.write_atomic(disk / "a", NEW)


def test_read_only_file_system_is_named(tmp_path):
    with loop_disk(tmp_path) as disk:
        files.write_atomic(disk.path / "a", OLD)
        disk.remount("ro")
        with pytest.raises(ReadOnlyError, match="read-only"):
            files.write_atomic(disk.path / "a", NEW)
        assert (disk.path / "a").read_bytes() == OLD


REPLACE_FOREVER = Operation(
    """
    for number in range(1, 100_000):
        files.write_atomic(directory / "a", [b"%06d" % number] * 5000, durability=DURABILITY)
        ack(number)
    """,
    prepare=IMPORT,
)


@pytest.mark.parametrize("flush_journal", [False, True])
@pytest.mark.parametrize("durability", ["sync", "group"])
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut_never_tears(tmp_path, kind, durability, flush_journal):
    def verify(directory, outcome):
        path = directory / "a"
        if durability == "group" and not path.exists():
            return
        content = path.read_bytes()
        assert len(content) == 30_000
        assert len({content[place : place + 6] for place in range(0, 30_000, 6)}) == 1
        if durability == "sync":
            assert int(content[:6]) >= int(outcome.acks[-1])

    body = REPLACE_FOREVER.body.replace("DURABILITY", repr(durability))
    with loop_disk(tmp_path, kind) as disk:
        for acks in (1, 3, 40):
            cut_power(disk, Operation(body, IMPORT), verify, acks=acks, flush_journal=flush_journal)


def test_group_write_is_on_the_disk_after_flush(tmp_path):
    body = """
    files.write_atomic(directory / "a", b"content", durability="group")
    files.flush()
    ack("flushed")
    import time; time.sleep(60)
    """

    def verify(directory, outcome):
        assert (directory / "a").read_bytes() == b"content"

    with loop_disk(tmp_path) as disk:
        cut_power(disk, Operation(body, IMPORT), verify)


@pytest.mark.parametrize("replace", [False, True])
def test_killed_directory_is_old_or_new(tmp_path, replace):
    def make():
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        if replace:
            (directory / "set").mkdir()
            (directory / "set" / "old").write_bytes(OLD)
        return directory

    def verify(directory, outcome):
        names = sorted(os.listdir(directory / "set")) if (directory / "set").exists() else None
        assert names == ["a", "b"] or (names == (["old"] if replace else None) and not outcome.acks)
        files.sweep(directory, older_than_s=0)
        assert set(os.listdir(directory)) <= {"set"}

    body = f"""
    with files.build_directory(directory / "set", replace={replace}) as staging:
        (staging / "a").write_bytes(b"a")
        (staging / "b").write_bytes(b"b")
    ack("built")
    """
    assert kill_everywhere(Operation(body, IMPORT), make, verify) >= 8


def test_file_system_without_exchange_says_so(tmp_path):
    directory = Path(tempfile.mkdtemp(dir=tmp_path))
    body = """
    (directory / "a").write_bytes(b"a"); (directory / "b").write_bytes(b"b")
    files.exchange(directory / "a", directory / "b")
    """
    outcome = run_with_fault(Operation(body, IMPORT), directory, "renameat2:error=EINVAL")
    assert "StorageError" in outcome.error
    assert (directory / "a").read_bytes() == b"a"
