"""Locks exclude threads, processes and forks, and die with their holder."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from holdfast.errors import BusyError, NotFoundError, ReadOnlyError
from holdfast.files import Lock, SharedLock, lock


@pytest.fixture(params=["directory", "file"])
def place(request, tmp_path):
    return tmp_path if request.param == "directory" else tmp_path / "lock"


def test_second_holder_is_refused_at_once(place):
    with lock(place), pytest.raises(BusyError, match=place.name):
        lock(place, timeout_s=0)
    lock(place, timeout_s=0).release()


def test_timeout_is_kept(place):
    with lock(place):
        before = time.monotonic()
        with pytest.raises(BusyError, match=r"0\.05 s"):
            lock(place, timeout_s=0.05)
        assert 0.05 <= time.monotonic() - before < 5


def test_shared_holders_exclude_only_the_exclusive(place):
    with lock(place, shared=True), lock(place, shared=True, timeout_s=0), pytest.raises(BusyError):
        lock(place, timeout_s=0)


def test_threads_never_meet_inside(place):
    inside, meetings = [], []

    def work():
        for _ in range(20):
            with lock(place):
                inside.append(1)
                if len(inside) > 1:
                    meetings.append(1)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not meetings


def test_killed_holder_leaves_nothing_behind(place):
    source = "from holdfast.files import lock; import sys, time\nheld = lock(sys.argv[1])\n"
    source += "print('held', flush=True)\n"
    command = [sys.executable, "-c", source + "time.sleep(60)", str(place)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BusyError):
        lock(place, timeout_s=0)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    lock(place, timeout_s=5).release()


def test_forked_child_holds_nothing_and_its_end_frees_nothing(place):
    held = lock(place)
    child = os.fork()
    if child == 0:
        try:
            lock(place, timeout_s=0)
        except BusyError:
            os._exit(0 if not held.is_held else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(BusyError):
        lock(place, timeout_s=0)
    held.release()


def test_parents_release_frees_while_the_child_lives(place):
    held = lock(place)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)
        os._exit(0)
    held.release()
    lock(place, timeout_s=0).release()
    os.write(writing, b"x")
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)


def test_lock_can_be_taken_again_and_again_but_not_twice(place):
    held = Lock(place)
    for _ in range(2):
        held.acquire(timeout_s=0)
        with pytest.raises(BusyError, match="this very object"):
            held.acquire()
        held.release()
        held.release()
    assert not held.is_held
    with held:
        assert held.is_held


def test_forgotten_lock_is_free(place):
    held = lock(place)
    del held
    lock(place, timeout_s=0).release()


def test_missing_lock_file_is_made_only_if_wanted(tmp_path):
    with pytest.raises(NotFoundError, match="none"):
        lock(tmp_path / "none", create=False)
    lock(tmp_path / "new").release()
    assert (tmp_path / "new").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_lock_file_that_cannot_be_made_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ReadOnlyError, match="lock"):
        lock(tmp_path / "lock")


def test_shared_lock_is_held_from_its_first_thread_to_its_last(place):
    shared = SharedLock(place)
    with shared:
        with shared, lock(place, shared=True, timeout_s=0), pytest.raises(BusyError):
            lock(place, timeout_s=0)
        with pytest.raises(BusyError):
            lock(place, timeout_s=0)
    lock(place, timeout_s=0).release()
    with shared, pytest.raises(BusyError):
        lock(place, timeout_s=0)
    shared.close()
    lock(place, timeout_s=0).release()


def test_forked_child_takes_a_shared_lock_anew(place):
    shared = SharedLock(place)
    with shared:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with shared, pytest.raises(BusyError):
                    lock(place, timeout_s=0)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        with pytest.raises(BusyError):  # the child's end did not end ours
            lock(place, timeout_s=0)
    shared.close()
