"""Own waiting for rows: a log grows, a base is replaced, an entry appears.

It takes no lock and changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from holdfast.errors import NotFoundError
from holdfast.formats.sealed import SealedView, change_token, try_open

__all__ = ["Follower", "follow_rows"]

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.02
_ROWS = 1024


class Follower:
    """Take the new rows of an entry, again and again.

    Parameters
    ----------
    path : str
        The base, which need not exist yet.
    what : str
        The entry, for messages.
    start : int
        The first row; negative counts from the end at the first look.
    """

    def __init__(self, path: str, what: str, start: int = 0) -> None:
        self._path, self._what = path, what
        self.row = start
        self._origin: str | None = None
        self._token: str | None = None

    def take(self, limit: int = _ROWS) -> list[Any]:
        """Return rows that have arrived since the last call; never waits.

        Parameters
        ----------
        limit : int, default 1024
            At most so many.

        Returns
        -------
        list of ndarray or scalar
            The rows. After the entry was written anew they begin with its row 0.

        Raises
        ------
        HashError
            When it is damaged.
        """
        try:
            token = change_token(self._path)
            if token == self._token:
                return []
            view = try_open(self._path, self._what)
        except NotFoundError:
            self._token = None
            return []
        if view is None or not view.shape:
            self._token = token
            if view is not None:
                view.close()
            return []
        with view:
            self._begin(view)
            stop = min(view.shape[0], self.row + limit)
            self._token = token if stop == view.shape[0] else None
            rows = list(view[self.row : stop])
        self.row = max(self.row, stop)
        return rows

    def _begin(self, view: SealedView) -> None:
        if self._origin is None and self.row < 0:
            self.row = max(0, view.shape[0] + self.row)
        elif self._origin is not None and self._origin != view.origin:
            self.row = 0
        self._origin = view.origin


def follow_rows(path: str, what: str, start: int, timeout: float | None) -> Iterator[Any]:
    """Yield rows as they arrive; see `holdfast.records.Record.follow`."""
    follower = Follower(path, what, start)
    last, pause = time.monotonic(), _FIRST_PAUSE_S
    while True:
        rows = follower.take()
        if rows:
            yield from rows
            last, pause = time.monotonic(), _FIRST_PAUSE_S
            continue
        left = float("inf") if timeout is None else last + timeout - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE_S)
