"""Own the decision what a directory's file system can keep: ``local`` or ``shared``, once a directory.

On a shared one (NFS, Lustre, GPFS, SMB, FUSE, unknown) locks and memory maps cannot be trusted between
nodes: whole publications and reading work from any node, what needs a lock is for one chosen host.

>>> file_system("/proc").kind
'shared'
"""

import json
import os
import socket
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from holdfast.errors import SharedFileSystemError
from holdfast.files.atomic import write_atomic
from holdfast.files.faults import os_errors
from holdfast.files.kernel import statfs_type
from holdfast.types import PathLike

__all__ = [
    "WRITER",
    "FileSystem",
    "boot_id",
    "choose_writer",
    "declare_file_system",
    "file_system",
    "host_id",
    "require_writer",
]

WRITER = "_holdfast-writer"
_LOCAL = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x2FC12FC1: "zfs",
    0x01021994: "tmpfs",
    0x794C7630: "overlayfs",
    0x2011BAB0: "exfat",
    0x4D44: "vfat",
    0xF2F52010: "f2fs",
}
_SHARED = {
    0x6969: "nfs",
    0x0BD00BD0: "lustre",
    0x47504653: "gpfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x65735546: "fuse",
    0x00C36400: "ceph",
    0x01021997: "9p",
}


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Say what a directory lies on.

    Parameters
    ----------
    kind : {"local", "shared"}
        Whether locks and memory maps can be trusted between all who use it.
    name : str
        For people: ``ext4``, ``nfs``, ``unknown 0x…``.
    """

    kind: Literal["local", "shared"]
    name: str


_decided: dict[tuple[str, int], FileSystem] = {}
_declared: dict[str, FileSystem] = {}
_guard = threading.Lock()


def file_system(directory: PathLike) -> FileSystem:
    """Tell what kind of file system holds a directory.

    Parameters
    ----------
    directory : str or path
        An existing directory.

    Returns
    -------
    FileSystem
        Its kind, ``local`` or ``shared``, and its name. Decided at the first call for a directory, then kept.

    Raises
    ------
    NotFoundError
        There is no such directory.
    """
    # With nothing declared the name and its device say enough: no link needs to be followed.
    path = os.path.realpath(directory) if _declared else os.path.abspath(directory)
    declared = _declaration(path)
    if declared is not None:
        return declared
    with os_errors(path, "look at"):
        key = (path, os.stat(path).st_dev)
        if key not in _decided:
            _decided[key] = _named(statfs_type(path))
    return _decided[key]


def _declaration(path: str) -> FileSystem | None:
    if not _declared:
        return None
    while path not in _declared:
        parent = os.path.dirname(path)
        if parent == path:
            return None
        path = parent
    return _declared[path]


def _named(number: int) -> FileSystem:
    if number in _LOCAL:
        return FileSystem("local", _LOCAL[number])
    return FileSystem("shared", _SHARED.get(number, f"unknown 0x{number:x}"))


def declare_file_system(directory: PathLike, kind: Literal["local", "shared"] | None) -> None:
    """Overrule the decision for a directory and everything below it, in this process.

    Parameters
    ----------
    directory : str or path
        The directory.
    kind : {"local", "shared"} or None
        What it shall count as; None takes an earlier declaration back.
    """
    path = os.path.realpath(directory)
    with _guard:
        if kind is None:
            _declared.pop(path, None)
        else:
            _declared[path] = FileSystem(kind, "declared")


def require_writer(directory: PathLike, what: str) -> None:
    """Make sure that this host may do what needs a lock in a directory.

    Parameters
    ----------
    directory : str or path
        Where the lock would lie.
    what : str
        The operation, for the message: ``append``.

    Raises
    ------
    SharedFileSystemError
        The file system is shared and this host was not chosen (see `choose_writer`).
    """
    found = file_system(directory)
    if found.kind == "local":
        return
    chosen = _chosen_writer(os.fspath(directory))
    if chosen == host_id():
        return
    owner = f"host {chosen} was chosen to write there" if chosen else "no writing host was chosen"
    raise SharedFileSystemError(
        f"cannot {what} in {os.fspath(directory)}: it lies on a shared file system ({found.name}) "
        f"and {owner}; serve it from one node, or choose this host as its only writer"
    )


def _chosen_writer(directory: str) -> str | None:
    try:
        with open(os.path.join(directory, WRITER), encoding="utf-8") as file:
            return str(json.load(file)["host"])
    except FileNotFoundError:
        return None


def choose_writer(directory: PathLike) -> None:
    """Make this host the only one that may do what needs a lock in a directory on a shared file system.

    Parameters
    ----------
    directory : str or path
        The directory. An earlier choice is replaced: the former host must have stopped writing.

    Raises
    ------
    ReadOnlyError
        The directory cannot be written.
    """
    fact = json.dumps({"format": "holdfast-writer", "version": 1, "host": host_id()})
    write_atomic(os.path.join(directory, WRITER), fact.encode() + b"\n")


@lru_cache(maxsize=1)
def host_id() -> str:
    """Return what tells this machine from others: the system's machine id, else the host name."""
    return _first_line("/etc/machine-id") or socket.gethostname()


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Return what tells this boot of the machine from others; the host name where nothing does."""
    return _first_line("/proc/sys/kernel/random/boot_id") or socket.gethostname()


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.readline().strip()
    except OSError:
        return ""
