"""Own new files that count only when a database says so: named first, on the disk before the fact is.

Until the fact is recorded their names mean nothing, so that names and content can reach the disk together:
one file with its names in one commit of the file system's journal, many files with one call. Files whose
name is the fact are `holdfast.files.atomic`'s.

>>> import tempfile
>>> home = tempfile.mkdtemp()
>>> with SyncPoint(home) as point:
...     for name in "ab":
...         os.close(create_new(f"{home}/{name}", b"content"))
...     point.wait([f"{home}/a", f"{home}/b"], [home])
"""

import contextlib
import os
import re
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from holdfast.errors import StorageError
from holdfast.files.atomic import AtomicWriter
from holdfast.files.durability import sync_directory, sync_file
from holdfast.files.faults import os_errors
from holdfast.files.kernel import can_syncfs, start_writing, syncfs
from holdfast.files.systems import file_system
from holdfast.types import Buffer, PathLike

__all__ = ["SyncPoint", "can_sync_together", "create_new", "sync_new", "write_early"]

# Their journals keep the order of changes: what syncs a file's last change syncs every name made before it.
_ORDERED = frozenset({"ext4", "xfs"})
# Where one call for everything is known to be cheap and to report errors.
_WITH_SYNCFS = frozenset({"ext4", "xfs", "btrfs", "f2fs", "tmpfs"})
# Below, one fsync after the other is as quick.
_MANY = 16
# The one call waits for what everybody has written: with more than this beside our files it is not worth it.
_MOST_DIRTY_KIB, _DIRTY_KIB_A_FILE = 64 * 1024, 16
_UNKNOWN_KIB = 1 << 60
_THREADS = 16
# So much of a large file goes to the disk at a time: all of it in the end takes longer.
_EARLY_BYTES = 16 * 1024 * 1024
_DIRTY = re.compile(r"^(?:Dirty|Writeback): +(\d+) kB$", re.MULTILINE)


def create_new(path: PathLike, content: Buffer) -> int:
    """Write a small sealed file under a name that nothing has; nothing waits for the disk.

    Parameters
    ----------
    path : str or path
        The file. Its directory must exist.
    content : bytes-like
        All of it.

    Returns
    -------
    int
        A descriptor, to be synced and closed by the caller.

    Raises
    ------
    AlreadyExistsError
        Something has that name.
    StorageFullError, StorageError, ReadOnlyError, NotFoundError
        The disk is full or failing, may not be written, or has no such directory; nothing stays behind.
    """
    path = os.fspath(path)
    with os_errors(path, "write"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
    return descriptor


def write_early(out: AtomicWriter) -> Callable[[Buffer], None]:
    """Return what writes to a large file and lets the disk begin long before the file is complete.

    Parameters
    ----------
    out : AtomicWriter
        The file, at its beginning; whether it is on the disk is still for a sync to say.

    Returns
    -------
    callable
        As `AtomicWriter.write`.
    """
    done = started = 0

    def write(piece: Buffer) -> None:
        """Write, and now and then let the disk begin."""
        nonlocal done, started
        done += out.write(piece)
        if done - started >= _EARLY_BYTES:
            start_writing(out.fd, started, done - started)
            started = done

    return write


def sync_new(descriptor: int, directory: PathLike) -> None:
    """Wait until a new file, and the names that its directory got before its last change, are on the disk.

    Parameters
    ----------
    descriptor : int
        The file, open since it was written: only so every failure is told.
    directory : str or path
        Where its one name is.

    Raises
    ------
    StorageError, StorageFullError
        The disk did not take it; nothing of it counts as durable.
    """
    sync_file(descriptor)
    if file_system(directory).name not in _ORDERED:
        sync_directory(directory)


def can_sync_together(directory: PathLike) -> bool:
    """Tell whether one call can wait for all new files of a directory's file system, and tells every failure.

    Parameters
    ----------
    directory : str or path
        An existing one.

    Returns
    -------
    bool
        See the notes of `SyncPoint`.
    """
    return can_syncfs() and file_system(directory).name in _WITH_SYNCFS


class SyncPoint:
    """Wait for many new files together; opened before the first of them is written.

    Parameters
    ----------
    directory : str or path
        Above all of them, or at least on their file system.

    Notes
    -----
    One ``syncfs`` where the file system and the kernel are known to report every failure to whoever opened
    it before, and where nobody has much else to write; otherwise ``fsync`` of each file, in a few threads.
    """

    def __init__(self, directory: PathLike) -> None:
        self._path = os.fspath(directory)
        self._descriptor, self._device = -1, -1
        self._is_spent = False
        if can_sync_together(self._path):
            with os_errors(self._path, "open"):
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                self._device = os.fstat(self._descriptor).st_dev

    def wait(self, paths: Collection[str], directories: Collection[str]) -> None:
        """Wait until files and names are on the disk, once.

        Parameters
        ----------
        paths : collection of str
            The files.
        directories : collection of str
            All that got names.

        Raises
        ------
        StorageError, StorageFullError
            The disk did not take something; nothing of all that counts as durable.
        """
        if self._is_spent:
            raise StorageError(f"cannot sync {self._path} again: what failed once is lost; write it anew")
        self._is_spent = True
        if self._is_one_call_better(len(paths), directories):
            with os_errors(self._path, "sync"):
                syncfs(self._descriptor)
            return
        _sync_each(paths)
        for directory in directories:
            sync_directory(directory)

    def _is_one_call_better(self, count: int, directories: Collection[str]) -> bool:
        if self._descriptor < 0 or count < _MANY:
            return False
        are_here = all(os.stat(directory).st_dev == self._device for directory in directories)
        return are_here and _dirty_kib() <= _MOST_DIRTY_KIB + count * _DIRTY_KIB_A_FILE

    def close(self) -> None:
        """Close it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def _sync_each(paths: Collection[str]) -> None:
    if len(paths) < _MANY:
        for path in paths:
            sync_file(path)
        return
    with ThreadPoolExecutor(_THREADS, "holdfast-sync") as pool:
        # The first failure is raised when all have ended.
        for done in [pool.submit(sync_file, path) for path in paths]:
            done.result()


def _dirty_kib() -> int:
    """Return how much the whole system has still to write; a lot where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = _DIRTY.findall(file.read())
    except OSError:
        return _UNKNOWN_KIB
    return sum(map(int, found)) if found else _UNKNOWN_KIB
