"""Own the waking of those who wait for rows: one thread looks at the files of all, and holds nobody's.

It does not read rows: ``following`` does.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable

__all__ = ["Watcher"]

_PERIOD_S = 0.03
Wake = Callable[[], None]
State = tuple[tuple[int, int, int], ...]


class Watcher:
    """Call back when the files of an entry change.

    The thread runs only while somebody waits; it looks at each directory once in a round, and at the
    files in it only for those entries that are waited for.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, set[Wake]] = defaultdict(set)
        self._state: dict[str, State] = {}
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None

    def subscribe(self, path: str, wake: Wake) -> Callable[[], None]:
        """Have a function called when an entry may have changed.

        Parameters
        ----------
        path : str
            Its base.
        wake : callable
            Called from the watcher's thread.

        Returns
        -------
        callable
            Ends it.
        """
        with self._mutex:
            self._waiting[path].add(wake)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="holdfast-watcher", daemon=True)
                self._thread.start()
        return lambda: self._leave(path, wake)

    def _leave(self, path: str, wake: Wake) -> None:
        with self._mutex:
            self._waiting[path].discard(wake)
            if not self._waiting[path]:
                self._waiting.pop(path)
                self._state.pop(path, None)

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(_PERIOD_S):
            with self._mutex:
                if not self._waiting:
                    self._thread = None
                    return
                paths = list(self._waiting)
            listings = {
                directory: _names(directory) for directory in {os.path.dirname(path) for path in paths}
            }
            for path in paths:
                self._look(path, listings[os.path.dirname(path)])

    def _look(self, path: str, names: list[str]) -> None:
        now = _state(path, names)
        with self._mutex:
            before = self._state.get(path)
            self._state[path] = now
            waking = list(self._waiting.get(path, ())) if before != now else []
        for wake in waking:
            wake()


def _names(directory: str) -> list[str]:
    """Return the names of the logs in a directory."""
    try:
        return [name for name in os.listdir(directory) if name.endswith(".log")]
    except OSError:
        return []


def _state(path: str, names: list[str]) -> State:
    """Return what changes when an entry is appended to, folded, written anew or deleted."""
    directory, name = os.path.split(path)
    prefix = f"_{name.removesuffix('.h5')}."
    logs = [os.path.join(directory, each) for each in names if each.startswith(prefix)]
    return tuple(_file(each) for each in (path, *logs))


def _file(path: str) -> tuple[int, int, int]:
    try:
        stat = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)
