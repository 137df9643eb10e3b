"""Own the names of an entry's files, and opening them as one while others write.

It does not write. Readers take no lock: where a file was replaced between two steps, they begin anew.

>>> log_path("/data/a/b.h5", "0123456789abcdef0123456789abcdef")
'/data/a/_b.01234567.log'
"""

from __future__ import annotations

import os
import re

from holdfast.errors import BusyError, HashError, InvalidInputError, NotFoundError
from holdfast.files import os_errors
from holdfast.formats.sealed.base import Base, open_base
from holdfast.formats.sealed.view import SealedView
from holdfast.types import PathLike

__all__ = [
    "SUFFIX",
    "change_token",
    "is_current",
    "is_log_name",
    "is_sealed",
    "log_path",
    "missing_log",
    "open_prefix",
    "open_sealed",
    "try_open",
]

SUFFIX = ".h5"
"""The suffix of an entry's base."""

_LOG = re.compile(r"_(?P<stem>.+)\.[0-9a-f]{8}\.log", re.DOTALL)
_TRIES = 1000


def log_path(path: str, uid: str) -> str:
    """Return where the log of a base lies.

    Parameters
    ----------
    path : str
        The base.
    uid : str
        Its uid: another base under the same name has another log.

    Returns
    -------
    str
        A hidden name beside it.
    """
    directory, name = os.path.split(path)
    return os.path.join(directory, f"_{name.removesuffix(SUFFIX)}.{uid[:8]}.log")


def is_log_name(name: str) -> str | None:
    """Return the name of the base that a log's name belongs to, None for other names."""
    match = _LOG.fullmatch(name)
    return None if match is None else match["stem"] + SUFFIX


def is_sealed(path: PathLike) -> bool:
    """Tell whether a file is sealed, without verifying it.

    Parameters
    ----------
    path : path-like
        A file.

    Returns
    -------
    bool
        True for files that end with a seal, and for damaged ones that had one: opening these raises.
    """
    try:
        base = open_base(os.fspath(path), os.fspath(path))
    except HashError:
        return True
    except OSError:
        return False
    if base is not None:
        base.close()
    return base is not None


def open_sealed(path: PathLike, what: str | None = None) -> SealedView:
    """Open a sealed file with the rows of its log.

    Parameters
    ----------
    path : path-like
        The base.
    what : str, optional
        The name for messages; default the path.

    Returns
    -------
    SealedView
        All rows, verified when they are read.

    Raises
    ------
    NotFoundError
        When there is no file.
    HashError
        When it bears no seal, is damaged, or its log is missing.
    """
    name = os.fspath(path)
    view = try_open(name, what or name)
    if view is None:
        raise HashError(f"{what or name} bears no seal; open it as the HDF5 file that it is")
    return view


def try_open(path: str, what: str) -> SealedView | None:
    """Open an entry if it is sealed.

    Parameters
    ----------
    path : str
        The base.
    what : str
        The entry, for messages.

    Returns
    -------
    SealedView or None
        None for files without a seal.

    Raises
    ------
    NotFoundError, HashError, NewerFormatError
        As `open_sealed`.
    """
    for _ in range(_TRIES):
        try:
            with os_errors(what, "read"):
                base = open_base(path, what)
        except InvalidInputError as error:
            raise NotFoundError(f"no {what}: a part of its path is a file") from error
        if base is None:
            return None
        try:
            log = _open_log(path, base)
            if log is not None:
                return SealedView(base, log)
        except BaseException:
            base.close()
            raise
        base.close()
    raise BusyError(f"{what} is replaced faster than it can be opened; try again")


def open_prefix(path: str, what: str) -> SealedView | None:
    """Open the base of an entry whose log is lost: its rows are a prefix of what was acknowledged.

    Parameters
    ----------
    path : str
        The base.
    what : str
        The entry, for messages.

    Returns
    -------
    SealedView or None
        None when the base itself is damaged or bears no seal.
    """
    try:
        base = open_base(path, what)
    except HashError:
        return None
    if base is None or os.path.lexists(log_path(path, base.facts.uid)):
        return None
    return SealedView(base)


def _open_log(path: str, base: Base) -> int | None:
    """Return the log's descriptor, -1 where there is none, None when the base was replaced meanwhile."""
    try:
        return os.open(log_path(path, base.facts.uid), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        pass
    if not base.facts.log and not base.facts.shape:
        return -1
    if not is_current(path, base):
        return None
    if base.facts.log:
        raise missing_log(path, base)
    return -1


def missing_log(path: str, base: Base) -> HashError:
    """Return the error that says that rows are missing."""
    return HashError(
        f"{base.what} is incomplete: the log of its latest rows is missing; restore "
        f"{os.path.basename(log_path(path, base.facts.uid))}, or accept the rows that are there with adopt()"
    )


def is_current(path: str, base: Base) -> bool:
    """Tell whether an open base is still what its name names."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == base.identity


def change_token(path: PathLike) -> str:
    """Return a text that differs whenever an entry was written, appended to or folded.

    Parameters
    ----------
    path : path-like
        The base.

    Returns
    -------
    str
        Made of what the system says about the base and its log; no bytes are verified.

    Raises
    ------
    NotFoundError
        When there is no file.
    """
    name = os.fspath(path)
    with os_errors(name, "look at"):
        found = os.stat(name)
        base = open_base(name, name)
    token = f"{found.st_dev}-{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"
    if base is None:
        return token
    base.close()
    try:
        return f"{token}-{os.stat(log_path(name, base.facts.uid)).st_size}"
    except FileNotFoundError:
        return token
