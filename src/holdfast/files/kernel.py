"""Own the system calls that Python does not wrap: ``statfs`` and ``renameat2``.

It knows no policy.

>>> statfs_type("/proc") == 0x9FA0
True
"""

import ctypes
import errno
import os
from functools import lru_cache

__all__ = ["NOREPLACE", "EXCHANGE", "renameat2", "replace_unsynced", "statfs_type"]

NOREPLACE = 1
EXCHANGE = 2
_AT_FDCWD = -100
# ``struct statfs`` is 120 bytes on 64-bit Linux; its first member is the type, a long.
_STATFS_BYTES = 256


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def renameat2(source: str, target: str, flags: int) -> None:
    """Rename with flags.

    Parameters
    ----------
    source, target : str
        Paths on one file system.
    flags : int
        `NOREPLACE` or `EXCHANGE`.

    Raises
    ------
    OSError
        As the system call reports it; ``ENOSYS`` where the C library has no such function.
    """
    call = getattr(_libc(), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), source)
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), source, None, target)


def replace_unsynced(source: str, target: str) -> None:
    """Give a file whose content was not synced the name of another one, in one step.

    Parameters
    ----------
    source, target : str
        Paths on one file system. When the process is killed `source` may name what `target` was.

    Raises
    ------
    OSError
        As `os.replace` reports it; nothing was changed.

    Notes
    -----
    A rename that replaces makes ext4 write the new file's blocks out at once (``auto_da_alloc``), ten times
    the cost of the rename. An exchange does not. After a power cut the name may then be of a file without
    content, as with any file that was written and not synced.
    """
    try:
        renameat2(source, target, EXCHANGE)
    except OSError:
        os.replace(source, target)  # nothing to exchange with, or a file system that cannot
        return
    try:
        os.unlink(source)
    except OSError:
        renameat2(source, target, EXCHANGE)
        os.replace(source, target)  # says what is wrong: the target is a directory


def statfs_type(path: str) -> int:
    """Return the magic number of the file system that holds `path`.

    Parameters
    ----------
    path : str
        An existing file or directory.

    Returns
    -------
    int
        ``f_type``, or 0 where the platform has no ``statfs`` of the Linux kind.

    Raises
    ------
    OSError
        The path cannot be reached.
    """
    if os.uname().sysname != "Linux":
        return 0
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc().statfs(os.fsencode(path), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF
