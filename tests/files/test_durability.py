"""Delayed writes run once, soon, in their own process, and never fail silently."""

import os
import threading

import pytest

from holdfast import files
from holdfast.errors import BulkError


@pytest.fixture(autouse=True)
def clean():
    yield
    files.flush()


def test_scheduled_action_runs_by_itself_within_the_group_time():
    done = threading.Event()
    files.flush_later("a", done.set)
    assert done.wait(5)


def test_requests_with_one_key_are_one_request():
    calls = []
    for number in range(5):
        files.flush_later("a", lambda number=number: calls.append(number))
    files.flush()
    assert calls == [0]


def test_flush_of_one_key_leaves_the_others():
    calls = []
    files.flush_later("a", lambda: calls.append("a"))
    files.flush_later("b", lambda: calls.append("b"))
    files.flush("b")
    assert "b" in calls
    files.flush()
    assert sorted(calls) == ["a", "b"]


def failing(name):
    def fail():
        raise RuntimeError(name)

    return fail


def test_failure_is_raised_by_the_next_flush_and_only_once():
    files.flush_later("a", failing("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        files.flush("a")
    files.flush("a")


def test_failure_on_the_flushers_thread_is_kept():
    done = threading.Event()
    files.flush_later("a", failing("broken"))
    files.flush_later("z", done.set)
    assert done.wait(5)
    with pytest.raises(RuntimeError, match="broken"):
        files.flush()


def test_several_failures_are_raised_together():
    files.flush_later("a", failing("first"))
    files.flush_later("b", failing("second"))
    with pytest.raises(BulkError) as caught:
        files.flush()
    assert {str(error) for error in caught.value.exceptions} == {"first", "second"}


def test_forked_child_does_not_run_what_its_parent_scheduled():
    calls = []
    files.flush_later("a", lambda: calls.append(os.getpid()))
    child = os.fork()
    if child == 0:
        before = len(calls)
        files.flush()
        files.flush_later("b", lambda: calls.append("child"))
        files.flush()
        os._exit(0 if calls[before:] == ["child"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    files.flush()
    assert calls == [os.getpid()]


def test_directory_that_is_gone_needs_no_sync(tmp_path):
    (tmp_path / "d").mkdir()
    files.write_atomic(tmp_path / "d" / "a", b"", durability="group")
    files.remove_tree(tmp_path / "d")
    files.flush()


def test_tree_is_synced_with_its_links_left_alone(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"")
    (tmp_path / "d" / "dangling").symlink_to("nowhere")
    files.sync_tree(tmp_path)
