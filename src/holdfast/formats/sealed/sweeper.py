"""Own the clearing of logs that no base names: a crash between log and base leaves an empty one.

It does not touch young logs, logs in use, or logs of bases that cannot be read.
"""

from __future__ import annotations

import fcntl
import os
import time

from holdfast.errors import HoldfastError
from holdfast.files import os_errors
from holdfast.formats.sealed.base import open_base
from holdfast.formats.sealed.entry import is_log_name, log_path
from holdfast.formats.sealed.publish import locked_directory

__all__ = ["sweep_logs"]

_YOUNG_S = 60.0


def sweep_logs(directory: str, older_than_s: float = _YOUNG_S) -> list[str]:
    """Delete the logs in a directory that belong to no base.

    Parameters
    ----------
    directory : str
        Where to look.
    older_than_s : float, default 60
        Leave younger ones alone: their base may be on its way.

    Returns
    -------
    list of str
        What was deleted.

    Raises
    ------
    ReadOnlyError
        When the directory cannot be written.
    """
    with os_errors(directory, "sweep"):
        found = [name for name in os.listdir(directory) if is_log_name(name) is not None]
        old = [name for name in found if _is_old(os.path.join(directory, name), older_than_s)]
    if not old:
        return []
    with locked_directory(directory), os_errors(directory, "sweep"):
        return [path for name in old if _removed(path := os.path.join(directory, name), name)]


def _is_old(path: str, older_than_s: float) -> bool:
    try:
        return time.time() - os.stat(path).st_ctime >= older_than_s
    except FileNotFoundError:
        return False


def _removed(path: str, name: str) -> bool:
    if _is_named(path, is_log_name(name) or ""):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_named(log: str, base_name: str) -> bool:
    """Tell whether the base beside a log names it; in doubt it does."""
    path = os.path.join(os.path.dirname(log), base_name)
    try:
        base = open_base(path, path)
    except FileNotFoundError:
        return False
    except (HoldfastError, OSError):
        return True
    if base is None:
        return False
    base.close()
    return log_path(path, base.facts.uid) == log
