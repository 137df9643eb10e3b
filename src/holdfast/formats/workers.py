"""The pool of probe workers.

Owns starting, feeding, timing and ending them; what they do is in `probe`.

>>> import tempfile, pathlib
>>> path = pathlib.Path(tempfile.mkdtemp(), "a.txt"); _ = path.write_text("hello")
>>> pool = ProbePool(workers=1)
>>> [(job.path.name, found.description.root.family) for job, found in pool.map([Job(path)])]
[('a.txt', 'bytes')]
>>> pool.close()
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path

import msgspec

from holdfast.formats.probe import (
    Job,
    Probed,
    ProbeFailure,
    Request,
    encode_path,
    read_frame,
    serve,
    write_frame,
)

__all__ = ["ProbePool", "shared_pool", "work"]

TIMEOUT_S = 30.0
"""How long a worker may look into one file."""

_BATCH = 16
_BATCH_BYTES = 16 << 10
_MEMORY_BYTES = 8 << 30
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from holdfast.formats.workers import work
work(int(sys.argv[2]))
"""


def work(niceness: int) -> None:
    """Be a worker: limit memory and priority, then answer until the parent is gone."""
    os.nice(niceness)
    # What is loaded stays; looking into a file makes no circles worth searching for often.
    gc.freeze()
    gc.set_threshold(50_000)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        # No such limit on this system, or a lower one is set already.
        pass
    serve()


class _Worker:
    """One process with the jobs that it was given and has not answered."""

    def __init__(self, niceness: int) -> None:
        self.jobs: deque[Job] = deque()
        self.since = time.monotonic()
        self.process: subprocess.Popen[bytes] | None = None
        if threading.active_count() == 1:
            self.pid, self.requests, self.answers = _fork(niceness)
        else:
            self.process = _spawn(niceness)
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.pid = self.process.pid
            self.requests, self.answers = self.process.stdin.fileno(), self.process.stdout.fileno()

    def ask(self, jobs: Sequence[Job], roots: Sequence[Path]) -> None:
        """Give it files to look into."""
        if not self.jobs:
            self.since = time.monotonic()
        self.jobs.extend(jobs)
        paths = [encode_path(job.path) for job in jobs]
        is_hashed, is_outline = jobs[0].kind
        request = Request(paths, is_hashed, [encode_path(root) for root in roots], is_outline)
        try:
            write_frame(self.requests, msgspec.json.encode(request))
        except BrokenPipeError:
            # It died before it was asked; the end of its answers says so.
            return

    def answer(self) -> tuple[Job, Probed] | None:
        """Return its next answer; None when it has ended."""
        frame = read_frame(self.answers)
        if frame is None:
            return None
        self.since = time.monotonic()
        return self.jobs.popleft(), msgspec.json.decode(frame, type=Probed)

    def is_alive(self) -> bool:
        """Whether it still waits for files: its end of the pipe is open."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.answers, selectors.EVENT_READ)
            return not selector.select(timeout=0)

    def end(self) -> str:
        """Kill it and give everything back; return how it had ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        if self.process is not None:
            with self.process as process:
                code = process.wait()
            return f"signal {-code}" if code < 0 else f"exit code {code}"
        os.close(self.requests)
        os.close(self.answers)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return f"signal {-status}" if status < 0 else f"exit code {status}"


def _fork(niceness: int) -> tuple[int, int, int]:
    """Start a worker as a copy of this process, which is ready at once; only where no other thread runs."""
    request_out, request_in = os.pipe()
    answer_out, answer_in = os.pipe()
    pid = os.fork()
    if not pid:
        _become_worker(request_out, answer_in, niceness)
    os.close(request_out)
    os.close(answer_in)
    return pid, request_in, answer_out


