"""Own the question which files of some directories changed since it was asked last.

On Linux and local file systems the kernel notes each change before the call that makes it returns (inotify),
so that nothing that was done earlier is missed. Changes through memory maps are not noted.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections import Counter
from collections.abc import Iterable, Mapping

from holdfast.files import file_system

__all__ = ["DirectoryWatch", "watch_of"]

_IN_MODIFY, _IN_ATTRIB, _IN_CLOSE_WRITE = 0x2, 0x4, 0x8
_IN_MOVED_FROM, _IN_MOVED_TO, _IN_CREATE, _IN_DELETE = 0x40, 0x80, 0x100, 0x200
_IN_DELETE_SELF, _IN_MOVE_SELF, _IN_Q_OVERFLOW, _IN_IGNORED = 0x400, 0x800, 0x4000, 0x8000
_IN_ONLYDIR, _IN_ISDIR = 0x1000000, 0x40000000
_MASK = (
    _IN_MODIFY | _IN_ATTRIB | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
    | _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_ONLYDIR
)  # fmt: skip
_LOST = _IN_DELETE_SELF | _IN_MOVE_SELF | _IN_Q_OVERFLOW | _IN_IGNORED | _IN_ISDIR
_HEAD = struct.Struct("iIII")
_BUFFER_BYTES = 256 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


class DirectoryWatch:
    """Collect the names of the files that change in directories.

    Parameters
    ----------
    directories : iterable of str
        Absolute paths; what is below them is not watched.
    suffix : str
        The end of the names that matter.

    Raises
    ------
    OSError
        The system has no more watches to give.
    """

    def __init__(self, directories: Iterable[str], suffix: str) -> None:
        self._process = os.getpid()
        self._suffix = os.fsencode(suffix)
        self._directories: dict[int, bytes] = {}
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "no more inotify instances")
        try:
            for directory in directories:
                self._add(directory)
        except OSError:
            self.close()
            raise

    def _add(self, directory: str) -> None:
        number = _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), _MASK)
        if number < 0:
            raise OSError(ctypes.get_errno(), "cannot watch", directory)
        self._directories[number] = os.fsencode(directory) + b"/"

    def changed(self, expected: Mapping[bytes, int]) -> set[str] | None:
        """Return the paths of the files that changed since the last call.

        Parameters
        ----------
        expected : mapping of bytes to int
            How often this process itself renamed a file to a path; such a path is left out if nothing else
            happened to it.

        Returns
        -------
        set of str or None
            None when that is not known: the watch must be made anew and everything looked at.
        """
        if os.getpid() != self._process:
            return None
        written: set[bytes] = set()
        renamed: Counter[bytes] = Counter()
        while True:
            try:
                buffer = os.read(self._descriptor, _BUFFER_BYTES)
            except BlockingIOError:
                break
            if not self._collect(buffer, written, renamed):
                return None
        written |= {path for path, count in renamed.items() if count != expected.get(path, 0)}
        return {os.fsdecode(path) for path in written}

    def _collect(self, buffer: bytes, written: set[bytes], renamed: Counter[bytes]) -> bool:
        at, head, suffix = 0, _HEAD.size, self._suffix
        while at < len(buffer):
            number, mask, _, length = _HEAD.unpack_from(buffer, at)
            name = buffer[at + head : at + head + length].rstrip(b"\0")
            at += head + length
            if mask & _LOST:
                return False
            if name.endswith(suffix):
                if mask == _IN_MOVED_TO:
                    renamed[self._directories[number] + name] += 1
                else:
                    written.add(self._directories[number] + name)
        return True

    def close(self) -> None:
        """Stop watching."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def watch_of(directories: Iterable[str], suffix: str) -> DirectoryWatch | None:
    """Return a watch of directories, or None where the system cannot watch them.

    Parameters
    ----------
    directories : iterable of str
        Absolute paths.
    suffix : str
        The end of the names that matter.

    Returns
    -------
    DirectoryWatch or None
        None on shared file systems, whose other hosts are not heard, and when there are no more watches.
    """
    paths = list(directories)
    if not hasattr(_libc, "inotify_init1") or any(file_system(path).kind != "local" for path in paths):
        return None
    try:
        return DirectoryWatch(paths, suffix)
    except OSError:
        return None
