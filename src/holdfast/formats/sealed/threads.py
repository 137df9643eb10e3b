"""Own the two threads that hash and copy large blocks; one pool for each process, also after fork.

It does not decide what is large: its callers do. On a machine with one core everything runs inline.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["TASK_BYTES", "run_all"]

TASK_BYTES = 4 * 1024 * 1024
"""The work of one task: smaller ones cost more in hand-over than a second core gives."""

_THREADS = 2
T = TypeVar("T")
R = TypeVar("R")
_pools: dict[int, ThreadPoolExecutor] = {}


def run_all(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Do the work for each item, on two threads where there are two cores.

    Parameters
    ----------
    work : callable
        Releases the interpreter lock for most of its time.
    items : iterable
        What it takes.

    Returns
    -------
    list
        The results in order; the first failure is raised after all items have ended.
    """
    todo = list(items)
    if len(todo) < 2 or len(os.sched_getaffinity(0)) < 2:
        return [work(item) for item in todo]
    waiting = [_pool().submit(work, item) for item in todo]
    # All must have ended before a buffer they write to may be given up.
    failures = [error for each in waiting if (error := each.exception()) is not None]
    if failures:
        raise failures[0]
    return [each.result() for each in waiting]


def _pool() -> ThreadPoolExecutor:
    # A pool made before fork has no threads in the child and would hang for ever.
    pid = os.getpid()
    pool = _pools.get(pid)
    if pool is None:
        pool = _pools.setdefault(pid, ThreadPoolExecutor(_THREADS, thread_name_prefix="holdfast-blocks"))
    return pool
