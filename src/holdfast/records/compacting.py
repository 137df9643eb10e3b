"""Own the compaction of entries: appended rows go into the file of each.

It changes no row.
"""

from __future__ import annotations

import os

from holdfast.files import require_writer
from holdfast.formats.sealed import SUFFIX, compact
from holdfast.records.checking import entries_below

__all__ = ["compact_entries"]


def compact_entries(path: str, key: str) -> int:
    """Fold the logs of an entry, or of all entries in a directory and below.

    Parameters
    ----------
    path, key : str
        See `holdfast.records.checking.entries_below`.

    Returns
    -------
    int
        How many entries had a log.

    Raises
    ------
    HashError
        When one is damaged.
    SharedFileSystemError
        When it lies on a shared file system and this host was not chosen to write there.
    """
    folded = 0
    for place, name, kind in entries_below(path, key):
        if kind == "array":
            require_writer(os.path.dirname(place), "compact")
            try:
                folded += compact(place + SUFFIX, name)
            except FileNotFoundError:
                continue  # deleted meanwhile
    return folded
