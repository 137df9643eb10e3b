"""Own how work shares one event loop: lanes with threads behind them, and a gate for large pieces.

It does not know requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from holdfast.http.limits import PIECE_BYTES, SHARED_PIECE_BYTES

__all__ = ["Gate", "Lanes", "Pool"]

T = TypeVar("T")
IO_THREADS = 16
HEAVY_THREADS = max(2, os.cpu_count() or 2)
# Work gives way to the loop and to waits: on a machine without a free core, small answers beside eight
# verified downloads come three times sooner.
HEAVY_NICENESS = 5
# What takes longer on the loop than it should (a disk that stalls) is done by threads for a while: so slow
# things hold the loop for less than a tenth of the time. One short stall now and then changes nothing:
# threads would cost each of the next writes more than the stall cost others.
_BRIEF_S = 0.005
_TIMES_CAUTIOUS = 10
_FORGIVEN_S = 0.05

Task = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Gate:
    """Let one large piece onto the wire in each turn of the loop, in order of arrival.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        The loop.

    Notes
    -----
    ``await send()`` often does not suspend, so that a few downloads would fill whole turns: without
    the gate small requests beside 8 downloads wait 200 times longer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.bodies = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_ticking = False

    @property
    def piece_bytes(self) -> int:
        """The size of a piece: smaller when several bodies are on the wire."""
        return PIECE_BYTES if self.bodies <= 1 else SHARED_PIECE_BYTES

    def turn(self) -> asyncio.Future[None]:
        """Return what to await before sending a piece."""
        future: asyncio.Future[None] = self.loop.create_future()
        self._waiting.append(future)
        if not self._is_ticking:
            self._is_ticking = True
            self.loop.call_soon(self._tick)
        return future

    def _tick(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                break
        self._is_ticking = bool(self._waiting)
        if self._is_ticking:
            self.loop.call_soon(self._tick)


class Lanes:
    """Run functions where their lanes are: on the loop, in threads that wait, or in threads that work."""

    def __init__(self) -> None:
        self._pools = {
            "io": Pool("io", IO_THREADS),
            "heavy": Pool("heavy", HEAVY_THREADS, HEAVY_NICENESS),
        }
        self._running = 0
        # Slow things on the loop push this ahead of the clock, ten times as far as they took.
        self._paid_until = 0.0

    async def run(self, lane: str, function: Callable[..., T], *args: Any) -> T:
        """Run a function in a thread of a lane.

        Parameters
        ----------
        lane : {"io", "heavy"}
            Which threads.
        function : callable
            Plain and synchronous.
        *args : object
            Its arguments.

        Returns
        -------
        object
            What it returned.
        """
        self._running += 1
        try:
            return await self._pools[lane].run(function, *args)
        finally:
            self._running -= 1

    @property
    def are_quiet(self) -> bool:
        """Whether something brief may be done on the loop: no thread works, and the disk was quick."""
        return not self._running and self._paid_until - time.monotonic() <= _TIMES_CAUTIOUS * _FORGIVEN_S

    def run_here(self, function: Callable[..., T], *args: Any) -> T:
        """Run something brief on the loop, and be cautious for a while if it was not, time and again."""
        started = time.monotonic()
        try:
            return function(*args)
        finally:
            ended = time.monotonic()
            if ended - started > _BRIEF_S:
                self._paid_until = max(self._paid_until, started) + _TIMES_CAUTIOUS * (ended - started)

    def close(self) -> None:
        """End the threads when they have done what is queued."""
        for pool in self._pools.values():
            pool.close()


class Pool:
    """Run functions in a bounded number of threads, which start when they are needed.

    Parameters
    ----------
    name : str
        The name of its threads.
    size : int
        The most threads.
    niceness : int, default 0
        How much its threads give way to the others of this process, where the system can do that.

    Notes
    -----
    One hop costs about half of what `asyncio.loop.run_in_executor` costs.
    """

    def __init__(self, name: str, size: int, niceness: int = 0) -> None:
        self._name = name
        self._size = size
        self._niceness = niceness
        self._queue: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in a thread.

        Parameters
        ----------
        function : callable
            Plain and synchronous.
        *args : object
            Its arguments.

        Returns
        -------
        object
            What it returned.

        Raises
        ------
        Exception
            What it raised.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put((loop, future, function, args))
        self._have_taken()
        return await future

    def close(self) -> None:
        """End the threads when they have done what is queued."""
        with self._lock:
            for _ in self._threads:
                self._queue.put(None)
            waiting, self._threads = self._threads, []
        for thread in waiting:
            thread.join()
        self._idle = 0

    def _have_taken(self) -> None:
        """Count on an idle thread, or start one: few that stay warm serve better than many in turn."""
        with self._lock:
            if self._idle:
                self._idle -= 1
                return
            if len(self._threads) >= self._size:
                return
            thread = threading.Thread(target=self._work, name=f"holdfast-{self._name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        if self._niceness:
            _give_way(self._niceness)
        while True:
            task = self._queue.get()
            if task is None:
                return
            loop, future, function, args = task
            try:
                result, error = function(*args), None
            except BaseException as caught:
                result, error = None, caught
            with self._lock:
                self._idle += 1
            _tell(loop, future, result, error)
            del task, future, function, args, result, error


def _give_way(niceness: int) -> None:
    """Lower the priority of this thread alone: Linux takes the number of a thread for that of a process."""
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + niceness)


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: object, error: BaseException | None
) -> None:
    try:
        loop.call_soon_threadsafe(_settle, future, result, error)
    except RuntimeError:
        # The loop has ended: nobody waits any more.
        return


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        # A future cannot carry it; a route that lets it escape has a fault.
        future.set_exception(RuntimeError("StopIteration left a route"))
    else:
        future.set_exception(error)
