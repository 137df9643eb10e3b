"""Own the check of entries: every byte read, every fault reported.

It changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from holdfast.errors import HoldfastError, NotFoundError, UnreadableError
from holdfast.formats.sealed import SUFFIX, SealedView
from holdfast.records import sidecars
from holdfast.records.foreign import open_array
from holdfast.records.names import child_names, kind_of
from holdfast.reports import Finding, Report

__all__ = ["check_entries", "entries_below"]


def entries_below(path: str, key: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, key and kind of an entry, or of all entries in a directory and below.

    Parameters
    ----------
    path : str
        The entry without suffix, or the record's own directory for the empty key.
    key : str
        Its key.

    Yields
    ------
    tuple of str
        ``array`` and ``file`` entries, in sorted order.
    """
    kind = kind_of(path) if key else "directory"
    if kind in {"array", "file"}:
        yield path, key, str(kind)
    elif kind == "directory":
        for name in child_names(path):
            yield from entries_below(os.path.join(path, name), f"{key}/{name}" if key else name)


def check_entries(path: str, key: str) -> Report:
    """Verify an entry, or all entries in a directory and below.

    Parameters
    ----------
    path, key : str
        See `entries_below`.

    Returns
    -------
    Report
        Findings: ``damaged`` and ``unreadable``. Notes name entries without digests.
    """
    checked, findings, notes = 0, [], []
    for place, name, kind in entries_below(path, key):
        try:
            is_sealed = _verify(place, name, kind)
        except NotFoundError:
            continue  # deleted meanwhile
        except HoldfastError as error:
            what = "unreadable" if isinstance(error, UnreadableError) else "damaged"
            details = error.details
            findings.append(Finding(what, name, details.get("expected"), details.get("found", error.message)))
        else:
            if not is_sealed:
                notes.append(f"foreign  {name}  has no digests: read unverified; adopt() gives it some")
        checked += 1
    return Report(checked, findings, notes)


def _verify(path: str, key: str, kind: str) -> bool:
    if kind == "file":
        return sidecars.verify(path, key) is not None
    with open_array(path + SUFFIX, key) as view:
        if isinstance(view, SealedView):
            view.verify()
        return view.sealed
