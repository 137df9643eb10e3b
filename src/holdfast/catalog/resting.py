"""Whether a file is at rest: not changed a moment ago, and not open for writing.

Owns that question; reads nothing of the file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from holdfast.formats.source import FileState

__all__ = ["GROWING_S", "is_recent", "is_written", "written_files"]

GROWING_S = 2.0
"""A file that changed less than this many seconds ago may still be written."""

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR


def is_recent(state: FileState, now: float | None = None) -> bool:
    """Whether a file changed in the last seconds; a time in the future counts as long ago.

    Parameters
    ----------
    state : FileState
        Its times.
    now : float, optional
        Seconds since the epoch.
    """
    age = (time.time() if now is None else now) - state.mtime_ns / 1e9
    return 0 <= age < GROWING_S


def is_written(path: Path) -> bool:
    """Whether a process of this host that we may look at has a file open for writing.

    Notes
    -----
    Needs ``/proc``; elsewhere, and for writers on other hosts, the answer is no, and only times tell.
    """
    try:
        status = path.stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) in set(_writers(str(path.resolve())))


def written_files() -> set[tuple[int, int]]:
    """Return device and inode of every regular file that a process has open for writing."""
    return set(_writers(None))


def _writers(wanted: str | None) -> Iterator[tuple[int, int]]:
    """Walk the descriptors of all processes; with `wanted`, only those that lead to this path."""
    ours = str(os.getpid())
    for process in _names("/proc"):
        if not process.isdigit() or process == ours:
            continue
        for number in _names(f"/proc/{process}/fd"):
            link = f"/proc/{process}/fd/{number}"
            try:
                target = str(Path(link).readlink())
                if not target.startswith("/") or target.startswith(("/dev/", "/proc/")):
                    continue
                if wanted not in (None, target) or not _is_writing(process, number):
                    continue
                status = os.stat(link)
            except OSError:
                continue
            yield status.st_dev, status.st_ino


def _is_writing(process: str, number: str) -> bool:
    with open(f"/proc/{process}/fdinfo/{number}", encoding="ascii") as info:
        for line in info:
            if line.startswith("flags:"):
                return bool(int(line.split()[1], 8) & _WRITE_FLAGS)
    return False


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
