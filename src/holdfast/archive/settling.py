"""Own the files of one writer that count already and may not be on the disk yet, until they surely are.

Their bytes are in the manifest, which is: one commit made both durable. Many of these files reach the disk
with one call; only then the manifest forgets their bytes. What is left by writers that died is
`holdfast.archive.recovering`'s.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from holdfast import files
from holdfast.archive.restoring import restore
from holdfast.database.archive import EntryRow
from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    from holdfast.archive.manifest import Manifest

__all__ = ["Unsettled", "Window"]

_log = logging.getLogger(__name__)

# What a larger file costs more in the manifest's log is more than the wait that it saves.
_MOST_BYTES = 16 * 1024
# So many files, or bytes, are synced by whoever adds the last of them: the manifest stays small.
_MANY_FILES, _MANY_BYTES = 256, 4 * 1024 * 1024


Names = tuple[str, str]


class _Kept(NamedTuple):
    """One file: the number of its row in the log, and its two names."""

    seq: int
    path: str
    named: str


class Window:
    """Files for which one sync point vouches: all of them were written after it was opened."""

    __slots__ = ("kept", "point", "size", "under_way")

    def __init__(self, point: files.SyncPoint) -> None:
        self.point = point
        self.kept: dict[str, _Kept] = {}
        self.size = self.under_way = 0


class Unsettled:
    """The files of one archive that this process added and that may not be on the disk yet.

    Parameters
    ----------
    manifest : Manifest
        The archive's.

    Notes
    -----
    Safe across threads; a forked child leaves its parent's files to the parent.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest, self._root = manifest, manifest.root
        self._can: bool | None = None
        self._window: Window | None = None
        self.leave_to_parent()

    def leave_to_parent(self) -> None:
        """Forget, in a forked child, what the parent will sync."""
        self._state = threading.Condition(threading.Lock())
        self._syncing = threading.RLock()
        if self._window is not None:
            self._window.point.close()
        self._window = None
        # On the disk, with bytes in the manifest; perhaps not on the disk, after a failure.
        self._synced: dict[str, int] = {}
        self._failed: dict[str, int] = {}

    def takes(self, size: int) -> bool:
        """Tell whether a file of some size is kept in the manifest first."""
        if self._can is None:
            self._can = files.can_sync_together(self._root)
        return self._can and size <= _MOST_BYTES

    # -- adding ----------------------------------------------------------------------------------------

    def begin(self) -> Window:
        """Return the window of a file that is about to be written; `end` must follow."""
        with self._state:
            window = self._window
            if window is None:
                window = self._window = Window(files.SyncPoint(self._root))
            window.under_way += 1
            return window

    def record(self, window: Window, row: EntryRow, content: bytes, writer: str, names: Names) -> str:
        """Record a file of a window together with its bytes: afterwards it is durable.

        Parameters
        ----------
        window : Window
            As `begin` gave it.
        row : EntryRow
            The entry.
        content : bytes
            All of it.
        writer : str
            The mark of this process.
        names : tuple of str
            The paths of the file and of its own name.

        Returns
        -------
        str
            The head of the log after it.

        Raises
        ------
        ConflictError
            A name or uuid is there already.
        """
        database = self._manifest.open_for_writing()
        synced = self._taken_synced()
        try:
            said = database.add_unsynced(row, content, writer, list(synced.values()))
        except BaseException:
            self._give_back_synced(synced)
            raise
        with self._state:
            window.kept[row.uuid] = _Kept(said.seq, *names)
            window.size += row.size
        return said.hash

    def end(self, window: Window, recorded: int) -> None:
        """Let a window be synced, as far as one file is concerned; sync it if that is due.

        Parameters
        ----------
        window : Window
            As `begin` gave it.
        recorded : int
            1 if the file was recorded, 0 if it was taken back.
        """
        with self._state:
            window.under_way -= 1
            self._state.notify_all()
        if recorded:
            self._manifest.yaml.fall_behind(recorded, self._manifest.open_for_writing().count)
        if len(window.kept) >= _MANY_FILES or window.size >= _MANY_BYTES:
            with contextlib.suppress(HoldfastError):  # it was logged; what was added counts, the next is told
                self.sync()

    def vouches(self, window: Window, uuid: str) -> bool:
        """Tell whether a file is on the disk, or will be with the files of a window.

        Parameters
        ----------
        window : Window
            As `begin` gave it.
        uuid : str
            A recorded file's.

        Returns
        -------
        bool
            False while another writer has it to sync: it may learn of a failure that we do not.
        """
        return uuid in window.kept or self.is_on_disk(uuid)

    def is_on_disk(self, uuid: str) -> bool:
        """Tell whether a recorded file is on the disk for certain."""
        return uuid in self._synced or not self._manifest.open_for_writing().unsynced.has(uuid)

    # -- syncing ---------------------------------------------------------------------------------------

    def mend(self) -> None:
        """Write anew what the disk did not take, if there is anything.

        Raises
        ------
        StorageError, StorageFullError
            It does not take it now either.
        """
        if self._failed:
            self.sync()

    def settle(self) -> None:
        """Sync, and let the manifest forget the bytes.

        Raises
        ------
        StorageError, StorageFullError
            The disk does not take the files; their bytes stay in the manifest.
        """
        self.sync()
        synced = self._taken_synced()
        if synced:
            try:
                self._manifest.open_for_writing().unsynced.forget(synced.values())
            except BaseException:
                self._give_back_synced(synced)
                raise

    def _taken_synced(self) -> dict[str, int]:
        """Take the files whose bytes are to be forgotten with the next commit."""
        if not self._synced:
            return {}
        with self._state:
            synced, self._synced = self._synced, {}
            return synced

    def _give_back_synced(self, synced: dict[str, int]) -> None:
        with self._state:
            self._synced |= synced

    def sync(self) -> None:
        """Wait until all files are on the disk.

        Raises
        ------
        StorageError, StorageFullError
            As for `settle`.
        """
        with self._syncing:
            self._mend()
            window = self._taken()
            if window is None:
                return
            with window.point, self._told_of_failure(window):
                self._wait_for_writers(window)
                _wait(window)
            with self._state:
                self._synced |= {uuid: kept.seq for uuid, kept in window.kept.items()}

    def _mend(self) -> None:
        if self._failed:
            unsynced = self._manifest.open_for_writing().unsynced
            restored = set(restore(self._manifest, unsynced.rows(self._failed.values())))
            with self._state:
                self._synced |= {uuid: seq for uuid, seq in self._failed.items() if seq in restored}
            self._failed = {}

    def _taken(self) -> Window | None:
        with self._state:
            window, self._window = self._window, None
            return window

    def _wait_for_writers(self, window: Window) -> None:
        """Wait until none of a window's files is being written any more; new ones have another window."""
        with self._state:
            self._state.wait_for(lambda: not window.under_way)

    @contextlib.contextmanager
    def _told_of_failure(self, window: Window) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._failed |= {uuid: kept.seq for uuid, kept in window.kept.items()}
            _log.warning(
                "%d new files of %s are not on the disk yet, their bytes are in its manifest: %s",
                len(window.kept),
                self._root,
                error,
            )
            raise


def _wait(window: Window) -> None:
    # What somebody removed meanwhile is a matter of `check`.
    kept = [each for each in window.kept.values() if os.path.lexists(each.path)]
    directories = {os.path.dirname(path) for each in kept for path in (each.path, each.named)}
    if kept:
        window.point.wait([each.path for each in kept], {path for path in directories if os.path.isdir(path)})
