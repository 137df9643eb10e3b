"""Own what may be added: regular files that do not change while they are read.

>>> import tempfile
>>> with tempfile.NamedTemporaryFile() as file, opened(file.name) as source:
...     source.size
0
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from holdfast.errors import ChangedError, InvalidInputError, NotFoundError
from holdfast.files import os_errors
from holdfast.types import PathLike

__all__ = ["Source", "opened", "tree"]

_KINDS = {
    stat.S_IFDIR: "a directory; add its files with add_tree",
    stat.S_IFIFO: "a pipe; write its content to a file first",
    stat.S_IFSOCK: "a socket; name a file",
    stat.S_IFCHR: "a device; name a file",
    stat.S_IFBLK: "a device; name a file",
}


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is being added.

    Parameters
    ----------
    path : str
        Where it lies.
    file : binary file
        Open at its start.
    size : int
        Bytes.
    state : tuple
        What changes when somebody writes to it.
    """

    path: str
    file: BinaryIO
    size: int
    state: tuple[int, ...]

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
            now, named = os.fstat(self.file.fileno()), os.stat(self.path)
        if _state(now) != self.state or copied != self.size or not os.path.samestat(now, named):
            raise self._changed()

    def check_length(self, copied: int) -> None:
        """Make sure that a file which grows is not followed for ever; `ChangedError` as above."""
        if copied > self.size:
            raise self._changed()

    def _changed(self) -> ChangedError:
        return ChangedError(f"{self.path} changed while it was added; add it again when it is finished")


@contextmanager
def opened(path: PathLike) -> Iterator[Source]:
    """Open a regular file, a link followed.

    Parameters
    ----------
    path : path
        The file.

    Yields
    ------
    Source
        The open file.

    Raises
    ------
    NotFoundError
        There is none, or a link leads nowhere.
    InvalidInputError
        It is a directory or a special file.
    ReadOnlyError
        It may not be read.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        raise InvalidInputError(f"{text!r} is not the path of a file; name a file to add")
    descriptor = _descriptor(text)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise InvalidInputError(f"cannot add {text}: it is {_KINDS[stat.S_IFMT(found.st_mode)]}")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield Source(text, file, found.st_size, _state(found))


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
