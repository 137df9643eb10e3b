"""Own the publication of an entry's base: write anew, create with a log, replace, delete.

It does not append rows to a log (``appender``) or fold it (``fold``). Wherever a base is published under a
condition, the lock of its directory is held; whoever moves a directory holds the same lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.errors import AlreadyExistsError, SharedFileSystemError
from holdfast.files import (
    AtomicWriter,
    Lock,
    file_system,
    open_atomic,
    os_errors,
    remove,
    require_writer,
    sync_directory,
    write_atomic,
)
from holdfast.formats.sealed.base import quick_uid
from holdfast.formats.sealed.entry import log_path
from holdfast.formats.sealed.keys import KeyIndex
from holdfast.formats.sealed.log import NO_KEY, LogHeader, Slot, compose_page
from holdfast.formats.sealed.rows import NewRows
from holdfast.formats.sealed.seal import Facts
from holdfast.formats.sealed.values import Values
from holdfast.formats.sealed.writer import Role, write_sealed
from holdfast.types import Durability

__all__ = [
    "create",
    "delete",
    "locked_directory",
    "new_log",
    "nothing",
    "present_log",
    "replace_base",
    "sync_content",
    "write",
]

_LOCK_NAME = "_holdfast.lock"


def nothing() -> None:
    """Do nothing: the default of what is done under the directory's lock before a publication."""


@contextmanager
def locked_directory(directory: str) -> Iterator[None]:
    """Hold the lock of a directory that still bears its name.

    Parameters
    ----------
    directory : str
        An existing directory.

    Raises
    ------
    NotFoundError
        When it is gone.
    """
    place = directory
    if file_system(directory).kind == "shared":
        # Whole publications need no lock there, and directories bear none: the one writing host has a file.
        if not _is_writer(directory):
            yield
            return
        place = os.path.join(directory, _LOCK_NAME)
    while True:
        with Lock(place, create=place != directory) as held:
            if held.is_current():
                yield
                return


def _is_writer(directory: str) -> bool:
    try:
        require_writer(directory, "lock")
    except SharedFileSystemError:
        return False
    return True


def write(
    path: str,
    what: str,
    values: Values,
    durability: Durability,
    before: Callable[[], None] | None = nothing,
) -> Facts:
    """Write an entry anew: readers see the old one or the new one.

    Parameters
    ----------
    path : str
        The base.
    what : str
        The entry, for messages.
    values : Values
        What to write.
    durability : {"sync", "group", "os"}
        When it must be on the disk.
    before : callable or None
        Called under the directory's lock, just before the publication; None takes no lock, for a
        directory that nobody else sees.

    Returns
    -------
    Facts
        What the new seal says.

    Raises
    ------
    NotFoundError
        When the directory is not there (any more).
    StorageFullError, StorageError, ReadOnlyError
        When the disk is full, fails or may not be written; the old entry is intact.
    """
    with open_atomic(path, durability=durability) as out:
        facts = write_sealed(out, values, Role.new())
        if before is not None:
            replace_base(path, out, durability, before)
    return facts


def replace_base(
    path: str, out: AtomicWriter, durability: Durability = "sync", before: Callable[[], None] = nothing
) -> None:
    """Publish a filled file over whatever is there, and remove the log of that.

    Parameters
    ----------
    path : str
        The base.
    out : AtomicWriter
        The new one, filled.
    durability : {"sync", "group", "os"}
        When it must be on the disk.
    before : callable
        Called under the directory's lock; what it raises stops the publication.
    """
    if durability != "os":
        sync_content(out)  # before the lock: others of this directory need not wait for the device
    directory = os.path.dirname(path)
    with locked_directory(directory):
        before()
        log = present_log(path)
        if log is not None:
            sync_content(out)
        out.publish()
        if log is not None:
            sync_directory(directory)  # a log goes only when its base is gone for good
            remove(log, missing_ok=True, durability="os")


def sync_content(out: AtomicWriter) -> None:
    """Wait until what was written so far is on the disk.

    Raises
    ------
    StorageFullError, StorageError
        When the disk is full or fails.
    """
    with os_errors(out.path, "write"):
        os.fsync(out.fd)


def present_log(path: str) -> str | None:
    """Return the log of the base that is there now, None if it has none.

    Parameters
    ----------
    path : str
        The base, which need not exist.

    Returns
    -------
    str or None
        The log.
    """
    uid = quick_uid(path)
    if uid is None:
        return None
    log = log_path(path, uid)
    return log if os.path.lexists(log) else None


def delete(path: str) -> None:
    """Delete a base and its log.

    Parameters
    ----------
    path : str
        The base.

    Raises
    ------
    NotFoundError
        When there is none.
    """
    with locked_directory(os.path.dirname(path)):
        log = present_log(path)
        remove(path)
        if log is not None:
            remove(log, missing_ok=True, durability="os")


def create(path: str, rows: NewRows, key: bytes, before: Callable[[], None] = nothing) -> bool:
    """Create an entry with its first rows and an empty log.

    Parameters
    ----------
    path : str
        The base.
    rows : NewRows
        The first rows.
    key : bytes
        Their idempotency key, `NO_KEY` for none.
    before : callable
        Called under the directory's lock, just before the publication.

    Returns
    -------
    bool
        False when somebody else was first; nothing has changed then.
    """
    keys = KeyIndex()
    if key != NO_KEY:
        keys.add(key, 0, rows.count)
    uid = os.urandom(16).hex()
    try:
        with open_atomic(path, replace=False) as out:
            write_sealed(out, rows.values, Role(uid, uid, log=True, keys=keys.to_bytes()))
            sync_content(out)
            # Just before its base: the sweeper takes an old log without base for a left-over.
            new_log(path, uid, rows.count, _row_bytes(rows.values))
            with locked_directory(os.path.dirname(path)):
                before()
                out.publish()
    except BaseException as error:
        remove(log_path(path, uid), missing_ok=True, durability="os")
        if isinstance(error, AlreadyExistsError):
            return False
        raise
    return True


def _row_bytes(values: Values) -> int:
    size = 1
    for length in values.shape[1:]:
        size *= length
    return 0 if values.dtype is None else size * values.dtype.itemsize


def new_log(path: str, uid: str, base_rows: int, row_bytes: int) -> None:
    """Create an empty log for a base, durably.

    Parameters
    ----------
    path : str
        The base.
    uid : str
        Its uid.
    base_rows, row_bytes : int
        Its rows, and the size of one; 0 for strings.

    Raises
    ------
    AlreadyExistsError
        When it has one.
    """
    header = LogHeader(os.urandom(16), bytes.fromhex(uid), base_rows, row_bytes)
    write_atomic(log_path(path, uid), compose_page(header, Slot.first(base_rows)), replace=False)
