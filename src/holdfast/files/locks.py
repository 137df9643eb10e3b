"""Own the locks between threads, processes and forks; they die with their holder.

A lock is a ``flock`` on an own open file description of a directory or lock file, so that two threads
exclude each other as two processes do, and a killed holder leaves nothing behind.

>>> import tempfile
>>> with lock(tempfile.mkdtemp(), timeout_s=0) as held:
...     held.is_held
True
"""

import contextlib
import errno
import fcntl
import os
import threading
import time
import weakref
from types import TracebackType
from typing import Self

from holdfast.errors import BusyError
from holdfast.files.faults import os_errors
from holdfast.types import PathLike

__all__ = ["KeptLock", "Lock", "SharedLock", "lock"]

_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.02
_live: "weakref.WeakSet[Lock]" = weakref.WeakSet()
_kept: "weakref.WeakSet[KeptLock | SharedLock]" = weakref.WeakSet()


def lock(
    path: PathLike, *, shared: bool = False, timeout_s: float | None = None, create: bool = True
) -> "Lock":
    """Take a lock; leaving the ``with`` block gives it back.

    Parameters
    ----------
    path : str or path
        A directory, or a lock file (made if missing, never deleted).
    shared : bool, optional
        Together with other shared holders.
    timeout_s : float, optional
        How long to wait: for ever by default, 0 not at all.
    create : bool, optional
        Make a lock file that is not there.

    Returns
    -------
    Lock
        Held.

    Raises
    ------
    BusyError
        Somebody else holds it still.
    NotFoundError
        It is not there and shall not be made.
    ReadOnlyError
        The lock file cannot be made.
    """
    held = Lock(path, create=create)
    held.acquire(shared=shared, timeout_s=timeout_s)
    return held


class Lock:
    """A lock that can be taken and given back again and again. Not reentrant.

    Parameters
    ----------
    path : str or path
        A directory, or a lock file (never deleted).
    create : bool, optional
        Make a lock file that is not there.

    Notes
    -----
    One object is for one thread at a time; threads exclude each other through objects of their own. A
    forked child does not inherit what its parent holds.
    """

    __slots__ = ("__weakref__", "_create", "_descriptor", "path")

    def __init__(self, path: PathLike, *, create: bool = True) -> None:
        self.path = os.fspath(path)
        self._create = create
        self._descriptor = -1

    @property
    def is_held(self) -> bool:
        """True between `acquire` and `release`, in the process that acquired it."""
        return self._descriptor >= 0

    def acquire(self, *, shared: bool = False, timeout_s: float | None = None) -> None:
        """Take the lock.

        Parameters
        ----------
        shared : bool, optional
            Together with other shared holders.
        timeout_s : float, optional
            How long to wait: for ever by default, 0 not at all.

        Raises
        ------
        BusyError
            Somebody else (or this very object) holds it.
        ReadOnlyError
            The lock file cannot be made.
        """
        if self.is_held:
            raise BusyError(f"{self.path} is locked by this very object; release it first")
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        with os_errors(self.path, "lock"):
            descriptor = _opened(self.path, self._create)
            try:
                _take(descriptor, mode, timeout_s, self.path)
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptor = descriptor
        _live.add(self)

    def release(self) -> None:
        """Give the lock back; nothing happens when it is not held."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        _live.discard(self)
        try:
            # Explicitly: a child that is being started holds a copy of the descriptor for a moment.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        finally:
            os.close(descriptor)

    def is_current(self) -> bool:
        """Tell whether the path still names what is locked, and not something that took its place since.

        Returns
        -------
        bool
            False also when nothing bears the name any more.
        """
        held = os.fstat(self._descriptor)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = os.stat(self.path)
            return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)
        return False

    def _forget(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def __enter__(self) -> Self:
        if not self.is_held:
            self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self._forget()


class KeptLock:
    """A lock that keeps its file open: for what is taken thousands of times a second. Not reentrant.

    Threads that share the object exclude each other too.

    Parameters
    ----------
    path : str or path
        A directory, or a lock file (made if missing, never deleted).
    timeout_s : float
        How long a ``with`` block waits before it raises `BusyError`.
    """

    __slots__ = ("__weakref__", "_descriptor", "_threads", "_timeout_s", "path")

    def __init__(self, path: PathLike, timeout_s: float) -> None:
        self.path = os.fspath(path)
        self._timeout_s = timeout_s
        self._threads = threading.Lock()
        self._descriptor = -1
        _kept.add(self)

    def __enter__(self) -> Self:
        if not self._threads.acquire(False) and not self._threads.acquire(timeout=self._timeout_s):
            raise BusyError(f"{self.path} is in use by another thread after {self._timeout_s:g} s; try again")
        try:
            self._take()
        except BaseException:
            self._threads.release()
            raise
        return self

    def _take(self) -> None:
        if self._descriptor < 0:
            with os_errors(self.path, "lock"):
                self._descriptor = _opened(self.path, create=True)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with os_errors(self.path, "lock"):
                _take(self._descriptor, fcntl.LOCK_EX, self._timeout_s, self.path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _forget(self) -> None:
        """Start anew in a forked child: what was held there is the parent's."""
        self._threads = threading.Lock()
        self.close()

    def close(self) -> None:
        """Close the file; a later ``with`` block opens it again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


class SharedLock:
    """A lock together with other shared holders that keeps its file open.

    Threads that share the object hold it as one: from the first of them to the last.

    Parameters
    ----------
    path : str or path
        A directory, or a lock file (made if missing, never deleted).
    """

    __slots__ = ("__weakref__", "_count", "_descriptor", "_threads", "path")

    def __init__(self, path: PathLike) -> None:
        self.path = os.fspath(path)
        self._threads = threading.Lock()
        self._descriptor = -1
        self._count = 0
        _kept.add(self)

    def __enter__(self) -> Self:
        with self._threads:
            if self._count == 0:
                with os_errors(self.path, "lock"):
                    if self._descriptor < 0:
                        self._descriptor = _opened(self.path, create=True)
                    fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            self._count += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._threads:
            self._count = max(0, self._count - 1)  # a child that was forked inside holds nothing
            if self._count == 0 and self._descriptor >= 0:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _forget(self) -> None:
        """Start anew in a forked child: what was held there is the parent's."""
        self._threads = threading.Lock()
        self._count = 0
        self.close()

    def close(self) -> None:
        """Close the file, which ends the lock; a later ``with`` block opens it again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def _opened(path: str, create: bool) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        if not create:
            raise
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _take(descriptor: int, mode: int, timeout_s: float | None, path: str) -> None:
    if timeout_s is None:
        fcntl.flock(descriptor, mode)
        return
    deadline = time.monotonic() + timeout_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise
        else:
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise BusyError(
                f"{path} is in use by another writer after {timeout_s:g} s; try again when it is done"
            )
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _forget_in_child() -> None:
    # Closing this copy keeps the parent's lock: only an unlock or the last close ends it.
    for held in list(_live):
        held._forget()
    _live.clear()
    for kept in list(_kept):
        kept._forget()


os.register_at_fork(after_in_child=_forget_in_child)
