import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import holdfast
from holdfast.database import Schema, SqliteFile, backup, opening, upgrade
from holdfast.database import connection as connection_room
from holdfast.database.schema import set_about
from holdfast.errors import (
    AlreadyExistsError,
    BusyError,
    ConflictError,
    HoldfastError,
    NewerFormatError,
    NotFoundError,
    OldFormatError,
    ReadOnlyError,
    UnreadableError,
)
from holdfast.files import declare_file_system

STEPS = (
    "CREATE TABLE t (a INTEGER);",
    "ALTER TABLE t ADD COLUMN b TEXT; UPDATE t SET b = 'x;y';",
    lambda connection: connection.execute("CREATE TABLE u AS SELECT a, b FROM t"),
)
SCHEMA = Schema("holdfast-test", STEPS)
FIRST = Schema("holdfast-test", STEPS[:1])


SOURCE = str(Path(holdfast.__file__).parents[1])


@pytest.fixture
def file(tmp_path):
    with SqliteFile(tmp_path / "t.db", FIRST) as file:
        yield file


def put(number):
    return lambda connection: connection.execute("INSERT INTO t VALUES (?)", (number,))


def numbers(file):
    with file.read() as connection:
        return sorted(a for (a,) in connection.execute("SELECT a FROM t"))


def test_writes_of_many_threads_are_all_kept(file):
    threads = [
        threading.Thread(target=lambda n=n: [file.write(put(n * 100 + i)) for i in range(50)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(file) == sorted(n * 100 + i for n in range(8) for i in range(50))


def test_a_failing_writer_undoes_only_its_own_part(file):
    barrier, failures = threading.Barrier(9), []

    def fail(connection):
        connection.execute("INSERT INTO t VALUES (-1)")
        raise ConflictError("no")

    def run(function):
        barrier.wait()
        try:
            file.write(function)
        except ConflictError as error:
            failures.append(error)

    held = threading.Thread(target=lambda: hold(file, barrier))
    threads = [held, *(threading.Thread(target=run, args=(fail if n % 2 else put(n),)) for n in range(8))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(file) == [0, 2, 4, 6]
    assert len(failures) == 4


def hold(file, barrier):
    """Keep the writer busy until all others wait, so that they share one commit."""
    with file.transaction():
        barrier.wait()
        while len(file._jobs) < 8:
            time.sleep(0.001)


def test_who_does_not_wait_writes_at_once_or_is_refused_and_nothing_is_done(file, tmp_path):
    file.write(put(1), wait=False)
    with file.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        in_the_way = []
        thread = threading.Thread(target=lambda: in_the_way.append(refused(file, put(3))))
        thread.start()
        thread.join(5)
    with SqliteFile(file.path, FIRST) as other, other.transaction():
        started = time.monotonic()
        in_the_way.append(refused(file, put(4)))
        assert time.monotonic() - started < 2
    assert in_the_way == [True, True]
    file.write(put(5), wait=False)
    assert numbers(file) == [1, 2, 5]


def refused(file, function):
    with pytest.raises(BusyError):
        file.write(function, wait=False)
    return True


def test_who_does_not_wait_is_undone_alone_and_leaves_long_work_to_others(file):
    def fail(connection):
        connection.execute("INSERT INTO t VALUES (-1)")
        raise ConflictError("no")

    with pytest.raises(ConflictError):
        file.write(fail, wait=False)
    kept, left = [], []
    for number in range(300):
        try:
            file.write(put(number), wait=False)
        except BusyError:
            left.append(number)
            file.write(put(number))
        kept.append(number)
    assert numbers(file) == kept
    assert len(left) == 2
    file.close()
    assert os.listdir(os.path.dirname(file.path)) == ["t.db"]


def test_the_log_of_those_who_do_not_wait_stays_short(file):
    log, text = Path(file.path + "-wal"), "x" * 20_000

    def write(connection):
        connection.execute("INSERT INTO t VALUES (?)", (text,))

    for _ in range(400):
        try:
            file.write(write, wait=False)
        except BusyError:
            file.write(write)
    # All of it would be 10 MB; the room that was made ahead is one step.
    assert log.stat().st_size < 6 << 20
    assert file.one("SELECT count(*) FROM t") == (400,)


def test_who_tends_the_log_after_each_prompt_write_leaves_none_to_others(file, monkeypatch):
    monkeypatch.setattr(connection_room, "_QUICK_S", 60.0)
    log, text = Path(file.path + "-wal"), "x" * 20_000
    file.tend()

    def write(connection):
        connection.execute("INSERT INTO t VALUES (?)", (text,))

    for _ in range(400):
        file.write(write, wait=False)
        file.tend()
    assert log.stat().st_size < 6 << 20
    assert file.one("SELECT count(*) FROM t") == (400,)
    file.close()
    file.tend()


def test_a_log_whose_folding_took_long_is_left_to_who_waits_until_that_was_quick_again(file, monkeypatch):
    monkeypatch.setattr(connection_room, "_QUICK_S", 0.0)
    assert written_promptly(file, 300) == [128, 257]
    monkeypatch.setattr(connection_room, "_QUICK_S", 60.0)
    assert written_promptly(file, 300) == []
    assert file.one("SELECT count(*) FROM t") == (600,)


def written_promptly(file, count):
    """Write and tend; return which writes were left to who waits."""
    left = []
    for number in range(count):
        try:
            file.write(put(number), wait=False)
        except BusyError:
            left.append(number)
            file.write(put(number))
        file.tend()
    return left


def test_who_tends_the_log_waits_for_nobody(file):
    for number in range(128):
        file.write(put(number), wait=False)
    with file.transaction():
        thread = threading.Thread(target=file.tend, daemon=True)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
    assert refused(file, put(128))
    file.tend()
    file.write(put(128), wait=False)
    assert numbers(file) == list(range(129))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_who_does_not_wait_may_fork(file):
    file.write(put(1), wait=False)
    pid = os.fork()
    if pid == 0:
        file.write(put(2), wait=False)
        os._exit(0 if numbers(file) == [1, 2] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    file.write(put(3), wait=False)
    assert numbers(file) == [1, 2, 3]


def test_a_log_that_grows_gets_room_ahead_and_holds_only_what_was_committed(file, tmp_path):
    log, sizes = Path(file.path + "-wal"), set()
    for number in range(200):
        file.write(put(number))
        sizes.add(log.stat().st_size)
    assert len(sizes) < 40
    assert log.read_bytes()[-4096:] == bytes(4096)
    # As after a power cut: another process reads the log from its beginning.
    for name in ("t.db", "t.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / f"copy-{name}")
    os.rename(tmp_path / "copy-t.db-wal", tmp_path / "copy.db-wal")
    os.rename(tmp_path / "copy-t.db", tmp_path / "copy.db")
    with SqliteFile(tmp_path / "copy.db", FIRST) as copy:
        assert numbers(copy) == list(range(200))
        copy.write(put(200))
        assert numbers(copy) == list(range(201))
    assert not (tmp_path / "copy.db-wal").exists()


def test_a_transaction_is_undone_by_an_exception(file):
    def fail():
        with file.transaction() as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            raise ConflictError("no")

    with pytest.raises(ConflictError):
        fail()
    assert numbers(file) == []


def test_a_reader_sees_one_state_while_others_write(file):
    with file.read() as connection:
        before = connection.execute("SELECT count(*) FROM t").fetchone()
        threading.Thread(target=file.write, args=(put(1),)).start()
        while numbers(file) != [1]:
            time.sleep(0.001)
        assert connection.execute("SELECT count(*) FROM t").fetchone() == before


def test_nested_transactions_are_refused(file):
    with file.transaction(), pytest.raises(BusyError):
        file.write(put(1))


def test_change_token_differs_after_a_commit_of_any_process(file):
    first = file.change()
    assert file.change() == first
    file.write(put(1))
    second = file.change()
    assert second != first
    other = sqlite3.connect(file.path)
    other.execute("INSERT INTO t VALUES (2)")
    other.commit()
    other.close()
    assert file.change() != second


def test_last_one_out_leaves_one_file_that_is_not_in_wal_mode(tmp_path):
    first, second = SqliteFile(tmp_path / "t.db", FIRST), SqliteFile(tmp_path / "t.db", FIRST)
    first.write(put(1))
    first.close()
    assert numbers(second) == [1]
    second.close()
    assert os.listdir(tmp_path) == ["t.db"]
    assert (tmp_path / "t.db").read_bytes()[18:20] == b"\x01\x01"


@pytest.mark.privileged
def test_database_at_rest_opens_on_a_medium_that_cannot_be_written(tmp_path):
    inside = tmp_path / "medium"
    inside.mkdir()
    with SqliteFile(inside / "t.db", FIRST) as file:
        file.write(put(1))
    subprocess.run(["mount", "--bind", "-o", "ro", inside, inside], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", inside], check=True)
    try:
        with SqliteFile(inside / "t.db", FIRST, read_only=True) as file:
            assert numbers(file) == [1]
        with pytest.raises(ReadOnlyError):
            SqliteFile(inside / "t.db", FIRST)
    finally:
        subprocess.run(["umount", inside], check=True)


def test_read_only_handle_does_not_write_nor_make(file, tmp_path):
    with SqliteFile(file.path, FIRST, read_only=True) as reader:
        file.write(put(1))
        assert numbers(reader) == [1]
        with pytest.raises(ReadOnlyError):
            reader.write(put(2))
    with pytest.raises(NotFoundError):
        SqliteFile(tmp_path / "absent.db", FIRST, read_only=True)
    assert not (tmp_path / "absent.db").exists()
    with pytest.raises(NotFoundError):
        SqliteFile(tmp_path / "absent.db", FIRST, create=False)


def test_shared_file_system_uses_neither_log_nor_memory_map(tmp_path):
    directory = tmp_path / "shared"
    directory.mkdir()
    declare_file_system(directory, "shared")
    with SqliteFile(directory / "t.db", FIRST) as file:
        file.write(put(1))
        with file.read() as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
            assert connection.execute("PRAGMA mmap_size").fetchone() == (0,)
        assert numbers(file) == [1]
        assert os.listdir(directory) == ["t.db"]


@pytest.mark.parametrize("durability", ["sync", "group", "os"])
def test_every_durability_keeps_what_was_written(tmp_path, durability):
    with SqliteFile(tmp_path / "t.db", FIRST, durability=durability) as file:
        file.write(put(1))
        with file.lease() as connection:
            connection.execute("INSERT INTO t VALUES (2)")
    with SqliteFile(tmp_path / "t.db", FIRST) as file:
        assert numbers(file) == [1, 2]


def test_memory_database_is_one_for_all_threads():
    with SqliteFile(":memory:", FIRST) as file:
        threads = [threading.Thread(target=file.write, args=(put(n),)) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert numbers(file) == list(range(10))
        assert file.one("SELECT max(a) FROM t") == (9,)
        before = file.change()
        file.write(put(10))
        assert file.change() != before


def test_look_ups_of_many_threads_see_every_commit(file):
    wrong = []

    def look():
        for number in range(100):
            if file.one("SELECT count(*) FROM t WHERE a < ?", (number,))[0] < number:
                wrong.append(number)
            if file.found("SELECT a FROM t WHERE a = ?", (number,)) not in (None, (number,)):
                wrong.append(number)
            if number < 100 and file.found("SELECT a FROM t WHERE a = ?", (number,)) is None:
                wrong.append(number)
            if len(file.all("SELECT a FROM t WHERE a < ?", (number,))) < number:
                wrong.append(number)

    file.write(
        lambda connection: connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(100)])
    )
    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(100, 200):
        file.write(put(number))
        assert file.one("SELECT max(a) FROM t") == (number,)
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_look_up_that_leaves_rows_behind_keeps_no_state_of_the_file(file):
    for number in range(3):
        file.write(put(number))
    assert file.one("SELECT a FROM t ORDER BY a") == (0,)
    with file.lease() as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


@pytest.mark.parametrize(("key", "row"), [(1, (1,)), (7, None)])
def test_a_look_up_by_a_key_keeps_no_state_of_the_file(file, key, row):
    for number in range(3):
        file.write(put(number))
    for _ in range(2):
        assert file.found("SELECT a FROM t WHERE a = ?", (key,)) == row
        with contextlib.closing(sqlite3.connect(file.path)) as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            other.execute("INSERT INTO t VALUES (100)")
            other.commit()
    assert file.found("SELECT count(*) FROM t WHERE a = ?", (100,)) == (2,)
    with pytest.raises(HoldfastError, match=r"t\.db"):
        file.found("SELECT absent FROM t WHERE a = ?", (key,))
    assert file.found("SELECT a FROM t WHERE a = ?", (key,)) == row


def test_a_look_up_that_fails_names_the_file_and_the_next_works(file):
    with pytest.raises(HoldfastError, match=r"t\.db"):
        file.one("SELECT absent FROM t")
    assert file.one("SELECT 1") == (1,)


def test_look_ups_go_on_in_both_processes_after_a_fork_and_leave_one_file(tmp_path):
    file = SqliteFile(tmp_path / "t.db", FIRST)
    file.write(put(1))
    assert file.one("SELECT a FROM t") == file.found("SELECT a FROM t WHERE a = ?", (1,)) == (1,)
    child = multiprocessing.get_context("fork").Process(target=look_up_and_write, args=(file,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert file.all("SELECT a FROM t") == [(1,), (2,)]
    file.close()
    assert os.listdir(tmp_path) == ["t.db"]


@pytest.mark.parametrize("use", ["read", "lease"])
def test_who_reads_while_the_file_is_closed_goes_on_and_leaves_one_file(tmp_path, use):
    file = SqliteFile(tmp_path / "t.db", FIRST)
    file.write(put(1))
    with getattr(file, use)() as first, file.lease() as second:
        file.close()
        assert first.execute("SELECT a FROM t").fetchall() == [(1,)]
        assert second.execute("SELECT a FROM t").fetchall() == [(1,)]
    assert os.listdir(tmp_path) == ["t.db"]


def test_a_fork_while_this_thread_reads_leaves_its_state_to_the_parent(file):
    file.write(put(1))
    with file.read() as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [(1,)]
        child = multiprocessing.get_context("fork").Process(target=look_up_and_write, args=(file,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert connection.execute("SELECT a FROM t").fetchall() == [(1,)]
    assert file.all("SELECT a FROM t") == [(1,), (2,)]


def look_up_and_write(file):
    assert file.one("SELECT a FROM t") == file.found("SELECT a FROM t WHERE a = ?", (1,)) == (1,)
    file.write(put(2))
    assert file.all("SELECT a FROM t") == [(1,), (2,)]


def test_closed_file_says_so(file):
    file.close()
    with pytest.raises(ConflictError, match="closed"):
        numbers(file)
    with pytest.raises(ConflictError, match="closed"):
        file.one("SELECT 1")
    file.close()


def test_who_still_look_when_a_file_is_closed_lay_it_to_rest_one_after_the_other(file, monkeypatch):
    rest, inside, together = opening.rest, [], []

    def slow_rest(connection):
        inside.append(connection)
        together.append(len(inside))
        time.sleep(0.05)
        inside.remove(connection)
        return rest(connection)

    def look():
        with file.lease() as connection:
            started.release()
            go.wait(5)
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)

    monkeypatch.setattr(opening, "rest", slow_rest)
    started, go = threading.Semaphore(0), threading.Event()
    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
        started.acquire()
    file.close()
    go.set()
    for thread in threads:
        thread.join()
    assert together == [1] * 4
    assert os.listdir(os.path.dirname(file.path)) == ["t.db"]


def test_handle_pickles_by_path(file):
    file.write(put(1))
    with pickle.loads(pickle.dumps(file)) as again:
        assert numbers(again) == [1]


# -- processes ---------------------------------------------------------------------------------------------


def write_many(file, start):
    for number in range(start, start + 50):
        file.write(put(number))


def test_handle_works_on_both_sides_of_a_fork(file):
    file.write(put(0))
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=write_many, args=(file, n * 100)) for n in range(1, 4)]
    for child in children:
        child.start()
    write_many(file, 1000)
    for child in children:
        child.join()
        assert child.exitcode == 0
    expected = [0, *(n * 100 + i for n in range(1, 4) for i in range(50)), *range(1000, 1050)]
    assert numbers(file) == sorted(expected)
    with file.read() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_fork_inside_a_transaction_leaves_the_parent_whole(file):
    context = multiprocessing.get_context("fork")
    with file.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        child = context.Process(target=numbers, args=(file,))
        child.start()
        child.join()
        assert child.exitcode == 0
    assert numbers(file) == [1]


WRITER = """
import sys
from holdfast.database import SqliteFile, Schema
file = SqliteFile(sys.argv[1], Schema("holdfast-test", ("CREATE TABLE t (a INTEGER);",)))
number = 0
while True:
    file.write(lambda c: c.executemany("INSERT INTO t VALUES (?)", [(number,)] * 3))
    print(number, flush=True)
    number += 1
"""


# The log is brought into the file, and begins anew, all the time.
PROMPT_WRITER = """
import sys
import holdfast.database.connection as room
from holdfast.errors import BusyError
room._PROMPT_WRITES = 5
file = room.SqliteFile(sys.argv[1], room.Schema("holdfast-test", ("CREATE TABLE t (a INTEGER);",)))
number = 0
while True:
    def write(c):
        c.executemany("INSERT INTO t VALUES (?)", [(number,)] * 3)
    try:
        file.write(write, wait=False)
    except BusyError:
        file.write(write)
    print(number, flush=True)
    if number % 3:
        file.tend()
    number += 1
"""


@pytest.mark.parametrize("delay", [1, 17, 60, 203])
@pytest.mark.parametrize("writer", [WRITER, PROMPT_WRITER], ids=["waiting", "prompt"])
def test_kill_during_commits_loses_nothing_acknowledged_and_shows_nothing_torn(tmp_path, delay, writer):
    path = tmp_path / "t.db"
    command, environment = [sys.executable, "-c", writer, path], {**os.environ, "PYTHONPATH": SOURCE}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        acknowledged = [int(process.stdout.readline()) for _ in range(delay)]
        process.send_signal(signal.SIGKILL)
        acknowledged += map(int, process.stdout)
    with SqliteFile(path, FIRST) as file, file.read() as connection:
        rows = connection.execute("SELECT a, count(*) FROM t GROUP BY a ORDER BY a").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert all(count == 3 for _, count in rows)
    assert [a for a, _ in rows][: len(acknowledged)] == acknowledged
    assert len(rows) - len(acknowledged) in (0, 1)


# -- versions ----------------------------------------------------------------------------------------------


def test_older_version_is_not_touched_until_it_is_upgraded(tmp_path):
    path = tmp_path / "t.db"
    with SqliteFile(path, FIRST) as file:
        file.write(put(7))
    before = path.read_bytes()
    with pytest.raises(OldFormatError, match="holdfast upgrade"):
        SqliteFile(path, SCHEMA)
    assert path.read_bytes() == before
    kept = upgrade(path, SCHEMA)
    with SqliteFile(path, SCHEMA) as file, file.read() as connection:
        assert connection.execute("SELECT a, b FROM u").fetchall() == [(7, "x;y")]
    with SqliteFile(kept, FIRST) as file:
        assert numbers(file) == [7]
    assert upgrade(path, SCHEMA) is None


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_every_older_version_upgrades_to_the_same_tables(tmp_path, version):
    path = tmp_path / "t.db"
    SqliteFile(path, Schema("holdfast-test", STEPS[: version or 1])).close()
    upgrade(path, SCHEMA)
    with SqliteFile(path, SCHEMA) as file, file.read() as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        ).fetchall()
    assert tables == [("about",), ("t",), ("u",)]


def test_failed_upgrade_leaves_the_old_version(tmp_path):
    path = tmp_path / "t.db"
    SqliteFile(path, FIRST).close()
    with pytest.raises(HoldfastError):
        upgrade(path, Schema("holdfast-test", (*STEPS[:1], "CREATE TABLE v (a); CREATE TABLE t (a);")))
    with SqliteFile(path, FIRST) as file, file.read() as connection:
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'v'").fetchone() is None


def test_newer_version_names_the_release_that_wrote_it(tmp_path):
    path = tmp_path / "t.db"
    with SqliteFile(path, SCHEMA) as file, file.transaction() as connection:
        set_about(connection, "release", "9.8.7")
    with pytest.raises(NewerFormatError, match=r"9\.8\.7"):
        SqliteFile(path, FIRST)


@pytest.mark.parametrize(("feature", "may_read"), [("reader_features", False), ("writer_features", True)])
def test_unknown_feature_is_a_newer_format(tmp_path, feature, may_read):
    path = tmp_path / "t.db"
    with SqliteFile(path, FIRST) as file, file.transaction() as connection:
        set_about(connection, feature, '["time-travel"]')
    with pytest.raises(NewerFormatError):
        SqliteFile(path, FIRST)
    if may_read:
        SqliteFile(path, FIRST, read_only=True).close()
    else:
        with pytest.raises(NewerFormatError):
            SqliteFile(path, FIRST, read_only=True)


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough" * 100, b"SQLite format 3\x00" + b"\x00" * 100]
)
def test_damaged_file_is_unreadable(tmp_path, content):
    path = tmp_path / "t.db"
    path.write_bytes(content)
    with pytest.raises(UnreadableError):
        SqliteFile(path, FIRST)


def test_other_database_is_left_alone(tmp_path):
    path = tmp_path / "t.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (a)")
    other.commit()
    other.close()
    with pytest.raises(UnreadableError, match="holdfast-test"):
        SqliteFile(path, FIRST)
    SqliteFile(tmp_path / "u.db", Schema("holdfast-other", STEPS)).close()
    with pytest.raises(UnreadableError, match="holdfast-other"):
        SqliteFile(tmp_path / "u.db", FIRST)


def test_backup_of_a_live_database_is_one_whole_state(file, tmp_path):
    stop = threading.Event()

    def write():
        while not stop.is_set():
            file.write(lambda c: c.executemany("INSERT INTO t VALUES (?)", [(1,)] * 3))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        kept = backup(file.path, tmp_path / "copy.db")
    finally:
        stop.set()
        thread.join()
    assert not [name for name in os.listdir(tmp_path) if name.startswith("copy.db-") or name.endswith(".tmp")]
    with SqliteFile(kept, FIRST) as copy:
        assert len(numbers(copy)) % 3 == 0
    with pytest.raises(AlreadyExistsError):
        backup(file.path, kept)
    with pytest.raises(NotFoundError):
        backup(tmp_path / "absent", tmp_path / "b")


HALF_DONE = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = DELETE")
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("UPDATE notes SET text = 'half done'")
connection.execute("INSERT INTO notes SELECT hex(randomblob(4000)) FROM notes, notes, notes")
os._exit(0)  # what is written so far can be undone with the journal only
"""


def test_reader_undoes_what_a_dead_process_was_about_to_change(tmp_path):
    path = tmp_path / "a.db"
    with SqliteFile(path, Schema("holdfast-notes", ("CREATE TABLE notes (text TEXT)",))) as made:
        made.write(lambda connection: connection.executemany("INSERT INTO notes VALUES (?)", [("old",)] * 20))
    subprocess.run([sys.executable, "-c", HALF_DONE, path], check=True, timeout=60)
    assert path.with_name("a.db-journal").stat().st_size > 0
    with SqliteFile(path, made.schema, read_only=True) as opened:
        assert opened.all("SELECT DISTINCT text FROM notes") == [("old",)]
