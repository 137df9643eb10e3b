"""Own the steps of a transaction: what is published in place of what, again after a crash if need be.

It does not decide: ``transactions`` does, in the journal. A step whose entry was written by somebody else
since the decision does nothing: that write came later.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from holdfast.errors import NotFoundError
from holdfast.files import exchange, publish_new, remove, remove_tree, replace, sync_directory
from holdfast.formats.sealed import (
    SUFFIX,
    Appends,
    as_rows,
    delete,
    locked_directory,
    open_sealed,
    present_log,
    values_of,
)
from holdfast.paths import join
from holdfast.records import sidecars
from holdfast.records.places import in_directory, locked_tree, prune_parents
from holdfast.types import Json

__all__ = ["STAGING", "Steps", "identities"]

STAGING = "_transactions"
"""The hidden directory of a record that holds its journal and what is about to be published."""

Identity = list[int] | None


def _identity(path: str) -> Identity:
    try:
        found = os.stat(path, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    # An inode may be given to a new file; its time of change would differ then.
    is_directory = os.path.isdir(path)
    return [found.st_dev, found.st_ino, 0 if is_directory else found.st_mtime_ns]


def identities(path: str) -> Json:
    """Return what is under an entry's name now: the array, and the file or directory."""
    return [_identity(path + SUFFIX), _identity(path)]


class Steps:
    """Finish and undo the transactions of one record's directory.

    Parameters
    ----------
    root : str
        The directory.
    """

    def __init__(self, root: str) -> None:
        self._root = root

    def finish(self, facts: dict[str, Json]) -> None:
        """Publish what was staged; steps that are done already do nothing."""
        staging = os.path.join(self._root, STAGING, facts["staging"])
        for step in facts.get("steps", ()):
            path = str(join(self._root, step["key"]))
            action = getattr(self, f"_{step['action']}")
            action(path, os.path.join(staging, step["staged"]), step)
        shutil.rmtree(staging, ignore_errors=True)

    def undo(self, facts: dict[str, Json]) -> None:
        """Delete what was staged."""
        shutil.rmtree(os.path.join(self._root, STAGING, facts["staging"]), ignore_errors=True)

    def _in_parent(self, path: str, action: Any) -> None:
        in_directory(self._root, os.path.dirname(path), action)

    def _array(self, path: str, staged: str, step: Json) -> None:
        def publish() -> None:
            with self._unchanged(path, step) as same:
                if same and os.path.lexists(staged):
                    log = present_log(path + SUFFIX)
                    replace(staged, path + SUFFIX)
                    if log is not None:
                        remove(log, missing_ok=True)

        self._in_parent(path, publish)
        self._drop_plain(path, step)

    def _file(self, path: str, staged: str, step: Json) -> None:
        def publish() -> None:
            with self._unchanged(path, step) as same:
                if not same or not os.path.lexists(staged):
                    return
                if os.path.isdir(path):
                    with locked_tree(path):
                        exchange(staged, path)
                    shutil.rmtree(staged)
                else:
                    replace(staged, path)

        recorded = sidecars.find(staged, path) if os.path.lexists(staged) else []
        for digests in recorded:
            # The digests first: at every moment one of those that are there fits.
            self._in_parent(path, lambda digests=digests: sidecars.publish(path, digests, "sync"))
        self._in_parent(path, publish)
        for digests in recorded:
            sidecars.prune(path, sidecars.sidecar_path(path, digests))
        self._drop_array(path, step)

    def _directory(self, path: str, staged: str, step: Json) -> None:
        def publish() -> None:
            with self._unchanged(path, step) as same:
                if not same or not os.path.isdir(staged):
                    return
                if not os.path.lexists(path):
                    publish_new(staged, path)
                    return
                with locked_tree(path):
                    exchange(staged, path)
                _clear(staged)

        self._in_parent(path, publish)
        self._drop_array(path, step)

    def _delete(self, path: str, staged: str, step: Json) -> None:
        self._drop_array(path, step)
        self._drop_plain(path, step)
        prune_parents(self._root, os.path.dirname(path))

    def _rows(self, path: str, staged: str, step: Json) -> None:
        if not os.path.lexists(staged):
            return
        appends = Appends("sync")
        with open_sealed(staged) as view:
            rows = as_rows(values_of(view), is_item=False)
            key = bytes.fromhex(step["token"])
            self._in_parent(path, lambda: appends.append(path + SUFFIX, path, rows, key))
        appends.close()

    @contextmanager
    def _unchanged(self, path: str, step: Json) -> Iterator[bool]:
        """Hold the directory's lock and tell whether the entry is what it was at the decision."""
        with locked_directory(os.path.dirname(path)):
            now = identities(path)
            yield all(new is None or new == old for new, old in zip(now, step["was"], strict=True))

    def _drop_array(self, path: str, step: Json) -> None:
        if step["was"][0] is not None and _identity(path + SUFFIX) == step["was"][0]:
            with contextlib.suppress(NotFoundError):
                delete(path + SUFFIX)

    def _drop_plain(self, path: str, step: Json) -> None:
        if step["was"][1] is None or _identity(path) != step["was"][1]:
            return
        with contextlib.suppress(NotFoundError), locked_directory(os.path.dirname(path)), locked_tree(path):
            _clear(path)
        sidecars.prune(path)


def _clear(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    else:
        remove(path, missing_ok=True)
        sync_directory(os.path.dirname(path))
