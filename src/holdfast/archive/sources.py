"""Own what may be added: regular files that do not change while they are read.

>>> import tempfile
>>> with tempfile.NamedTemporaryFile() as file, Source(file.name) as source:
...     source.size
0
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self

from holdfast.errors import ChangedError, InvalidInputError, NotFoundError
from holdfast.files import os_errors
from holdfast.types import PathLike

__all__ = ["Source", "tree"]

_KINDS = {
    stat.S_IFDIR: "a directory; add its files with add_tree, or 'holdfast archive add --tree'",
    stat.S_IFIFO: "a pipe; write its content to a file first",
    stat.S_IFSOCK: "a socket; name a file",
    stat.S_IFCHR: "a device; name a file",
    stat.S_IFBLK: "a device; name a file",
}


class Source:
    """A regular file that is being added, a link to it followed; a context manager.

    Parameters
    ----------
    path : path
        Where it lies.

    Attributes
    ----------
    path : str
        Where it lies.
    size : int
        Bytes, when it was opened.

    Raises
    ------
    NotFoundError
        There is none, or a link leads nowhere.
    InvalidInputError
        It is a directory or a special file.
    ReadOnlyError
        It may not be read.
    """

    __slots__ = ("_descriptor", "_state", "path", "size")

    def __init__(self, path: PathLike) -> None:
        self.path = os.fspath(path)
        if not self.path or "\0" in self.path:
            raise InvalidInputError(f"{self.path!r} is not the path of a file; name a file to add")
        self._descriptor = _descriptor(self.path)
        found = os.fstat(self._descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(self._descriptor)
            raise InvalidInputError(f"cannot add {self.path}: it is {_KINDS[stat.S_IFMT(found.st_mode)]}")
        self.size, self._state = found.st_size, _state(found)

    def read(self) -> bytes:
        """Return all of it, for what is small; `ChangedError` as from `check_unchanged`."""
        pieces: list[bytes] = []
        missing = self.size + 1
        with os_errors(self.path, "read"):
            while missing > 1 or not pieces:
                piece = os.read(self._descriptor, missing)
                pieces.append(piece)
                missing -= len(piece)
                if not piece:
                    break
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.check_unchanged(len(content))
        return content

    def read_at(self, offset: int, size: int) -> bytes:
        """Return so many bytes from some offset, fewer at its end."""
        with os_errors(self.path, "read"):
            return os.pread(self._descriptor, size, offset)

    def stream(self) -> BinaryIO:
        """Return it as a stream from its start, closed with it."""
        return open(self._descriptor, "rb", buffering=0, closefd=False)

    def check_unchanged(self, copied: int) -> None:
        """Make sure that what was copied is one state of the file.

        Parameters
        ----------
        copied : int
            Bytes.

        Raises
        ------
        ChangedError
            Somebody wrote to it, or replaced it, meanwhile.
        """
        with os_errors(self.path, "look at"):
            now, named = os.fstat(self._descriptor), os.stat(self.path)
        is_named = (named.st_ino, named.st_dev) == (now.st_ino, now.st_dev)
        if _state(now) != self._state or copied != self.size or not is_named:
            raise self._changed()

    def check_length(self, copied: int) -> None:
        """Make sure that a file which grows is not followed for ever; `ChangedError` as above."""
        if copied > self.size:
            raise self._changed()

    def _changed(self) -> ChangedError:
        return ChangedError(f"{self.path} changed while it was added; add it again when it is finished")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def _descriptor(path: str) -> int:
    with os_errors(path, "read"):
        try:
            # A pipe that nobody writes to must not keep us waiting.
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            what = "is a link that leads nowhere" if os.path.islink(path) else "does not exist"
            raise NotFoundError(f"cannot add {path}: it {what}; check the path") from None
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise InvalidInputError(f"cannot add {path}: it is {_KINDS[stat.S_IFSOCK]}") from None
            raise


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def tree(directory: PathLike) -> list[tuple[str, str]]:
    """List the files of a directory with their paths below it, sorted.

    Parameters
    ----------
    directory : path
        Where to begin. Links to files are followed; links to directories are not.

    Returns
    -------
    list of tuple of str
        Path below the directory, and path.

    Raises
    ------
    NotFoundError
        There is none.
    InvalidInputError
        It is a file, or a link in it leads to a directory.
    """
    top = os.fspath(directory)
    with os_errors(top, "list"):
        return sorted(_walk(os.scandir(top), ""))


def _walk(entries: Iterator[os.DirEntry[str]], below: str) -> Iterator[tuple[str, str]]:
    for entry in entries:
        name = f"{below}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(os.scandir(entry.path), f"{name}/")
        elif entry.is_dir():
            raise InvalidInputError(f"cannot add {entry.path}: it is a link to a directory; add that instead")
        else:
            yield name, entry.path
