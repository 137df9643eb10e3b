"""Own when ``manifest.yaml`` is read and written: exact at rest, at most a second behind while somebody adds.

Its form is `holdfast.archive.yamlform`'s; what it should say, its manifest's.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

from holdfast import files
from holdfast.archive import lifetimes
from holdfast.archive.aside import set_aside
from holdfast.archive.entries import Entry, Listed
from holdfast.archive.yamlform import ManifestText, is_untouched, parsed, written
from holdfast.errors import HoldfastError, NotFoundError, UnreadableError

__all__ = ["YAML", "State", "YamlFile", "without_known"]

YAML = "manifest.yaml"
# How long it may be behind while somebody adds, with the time that writing it takes.
_BEHIND_S = 0.6
# From here on writing it each time would slow adding down: it may be behind by one of so many entries.
_LONG_S, _SHARE = 0.05, 50
# Below this many entries writing is so quick that a writer who comes seldom never leaves it behind.
_FEW = 500


class State(NamedTuple):
    """What the file should say; all ``entries`` are sorted, the ``foreign`` ones are among them."""

    name: str
    entries: Sequence[Listed]
    uid: str
    foreign: tuple[Entry, ...]


class YamlFile:
    """The YAML manifest of one archive.

    Parameters
    ----------
    folder : str
        The archive's ``.manifest``.
    state : callable
        Returns the `State` that it should show.
    told : callable
        Takes the `signature` of a file that was just written, and the foreign entries in it.
    settle : callable, optional
        Called now and then while it is left behind on purpose.
    """

    def __init__(
        self,
        folder: str,
        state: Callable[[], State],
        told: Callable[[Hashable, tuple[Entry, ...]], None],
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = os.path.join(folder, YAML)
        self._folder = folder
        self._state = state
        self._told, self._settle = told, settle
        self._written_at = self._took_s = 0.0
        self._listed = 0
        self._failure: Exception | None = None
        self.leave_to_parent()

    def leave_to_parent(self) -> None:
        """Forget, in a forked child, what the parent will write."""
        self._guard = threading.Lock()
        self._timer: threading.Timer | None = None
        self._is_behind = False
        self._added = self._seen = 0

    # -- reading ---------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Tell whether there is one."""
        return os.path.exists(self.path)

    def signature(self) -> Hashable:
        """Return what changes when somebody writes it; None where there is none."""
        try:
            return _signature(os.stat(self.path))
        except FileNotFoundError:
            return None

    def content(self) -> bytes:
        """Return the file's bytes; `NotFoundError` where there is none."""
        with files.os_errors(self.path, "read"), open(self.path, "rb") as file:
            return file.read()

    def text(self) -> ManifestText:
        """Return what it says.

        Raises
        ------
        UnreadableError
            It is lost, empty, cut off or something else.
        """
        try:
            return parsed(self.content(), self.path)
        except NotFoundError:
            raise UnreadableError(
                f"the archive {os.path.dirname(self._folder)} has lost its manifests; make them anew "
                "from its files with 'holdfast archive rebuild'"
            ) from None

    # -- writing ---------------------------------------------------------------------------------------

    def fall_behind(self, added: int, count: Callable[[], int]) -> None:
        """Take note of entries that should be in it: it is written now if that is cheap, else soon.

        Parameters
        ----------
        added : int
            How many.
        count : callable
            Returns how many entries there are; asked only of writers who come seldom.
        """
        with self._guard:
            self._is_behind = True
            self._added += added
            if self._timer is not None:
                return
            is_seldom = time.monotonic() - self._written_at > 2 * _BEHIND_S
            if not (is_seldom and count() <= _FEW):
                self._write_later()
                return
        self._write_quietly()

    def _write_later(self) -> None:
        self._seen = self._added
        self._timer = lifetimes.later(max(_BEHIND_S - self._took_s, _BEHIND_S / 4), self._write_if_due)

    def _write_if_due(self) -> None:
        with self._guard:
            is_busy = self._added != self._seen
            is_too_soon = is_busy and self._took_s > _LONG_S and self._added * _SHARE < self._listed
            if is_too_soon:
                self._write_later()
        if is_too_soon:
            with contextlib.suppress(HoldfastError):  # who adds or closes is told
                self._settle()
        else:
            self._write_quietly()

    def mark_behind(self) -> None:
        """Have the next `flush` write it in any case."""
        self._is_behind = True

    def _write_quietly(self) -> None:
        """Write it; a failure is kept for `flush`, for what was added is recorded already."""
        with self._guard:
            self._timer = None
        try:
            self._write()
        except (HoldfastError, OSError) as error:
            self._failure = error

    def flush(self) -> None:
        """Bring it up to date.

        Raises
        ------
        StorageFullError, StorageError
            It cannot be written; the old one is intact, and the database knows everything.
        """
        with self._guard:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._write()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _write(self) -> None:
        # Looked at again under the lock, which reading alone must not make; a removed archive needs no file.
        if not self._is_behind or not os.path.isdir(self._folder):
            return
        with files.lock(os.path.join(self._folder, "manifest.lock")):
            if not self._was_behind():
                return
            started = time.monotonic()
            try:
                self._keep_damaged()
                state = self._state()
                with files.open_atomic(self.path) as out:
                    out.write(written(state.name, state.entries, state.uid, len(state.foreign)))
                    found = out.stat()
                self._told(_signature(found), state.foreign)
                self._listed = len(state.entries)
            except BaseException:
                self._is_behind = True
                raise
        self._failure, self._written_at = None, time.monotonic()
        self._took_s = self._written_at - started

    def _was_behind(self) -> bool:
        with self._guard:
            was, self._is_behind = self._is_behind, False
            self._added = 0
        return was

    def _keep_damaged(self) -> None:
        """Move a file aside that is no manifest: it may hold what only the original knew."""
        try:
            content = self.content()
            if not is_untouched(content):
                parsed(content, self.path)
        except NotFoundError:
            return
        except UnreadableError:
            set_aside(os.path.dirname(self._folder), self.path)


def _signature(found: os.stat_result) -> Hashable:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def without_known(entries: Iterable[Entry], known: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return the entries at places that the others do not have."""
    places = {entry.place for entry in known}
    return tuple(entry for entry in entries if entry.place not in places)
