"""Own the adoption of entries: what is there is accepted as it is, and gets digests.

It does not decide whether it is right. An HDF5 file that holds only ``data`` is written anew, sealed; one
that holds more, and any other file, keeps its bytes and gets its digests beside it.
"""

from __future__ import annotations

import os

import numpy as np

from holdfast.errors import HashError, UnreadableError
from holdfast.files import os_errors
from holdfast.formats.sealed import open_prefix, prepare, try_open, values_of, write
from holdfast.hashing import hash_blocks
from holdfast.records import sidecars
from holdfast.records.foreign import ForeignView, holds_only_data

__all__ = ["adopt_array", "adopt_file"]


def adopt_array(path: str, what: str) -> None:
    """Give an array digests.

    Parameters
    ----------
    path : str
        The HDF5 file.
    what : str
        The entry, for messages.

    Raises
    ------
    UnreadableError
        When it cannot be read, or its values cannot be kept.
    """
    try:
        view = try_open(path, what)
    except HashError:
        view = open_prefix(path, what)
        if view is not None:
            with view:
                write(path, what, values_of(view), "sync")
            return
    else:
        if view is not None:
            view.close()
            return
    _seal(path, what)


def _seal(path: str, what: str) -> None:
    with ForeignView(path, what, accepts_seal=True) as view:
        is_simple = holds_only_data(path) and view.dtype.kind != "O"
        value = view.read() if is_simple or holds_only_data(path) else None
    if value is None:
        adopt_file(path, what)
        return
    try:
        values = prepare(np.asarray(value) if not isinstance(value, str) else value)
    except TypeError:
        adopt_file(path, what)
        return
    write(path, what, values, "sync")
    sidecars.prune(path)


def adopt_file(path: str, what: str) -> None:
    """Record the digests of a file beside it; older ones go.

    Parameters
    ----------
    path : str
        The file.
    what : str
        The entry, for messages.

    Raises
    ------
    UnreadableError
        When it changed while it was read.
    """
    before = os.stat(path)
    with os_errors(what, "read"), open(path, "rb", buffering=0) as file:
        digests = hash_blocks(file)
    after = os.stat(path)
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        raise UnreadableError(f"{what} changed while it was read; adopt it when it rests")
    sidecars.prune(path, sidecars.publish(path, digests, "sync"))
