"""Own what happens to open archives at a fork and at the end of the program.

A manifest that is behind is written before the interpreter ends; a forked child leaves that to its parent.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from types import MethodType
from typing import Protocol

__all__ = ["forget", "later", "watch"]


class _Open(Protocol):
    def close(self) -> None: ...

    def leave_to_parent(self) -> None: ...


_open: weakref.WeakSet[_Open] = weakref.WeakSet()


def watch(manifest: _Open) -> None:
    """Close a manifest at the end of the program, unless it was closed or forgotten before."""
    _open.add(manifest)


def forget(manifest: _Open) -> None:
    """Take a manifest off the list: it is closed."""
    _open.discard(manifest)


def later(seconds: float, method: Callable[[], None]) -> threading.Timer:
    """Call a bound method after a while, without keeping its object alive.

    Parameters
    ----------
    seconds : float
        How long to wait.
    method : bound method
        Called without arguments, if its object is still there.

    Returns
    -------
    threading.Timer
        Started; it does not keep the program from ending.
    """
    assert isinstance(method, MethodType)
    weak = weakref.WeakMethod(method)

    def call() -> None:
        """Call it, if its object is still there."""
        alive = weak()
        if alive is not None:
            alive()

    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    return timer


def _close_all() -> None:
    for manifest in list(_open):
        manifest.close()


def _leave_all_to_parent() -> None:
    for manifest in list(_open):
        manifest.leave_to_parent()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_leave_all_to_parent)
