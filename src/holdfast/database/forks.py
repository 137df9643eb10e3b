"""Own the moment of a fork: SQLite connections must not cross it, so they are closed before and made anew.

It does not open connections; a file does, and asks to be paused here.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from typing import Protocol

__all__ = ["leave_behind", "watch"]


class _Pausable(Protocol):
    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abandon(self) -> None: ...


_watched: weakref.WeakSet[_Pausable] = weakref.WeakSet()
# Closing a parent's connection in a child could remove the parent's log: such connections are kept for ever.
_left_behind: list[sqlite3.Connection | sqlite3.Cursor] = []


def watch(file: _Pausable) -> None:
    """Pause a database file around every fork of this process.

    Parameters
    ----------
    file : object
        With ``pause()`` before a fork, ``resume()`` after it in the parent, ``abandon()`` in the child.
    """
    _watched.add(file)


def leave_behind(connection: sqlite3.Connection | sqlite3.Cursor) -> None:
    """Keep a connection of the parent process, or a cursor of one, from ever being closed in this child."""
    _left_behind.append(connection)


_forking = threading.Lock()
_paused: list[_Pausable] = []


def _before() -> None:
    _forking.acquire()
    _paused[:] = _watched
    for file in _paused:
        file.pause()


def _after_in_parent() -> None:
    for file in _paused:
        file.resume()
    _paused.clear()
    _forking.release()


def _after_in_child() -> None:
    for file in list(_watched):
        file.abandon()
    _paused.clear()
    _forking.release()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
