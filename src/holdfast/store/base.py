"""Own the contract of key-value stores: data and metadata under keys, with events, queries, transactions.

One class states it; every back end fulfils it, proved by `holdfast.testing.StoreTests`.

>>> from holdfast.store import MemoryStore
>>> store = MemoryStore()
>>> store.from_bytes("k", b"data"); store.update_metadata("k", {"n": 1})
>>> store.to_bytes("k"), list(store.query(n=1))
(b'data', [('k', {'n': 1})])
"""

from __future__ import annotations

import io
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from holdfast import files
from holdfast.errors import UnreadableError
from holdfast.reports import Report
from holdfast.store.changes import Change, Content, HeldIncoming, Incoming, Outcome, received, resolve
from holdfast.store.events import StoreModificationEvent, StoreProgress, StoreProgressEvent
from holdfast.store.inputs import encode_metadata, pieces_of, require_stream, split_value, wrapped
from holdfast.store.names import check_key
from holdfast.store.reading import BUFFER_BYTES, ReadableStore
from holdfast.store.transactions import Transaction, event_of
from holdfast.types import Json, PathLike

__all__ = ["Store"]

_TAKE_FROM = 1 << 20


class Store(ReadableStore):
    """Keep a stream of bytes and a dict of metadata under each key.

    A store is safe across threads and forks, is a context manager, and is pickled by its address.

    Notes
    -----
    A back end adds to what `ReadableStore` needs: `_incoming`, which receives new data completely before
    anything is changed; `_exclusive`, the right to write; and `_apply`, which makes outcomes true together.

    References
    ----------
    ``encore.storage.abstract_store.AbstractStore`` of encore 0.8.
    """

    # What a back end gives -----------------------------------------------------------------------------

    def _incoming(self, key: str, size: int = -1) -> Incoming:
        """Return what receives new data for a key; nothing is changed before it is applied."""
        return HeldIncoming()

    @abstractmethod
    def _exclusive(self) -> AbstractContextManager[object]:
        """Take the right to write; others wait. Not reentrant."""

    @abstractmethod
    def _apply(self, outcomes: Sequence[Outcome]) -> None:
        """Make all outcomes true, or none; called inside `_exclusive`."""

    @abstractmethod
    def check(self) -> Report:
        """Verify all that is kept against what was recorded.

        Returns
        -------
        Report
            ``checked`` counts the keys. Findings are ``changed`` (bytes differ though size and time do not),
            ``missing`` (metadata without data), ``extra`` (data without metadata) and ``unreadable``.
        """

    # One key -------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Json]:
        """Describe the store.

        Returns
        -------
        dict
            At least ``type``, ``version``, ``readonly`` and ``authorizing``.
        """
        return super().info() | {"readonly": False}

    def set(self, key: str, value: Any, buffer_size: int = BUFFER_BYTES) -> None:
        """Keep data and metadata under a key, in place of what was there.

        Readers see the old pair or the new pair. The stream is read to its end, then closed, before anything
        is changed: if it fails, the old pair stays.

        Parameters
        ----------
        key : str
            Any text but the empty one and one with NUL.
        value : tuple of (file-like, dict), or Value
            A readable binary stream and the metadata.
        buffer_size : int
            Bytes to read at a time.

        Raises
        ------
        InvalidInputError
            For a key, value, stream or metadata that cannot be kept; the path into the metadata is named.
        StorageFullError, StorageError, ReadOnlyError
            The disk is full or failing, or may not be written.
        BusyError
            Another writer did not finish in time.

        Events
        ------
        StoreProgressStartEvent
            Before the first byte; ``steps`` is the size in bytes, -1 where unknown.
        StoreProgressStepEvent
            After each buffer; ``step`` is the bytes read so far.
        StoreProgressEndEvent
            After the last byte, or the failure.
        StoreSetEvent
            For a key that is new.
        StoreUpdateEvent
            For a key that existed.
        """
        check_key(key)
        stream, metadata, size = split_value(value)
        text = encode_metadata(metadata)
        content = self._receive(key, stream, metadata, size, buffer_size)
        self._commit(Change(key, content, text))

    def delete(self, key: str) -> None:
        """Delete a key, its data and its metadata.

        Parameters
        ----------
        key : str
            The key.

        Raises
        ------
        NotFoundError
            There is no such key (a `KeyError`).

        Events
        ------
        StoreDeleteEvent
            With the metadata that the key had.
        """
        self._commit(Change(check_key(key), is_removal=True))

    def set_data(self, key: str, data: Any, buffer_size: int = BUFFER_BYTES) -> None:
        """Replace the data of a key and keep its metadata; a new key gets none.

        Parameters
        ----------
        key : str
            The key.
        data : file-like
            A readable binary stream; closed after reading.
        buffer_size : int
            Bytes to read at a time.

        Raises
        ------
        InvalidInputError, StorageFullError, StorageError, ReadOnlyError, BusyError
            As for `set`.

        Events
        ------
        StoreProgressStartEvent, StoreProgressStepEvent, StoreProgressEndEvent, StoreSetEvent,
        StoreUpdateEvent
            As for `set`.
        """
        self._set_data(check_key(key), data, -1, buffer_size)

    def _set_data(self, key: str, data: Any, size: int, buffer_size: int) -> None:
        self._commit(Change(key, self._receive(key, data, {}, size, buffer_size)))

    def set_metadata(self, key: str, metadata: Mapping[str, Json]) -> None:
        """Replace the metadata of a key and keep its data; a new key gets empty data.

        Parameters
        ----------
        key : str
            The key.
        metadata : dict
            Text keys; values that JSON can carry.

        Raises
        ------
        InvalidInputError, StorageFullError, StorageError, ReadOnlyError, BusyError
            As for `set`.

        Events
        ------
        StoreSetEvent, StoreUpdateEvent
            As for `set`.
        """
        self._commit(Change(check_key(key), text=encode_metadata(metadata)))

    def update_metadata(self, key: str, metadata: Mapping[str, Json]) -> None:
        """Merge fields into the metadata of a key, as `dict.update` does.

        Parameters
        ----------
        key : str
            The key.
        metadata : dict
            The fields to add or replace.

        Raises
        ------
        NotFoundError
            There is no such key (a `KeyError`).
        InvalidInputError, StorageFullError, StorageError, ReadOnlyError, BusyError
            As for `set`.

        Events
        ------
        StoreUpdateEvent
            With all the metadata after the change.
        """
        self._commit(Change(check_key(key), text=encode_metadata(metadata), is_patch=True))

    def _receive(
        self, key: str, stream: Any, metadata: Mapping[str, Json], size: int, buffer_size: int
    ) -> Content:
        is_held = type(stream) is io.BytesIO and not stream.closed and buffer_size > 0
        if is_held and not self.event_manager.has_listeners(StoreProgressEvent):
            # The commonest source needs no steps when nobody counts them.
            with stream:
                return self._hold(key, stream.read())
        require_stream(stream)
        try:
            with StoreProgress(self, key, metadata, f"Setting key {key!r}", size) as progress:
                pieces = pieces_of(stream, buffer_size, key)
                is_file = type(stream) is io.FileIO and size >= _TAKE_FROM and buffer_size > 0
                file = stream if is_file else None
                return received(self._incoming(key, size), pieces, progress, file, buffer_size)
        finally:
            if hasattr(stream, "close"):
                stream.close()

    def _hold(self, key: str, data: bytes) -> Content:
        """Receive new data that are in memory already."""
        return received(self._incoming(key, len(data)), (data,), lambda done: None)

    def _commit(self, change: Change, *, asks_if_new: bool = False) -> Outcome:
        transaction = self._local.transaction
        try:
            if transaction is not None:
                return transaction.add(change, asks_if_new=asks_if_new)
            with self._exclusive():
                outcome = self._resolved(change, asks_if_new=asks_if_new)
                self._apply((outcome,))
        except BaseException:
            if change.content is not None:
                change.content.discard()
            raise
        if self.event_manager.has_listeners(StoreModificationEvent):
            self.event_manager.emit(event_of(self, outcome))
        return outcome

    def _resolved(self, change: Change, *, asks_if_new: bool) -> Outcome:
        if self._is_plain(change, asks_if_new=asks_if_new):
            return Outcome(change.key, change.text or "", change.content, False)
        return resolve(change, self._old(change))

    def _is_plain(self, change: Change, *, asks_if_new: bool) -> bool:
        """Tell whether a change replaces all of a key and nobody asks what was there before."""
        is_whole = change.content is not None and change.text is not None
        return is_whole and not asks_if_new and not self.event_manager.has_listeners(StoreModificationEvent)

    def _conclude(self, transaction: Transaction) -> None:
        """Make the outcomes of a transaction true, or none; called inside `_exclusive`."""
        self._apply(list(transaction.outcomes.values()))

    def _old(self, change: Change) -> str | None:
        """Return as much of the present metadata as a change needs; what it replaces may be damaged."""
        if change.text is not None and not change.is_patch:
            return "{}" if self._has(change.key) else None
        try:
            return self._text(change.key)
        except UnreadableError:
            if not change.is_removal:
                raise
            return "{}"

    # Many keys -----------------------------------------------------------------------------------------

    def multiset(self, keys: Iterable[str], values: Iterable[Any], buffer_size: int = BUFFER_BYTES) -> None:
        """Set data and metadata of many keys in one transaction.

        As with `zip`, what is left over of the longer iterable is ignored.

        Parameters
        ----------
        keys : iterable of str
            The keys.
        values : iterable of tuple or Value
            As for `set`.
        buffer_size : int
            Bytes to read at a time.

        Raises
        ------
        InvalidInputError, StorageFullError, StorageError, ReadOnlyError, BusyError
            As for `set`; then no key was changed.

        Events
        ------
        StoreTransactionStartEvent, StoreTransactionEndEvent
            Around the whole; the events of `set` follow for each key.
        """
        with self.transaction("Setting many keys"):
            for key, value in zip(wrapped(keys), values, strict=False):
                self.set(key, value, buffer_size)

    def multiset_data(
        self, keys: Iterable[str], datas: Iterable[Any], buffer_size: int = BUFFER_BYTES
    ) -> None:
        """Replace the data of many keys in one transaction; see `set_data` and `multiset`.

        Parameters
        ----------
        keys : iterable of str
            The keys.
        datas : iterable of file-like
            As for `set_data`.
        buffer_size : int
            Bytes to read at a time.
        """
        with self.transaction("Setting the data of many keys"):
            for key, data in zip(wrapped(keys), datas, strict=False):
                self.set_data(key, data, buffer_size)

    def multiset_metadata(self, keys: Iterable[str], metadatas: Iterable[Mapping[str, Json]]) -> None:
        """Replace the metadata of many keys in one transaction; see `set_metadata` and `multiset`.

        Parameters
        ----------
        keys : iterable of str
            The keys.
        metadatas : iterable of dict
            As for `set_metadata`.
        """
        with self.transaction("Setting the metadata of many keys"):
            for key, metadata in zip(wrapped(keys), metadatas, strict=False):
                self.set_metadata(key, metadata)

    def multiupdate_metadata(self, keys: Iterable[str], metadatas: Iterable[Mapping[str, Json]]) -> None:
        """Merge fields into the metadata of many keys in one transaction; see `update_metadata`, `multiset`.

        Parameters
        ----------
        keys : iterable of str
            The keys.
        metadatas : iterable of dict
            As for `update_metadata`.
        """
        with self.transaction("Updating the metadata of many keys"):
            for key, metadata in zip(wrapped(keys), metadatas, strict=False):
                self.update_metadata(key, metadata)

    def transaction(self, notes: str = "") -> AbstractContextManager[Transaction]:
        """Let the changes of a ``with`` block happen together, or not at all.

        Reads of the same thread see the changes before them; other threads and processes see none until the
        block ends without an exception, then all. A transaction inside another joins it.

        Parameters
        ----------
        notes : str
            What it is for; goes into the events.

        Returns
        -------
        context manager
            Other writers wait while it is open.

        Events
        ------
        StoreTransactionStartEvent
            At the beginning.
        StoreTransactionEndEvent
            At the end, with ``state`` ``done`` or ``failed``.
        StoreSetEvent, StoreUpdateEvent, StoreDeleteEvent
            After a successful end, in the order of the changes; none after a failure.
        """
        return Transaction(self, notes)

    # Data in -------------------------------------------------------------------------------------------

    def from_file(self, key: str, path: PathLike, buffer_size: int = BUFFER_BYTES) -> None:
        """Replace the data of a key by the content of a file; see `set_data`.

        Parameters
        ----------
        key : str
            The key; its metadata is kept.
        path : path-like
            The file.
        buffer_size : int
            Bytes to read at a time.

        Raises
        ------
        NotFoundError
            There is no such file.
        """
        check_key(key)
        with files.os_errors(path, "read"):
            stream = open(path, "rb", buffering=0)  # noqa: SIM115 - what receives a stream closes it
            size = os.fstat(stream.fileno()).st_size
        self._set_data(key, stream, size, buffer_size)

    def from_bytes(self, key: str, data: bytes, buffer_size: int = BUFFER_BYTES) -> None:
        """Replace the data of a key by bytes; see `set_data`.

        Parameters
        ----------
        key : str
            The key; its metadata is kept.
        data : bytes-like
            The data.
        buffer_size : int
            Bytes to read at a time.
        """
        self._set_data(check_key(key), io.BytesIO(data), len(data), buffer_size)
