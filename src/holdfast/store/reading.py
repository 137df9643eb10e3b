"""Own the half of the contract that reads: what every store, writable or not, answers.

A back end gives `_find`, `_text`, `_search` and `_keys`; everything else is made of these here.
"""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import translate
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from holdfast import files
from holdfast.queries import Query
from holdfast.store.changes import missing
from holdfast.store.events import StoreProgress, get_event_manager
from holdfast.store.inputs import chosen, wrapped
from holdfast.store.matching import Condition, Found, condition_of
from holdfast.store.names import check_key
from holdfast.store.outgoing import bytes_of, write_out
from holdfast.store.value import Value, decoded, held_value
from holdfast.types import Json, PathLike

if TYPE_CHECKING:
    from holdfast.store.transactions import Transaction

__all__ = ["BUFFER_BYTES", "ReadableStore"]


class _Local(threading.local):
    """Keep what a thread has open."""

    transaction: Transaction | None = None


BUFFER_BYTES = 1048576
"""How many bytes move at a time unless the caller says otherwise."""


class ReadableStore(ABC):
    """Answer everything that can be asked about keys.

    Attributes
    ----------
    event_manager : EventManager
        Where the store tells what happens; the process's own unless it is replaced.
    """

    def __init__(self) -> None:
        self.event_manager = get_event_manager()
        self._connected = False
        self._local = _Local()

    # What a back end gives -----------------------------------------------------------------------------

    @abstractmethod
    def _find(self, key: str) -> Value:
        """Return the value of a checked key, or raise `NotFoundError`."""

    @abstractmethod
    def _text(self, key: str) -> str | None:
        """Return the metadata of a checked key as JSON text, or None when there is no such key."""

    @abstractmethod
    def _search(self, condition: Condition) -> Iterator[Found]:
        """Yield every key that fulfils a condition with its metadata, which the caller may change."""

    @abstractmethod
    def _keys(self, pattern: str) -> Iterator[str]:
        """Yield at least every key that matches a glob pattern."""

    # Connection ----------------------------------------------------------------------------------------

    def connect(self, credentials: object = None) -> None:
        """Connect to the store, and take up what long-lived resources it needs.

        Every method also works without; after `connect` the first one is not slower than the next.

        Parameters
        ----------
        credentials : object, optional
            What the back end needs to be let in; most need nothing.
        """
        self._connected = True

    def disconnect(self) -> None:
        """Disconnect from the store and let go of its resources; a later call takes them up again."""
        self._connected = False

    def is_connected(self) -> bool:
        """Tell whether the store is connected.

        Returns
        -------
        bool
            True between `connect` and `disconnect`.
        """
        return self._connected

    def info(self) -> dict[str, Json]:
        """Describe the store.

        Returns
        -------
        dict
            At least ``type``, ``version``, ``readonly`` and ``authorizing``.
        """
        return {"type": type(self).__name__, "version": 0, "readonly": True, "authorizing": False}

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    # One key -------------------------------------------------------------------------------------------

    def get(self, key: str) -> Value:
        """Return the data and the metadata of a key.

        Parameters
        ----------
        key : str
            The key.

        Returns
        -------
        Value
            Unpacks as ``data, metadata``: a binary stream and a dict. Both are of one moment.

        Raises
        ------
        NotFoundError
            There is no such key (a `KeyError`).
        HashError
            The data is not what was written; for large data, raised by the stream.
        UnreadableError
            The metadata file is damaged.
        """
        transaction = self._local.transaction
        if transaction is None or key not in transaction.outcomes:
            # Most keys need no closer look, and no call.
            is_plain = type(key) is str and key and key.isascii() and "\0" not in key
            return self._find(key if is_plain else check_key(key))
        outcome = transaction.outcomes[key]
        if outcome.is_removal:
            raise missing(key)
        if outcome.content is None:
            return self._value_or_empty(key).with_text(outcome.text)
        return outcome.content.value(key, outcome.text, transaction.started)

    def _value_or_empty(self, key: str) -> Value:
        if self._text(key) is None:
            return held_value(b"", "{}", 0.0, None, key)
        return self._find(key)

    def get_data(self, key: str) -> Any:
        """Return the data of a key.

        Parameters
        ----------
        key : str
            The key.

        Returns
        -------
        binary file-like
            A readable stream, and a context manager.

        Raises
        ------
        NotFoundError, HashError
            As for `get`.
        """
        return self.get(key).data

    def get_data_range(self, key: str, start: int | None = None, end: int | None = None) -> Any:
        """Return a part of the data of a key.

        Parameters
        ----------
        key : str
            The key.
        start, end : int, optional
            From `start` up to but without `end`, in bytes; beyond the end nothing is given.

        Returns
        -------
        binary file-like
            A readable stream of the part.

        Raises
        ------
        NotFoundError, HashError
            As for `get`.
        NegativeOffsetError
            For a negative start or end.
        """
        return self.get(key).range(start, end)

    def get_metadata(self, key: str, select: Iterable[str] | None = None) -> dict[str, Json]:
        """Return the metadata of a key.

        Parameters
        ----------
        key : str
            The key.
        select : iterable of str, optional
            The fields to return; those that are not there are left out. All by default.

        Returns
        -------
        dict
            A new one at each call.

        Raises
        ------
        NotFoundError
            There is no such key (a `KeyError`).
        UnreadableError
            The metadata file is damaged.
        """
        text = self._text_seen(check_key(key))
        if text is None:
            raise missing(key)
        return chosen(decoded(text), select)

    def _text_seen(self, key: str) -> str | None:
        transaction = self._local.transaction
        if transaction is None or key not in transaction.outcomes:
            return self._text(key)
        outcome = transaction.outcomes[key]
        return None if outcome.is_removal else outcome.text

    def exists(self, key: str) -> bool:
        """Tell whether a key exists.

        Parameters
        ----------
        key : str
            The key.

        Returns
        -------
        bool
            True when it has metadata, readable or not.
        """
        check_key(key)
        transaction = self._local.transaction
        if transaction is not None and key in transaction.outcomes:
            return not transaction.outcomes[key].is_removal
        return self._has(key)

    def _has(self, key: str) -> bool:
        return self._text(key) is not None

    # Many keys -----------------------------------------------------------------------------------------

    def multiget(self, keys: Iterable[str]) -> Iterator[Value]:
        """Return the values of keys, one after the other.

        Parameters
        ----------
        keys : iterable of str
            The keys.

        Yields
        ------
        Value
            As `get` gives it.

        Raises
        ------
        NotFoundError
            While iterating, at the first key that does not exist.
        """
        return (self.get(key) for key in wrapped(keys))

    def multiget_data(self, keys: Iterable[str]) -> Iterator[Any]:
        """Return the data of keys, one after the other; see `multiget`.

        Parameters
        ----------
        keys : iterable of str
            The keys.

        Yields
        ------
        binary file-like
            As `get_data` gives it.

        Raises
        ------
        NotFoundError
            While iterating, at the first key that does not exist.
        """
        return (self.get_data(key) for key in wrapped(keys))

    def multiget_metadata(
        self, keys: Iterable[str], select: Iterable[str] | None = None
    ) -> Iterator[dict[str, Json]]:
        """Return the metadata of keys, one after the other; see `multiget`.

        Parameters
        ----------
        keys : iterable of str
            The keys.
        select : iterable of str, optional
            The fields to return; all by default.

        Yields
        ------
        dict
            As `get_metadata` gives it.

        Raises
        ------
        NotFoundError
            While iterating, at the first key that does not exist.
        """
        names = None if select is None else tuple(select)
        return (self.get_metadata(key, names) for key in wrapped(keys))

    # Queries -------------------------------------------------------------------------------------------

    def query(
        self,
        select: Iterable[str] | None = None,
        where: Query | Mapping[str, Json] | object = None,
        **kwargs: Any,
    ) -> Iterator[tuple[str, dict[str, Json]]]:
        """Return the keys whose metadata fulfils all conditions, with their metadata.

        Parameters
        ----------
        select : iterable of str, optional
            The fields to return; those that are not there are left out. All by default.
        where : Query or mapping, optional
            A query tree, or fields and their values, with the meaning that every face has: True is not 1.
            Fields of any name can be given here. Anything else is the value of a field named ``where``.
        **kwargs : object
            Fields and the values they must equal, as Python compares them; a missing field equals nothing.

        Yields
        ------
        tuple of (str, dict)
            In order of the keys where the store has one.

        Raises
        ------
        InvalidQueryError
            For a condition that cannot be asked.

        Notes
        -----
        A key whose metadata is damaged is left out and reported in the log and by `check`.
        """
        found = self._search_seen(condition_of(where, kwargs))
        if select is None:
            return found
        names = tuple(select)
        return ((key, chosen(metadata, names)) for key, metadata in found)

    def query_keys(self, where: Query | Mapping[str, Json] | object = None, **kwargs: Any) -> Iterator[str]:
        """Return the keys whose metadata fulfils all conditions; see `query`.

        Parameters
        ----------
        where : Query or mapping, optional
            As for `query`.
        **kwargs : object
            As for `query`.

        Yields
        ------
        str
            The keys.

        Raises
        ------
        InvalidQueryError
            For a condition that cannot be asked.
        """
        condition = condition_of(where, kwargs)
        if condition.is_empty and self._local.transaction is None:
            return self._keys("*")
        return (key for key, _ in self._search_seen(condition))

    def glob(self, pattern: str) -> Iterator[str]:
        """Return the keys that match a pattern.

        Parameters
        ----------
        pattern : str
            ``*``, ``?`` and ``[...]`` as in `fnmatch`, case sensitive; ``*`` matches slashes too.

        Yields
        ------
        str
            The keys.
        """
        matches = re.compile(translate(pattern)).match
        if self._local.transaction is None:
            return (key for key in self._keys(pattern) if matches(key))
        return (key for key, _ in self._search_seen(condition_of(None, {})) if matches(key))

    def _search_seen(self, condition: Condition) -> Iterator[Found]:
        transaction = self._local.transaction
        if transaction is None:
            return self._search(condition)
        return self._search_changed(condition, transaction)

    def _search_changed(self, condition: Condition, transaction: Transaction) -> Iterator[Found]:
        changed = dict(transaction.outcomes)
        yield from (found for found in self._search(condition) if found[0] not in changed)
        there = [(key, outcome.text) for key, outcome in changed.items() if not outcome.is_removal]
        yield from condition.matching(there)

    # Data out ------------------------------------------------------------------------------------------

    def to_file(self, key: str, path: PathLike, buffer_size: int = BUFFER_BYTES) -> None:
        """Write the data of a key to a file, which appears when it is complete.

        Parameters
        ----------
        key : str
            The key.
        path : path-like
            The file; an existing one is replaced.
        buffer_size : int
            Bytes between two progress events.

        Raises
        ------
        NotFoundError, HashError
            As for `get`; an existing file is left as it was.
        StorageError
            The file cannot be written.

        Events
        ------
        StoreProgressStartEvent
            Before the first byte; ``steps`` is the size in bytes.
        StoreProgressStepEvent
            After each buffer; ``step`` is the bytes written so far.
        StoreProgressEndEvent
            After the last byte.
        """
        value = self.get(key)
        message = f"Saving key {key!r} to file {str(path)!r}"
        with (
            StoreProgress(self, key, value.metadata, message, value.size) as progress,
            files.open_atomic(path, durability="os", size_hint=value.size) as out,
        ):
            write_out(value, out, buffer_size, progress)

    def to_bytes(self, key: str, buffer_size: int = BUFFER_BYTES) -> bytes:
        """Return the data of a key.

        Parameters
        ----------
        key : str
            The key.
        buffer_size : int
            Bytes between two progress events.

        Returns
        -------
        bytes
            All the data.

        Raises
        ------
        NotFoundError, HashError
            As for `get`.

        Events
        ------
        StoreProgressStartEvent, StoreProgressStepEvent, StoreProgressEndEvent
            As for `to_file`.
        """
        value = self.get(key)
        with StoreProgress(self, key, value.metadata, f"Reading key {key!r}", value.size) as progress:
            return bytes_of(value, buffer_size, progress)
