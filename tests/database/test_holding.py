import contextlib
import multiprocessing
import os
import sqlite3
import threading
import time

import pytest

from holdfast.database import Schema, SqliteFile
from holdfast.database.holding import LOOK_UPS, TICK_S, Hold
from holdfast.errors import ConflictError
from holdfast.files import declare_file_system

SCHEMA = Schema("holdfast-test", ("CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER);",))
SOON_S = 100 * TICK_S


@pytest.fixture
def file(tmp_path):
    with SqliteFile(tmp_path / "t.db", SCHEMA) as file:
        put(file, 0)
        yield file


def put(file, number):
    file.write(lambda connection: connection.execute("INSERT OR REPLACE INTO t VALUES (1, ?)", (number,)))


def look(file):
    return file.found("SELECT b FROM t WHERE a = ?", (1,))[0]


def look_often(file):
    for _ in range(4 * LOOK_UPS):
        look(file)


def is_held(file):
    """Tell whether the log is kept from being begun anew."""
    with contextlib.closing(sqlite3.connect(file.path, timeout=0)) as other:
        return other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 1


def soon(condition):
    deadline = time.monotonic() + SOON_S
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(TICK_S / 5)
    return found


def test_many_look_ups_hold_the_log_and_it_is_let_go_soon_after_the_last(file):
    assert soon(lambda: look_often(file) or file._hold.is_held)
    assert is_held(file)
    assert soon(lambda: not file._hold.is_held)
    put(file, 1)
    assert not is_held(file)


def test_few_look_ups_hold_nothing(file):
    for _ in range(LOOK_UPS + 1):
        look(file)
        time.sleep(1.5 * TICK_S / LOOK_UPS)
        assert not file._hold.is_held


def test_every_commit_of_others_is_seen_at_the_next_look_up(file):
    with contextlib.closing(sqlite3.connect(file.path, isolation_level=None)) as other:
        for number in range(1, 6):
            assert soon(lambda: look_often(file) or file._hold.is_held)
            other.execute("UPDATE t SET b = ?", (number,))
            assert look(file) == number
            put(file, -number)
            assert look(file) == -number


def test_a_commit_ends_the_hold_however_many_look_ups_go_on(file):
    hold = Hold(file.path)
    assert soon(lambda: hold.note() or hold.is_held)
    put(file, 1)
    assert soon(lambda: hold.note() or not hold.is_held)
    released = time.monotonic()
    assert soon(lambda: hold.note() or hold.is_held)
    assert time.monotonic() - released > TICK_S / 2
    hold.end()
    hold.note()
    assert not hold.is_held


def test_the_log_is_begun_anew_while_others_write_and_look_ups_go_on(file):
    is_over, commits = threading.Event(), 0
    reading = threading.Thread(target=lambda: [look(file) for _ in iter(is_over.is_set, True)])
    reading.start()
    try:
        with contextlib.closing(sqlite3.connect(file.path, isolation_level=None)) as other:
            other.execute("PRAGMA wal_autocheckpoint = 10")
            other.execute("PRAGMA synchronous = OFF")
            assert soon(lambda: file._hold.is_held)
            end = time.monotonic() + 20 * TICK_S
            while time.monotonic() < end:
                other.execute("UPDATE t SET b = ?", (commits,))
                commits += 1
            size = os.stat(file.path + "-wal").st_size
    finally:
        is_over.set()
        reading.join()
    # Of the one page a commit that a log holds which is never begun anew.
    assert size < commits * 4096 / 2


def test_it_goes_on_after_a_fork_in_both_processes_and_leaves_one_file(tmp_path):
    file = SqliteFile(tmp_path / "t.db", SCHEMA)
    put(file, 7)
    assert soon(lambda: look_often(file) or file._hold.is_held)
    child = multiprocessing.get_context("fork").Process(target=hold_and_close, args=(file,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert look(file) == 8
    assert soon(lambda: look_often(file) or file._hold.is_held)
    running = threading.active_count()
    file.close()
    assert threading.active_count() == running - 1
    assert os.listdir(tmp_path) == ["t.db"]


def hold_and_close(file):
    assert not file._hold.is_held
    put(file, 8)
    assert soon(lambda: look_often(file) or file._hold.is_held)
    file.close()


def test_who_closes_while_others_look_leaves_one_file(tmp_path):
    for _ in range(5):
        file = SqliteFile(tmp_path / "t.db", SCHEMA)
        put(file, 7)
        threads = [threading.Thread(target=look_until_closed, args=(file,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert soon(lambda file=file: file._hold.is_held)
        file.close()
        for thread in threads:
            thread.join()
        assert os.listdir(tmp_path) == ["t.db"]


def look_until_closed(file):
    with contextlib.suppress(ConflictError):
        while True:
            look(file)


def test_nothing_is_held_without_a_log(tmp_path):
    with SqliteFile(tmp_path / "t.db", SCHEMA) as file:
        put(file, 1)
    with SqliteFile(tmp_path / "t.db", SCHEMA, read_only=True) as file:  # at rest it has none
        for _ in range(8):
            look_often(file)
            assert not file._hold.is_held
    declare_file_system(tmp_path, "shared")
    with SqliteFile(tmp_path / "t.db", SCHEMA) as file:
        for _ in range(8):
            look_often(file)
            assert not file._hold.is_held
        put(file, 2)
        assert look(file) == 2
    with SqliteFile(":memory:", SCHEMA) as file:
        put(file, 3)
        look_often(file)
        assert look(file) == 3


def test_a_file_whose_name_is_gone_is_looked_into_as_before(file):
    os.rename(file.path, file.path + "-away")
    deadline = time.monotonic() + 4 * TICK_S
    while time.monotonic() < deadline:
        look_often(file)
    assert not file._hold.is_held
    os.rename(file.path + "-away", file.path)


def test_where_no_thread_can_be_made_look_ups_go_on(file, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    deadline = time.monotonic() + 4 * TICK_S
    while time.monotonic() < deadline:
        look_often(file)
    assert not file._hold.is_held
    assert not is_held(file)


def test_the_thread_of_a_hold_may_end_it(file):
    hold = Hold(file.path)
    assert soon(lambda: hold.note() or hold.is_held)
    is_quiet = hold._is_quiet
    hold._is_quiet = lambda: hold.end() or is_quiet()  # as a collection of garbage at this moment would
    assert soon(lambda: not hold._thread.is_alive())
    assert hold._connection is None


def test_a_reader_holds_the_log_of_a_writer(tmp_path, file):
    with SqliteFile(file.path, SCHEMA, read_only=True) as reader:
        assert soon(lambda: look_often(reader) or reader._hold.is_held)
        put(file, 5)
        assert look(reader) == 5
        assert soon(lambda: not reader._hold.is_held)
