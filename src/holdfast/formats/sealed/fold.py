"""Own the change of an entry's base while its rows stay: fold the log in, give it a log, make it plain.

It does not append. A reader sees the old base with its log or the new one: the same rows.
"""

from __future__ import annotations

import os

import numpy as np

from holdfast.errors import InvalidTypeError, NotFoundError
from holdfast.files import open_atomic, os_errors, remove
from holdfast.formats.sealed.appender import Appender, StaleError
from holdfast.formats.sealed.base import Base, open_base
from holdfast.formats.sealed.entry import is_current, log_path, missing_log, try_open
from holdfast.formats.sealed.publish import new_log, replace_base
from holdfast.formats.sealed.values import Values
from holdfast.formats.sealed.view import SealedView
from holdfast.formats.sealed.writer import Role, write_sealed

__all__ = ["attach", "compact", "fold", "is_due", "keys_of", "values_of"]

# A log is folded when it weighs as much as its base, and at least this: bytes are then written about
# three times in all, and reading the log never costs more than reading the base.
_FOLD_BYTES = 64 * 1024 * 1024
# A base without a log is written again with one if it is small: then a lost log is noticed.
_REPUBLISH_BYTES = 64 * 1024 * 1024


def is_due(appender: Appender) -> bool:
    """Tell whether the log weighs so much that it should be folded now."""
    return appender.weight >= max(_FOLD_BYTES, appender.base.size)


def values_of(view: SealedView) -> Values:
    """Return all values of a view in the form in which they are written, read slab by slab.

    Parameters
    ----------
    view : SealedView
        Must stay open until they are written.

    Returns
    -------
    Values
        The values.
    """
    give = view.base.facts.give
    if view.base.is_text:
        return Values(view.shape, None, texts=[text.encode() for text in np.asarray(view).ravel()], give=give)
    return Values(view.shape, view.dtype, slabs=view.slabs, give=give)


def fold(appender: Appender, *, plain: bool = False) -> bool:
    """Write base and log as one new base.

    Parameters
    ----------
    appender : Appender
        The open entry; stale afterwards.
    plain : bool, default False
        Leave no log: the entry is one file that may be copied alone. The next append gives it one again.

    Returns
    -------
    bool
        False when the entry was replaced or deleted meanwhile; nothing has changed then.

    Raises
    ------
    StorageFullError, StorageError
        When the disk is full or fails; base and log are intact.

    Notes
    -----
    Appenders of this entry wait meanwhile, readers and overwriters do not.
    """
    try:
        with appender.locked(), _same(appender) as view:
            role = Role(os.urandom(16).hex(), view.origin, log=not plain, keys=appender.keys().to_bytes())
            return _rebase(appender.path, view, role)
    except StaleError:
        return False


def _same(appender: Appender) -> SealedView:
    view = try_open(appender.path, appender.what)
    if view is None or view.base.identity != appender.base.identity:
        raise StaleError
    return view


def _rebase(path: str, view: SealedView, role: Role) -> bool:
    """Publish the rows of a view as a new base, unless the base has changed since it was opened."""

    def check() -> None:
        if not is_current(path, view.base):
            raise StaleError

    try:
        with open_atomic(path) as out:
            write_sealed(out, values_of(view), role)
            if role.log:
                # Just before its base: the sweeper takes an old log without base for a left-over.
                new_log(path, role.uid, view.shape[0], 0 if view.base.is_text else view.base.row_bytes)
            replace_base(path, out, before=check)
    except BaseException as error:
        remove(log_path(path, role.uid), missing_ok=True, durability="os")
        if isinstance(error, StaleError):
            return False
        raise
    return True


def attach(path: str, what: str) -> Appender | None:
    """Open an entry for appending, giving it a log if it has none.

    Parameters
    ----------
    path : str
        The base.
    what : str
        The entry, for messages.

    Returns
    -------
    Appender or None
        None when it was replaced meanwhile: look again.

    Raises
    ------
    FileNotFoundError
        When there is none; the plain one of the system.
    LookupError
        When it bears no seal.
    InvalidTypeError
        When it is a single value and has no rows.
    HashError
        When it is damaged or its log is missing.
    """
    base = open_base(path, what)
    if base is None:
        raise LookupError(what)
    try:
        appender = _attach_to(path, base)
    except StaleError:
        appender = None
    except BaseException:
        base.close()
        raise
    if appender is None:
        base.close()
    return appender


def _attach_to(path: str, base: Base) -> Appender | None:
    facts, log = base.facts, log_path(path, base.facts.uid)
    if not facts.shape:
        raise InvalidTypeError(
            f"{base.what} is a single value and takes no rows; write an array with a first axis"
        )
    try:
        with os_errors(base.what, "append to"):
            descriptor = os.open(log, os.O_RDWR | os.O_CLOEXEC)
    except NotFoundError:
        if not facts.log:
            _give_log(path, base)
            return None
        if is_current(path, base):
            raise missing_log(path, base) from None
        return None
    return Appender(path, base, descriptor)


def _give_log(path: str, base: Base) -> None:
    """Give a base its first log; the caller attaches anew."""
    facts = base.facts
    if base.size > _REPUBLISH_BYTES:
        new_log(path, facts.uid, facts.shape[0], 0 if base.is_text else base.row_bytes)
        return
    view = try_open(path, base.what)
    if view is None:
        return
    with view:
        if view.base.identity == base.identity:
            _rebase(path, view, Role(os.urandom(16).hex(), facts.origin, log=True, keys=keys_of(base)))


def keys_of(base: Base) -> bytes:
    """Return the idempotency keys that a base carries."""
    return bytes(base.read(base.seal_offset - 32 * base.facts.keys, base.seal_offset))


def compact(path: str, what: str) -> bool:
    """Fold the log of an entry into one plain file.

    Parameters
    ----------
    path : str
        The base.
    what : str
        The entry, for messages.

    Returns
    -------
    bool
        False when there was nothing to fold.

    Raises
    ------
    HashError
        When it is damaged or its log is missing.
    """
    while True:
        base = open_base(path, what)
        if base is None:
            return False
        base.close()
        if not base.facts.log and not os.path.lexists(log_path(path, base.facts.uid)):
            return False
        appender = attach(path, what)
        if appender is not None:
            folded = fold(appender, plain=True)
            appender.close()
            if folded:
                return True
