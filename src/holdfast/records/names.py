"""Own the names in a directory: which files are which entries, and which are hidden.

It does not open entries. An entry ``KEY`` is the HDF5 file ``KEY.h5``, else the file or directory ``KEY``.

>>> entry_name("walk.h5"), entry_name("_cmd-spec.yaml"), entry_name("image.jpg")
('walk', None, 'image.jpg')
"""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import Literal

from holdfast.errors import InvalidInputError
from holdfast.formats.sealed import SUFFIX
from holdfast.paths import check_name, is_reserved, parse_key

__all__ = ["Kind", "child_names", "entry_name", "is_hidden", "kind_of", "resting_state", "split", "writable"]

Kind = Literal["array", "file", "directory"]

# A log is called "_KEY.12345678.log": longer keys could be written but never appended to.
_MAX_NAME_BYTES = 240
_TICK_NS = 100_000_000


@lru_cache(maxsize=8192)
def split(key: str) -> tuple[str, ...]:
    """Return the parts of a key; see `holdfast.paths.parse_key`."""
    return parse_key(key)


@lru_cache(maxsize=8192)
def writable(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Check that entries may be written under a key.

    Parameters
    ----------
    parts : tuple of str
        The key.

    Returns
    -------
    tuple of str
        The same.

    Raises
    ------
    InvalidInputError
        For names that are too long for the files beside an entry, or that end in ``.h5``.
    """
    for part in parts:
        if len(part.encode()) > _MAX_NAME_BYTES:
            raise InvalidInputError(
                f"key has a part of over {_MAX_NAME_BYTES} bytes, {part[:40]!r}…; shorten it"
            )
        if part.endswith(SUFFIX):
            raise InvalidInputError(
                f"key {'/'.join(parts)!r}: leave the suffix {SUFFIX!r} off, it is added to arrays"
            )
        check_name(part)
    return parts


def is_hidden(name: str) -> bool:
    """Tell whether a file is no entry: its name begins with ``_`` or is kept for Holdfast."""
    return name.startswith("_") or is_reserved(name)


def entry_name(name: str) -> str | None:
    """Return the key of a file or directory in its record, None if it is hidden."""
    if is_hidden(name):
        return None
    return name.removesuffix(SUFFIX) or None


def child_names(directory: str) -> list[str]:
    """Return the keys in a directory, sorted; none if there is no directory.

    Parameters
    ----------
    directory : str
        Its path.

    Returns
    -------
    list of str
        One for each entry.
    """
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    # Ten thousand names are common: only those that can be hidden are looked at closely.
    keys = [name.removesuffix(SUFFIX) for name in names if name[0] not in "._c" or entry_name(name)]
    keys.sort()
    return keys if len(set(keys)) == len(keys) else sorted(set(keys))


def resting_state(directory: str) -> tuple[int, int] | None:
    """Return what changes with the names in a directory, None where they changed just now.

    Parameters
    ----------
    directory : str
        Its path.

    Returns
    -------
    tuple of int, or None
        Inode and time of change. A clock of the file system may tick only every few milliseconds: while the
        last change is that young, the next one could bear the same time.
    """
    try:
        found = os.stat(directory)
    except (FileNotFoundError, NotADirectoryError):
        return None
    is_resting = time.time_ns() - found.st_mtime_ns > _TICK_NS
    return (found.st_ino, found.st_mtime_ns) if is_resting else None


def kind_of(path: str) -> Kind | None:
    """Return what an entry is, None if there is none.

    Parameters
    ----------
    path : str
        The directory and the key, without suffix.

    Returns
    -------
    {"array", "file", "directory"} or None
        An array hides a file or directory of its name.
    """
    for _ in range(3):
        if os.path.isfile(path + SUFFIX):
            return "array"
        if os.path.isdir(path):
            return "directory"
        if os.path.isfile(path):
            return "file"
        # A directory may just have become an array: look again.
        if not os.path.lexists(path + SUFFIX):
            return None
    return None
