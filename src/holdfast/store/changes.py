"""Own what is to happen to keys, before a back end does it: contents, changes and outcomes.

No back end and no event is known here.

>>> change = Change("k", text='{"b":2}', is_patch=True)
>>> resolve(change, '{"a":1}').text
'{"a":1,"b":2}'
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

import msgspec

from holdfast.errors import NotFoundError
from holdfast.store.inputs import encode_metadata
from holdfast.store.value import Value, decoded, held_value
from holdfast.types import Buffer

__all__ = [
    "Change",
    "Content",
    "FileTaker",
    "HeldContent",
    "HeldIncoming",
    "Incoming",
    "Outcome",
    "missing",
    "received",
    "resolve",
]


class Content(Protocol):
    """Hold new data that was received completely, until it is published or discarded."""

    @property
    def size(self) -> int:
        """The size in bytes."""
        ...

    def value(self, key: str, text: str, modified: float) -> Value:
        """Return what a store would give for a key with this data."""
        ...

    def discard(self) -> None:
        """Delete the data, unless it was published."""
        ...


# Nothing here can refer to itself: what is not tracked by the garbage collector makes many changes cheaper.
class HeldContent(msgspec.Struct, gc=False):
    """Hold new data in memory.

    Parameters
    ----------
    data : bytes
        The data.
    """

    data: bytes

    @property
    def size(self) -> int:
        """The size in bytes."""
        return len(self.data)

    def value(self, key: str, text: str, modified: float) -> Value:
        """Return what a store would give for a key with this data."""
        return held_value(self.data, text, modified, None, key)

    def discard(self) -> None:
        """Do nothing: memory is let go with the object."""


class Incoming(Protocol):
    """Receive new data piece by piece; exactly one of `finish` and `abort` is called, last."""

    def write(self, piece: Buffer, /) -> object:
        """Take the next bytes, which are valid only during the call unless they are `bytes`."""
        ...

    def finish(self) -> Content:
        """Return the data, complete."""
        ...

    def abort(self) -> None:
        """Leave no trace."""
        ...


class HeldIncoming:
    """Receive new data in memory."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, piece: Buffer) -> None:
        """Take the next bytes."""
        self._data += piece

    def finish(self) -> HeldContent:
        """Return the data, complete."""
        return HeldContent(bytes(self._data))

    def abort(self) -> None:
        """Forget what came."""
        self._data.clear()


@runtime_checkable
class FileTaker(Protocol):
    """Receive new data from a file, quicker than piece by piece."""

    def take(self, descriptor: int, buffer_size: int, progress: Callable[[int], object], /) -> object:
        """Take all from the position on, instead of `Incoming.write`."""
        ...


def received(
    incoming: Incoming,
    pieces: Iterable[Buffer],
    progress: Callable[[int], object],
    file: io.FileIO | None = None,
    buffer_size: int = 0,
) -> Content:
    """Receive all pieces.

    Parameters
    ----------
    incoming : Incoming
        What takes them; aborted by any exception.
    pieces : iterable of bytes-like
        The data.
    progress : callable
        Takes the bytes so far.
    file : binary file, optional
        Where the pieces come from, where that is an unbuffered file.
    buffer_size : int
        Bytes between two calls of `progress` for a file.

    Returns
    -------
    Content
        The data, complete.
    """
    try:
        if file is not None and isinstance(incoming, FileTaker):
            incoming.take(file.fileno(), buffer_size, progress)
            return incoming.finish()
        done = 0
        for piece in pieces:
            incoming.write(piece)
            done += len(piece)
            progress(done)
        return incoming.finish()
    except BaseException:
        incoming.abort()
        raise


class Change(msgspec.Struct, gc=False):
    """Say what a caller wants for one key.

    Parameters
    ----------
    key : str
        The key.
    content : Content, optional
        The new data; None keeps what there is, or is empty for a new key.
    text : str, optional
        The new metadata as JSON text; None keeps what there is, or is empty for a new key.
    is_patch : bool
        `text` is merged into the metadata of a key that must exist.
    is_removal : bool
        The key, which must exist, is deleted.
    """

    key: str
    content: Content | None = None
    text: str | None = None
    is_patch: bool = False
    is_removal: bool = False


class Outcome(msgspec.Struct, gc=False):
    """Say what one key shall be.

    Parameters
    ----------
    key : str
        The key.
    text : str
        Its metadata as JSON text; of a deleted key, what it was.
    content : Content or None
        Its new data; None keeps what there is, or is empty for a new key.
    is_new : bool
        The key did not exist.
    is_removal : bool
        The key shall not exist.
    """

    key: str
    text: str
    content: Content | None
    is_new: bool
    is_removal: bool = False


def resolve(change: Change, old: str | None) -> Outcome:
    """Return what a change makes of a key.

    Parameters
    ----------
    change : Change
        The wish.
    old : str or None
        The present metadata as JSON text; None when there is no such key.

    Returns
    -------
    Outcome
        What the key shall be.

    Raises
    ------
    NotFoundError
        For a patch or a removal of a key that does not exist.
    """
    if old is None and (change.is_patch or change.is_removal):
        raise missing(change.key)
    if change.is_removal:
        return Outcome(change.key, old or "", None, False, True)
    if change.is_patch:
        text = encode_metadata({**decoded(old or "{}"), **decoded(change.text or "{}")})
    else:
        text = change.text if change.text is not None else old or "{}"
    return Outcome(change.key, text, change.content, old is None)


def missing(key: str) -> NotFoundError:
    """Return the error for a key that does not exist."""
    return NotFoundError(f"no key {key!r:.200} in this store; list the keys with query_keys()", key=key)
