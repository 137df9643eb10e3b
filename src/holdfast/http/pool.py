"""Own the threads behind the lanes: a queue, workers, and the way back to the event loop.

It does not know requests.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Pool"]

T = TypeVar("T")
Task = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Pool:
    """Run functions in a bounded number of threads, which start when they are needed.

    Parameters
    ----------
    name : str
        The name of its threads.
    size : int
        The most threads.

    Notes
    -----
    One hop costs about half of what `asyncio.loop.run_in_executor` costs.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._queue: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
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
        if len(self._threads) < self._size and not self._queue.empty():
            self._start()
        return await future

    def close(self) -> None:
        """End the threads when they have done what is queued."""
        with self._lock:
            for _ in self._threads:
                self._queue.put(None)
            waiting, self._threads = self._threads, []
        for thread in waiting:
            thread.join()

    def _start(self) -> None:
        with self._lock:
            if len(self._threads) >= self._size:
                return
            thread = threading.Thread(target=self._work, name=f"holdfast-{self._name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while True:
            task = self._queue.get()
            if task is None:
                return
            loop, future, function, args = task
            try:
                result, error = function(*args), None
            except BaseException as caught:
                result, error = None, caught
            _tell(loop, future, result, error)
            del task, future, function, args, result, error


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
