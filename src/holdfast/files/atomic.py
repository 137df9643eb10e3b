"""Own the writing of whole files: temporary, fsync, publish, fsync of the directory.

Until the one step of publishing there is no trace of a file where the system has nameless ones
(``O_TMPFILE``), elsewhere a temporary that `holdfast.files.leftovers` knows.

>>> import tempfile
>>> write_atomic(tempfile.mkdtemp() + "/x.txt", b"all or nothing")
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from holdfast.errors import StorageError
from holdfast.files.durability import settle_directory
from holdfast.files.faults import os_errors
from holdfast.files.kernel import NOREPLACE, renameat2, replace_unsynced, reserve
from holdfast.files.leftovers import temporary_beside
from holdfast.files.modes import copy_modes, seal
from holdfast.types import Buffer, Durability, PathLike

__all__ = ["AtomicWriter", "open_atomic", "write_atomic"]

_ALLOCATE_FROM = 128 * 1024
_NAMELESS_UNSUPPORTED = {errno.ENOTSUP, errno.EISDIR, errno.EINVAL, errno.ENOENT}
_WITHOUT_LINKS = {errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EMLINK}


def write_atomic(
    path: PathLike,
    data: Buffer | Iterable[Buffer],
    *,
    replace: bool = True,
    durability: Durability = "sync",
    read_only: bool = False,
) -> None:
    """Write a whole file: afterwards it is there, complete, or nothing has changed.

    Parameters
    ----------
    path : str or path
        The file.
    data : bytes-like or iterable of bytes-like
        Its content.
    replace : bool, optional
        If false, an existing file is an error; of many concurrent writers exactly one wins.
    durability : {"sync", "group", "os"}, optional
        See `open_atomic`.
    read_only : bool, optional
        Seal it before it appears.

    Raises
    ------
    AlreadyExistsError
        The file exists and `replace` is false.
    StorageFullError, StorageError, ReadOnlyError, NotFoundError
        The disk is full or failing, may not be written, or has no such directory. The old file is intact.
    """
    pieces = (data,) if isinstance(data, (bytes, bytearray, memoryview)) else data
    with open_atomic(path, replace=replace, durability=durability, read_only=read_only) as out:
        for piece in pieces:
            out.write(piece)


def open_atomic(
    path: PathLike,
    *,
    replace: bool = True,
    durability: Durability = "sync",
    read_only: bool = False,
    size_hint: int = 0,
) -> "AtomicWriter":
    """Start writing a file that appears when the ``with`` block ends without an exception.

    Parameters
    ----------
    path : str or path
        The file. Its directory must exist.
    replace : bool, optional
        If false, an existing file is an error; of many concurrent writers exactly one wins.
    durability : {"sync", "group", "os"}, optional
        ``sync``: file and name are on the disk before the block ends. ``group``: the file is, its name
        within 50 ms. ``os``: nothing waits; a power cut may tear it.
    read_only : bool, optional
        Seal it before it appears.
    size_hint : int, optional
        Bytes to come; allocated at once when many, so that a full disk shows early.

    Returns
    -------
    AtomicWriter
        A context manager.

    Raises
    ------
    AlreadyExistsError
        As for `write_atomic`; checked at the start too, decided at the end.
    StorageFullError, StorageError, ReadOnlyError, NotFoundError
        As for `write_atomic`.
    """
    target = os.fspath(path)
    writer = AtomicWriter(target, replace=replace, durability=durability, read_only=read_only)
    if size_hint >= _ALLOCATE_FROM:
        writer.allocate(size_hint)
    return writer


class AtomicWriter:
    """A file in the making. Not for use by several threads at once, except `pwrite`.

    Attributes
    ----------
    path : str
        Where it will appear.
    fd : int
        The open descriptor, for reading and writing; -1 when closed.
    """

    __slots__ = ("_allocated", "_durability", "_end", "_read_only", "_replace", "_temporary", "fd", "path")

    def __init__(self, path: str, *, replace: bool, durability: Durability, read_only: bool) -> None:
        self.path = path
        self.fd = -1
        self._allocated = self._end = 0
        self._replace = replace
        self._durability = durability
        self._read_only = read_only
        self._temporary: str | None = None
        with os_errors(path, "write"):
            if not replace and os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
            self._open()

    def _open(self) -> None:
        directory = os.path.dirname(self.path) or "."
        nameless = getattr(os, "O_TMPFILE", None)
        if nameless is not None:
            try:
                self.fd = os.open(directory, nameless | os.O_RDWR | os.O_CLOEXEC, 0o666)
            except OSError as error:
                if error.errno not in _NAMELESS_UNSUPPORTED or not os.path.isdir(directory):
                    raise
            else:
                return
        self._open_named()

    def _open_named(self) -> None:
        name = temporary_beside(self.path)
        self.fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._temporary = name
        with contextlib.suppress(
            OSError
        ):  # shared file systems may have no locks; their sweeper is the owner
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def allocate(self, size: int) -> None:
        """Reserve space for `size` bytes; what is not written through this object is cut off at the end.

        Parameters
        ----------
        size : int
            Bytes.

        Raises
        ------
        StorageFullError
            There is not that much left; nothing stays behind.
        """
        try:
            with os_errors(self.path, "write"):
                reserve(self.fd, size)
        except BaseException:
            self.abort()
            raise
        self._allocated = size

    def write(self, data: Buffer) -> int:
        """Write at the current position, all of it.

        Parameters
        ----------
        data : bytes-like
            Any length.

        Returns
        -------
        int
            The length in bytes.

        Raises
        ------
        StorageFullError, StorageError
            The disk is full or failing.
        """
        view = memoryview(data).cast("B")
        total = len(view)
        with os_errors(self.path, "write"):
            while view:
                view = view[os.write(self.fd, view) :]
        if self._allocated:
            self._end = max(self._end, self.tell())
        return total

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Write at `offset`, all of it, without moving the position.

        Parameters
        ----------
        data : bytes-like
            Any length.
        offset : int
            Bytes from the start.

        Returns
        -------
        int
            The length in bytes.

        Raises
        ------
        StorageFullError, StorageError
            The disk is full or failing.
        """
        view = memoryview(data).cast("B")
        done = 0
        with os_errors(self.path, "write"):
            while done < len(view):
                done += os.pwrite(self.fd, view[done:], offset + done)
        if self._allocated:
            self._end = max(self._end, offset + done)
        return done

    def tell(self) -> int:
        """Return the current position in bytes."""
        return os.lseek(self.fd, 0, os.SEEK_CUR)

    def stat(self) -> os.stat_result:
        """Return what the system knows about the file; its inode stays the same when it is published."""
        return os.fstat(self.fd)

    def publish(self) -> None:
        """Make the file appear under its name, and close it. Nothing happens when that is done already.

        Raises
        ------
        AlreadyExistsError
            The name is taken and must not be replaced.
        StorageFullError, StorageError, ReadOnlyError
            The disk is full or failing; nothing was changed.
        """
        if self.fd < 0:
            return
        try:
            with os_errors(self.path, "write"):
                self._finish_content()
                self._appear()
                self._settle()
        finally:
            self.abort()

    def _settle(self) -> None:
        try:
            settle_directory(os.path.dirname(self.path), self._durability)
        except StorageError:
            if not self._replace:  # what is new can be taken back; what was replaced is gone
                with contextlib.suppress(OSError):
                    os.unlink(self.path)
            raise

    def _finish_content(self) -> None:
        if self._end < self._allocated:
            os.ftruncate(self.fd, self._end)
        if self._replace:
            copy_modes(self.path, self.fd)
        if self._read_only:
            seal(self.fd)
        if self._durability != "os":
            os.fsync(self.fd)

    def _appear(self) -> None:
        if self._temporary is not None:
            # Released first: HDF5 takes locks of its own on what it opens. The sweeper spares what is young.
            with contextlib.suppress(OSError):
                fcntl.flock(self.fd, fcntl.LOCK_UN)
        if not self._replace:
            self._appear_as_new()
            return
        if self._temporary is None:
            try:
                _link_descriptor(self.fd, self.path)
            except FileExistsError:
                self._temporary = temporary_beside(self.path)
                _link_descriptor(self.fd, self._temporary)
            else:
                return
        if self._durability == "os":
            replace_unsynced(self._temporary, self.path)
        else:
            os.replace(self._temporary, self.path)
        self._temporary = None

    def _appear_as_new(self) -> None:
        if self._temporary is None:
            _link_descriptor(self.fd, self.path)
            return
        try:
            os.link(self._temporary, self.path)
        except OSError as error:
            if error.errno not in _WITHOUT_LINKS:
                raise
            renameat2(self._temporary, self.path, NOREPLACE)
            self._temporary = None

    def abort(self) -> None:
        """Close without a trace, unless it was published."""
        if self._temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)
            self._temporary = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.publish()
        else:
            self.abort()

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self.abort()


def _link_descriptor(descriptor: int, path: str) -> None:
    # CPython passes AT_SYMLINK_FOLLOW only together with a dir_fd, whose value an absolute source ignores.
    os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
