"""Own system calls that Python does not wrap (``statfs``, ``renameat2``, ``syncfs``, …), and taking space.

It knows no policy.

>>> statfs_type("/proc") == 0x9FA0
True
"""

import ctypes
import errno
import os
import re
from functools import lru_cache

__all__ = [
    "EXCHANGE",
    "NOREPLACE",
    "can_syncfs",
    "renameat2",
    "replace_unsynced",
    "reserve",
    "start_writing",
    "statfs_type",
    "syncfs",
]

NOREPLACE = 1
EXCHANGE = 2
_AT_FDCWD = -100
_TMPFS = 0x01021994
_SYNC_FILE_RANGE_WRITE = 2
# ``struct statfs`` is 120 bytes on 64-bit Linux; its first member is the type, a long.
_STATFS_BYTES = 256
# Since 5.8 syncfs tells of pages that were not written, since 5.17 of a failure of the file system itself.
_SYNCFS_TELLS = (5, 17)


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


@lru_cache(maxsize=1)
def can_syncfs() -> bool:
    """Tell whether this system has a `syncfs` that reports every failure.

    Returns
    -------
    bool
        False on other systems, and on Linux before 5.17: there only ``fsync`` of each file tells the truth.
    """
    system = os.uname()
    release = tuple(int(part) for part in re.findall(r"\d+", system.release)[:2])
    return system.sysname == "Linux" and release >= _SYNCFS_TELLS and hasattr(_libc(), "syncfs")


def syncfs(descriptor: int) -> None:
    """Wait until all that was written to a file system is on the disk.

    Parameters
    ----------
    descriptor : int
        Anything on it. Errors since it was opened are reported, also those of other files.

    Raises
    ------
    OSError
        Something did not reach the disk; a second call does not say so again.
    """
    if _libc().syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def reserve(descriptor: int, size: int) -> None:
    """Take space for a file, so that a full disk shows at once.

    In memory (tmpfs) the space is looked for, but not taken: that costs a quarter of what filling it does.

    Parameters
    ----------
    descriptor : int
        The file, open for writing.
    size : int
        How many bytes it will have.

    Raises
    ------
    OSError
        There is not that much left (``ENOSPC``), or the file system says otherwise why not.
    """
    if not os.path.isdir("/proc/self/fd") or statfs_type(f"/proc/self/fd/{descriptor}") != _TMPFS:
        os.posix_fallocate(descriptor, 0, size)
        return
    left = os.fstatvfs(descriptor)
    if left.f_blocks > 0 and left.f_bavail * left.f_frsize < size - os.fstat(descriptor).st_blocks * 512:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def start_writing(descriptor: int, offset: int, size: int) -> None:
    """Let the system begin to bring a part of a file to the disk, so that a later fsync waits for less.

    Nothing is promised, and nothing is said of failures: that is fsync's.

    Parameters
    ----------
    descriptor : int
        The file, open for writing.
    offset, size : int
        The part, in bytes.
    """
    call = getattr(_libc(), "sync_file_range", None)
    if call is not None:
        call(descriptor, ctypes.c_int64(offset), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE)
