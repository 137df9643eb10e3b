"""Threads of a lane: results, errors, and callers that do not wait any more."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

import pytest

from holdfast.http.pool import Lanes, Pool


def run(work):
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


@pytest.fixture
def pool():
    made = Pool("test", 2)
    yield made
    made.close()


def test_results_and_errors_come_back(pool):
    assert run(pool.run(divmod, 7, 2)) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        run(pool.run(divmod, 7, 0))
    with pytest.raises(RuntimeError, match="StopIteration"):
        run(pool.run(next, iter(())))


def test_no_more_threads_than_allowed(pool):
    async def many():
        return await asyncio.gather(*(pool.run(threading.get_ident) for _ in range(50)))

    assert len(set(run(many()))) <= 2


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_threads_can_give_way_to_those_of_the_loop():
    modest = Pool("modest", 1, 5)
    here = os.getpriority(os.PRIO_PROCESS, 0)
    assert run(modest.run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))) == min(
        here + 5, 19
    )
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == here
    modest.close()


def test_a_caller_that_gave_up_is_not_told(pool):
    started, go_on = threading.Event(), threading.Event()

    def slow():
        started.set()
        go_on.wait(10)

    async def give_up():
        waiting = asyncio.ensure_future(pool.run(slow))
        await asyncio.sleep(0)
        while not started.is_set():
            await asyncio.sleep(0)
        waiting.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await pool.run(lambda: "next")

    assert run(give_up()) == "next"


def test_a_loop_that_ended_is_no_error(pool):
    started, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def slow():
        started.set()
        go_on.wait(10)
        done.set()

    async def leave():
        asyncio.ensure_future(pool.run(slow))  # noqa: RUF006 -- the loop ends before it does
        while not started.is_set():
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    run(leave())
    go_on.set()
    assert done.wait(10)
    assert run(pool.run(lambda: "again")) == "again"


def test_threads_that_are_idle_are_used_before_new_ones_start():
    wide = Pool("wide", 8)

    async def one_by_one():
        return [await wide.run(threading.get_ident) for _ in range(50)]

    assert len(set(run(one_by_one()))) == 1
    wide.close()
    assert len(set(run(one_by_one()))) == 1
    wide.close()


def test_lanes_are_quiet_while_nothing_runs_and_nothing_was_slow():
    lanes, release = Lanes(), threading.Event()

    async def beside():
        other = asyncio.ensure_future(lanes.run("io", release.wait, 10))
        await asyncio.sleep(0)
        seen = [lanes.are_quiet]
        release.set()
        await other
        return [*seen, lanes.are_quiet]

    assert lanes.are_quiet
    assert run(beside()) == [False, True]
    assert lanes.run_here(divmod, 7, 2) == (3, 1)
    assert lanes.are_quiet
    with pytest.raises(ZeroDivisionError):
        lanes.run_here(lambda: time.sleep(0.1) or 1 // 0)
    assert not lanes.are_quiet
    deadline = time.monotonic() + 10
    while not lanes.are_quiet:
        assert time.monotonic() < deadline
    lanes.close()


def test_a_short_stall_is_forgiven_and_many_are_not():
    lanes, on_the_loop, began = Lanes(), 0.0, time.monotonic()
    lanes.run_here(time.sleep, 0.02)
    assert lanes.are_quiet
    stalls = 1
    while lanes.are_quiet:
        lanes.run_here(time.sleep, 0.02)
        stalls += 1
        assert stalls < 10
    # However long it goes on, what is slow has the loop for a tenth of the time, and a little at first.
    while time.monotonic() - began < 1:
        if lanes.are_quiet:
            started = time.monotonic()
            lanes.run_here(time.sleep, 0.02)
            on_the_loop += time.monotonic() - started
        time.sleep(0.001)
    assert on_the_loop < 0.2
