"""Saving a computed answer: as a file that appears whole or not at all, or into something that is open.

Owns the way of the bytes and the events on it; the server decides what they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from holdfast.catalog.client.session import Pairs, Path, Session
from holdfast.events import ProgressEnd, ProgressStart, ProgressStep, bus
from holdfast.files import open_atomic
from holdfast.http.client.verify import checked_pieces
from holdfast.http.frames import FRAMES_MEDIA_TYPE
from holdfast.types import Buffer, PathLike

__all__ = ["OPERATION", "save"]

OPERATION = "export"
"""The name of the operation in progress events; its steps are bytes."""

_ACCEPT = f"{FRAMES_MEDIA_TYPE}, */*;q=0.9"


def save(session: Session, route: str, path: Path, query: Pairs, target: PathLike | BinaryIO) -> None:
    """Save what a route answers.

    Parameters
    ----------
    session : Session
        The catalog.
    route : str
        Such as ``array/full``.
    path : tuple of str
        The node.
    query : sequence of pairs
        What is asked.
    target : path-like or binary file
        A file to write, or one that is open; only the first appears whole or not at all.

    Events
    ------
    ProgressStart, ProgressStep, ProgressEnd
        Of the operation ``export``: bytes, of how many where the server knows it before.
    """
    pieces = _told(session, route, path, query)
    if not isinstance(target, str | os.PathLike):
        for piece in pieces:
            target.write(piece)
        return
    with open_atomic(target) as out:
        for piece in pieces:
            out.write(piece)


def _told(session: Session, route: str, path: Path, query: Pairs) -> Iterator[Buffer]:
    """Give the pieces of an answer, verified as far as the server can, and tell who listens of them."""
    place = session.route(route, path)
    with _ended(), session.connection.open("GET", place, query, headers={"accept": _ACCEPT}) as answer:
        size = answer.headers.get("holdfast-size") or answer.headers.get("content-length") or ""
        total = int(size) if size.isdecimal() else -1
        bus.emit(ProgressStart(operation=OPERATION, message="/".join(path), steps=total))
        done = 0
        for piece in checked_pieces(answer, place):
            yield piece
            done += memoryview(piece).nbytes
            if bus.has_listeners(ProgressStep):
                bus.emit(ProgressStep(operation=OPERATION, step=done, steps=total))


@contextmanager
def _ended() -> Iterator[None]:
    state = "exception"
    try:
        yield
        state = "normal"
    finally:
        bus.emit(ProgressEnd(operation=OPERATION, exit_state=state))
