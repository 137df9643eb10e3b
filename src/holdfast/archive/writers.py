"""Own what writers leave when they die: marks of who was writing, and the collection of unrecorded files.

A writer marks the archive once, and holds a shared lock on ``.manifest`` while it adds. Who finds a mark
whose owner is dead takes that lock alone and clears away what no manifest knows and only an add can have
made: links, and files into ``.manifest/aside``.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator

from holdfast import files
from holdfast.archive.aside import set_aside
from holdfast.archive.manifest import FOLDER, OWN
from holdfast.errors import BusyError, NotFoundError
from holdfast.files import Lock, SharedLock

__all__ = ["Writer", "alone", "collect", "is_alive", "is_interrupted", "left_behind", "marks_folder"]

_MARKS = "writers"
_UUID = re.compile(r"[0-9a-f]{32}\Z")
_UP = re.compile(r"(\.\./)*\Z")


def alone(root: str, timeout_s: float) -> Lock:
    """Return a lock that no add holds at the same time; `BusyError` after the timeout."""
    return files.lock(os.path.join(root, FOLDER), timeout_s=timeout_s)


def marks_folder(root: str) -> str:
    """Return where the marks of an archive's writers are."""
    return os.path.join(root, FOLDER, _MARKS)


class Writer:
    """The mark of one process that adds to an archive; gone when it closed in order.

    Parameters
    ----------
    root : str
        The archive.

    Attributes
    ----------
    adding : SharedLock
        What its adds hold; many processes at once, and `alone` waits for them.
    """

    def __init__(self, root: str) -> None:
        self.adding = SharedLock(os.path.join(root, FOLDER))
        self._folder = marks_folder(root)
        self._held: Lock | None = None

    @property
    def is_marked(self) -> bool:
        """Whether the mark of this process is there."""
        return self._held is not None and self._held.is_held

    def mark(self) -> str:
        """Make the mark, unless this process has done so; return its name."""
        if self._held is not None and self._held.is_held:
            return os.path.basename(self._held.path)
        files.make_directories(self._folder)
        path = os.path.join(self._folder, secrets.token_hex(8))
        with self.adding:
            files.write_atomic(path, b"", replace=False)
            self._held = files.lock(path, create=False)
        return os.path.basename(path)

    def close(self) -> None:
        """Take the mark away."""
        if self._held is not None and self._held.is_held:
            with contextlib.suppress(NotFoundError):
                files.remove(self._held.path, missing_ok=True, durability="os")
            self._held.release()
        self.adding.close()


def is_interrupted(root: str) -> bool:
    """Tell whether a writer died in this archive.

    Parameters
    ----------
    root : str
        The archive.

    Returns
    -------
    bool
        True when its mark is there.
    """
    return any(_dead_marks(root))


def is_alive(root: str, mark: str) -> bool:
    """Tell whether a writer still lives.

    Parameters
    ----------
    root : str
        The archive.
    mark : str
        The name of its mark.

    Returns
    -------
    bool
        True while it holds its mark; False also when it took it away.
    """
    try:
        files.lock(os.path.join(marks_folder(root), mark), timeout_s=0, create=False).release()
    except BusyError:
        return True
    except NotFoundError:
        return False
    return False


def _dead_marks(root: str) -> Iterator[str]:
    folder = marks_folder(root)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if not is_alive(root, name) and os.path.exists(path):
                yield path


def collect(root: str, is_known: Callable[[str], bool], *, timeout_s: float = 0) -> list[str]:
    """Remove what dead writers left: files and links that were published and never recorded.

    Parameters
    ----------
    root : str
        The archive.
    is_known : callable
        Tells for a uuid whether a manifest has it.
    timeout_s : float, optional
        How long to wait for adds that are going on.

    Returns
    -------
    list of str
        The removed paths below the root; nothing while adds are going on.
    """
    dead = list(_dead_marks(root))
    if not dead:
        return []
    try:
        held = alone(root, timeout_s)
    except BusyError:
        return []
    with held:
        removed = _remove_unrecorded(root, is_known)
        for mark in dead:
            # One that was just being made when it was listed is locked by now.
            if not is_alive(root, os.path.basename(mark)):
                files.remove(mark, missing_ok=True, durability="os")
    return removed


def _remove_unrecorded(root: str, is_known: Callable[[str], bool]) -> list[str]:
    removed = []
    for directory, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not (directory == root and name in OWN))
        for name in names:
            path = os.path.join(directory, name)
            if files.is_temporary(name) or left_behind(path, is_known) is not None:
                files.remove(path, missing_ok=True)
            elif _UUID.match(name) and not os.path.islink(path) and not is_known(name):
                set_aside(root, path)
            else:
                continue
            removed.append(os.path.relpath(path, root))
    return removed


def left_behind(path: str, is_known: Callable[[str], bool]) -> str | None:
    """Tell whether a link is one that only an add can have made, to a file that no manifest knows.

    Parameters
    ----------
    path : str
        What stands under a name.
    is_known : callable
        Tells for a uuid whether a manifest has it.

    Returns
    -------
    str or None
        The uuid; None for everything else, which is never touched.
    """
    try:
        said = os.readlink(path)
    except OSError:
        return None
    uuid = said.rpartition("/")[2]
    is_ours = bool(_UUID.match(uuid)) and _UP.match(said.removesuffix(uuid)) is not None
    return uuid if is_ours and not is_known(uuid) else None
