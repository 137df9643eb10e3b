"""Own the directories around entries: making parents, locking trees, deleting upwards.

It does not know values. A directory that vanishes between two steps is made again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from holdfast.errors import BusyError, InvalidInputError, NotFoundError, ReadOnlyError
from holdfast.files import make_directories, remove_tree, require_writer, sync_directory
from holdfast.formats.sealed import SUFFIX, locked_directory

__all__ = ["delete_tree", "in_directory", "locked_tree", "make_parents", "prune_parents"]

_TRIES = 200
T = TypeVar("T")


def make_parents(root: str, directory: str) -> None:
    """Make a directory of a record and what is missing above it.

    Parameters
    ----------
    root : str
        The record's directory: what is above it is made too, but not looked at.
    directory : str
        In or below it.

    Raises
    ------
    InvalidInputError
        When a level is an array or a file: nothing lies below these.
    """
    levels = [] if directory == root else os.path.relpath(directory, root).split("/")
    path = root
    make_directories(root)
    for level in levels:
        path = os.path.join(path, level)
        if os.path.isdir(path):
            continue
        _refuse_below(path, root)
        make_directories(path)
        if os.path.lexists(path + SUFFIX):
            # An array of this name came at the same moment: it was first.
            with contextlib.suppress(OSError):
                os.rmdir(path)
            _refuse_below(path, root)


def _refuse_below(path: str, root: str) -> None:
    key = os.path.relpath(path, root)
    if os.path.isfile(path + SUFFIX):
        raise InvalidInputError(
            f"entry {key!r} of {root} is an array: nothing can be written below it; delete it first"
        )
    if os.path.isfile(path):
        raise InvalidInputError(
            f"entry {key!r} of {root} is a file: nothing can be written below it; delete it first"
        )


def in_directory(root: str, directory: str, action: Callable[[], T]) -> T:
    """Do something in a directory, making it when it is not there or vanishes meanwhile.

    Parameters
    ----------
    root, directory : str
        See `make_parents`.
    action : callable
        Raises `NotFoundError` when the directory is not there.

    Returns
    -------
    object
        What the action gives.
    """
    for _ in range(_TRIES):
        try:
            return action()
        except NotFoundError:
            make_parents(root, directory)
    raise BusyError(f"{directory} is deleted faster than it can be written; try again")


@contextmanager
def locked_tree(path: str) -> Iterator[None]:
    """Hold the locks of a directory and of all below it, so that it can be moved.

    Parameters
    ----------
    path : str
        A directory; nothing is locked when there is none. Its parent must be locked already.
    """
    with ExitStack() as stack:
        for directory, below, _ in os.walk(path):
            below.sort()
            with contextlib.suppress(NotFoundError):
                stack.enter_context(locked_directory(directory))
        yield


def delete_tree(path: str) -> None:
    """Delete a directory: at once for readers, then file by file.

    Raises
    ------
    NotFoundError
        When there is none.
    SharedFileSystemError
        When it lies on a shared file system and this host was not chosen to write there.
    """
    require_writer(os.path.dirname(path), "delete")
    with locked_directory(os.path.dirname(path)), locked_tree(path):
        remove_tree(path)


def prune_parents(root: str, directory: str) -> None:
    """Delete empty directories from one upwards, never the root.

    Parameters
    ----------
    root, directory : str
        The record's directory, and the deepest one to look at.
    """
    while directory != root and directory.startswith(root):
        try:
            os.rmdir(directory)
        except OSError:
            return
        directory = os.path.dirname(directory)
        with contextlib.suppress(NotFoundError, ReadOnlyError):
            sync_directory(directory)
