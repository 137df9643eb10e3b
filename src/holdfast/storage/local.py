"""Own the storage that is a directory: each object an ordinary file at its key.

>>> import tempfile
>>> LocalStorage(tempfile.mkdtemp()).put("a/b", b"x").key
'a/b'
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from holdfast import files
from holdfast.errors import InvalidInputError
from holdfast.paths import is_reserved
from holdfast.storage.base import Data, Stat, checked_key, checked_prefix, checked_range, missing, pieces
from holdfast.types import Durability, PathLike

__all__ = ["LocalStorage"]

# The last two are a symbolic link and a socket.
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}


class LocalStorage:
    """Keep objects as files below a directory; the contract is `holdfast.storage.Storage`.

    Parameters
    ----------
    root : path
        The directory; made when the first object is put.
    durability : {"sync", "group", "os"}, optional
        When a put is on the disk.

    Notes
    -----
    Safe across processes too. Symbolic links, special files and Holdfast's own names are not objects.
    """

    def __init__(self, root: PathLike, *, durability: Durability = "sync") -> None:
        self.root = os.fspath(root)
        self._durability = durability

    def get(self, key: str) -> bytes:
        """Return the whole object."""
        with self.open(key) as file:
            return file.read()

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """Return a part of the object."""
        with self.open(key) as file:
            start, end = checked_range(key, os.fstat(file.fileno()).st_size, start, end)
            file.seek(start)
            return file.read(end - start)

    def open(self, key: str) -> BinaryIO:
        """Return the object as a file."""
        path = self._path(key)
        with files.os_errors(path, "read"):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError as error:
                if error.errno in _ABSENT:
                    raise missing(key) from None
                raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise missing(key)
        return os.fdopen(descriptor, "rb")

    def put(self, key: str, data: Data, *, if_absent: bool = False) -> Stat:
        """Store an object."""
        path = self._path(key)
        self._make_parent(key, path)
        with files.open_atomic(path, replace=not if_absent, durability=self._durability) as out:
            for piece in pieces(data):
                out.write(piece)
            found = out.stat()
        return _stat(checked_key(key), found)

    def _make_parent(self, key: str, path: str) -> None:
        try:
            files.make_directories(os.path.dirname(path))
        except InvalidInputError:
            raise InvalidInputError(f"a part of {key!r} is an object itself; choose another key") from None
        if os.path.isdir(path) and not _is_cleared(path):
            raise InvalidInputError(f"other objects lie below {key!r}; choose another key")

    def head(self, key: str) -> Stat:
        """Return what is known about an object."""
        path = self._path(key)
        with files.os_errors(path, "look at"):
            try:
                found = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                raise missing(key) from None
        if not stat.S_ISREG(found.st_mode):
            raise missing(key)
        return _stat(checked_key(key), found)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """Go through the objects below a prefix."""
        below = checked_prefix(prefix)
        return self._walk(os.path.join(self.root, below), below)

    def _walk(self, directory: str, prefix: str) -> Iterator[Stat]:
        for entry in sorted(_entries(directory), key=_order):
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    yield _stat(prefix + entry.name, entry.stat(follow_symlinks=False))

    def delete(self, key: str) -> None:
        """Delete an object. Its directory stays, for others may be putting objects into it."""
        self.head(key)
        files.remove(self._path(key), durability=self._durability)

    def copy(self, source: str, target: str, *, if_absent: bool = False) -> Stat:
        """Store the content of one key under another."""
        with self.open(source) as file:
            return self.put(target, iter(lambda: file.read(1 << 20), b""), if_absent=if_absent)

    def _path(self, key: str) -> str:
        return os.path.join(self.root, checked_key(key))


def _is_cleared(path: str) -> bool:
    """Remove a tree of directories that holds no file; tell whether it is gone."""
    for directory, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            Path(directory).rmdir()
    return not os.path.exists(path)


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return [entry for entry in entries if _is_visible(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_visible(name: str) -> bool:
    return not (is_reserved(name) or files.is_temporary(name))


def _order(entry: os.DirEntry[str]) -> str:
    # A directory stands where its keys do: "a/b" after "a-b".
    return entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name


def _stat(key: str, found: os.stat_result) -> Stat:
    at = datetime.fromtimestamp(found.st_mtime_ns / 1e9, UTC)
    return Stat(key, found.st_size, at, f"{found.st_ino:x}-{found.st_mtime_ns:x}-{found.st_size:x}")
