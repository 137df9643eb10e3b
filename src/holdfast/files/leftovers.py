"""Own the names of temporary files, and the sweeper that clears those of dead writers.

A writer holds a ``flock`` on its temporary while it works; whoever gets that lock knows that the writer
is gone.

>>> is_temporary("_holdfast.0123456789abcdef.tmp"), is_temporary("notes.tmp")
(True, False)
"""

import fcntl
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from holdfast.files.faults import os_errors
from holdfast.types import PathLike

__all__ = ["is_temporary", "sweep", "temporary_beside"]

_TEMPORARY = re.compile(r"_holdfast\.[0-9a-f]{16}\.tmp")


def temporary_beside(target: str) -> str:
    """Return a fresh temporary's path in the directory of `target`.

    Parameters
    ----------
    target : str
        The path that will be published.

    Returns
    -------
    str
        A path that nothing has yet; its length does not depend on the target's.
    """
    return os.path.join(os.path.dirname(target), f"_holdfast.{secrets.token_hex(8)}.tmp")


def is_temporary(name: str) -> bool:
    """Tell whether a file name is one of our temporaries: never list, serve or copy these.

    Parameters
    ----------
    name : str
        The last part of a path.

    Returns
    -------
    bool
        True for ours only.
    """
    return _TEMPORARY.fullmatch(name) is not None


def sweep(directory: PathLike, *, recursive: bool = False, older_than_s: float = 60.0) -> list[Path]:
    """Delete the temporaries that dead writers left in a directory.

    Parameters
    ----------
    directory : str or path
        Where to look.
    recursive : bool, optional
        Look below it too.
    older_than_s : float, optional
        Leave younger ones alone: between its last two steps a writer holds no lock.

    Returns
    -------
    list of Path
        What was deleted.

    Raises
    ------
    ReadOnlyError
        The directory cannot be written.
    """
    swept = []
    with os_errors(directory, "sweep"):
        for path in _temporaries(os.fspath(directory), recursive):
            if _is_abandoned(path, older_than_s):
                _delete(path)
                swept.append(Path(path))
    return swept


def _temporaries(directory: str, recursive: bool) -> Iterator[str]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if is_temporary(entry.name):
                yield entry.path
            elif recursive and entry.is_dir(follow_symlinks=False):
                yield from _temporaries(entry.path, recursive)


def _is_abandoned(path: str, older_than_s: float) -> bool:
    try:
        found = os.lstat(path)
        if time.time() - found.st_ctime < older_than_s:
            return False
        return stat.S_ISLNK(found.st_mode) or _can_be_locked(path)
    except FileNotFoundError:
        return False


def _can_be_locked(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _delete(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