def _become_worker(request_fd: int, answer_fd: int, niceness: int) -> None:
    """Keep nothing of the parent's descriptors: its sockets and locks end with it."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.dup2(request_fd, 0)
        os.dup2(answer_fd, 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        work(niceness)
        code = 0
    finally:
        os._exit(code)


def _spawn(niceness: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _START, json.dumps(sys.path), str(niceness)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        bufsize=0,
    )


class ProbePool:
    """Worker processes, started when first needed and replaced when they fail; safe across threads.

    Parameters
    ----------
    workers : int
        How many look into files at once.
    timeout_s : float
        How long one may take for a file, in seconds.
    niceness : int
        By how much their priority is lowered.
    """

    def __init__(self, workers: int = 2, timeout_s: float = TIMEOUT_S, niceness: int = 0) -> None:
        self._niceness = niceness
        self._count = workers
        self._timeout_s = timeout_s
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._process = os.getpid()

    def map(
        self,
        jobs: Iterable[Job],
        roots: Sequence[Path] = (),
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[Job, Probed]]:
        """Yield each job with what was found, in the order in which answers come.

        Parameters
        ----------
        jobs : iterable of Job
            Files; taken as workers become free.
        roots : sequence of Path
            Where files that they name may lie.
        is_stopped : callable
            Asked every second; when it answers yes, the workers are ended and the rest is left.
        """
        run = _Run(self, deque(), iter(jobs), tuple(roots), self._timeout_s)
        try:
            yield from run.answers(self._count, is_stopped)
        finally:
            run.end()

    def take(self) -> _Worker:
        """Return a worker that nobody uses."""
        with self._lock:
            if self._process != os.getpid():
                # After a fork the workers are the parent's.
                self._idle, self._process = [], os.getpid()
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive():
                    return worker
                worker.end()
            return _Worker(self._niceness)

    def give_back(self, worker: _Worker) -> None:
        """Keep a worker for the next caller; one that still has jobs is ended."""
        with self._lock:
            if not worker.jobs and len(self._idle) < self._count:
                self._idle.append(worker)
                return
        worker.end()

    def close(self) -> None:
        """End all idle workers."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._process == os.getpid():
            for worker in idle:
                worker.end()


class _Run:
    """One call of `ProbePool.map`."""

    def __init__(
        self,
        pool: ProbePool,
        again: deque[Job],
        jobs: Iterator[Job],
        roots: tuple[Path, ...],
        timeout_s: float,
    ) -> None:
        self._pool, self._again, self._jobs = pool, again, jobs
        self._roots, self._timeout_s = roots, timeout_s
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()

    def answers(self, count: int, is_stopped: Callable[[], bool]) -> Iterator[tuple[Job, Probed]]:
        while self._feed(count) and not is_stopped():
            ready = self._selector.select(timeout=min(self._timeout_s, 1.0))
            for key, _ in ready:
                worker: _Worker = key.data
                yield from self._answer(worker)
            for worker in list(self._workers):
                if worker.jobs and time.monotonic() - worker.since > self._timeout_s:
                    yield self._replace(worker, is_hung=True)

    def _answer(self, worker: _Worker) -> Iterator[tuple[Job, Probed]]:
        found = worker.answer()
        if found is not None:
            yield found
        elif worker.jobs:
            yield self._replace(worker, is_hung=False)
        else:
            self._leave(worker)

    def _feed(self, count: int) -> bool:
        """Keep every worker busy; return whether there is anything to wait for."""
        for worker in self._workers:
            if len(worker.jobs) <= _BATCH // 4:
                self._give(worker)
        while len(self._workers) < count and (jobs := self._next()):
            worker = self._pool.take()
            self._workers.append(worker)
            self._selector.register(worker.answers, selectors.EVENT_READ, worker)
            worker.ask(jobs, self._roots)
        return any(worker.jobs for worker in self._workers)

    def _give(self, worker: _Worker) -> None:
        jobs = self._next()
        if jobs:
            worker.ask(jobs, self._roots)

    def _next(self) -> list[Job]:
        """Return the next few jobs of one kind; those of a worker that failed go one by one."""
        if self._again:
            return [self._again.popleft()]
        jobs: list[Job] = []
        size = 0
        for job in islice(self._jobs, _BATCH):
            if jobs and (size > _BATCH_BYTES or job.kind != jobs[0].kind):
                self._again.append(job)
                break
            jobs.append(job)
            size += len(str(job.path))
        return jobs

    def _replace(self, worker: _Worker, *, is_hung: bool) -> tuple[Job, Probed]:
        """End a worker that failed; the file it was at is the cause, the others are asked about again."""
        ended = self._leave(worker)
        job = worker.jobs.popleft()
        self._again.extend(worker.jobs)
        if is_hung:
            message = f"{job.path.name}: looking into it took more than {self._timeout_s:g} s"
            return job, Probed(failure=ProbeFailure("time-limit", message))
        message = f"{job.path.name}: the library that reads it crashed ({ended})"
        return job, Probed(failure=ProbeFailure("unreadable", message))

    def _leave(self, worker: _Worker) -> str:
        """End a worker for good; return how it ended."""
        self._workers.remove(worker)
        self._selector.unregister(worker.answers)
        return worker.end()

    def end(self) -> None:
        self._selector.close()
        for worker in self._workers:
            self._pool.give_back(worker)


@cache
def shared_pool() -> ProbePool:
    """Return the pool of this process, whose workers stay ready between calls."""
    pool = ProbePool()
    atexit.register(pool.close)
    return pool
