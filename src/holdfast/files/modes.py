"""Own who may do what with a written file: modes, owners, access lists, the read-only seal.

A new file has what the umask, a setgid directory and a default access list give it; one that replaces
another keeps what that had.

>>> import tempfile, pathlib
>>> path = pathlib.Path(tempfile.mkdtemp(), "x"); _ = path.write_text("x"); seal(path); is_sealed(path)
True
"""

import errno
import os
import stat

from holdfast.files.faults import os_errors
from holdfast.types import PathLike

__all__ = ["copy_modes", "is_sealed", "seal"]

_WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_ACCESS_LIST = "system.posix_acl_access"
_WITHOUT_LISTS = {errno.ENODATA, errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOSYS}


def seal(file: PathLike | int) -> None:
    """Take away everybody's right to write to a file.

    Parameters
    ----------
    file : path or int
        A path (not a symbolic link) or an open descriptor.

    Raises
    ------
    ReadOnlyError
        The file belongs to somebody else.
    """
    with os_errors(file if not isinstance(file, int) else f"descriptor {file}", "seal"):
        os.chmod(file, stat.S_IMODE(os.stat(file).st_mode) & ~_WRITE_BITS)


def is_sealed(path: PathLike) -> bool:
    """Tell whether nobody has the right to write to a file.

    Parameters
    ----------
    path : str or path
        An existing file.

    Returns
    -------
    bool
        True when no write bit is set.

    Raises
    ------
    NotFoundError
        There is no such file.
    """
    with os_errors(path, "look at"):
        return not os.stat(path).st_mode & _WRITE_BITS


def copy_modes(source: str, descriptor: int) -> bool:
    """Give an open file the mode, owner and access list of the one that it replaces.

    Parameters
    ----------
    source : str
        The file to be replaced; nothing happens when there is none.
    descriptor : int
        The new file, open for writing.

    Returns
    -------
    bool
        Whether there was a file.
    """
    try:
        old = os.stat(source, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(old.st_mode):
        return True
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        _give_owner(descriptor, old)
    if stat.S_IMODE(old.st_mode) != stat.S_IMODE(new.st_mode):
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
    _copy_access_list(source, descriptor)
    return True


def _give_owner(descriptor: int, old: os.stat_result) -> None:
    # An ordinary user may not give files away; keeping at least the group is what cp -p does.
    for owner, group in ((old.st_uid, old.st_gid), (-1, old.st_gid)):
        try:
            os.fchown(descriptor, owner, group)
        except PermissionError:
            continue
        return


def _copy_access_list(source: str, descriptor: int) -> None:
    if not hasattr(os, "listxattr"):
        return
    try:
        if _ACCESS_LIST in os.listxattr(source):
            os.setxattr(descriptor, _ACCESS_LIST, os.getxattr(source, _ACCESS_LIST))
    except OSError as error:
        if error.errno not in _WITHOUT_LISTS:
            raise
