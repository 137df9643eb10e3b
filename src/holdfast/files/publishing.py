"""Own names that appear, change places and vanish in one step, and stay so after a power cut.

Renames, links and directories; whole files are written by `holdfast.files.atomic`.

>>> import tempfile, pathlib
>>> with build_directory(pathlib.Path(tempfile.mkdtemp()) / "set") as staging:
...     _ = (staging / "a.txt").write_text("a")
"""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import AlreadyExistsError
from holdfast.files.durability import settle_directory, sync_directory, sync_tree
from holdfast.files.faults import os_errors
from holdfast.files.kernel import EXCHANGE, NOREPLACE, renameat2
from holdfast.files.leftovers import temporary_beside
from holdfast.types import Durability, PathLike

__all__ = [
    "build_directory",
    "exchange",
    "link_new",
    "make_directories",
    "publish_new",
    "remove",
    "remove_tree",
    "replace",
    "symlink_new",
]

_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}
_WITHOUT_LINKS = {errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EMLINK, errno.EXDEV}


def publish_new(source: PathLike, target: PathLike, durability: Durability = "sync") -> None:
    """Rename a file or directory to a name that nothing has; of many callers exactly one wins.

    Parameters
    ----------
    source, target : str or path
        On one file system. The content of `source` must be synced before.
    durability : {"sync", "group", "os"}, optional
        When the name is on the disk.

    Raises
    ------
    AlreadyExistsError
        The target exists; nothing was changed.
    InvalidInputError
        The file system can neither rename without replacing nor link.
    """
    source, target = os.fspath(source), os.fspath(target)
    with os_errors(target, "publish"):
        try:
            renameat2(source, target, NOREPLACE)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            # NFS has hard links and no flags; a link never replaces either.
            os.link(source, target, follow_symlinks=False)
            os.unlink(source)
        settle_directory(os.path.dirname(target), durability)


def replace(source: PathLike, target: PathLike, durability: Durability = "sync") -> None:
    """Rename over whatever `target` is: readers see the old or the new, nothing else.

    Parameters
    ----------
    source, target : str or path
        On one file system. The content of `source` must be synced before.
    durability : {"sync", "group", "os"}, optional
        When the name is on the disk.

    Raises
    ------
    NotFoundError
        There is no source.
    """
    target = os.fspath(target)
    with os_errors(target, "replace"):
        os.replace(source, target)
        settle_directory(os.path.dirname(target), durability)


def link_new(source: PathLike, target: PathLike, durability: Durability = "sync") -> bool:
    """Give a file a second name, where the file system has hard links; never replaces.

    Parameters
    ----------
    source, target : str or path
        An existing regular file, and a name that nothing has.
    durability : {"sync", "group", "os"}, optional
        When the name is on the disk.

    Returns
    -------
    bool
        False when the file system has no (more) links for it; nothing was done then.

    Raises
    ------
    AlreadyExistsError
        The target exists.
    """
    target = os.fspath(target)
    with os_errors(target, "link"):
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno in _WITHOUT_LINKS:
                return False
            raise
        settle_directory(os.path.dirname(target), durability)
    return True


def symlink_new(text: str, path: PathLike, durability: Durability = "sync") -> None:
    """Make a symbolic link; never replaces.

    Parameters
    ----------
    text : str
        What the link says, relative to its directory.
    path : str or path
        The link.
    durability : {"sync", "group", "os"}, optional
        When the name is on the disk.

    Raises
    ------
    AlreadyExistsError
        The path exists.
    """
    path = os.fspath(path)
    with os_errors(path, "link"):
        os.symlink(text, path)
        if durability != "os":
            settle_directory(os.path.dirname(path), durability)


def exchange(first: PathLike, second: PathLike) -> None:
    """Let two names change places in one step, durably.

    Parameters
    ----------
    first, second : str or path
        Existing files or directories on one file system.

    Raises
    ------
    NotFoundError
        One of them does not exist.
    StorageError
        The file system cannot exchange names; nothing was changed.
    """
    first, second = os.fspath(first), os.fspath(second)
    with os_errors(second, "exchange"):
        renameat2(first, second, EXCHANGE)
        for directory in {os.path.dirname(first), os.path.dirname(second)}:
            sync_directory(directory)


def remove(path: PathLike, *, missing_ok: bool = False, durability: Durability = "sync") -> None:
    """Delete a file's name.

    Parameters
    ----------
    path : str or path
        A file or symbolic link.
    missing_ok : bool, optional
        Say nothing when there is none.
    durability : {"sync", "group", "os"}, optional
        When that is on the disk.

    Raises
    ------
    NotFoundError
        There is none.
    """
    path = os.fspath(path)
    with os_errors(path, "remove"):
        try:
            os.unlink(path)
        except FileNotFoundError:
            if not missing_ok:
                raise
            return
        settle_directory(os.path.dirname(path), durability)


def remove_tree(path: PathLike) -> None:
    """Delete a directory and what is in it: gone as a whole, even if interrupted.

    Parameters
    ----------
    path : str or path
        A directory.

    Raises
    ------
    NotFoundError
        There is none.
    """
    path = os.fspath(path)
    doomed = temporary_beside(path)
    with os_errors(path, "remove"):
        os.rename(path, doomed)
        sync_directory(os.path.dirname(path))
        shutil.rmtree(doomed)


def make_directories(path: PathLike) -> None:
    """Make a directory and its missing parents, each durable before the next.

    Parameters
    ----------
    path : str or path
        The deepest one; may exist.

    Raises
    ------
    InvalidInputError
        A part of the path is a file.
    """
    path = os.fspath(path)
    with os_errors(path, "make directory"):
        _make_directories(path)


def _make_directories(path: str) -> None:
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path.rstrip("/"))
    if parent and not os.path.isdir(parent):
        _make_directories(parent)
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
        return
    sync_directory(parent)


@contextmanager
def build_directory(path: PathLike, *, replace: bool = False) -> Iterator[Path]:
    """Fill a hidden directory and publish it, whole, when the block ends.

    Parameters
    ----------
    path : str or path
        The name under which it appears. Its parent must exist.
    replace : bool, optional
        Change places with an existing directory in one step and delete that.

    Yields
    ------
    Path
        The hidden directory, beside `path`.

    Raises
    ------
    AlreadyExistsError
        The name exists and `replace` is false; the hidden directory is deleted again.
    """
    target = os.fspath(path).rstrip("/")
    if not replace and os.path.lexists(target):
        raise AlreadyExistsError(f"cannot make {target}: it exists already; choose another name")
    staging, guard = _stage(target)
    try:
        yield Path(staging)
        sync_tree(staging)
        _publish_directory(staging, target, replace=replace)
    finally:
        os.close(guard)
        shutil.rmtree(staging, ignore_errors=True)


def _stage(target: str) -> tuple[str, int]:
    staging = temporary_beside(target)
    with os_errors(target, "make directory"):
        os.mkdir(staging)
        guard = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(
            OSError
        ):  # shared file systems may have no locks; their sweeper is the owner
            fcntl.flock(guard, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return staging, guard


def _publish_directory(staging: str, target: str, *, replace: bool) -> None:
    if replace and os.path.lexists(target):
        exchange(staging, target)
    else:
        publish_new(staging, target)
