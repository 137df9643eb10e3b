"""Own the open appenders of a handle: find or open the right one, create entries, fold when due.

It does not know keys of records: it is given the paths of bases. After a fork the child starts without any.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable

from holdfast.errors import BusyError
from holdfast.files import os_errors, require_writer
from holdfast.formats.sealed.appender import Appender, StaleError
from holdfast.formats.sealed.fold import attach, fold, is_due
from holdfast.formats.sealed.log import NO_KEY
from holdfast.formats.sealed.publish import create, nothing
from holdfast.formats.sealed.rows import NewRows
from holdfast.types import Durability

__all__ = ["Appends"]

_OPEN_ENTRIES = 32
_TRIES = 1000


class Appends:
    """Append to entries, keeping the latest ones open. Safe across threads, processes and forks.

    Parameters
    ----------
    durability : {"sync", "group", "os"}
        When rows must be on the disk.
    """

    def __init__(self, durability: Durability) -> None:
        self._durability: Durability = durability
        self._open: OrderedDict[str, Appender] = OrderedDict()
        self._mutex = threading.Lock()
        self._pid = os.getpid()

    def append(
        self, path: str, what: str, rows: NewRows, key: bytes = NO_KEY, before: Callable[[], None] = nothing
    ) -> int:
        """Append rows to an entry in one step, creating it if needed.

        Parameters
        ----------
        path : str
            The base.
        what : str
            The entry, for messages.
        rows : NewRows
            The rows.
        key : bytes, optional
            An idempotency key of 16 bytes: an append whose key is remembered changes nothing.
        before : callable, optional
            Called under the directory's lock before an entry is created.

        Returns
        -------
        int
            The number of the first row, also of the earlier append with the same key.

        Raises
        ------
        LookupError
            When the file bears no seal.
        InvalidTypeError
            When the rows do not fit; nothing has changed.
        HashError
            When the entry is damaged.
        StorageFullError, StorageError
            When the disk is full or fails; the rows are not there.
        NotFoundError
            When the directory is not there.
        """
        for _ in range(_TRIES):
            appender = self._appender(path, what)
            if appender is None:
                if create(path, rows, key, before):
                    return 0
                continue
            try:
                first = appender.append(rows, key, self._durability)
            except StaleError:
                self.forget(path)
                continue
            if is_due(appender):
                fold(appender)
                self.forget(path)
            return first
        raise BusyError(f"{what} is replaced faster than rows can be appended; try again")

    def is_open(self, path: str) -> bool:
        """Tell whether an entry was appended to lately through this object in this process."""
        return self._pid == os.getpid() and path in self._open

    def _appender(self, path: str, what: str) -> Appender | None:
        """Return the open appender of an entry; None when there is no entry."""
        self._renew_after_fork()
        with self._mutex:
            found = self._open.get(path)
            if found is not None:
                self._open.move_to_end(path)
                return found
        require_writer(os.path.dirname(path), "append")
        while (appender := self._attached(path, what)) is None:
            if not os.path.lexists(path):
                return None
        with self._mutex:
            self._open[path] = appender
            closing = [self._open.popitem(last=False)[1] for _ in range(len(self._open) - _OPEN_ENTRIES)]
        for each in closing:
            each.commit()
        return appender

    def _attached(self, path: str, what: str) -> Appender | None:
        try:
            with os_errors(what, "append to"):
                return attach(path, what)
        except FileNotFoundError:
            return None

    def _renew_after_fork(self) -> None:
        if self._pid != os.getpid():
            self._mutex = threading.Lock()
            self._open, self._pid = OrderedDict(), os.getpid()

    def forget(self, path: str) -> None:
        """Give up the appender of an entry; it closes when no thread uses it any more."""
        with self._mutex:
            self._open.pop(path, None)

    def close(self) -> None:
        """Commit what waits and give up all appenders."""
        self._renew_after_fork()
        with self._mutex:
            closing, self._open = list(self._open.values()), OrderedDict()
        for appender in closing:
            appender.close()
