"""Own ``fsync`` and the flusher thread: bytes reach the disk now, within 50 ms, or when the system likes.

What is published, and in which order, belongs to `holdfast.files.publishing` and `holdfast.files.atomic`.

>>> flush_later("key", lambda: None)
>>> flush()
"""

import atexit
import os
import threading
import time
from collections.abc import Callable, Hashable

from holdfast.errors import BulkError
from holdfast.files.faults import os_errors
from holdfast.types import Durability, PathLike

__all__ = ["GROUP_S", "flush", "flush_later", "settle_directory", "sync_directory", "sync_file", "sync_tree"]

GROUP_S = 0.05
Action = Callable[[], None]


def sync_file(file: PathLike | int) -> None:
    """Wait until the content of a file is on the disk.

    Parameters
    ----------
    file : path or int
        A path or an open descriptor.

    Raises
    ------
    StorageError, StorageFullError
        The disk did not take it; what was written since the last success may be lost.
    NotFoundError
        There is no such file.
    """
    if isinstance(file, int):
        with os_errors(f"descriptor {file}", "sync"):
            os.fsync(file)
        return
    with os_errors(file, "sync"):
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_directory(path: PathLike) -> None:
    """Wait until the names in a directory are on the disk.

    Parameters
    ----------
    path : str or path
        A directory.

    Raises
    ------
    StorageError
        The disk did not take it.
    NotFoundError
        There is no such directory.
    """
    sync_file(os.fspath(path) or ".")


def sync_tree(path: PathLike) -> None:
    """Sync every file and directory of a tree, the root last.

    Parameters
    ----------
    path : str or path
        The root directory.

    Raises
    ------
    StorageError
        The disk did not take it.
    """
    for directory, _, names in os.walk(path, topdown=False):
        for name in names:
            file = os.path.join(directory, name)
            if not os.path.islink(file):
                sync_file(file)
        sync_directory(directory)


def settle_directory(path: str, durability: Durability) -> None:
    """Make the names of a directory durable in the way that `durability` asks for.

    Parameters
    ----------
    path : str
        A directory in which a name was published or removed.
    durability : {"sync", "group", "os"}
        ``sync`` waits, ``group`` leaves it to the flusher, ``os`` does nothing.

    Raises
    ------
    StorageError
        The disk did not take it (``sync`` only; see `flush`).
    """
    if durability == "sync":
        sync_directory(path)
    elif durability == "group":
        where = os.path.abspath(path)
        flush_later(("directory", where), lambda: _sync_if_there(where))


def _sync_if_there(path: str) -> None:
    if os.path.isdir(path):
        sync_directory(path)


class _Flusher:
    """Runs each scheduled action once, at most `GROUP_S` after it was first asked for.

    One per process: a forked child starts with an empty one, for what its parent scheduled is the parent's.
    """

    def __init__(self) -> None:
        self._pending: dict[Hashable, Action] = {}
        self._failures: dict[Hashable, Exception] = {}
        self._state = threading.Lock()
        self._running = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def schedule(self, key: Hashable, action: Action) -> None:
        with self._state:
            self._pending.setdefault(key, action)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="holdfast-flusher", daemon=True)
                self._thread.start()
        self._wake.set()

    def run(self, key: Hashable | None = None) -> list[Exception]:
        """Run what is pending and return its failures together with earlier ones."""
        with self._running:
            for each, action in self._taken(key):
                self._attempt(each, action)
        with self._state:
            if key is None:
                failures, self._failures = list(self._failures.values()), {}
                return failures
            failure = self._failures.pop(key, None)
            return [] if failure is None else [failure]

    def _taken(self, key: Hashable | None) -> list[tuple[Hashable, Action]]:
        with self._state:
            if key is None:
                taken, self._pending = list(self._pending.items()), {}
                return taken
            return [(key, self._pending.pop(key))] if key in self._pending else []

    def _attempt(self, key: Hashable, action: Action) -> None:
        try:
            action()
        except Exception as error:
            with self._state:
                self._failures[key] = error

    def _loop(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            time.sleep(GROUP_S * 0.8)
            with self._running:
                for key, action in self._taken(None):
                    self._attempt(key, action)


_flusher = _Flusher()


def _renew_after_fork() -> None:
    global _flusher
    _flusher = _Flusher()


os.register_at_fork(after_in_child=_renew_after_fork)


def flush_later(key: Hashable, action: Action) -> None:
    """Have `action` run once within 50 ms, however often it is asked for meanwhile.

    Parameters
    ----------
    key : hashable
        Requests with one key are one request until it has run; the first one's action is kept.
    action : callable
        Called without arguments on the flusher's thread. What it raises is raised by the next `flush`.

    Notes
    -----
    Safe from any thread. A forked child never runs what its parent scheduled. `flush` runs at interpreter
    exit.
    """
    _flusher.schedule(key, action)


def flush(key: Hashable | None = None) -> None:
    """Run what was scheduled, now, and raise what failed since the last call.

    Parameters
    ----------
    key : hashable, optional
        Only this one; everything by default.

    Raises
    ------
    Exception
        The single failure.
    BulkError
        Several, all together.
    """
    failures = _flusher.run(key)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise BulkError("several delayed writes failed", failures)


atexit.register(flush)
