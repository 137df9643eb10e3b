"""Own the translation of `OSError` into our words: what happened, to which path, what to do.

Nobody else looks at ``errno`` for it.

>>> with os_errors("/data/x.h5", doing="write"):
...     raise OSError(28, "No space left on device")
Traceback (most recent call last):
...
holdfast.errors.StorageFullError: cannot write /data/x.h5: the disk or quota is full; ...
"""

import errno
import os
from types import TracebackType

from holdfast import errors
from holdfast.types import PathLike

__all__ = ["os_errors"]

_TABLE: dict[int, tuple[type[errors.HoldfastError], str]] = {
    errno.ENOSPC: (errors.StorageFullError, "the disk or quota is full; free some space and repeat"),
    errno.EFBIG: (
        errors.StorageFullError,
        "the limit of file sizes is reached; raise it (ulimit -f) and repeat",
    ),
    errno.EDQUOT: (errors.StorageFullError, "the disk or quota is full; free some space and repeat"),
    errno.EROFS: (errors.ReadOnlyError, "the file system is mounted read-only; mount it for writing"),
    errno.EACCES: (errors.ReadOnlyError, "permission denied; ask its owner for the right to write there"),
    errno.EPERM: (errors.ReadOnlyError, "not permitted; ask its owner for the right to write there"),
    errno.EIO: (errors.StorageError, "the device reports an error; check the disk, then repeat"),
    errno.EEXIST: (errors.AlreadyExistsError, "it exists already and is never replaced; choose another name"),
    errno.ENOTEMPTY: (errors.AlreadyExistsError, "the directory is not empty; choose another name"),
    errno.ENOENT: (errors.NotFoundError, "it does not exist; check the path"),
    errno.ENOTDIR: (
        errors.InvalidInputError,
        "a part of the path is a file, not a directory; check the path",
    ),
    errno.EISDIR: (errors.InvalidInputError, "it is a directory; name a file"),
    errno.ENAMETOOLONG: (errors.InvalidInputError, "the name is too long for this file system; shorten it"),
    errno.ELOOP: (
        errors.InvalidInputError,
        "a symbolic link stands in the way; name the file itself",
    ),
}


class _Translating:
    """A context: it is entered for every file that is touched, so it costs a third of a generator's."""

    __slots__ = ("_doing", "_path")

    def __init__(self, path: PathLike, doing: str) -> None:
        self._path, self._doing = path, doing

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and not isinstance(error, errors.HoldfastError):
            raise _translated(error, os.fspath(self._path), self._doing) from error


def os_errors(path: PathLike, doing: str = "use") -> _Translating:
    """Turn each `OSError` of the block into ours, chained to the original.

    Parameters
    ----------
    path : str or path
        What the block works on, for the message.
    doing : str, optional
        The verb of the message: ``cannot DOING PATH: …``.

    Returns
    -------
    context manager
        For one ``with`` block.

    Raises
    ------
    StorageFullError, ReadOnlyError, StorageError, AlreadyExistsError, NotFoundError, InvalidInputError
        By ``errno``; an unknown number is a `StorageError`. Our own errors pass unchanged.
    """
    return _Translating(path, doing)


def _translated(error: OSError, path: str, doing: str) -> errors.HoldfastError:
    kind, remedy = _TABLE.get(
        error.errno or 0, (errors.StorageError, f"{error.strerror or error}; then repeat")
    )
    return kind(f"cannot {doing} {path}: {remedy}")
