"""Own what a record and its subrecords share: open appenders, the thread's transaction, cleaning once.

It does not know values. One exists for each `Record` that a user makes.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.files import file_system, sweep
from holdfast.formats.sealed import Appends, sweep_logs
from holdfast.types import Durability

if TYPE_CHECKING:
    from holdfast.records.transactions import Staging

__all__ = ["Session"]


class Session:
    """Hold the shared state of a handle; safe across threads and forks.

    Parameters
    ----------
    root : str
        The directory of the handle.
    durability : {"sync", "group", "os"}
        When writes must be on the disk.
    """

    def __init__(self, root: str, durability: Durability) -> None:
        self.root = root
        self.durability: Durability = durability
        self.appends = Appends(durability)
        self._local = threading.local()
        self._swept: set[str] = set()
        self._recovered: int | None = None

    @property
    def staging(self) -> Staging | None:
        """The transaction of this thread, None outside."""
        return getattr(self._local, "staging", None)

    @staging.setter
    def staging(self, value: Staging | None) -> None:
        """Begin or end the transaction of this thread."""
        self._local.staging = value

    def needs_recovery(self) -> bool:
        """Tell, once in each process, that left-over transactions must be looked for."""
        if self._recovered == os.getpid():
            return False
        self._recovered = os.getpid()
        return True

    def sweep_once(self, directory: str) -> None:
        """Clear what dead writers left in a directory, before the first write to it."""
        if directory in self._swept:
            return
        self._swept.add(directory)
        try:
            if file_system(directory).kind == "local":
                sweep(directory)
                sweep_logs(directory)
        except HoldfastError:
            # Nobody needs the room that it would give; the write itself says what is wrong.
            return
