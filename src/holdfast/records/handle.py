"""Own what a record is to its users, wherever it lies: the public name, mapping, address, pickling.

It does not read or write entries: `holdfast.records.record` does for directories of this machine,
`holdfast.records.client` for servers.
"""

from __future__ import annotations

import collections.abc
from abc import abstractmethod
from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager
from importlib import import_module
from os import PathLike
from types import TracebackType
from typing import Any, Self, cast

from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.paths import is_url
from holdfast.reports import Report
from holdfast.types import DURABILITIES, Durability

__all__ = ["ItemsView", "Record", "ValuesView"]

# Found by name: the noun and the client do not import each other.
_LOCAL = ("holdfast.records.record", "LocalRecord")
_REMOTE = ("holdfast.records.client", "RemoteRecord")


class Record(MutableMapping[str, Any]):
    """View a directory as a dict of arrays, safe under any number of readers and writers.

    Parameters
    ----------
    path : path-like or str
        A directory, which need not exist and is not touched; or the URL of a record on a server.
    durability : {"sync", "group", "os"}, default "sync"
        When a write is on the disk: before it returns, within 50 ms, or when the system likes.
    api_key : str, optional
        The key for a server; default ``HOLDFAST_API_KEY``. It is never shown or pickled.

    Raises
    ------
    InvalidInputError
        For an unknown durability or scheme.

    Examples
    --------
    >>> import tempfile
    >>> record = Record(tempfile.mkdtemp())
    >>> record["file/path"] = [1, 2, 3]
    >>> record.append("file/path", 4)
    3
    >>> record["file/path"]
    array([1, 2, 3, 4])
    >>> list(record), record["file"]
    (['file'], Record('...'))

    Notes
    -----
    A context manager (closing commits what ``group`` still holds back), safe across threads, processes
    and forks. Pickled by its address.

    References
    ----------
    The specification is the seed "Records"; the original is cmdgraph.
    """

    def __new__(
        cls, path: str | PathLike[str] = ".", durability: Durability = "sync", *, api_key: str | None = None
    ) -> Self:
        """Choose the noun: a directory of this machine or a record on a server."""
        chosen: type = cls
        if cls is Record:
            module, name = _REMOTE if is_url(path) else _LOCAL
            chosen = getattr(import_module(module), name)
        return cast(Self, object.__new__(chosen))

    def __init__(
        self, path: str | PathLike[str] = ".", durability: Durability = "sync", *, api_key: str | None = None
    ) -> None:
        if durability not in DURABILITIES:
            raise InvalidInputError(
                f"durability {durability!r} is not known; use one of {', '.join(DURABILITIES)}"
            )
        self._durability: Durability = durability

    @abstractmethod
    def append(self, key: str, item: Any, *, idempotency_key: str | None = None) -> Any:
        """Append one item on a new leading axis, creating the entry if needed.

        Parameters
        ----------
        key : str
            The entry, or for a record or dict of arrays the directory.
        item : object
            Anything that can be written; records and dicts append to each of their entries.
        idempotency_key : str, optional
            A retry with the same key changes nothing; the last 10,000 of an entry are remembered.

        Returns
        -------
        int or None
            The number of the new row; None for records and dicts.

        Raises
        ------
        InvalidTypeError
            When its shape or type differs from the rows that are there; they are unchanged.
        StorageFullError, StorageError, ReadOnlyError
            When the disk is full, fails or may not be written; the rows are unchanged.
        HashError
            When the entry is damaged.
        """

    @abstractmethod
    def extend(self, key: str, items: Any, *, idempotency_key: str | None = None) -> Any:
        """Concatenate items along the first axis, creating the entry if needed; see `append`.

        Returns
        -------
        int or None
            The number of the first new row; None for records and dicts.
        """

    @abstractmethod
    def open(self, key: str) -> Any:
        """Open an entry lazily.

        Parameters
        ----------
        key : str
            The entry.

        Returns
        -------
        ArrayView or binary file
            A view that reads only what it slices; for an entry that is not HDF5 its verified bytes.

        Raises
        ------
        NotFoundError
            When there is no such entry.
        HashError
            When it is damaged.
        """

    @abstractmethod
    def follow(self, key: str, start: int = 0, timeout: float | None = None) -> Iterator[Any]:
        """Yield rows as they arrive.

        Parameters
        ----------
        key : str
            The entry, which need not exist yet.
        start : int, default 0
            The first row; negative counts from the end.
        timeout : float, optional
            End after so many seconds without a new row; default never.

        Yields
        ------
        ndarray or scalar
            One row. When the entry is written anew its rows follow from row 0.
        """

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """Publish all changes of a ``with`` block at once, or none if it ends with an exception.

        Changes through this record in this thread are kept back, and seen only here, until the block
        ends. A reader of one entry sees its old or its new version while they are published; what a
        crash interrupts the next process finishes or undoes. Appended rows are seen after the end.
        """

    @abstractmethod
    def compact(self, key: str | None = None) -> None:
        """Fold appended rows into one plain file per entry.

        Parameters
        ----------
        key : str, optional
            An entry or directory; default all.
        """

    @abstractmethod
    def adopt(self, key: str) -> None:
        """Accept an entry as it is and give it digests.

        Parameters
        ----------
        key : str
            An entry of other origin, one that another program changed, or one whose log is lost.

        Raises
        ------
        NotFoundError
            When there is no such entry.
        UnreadableError
            When it is not a readable HDF5 file with a data set ``data``.
        """

    @abstractmethod
    def check(self, key: str | None = None) -> Report:
        """Read and verify every byte.

        Parameters
        ----------
        key : str, optional
            An entry or directory; default all.

        Returns
        -------
        Report
            Findings are what is damaged; notes name what has no digests (``foreign``).
        """

    @property
    @abstractmethod
    def path(self) -> Any:
        """Where the record lies: a `Path` of this machine or a URL."""

    @property
    @abstractmethod
    def cmd_spec(self) -> dict[str, Any] | None:
        """The type and configuration of the command that made this record, None if none did."""

    @property
    @abstractmethod
    def cmd_status(self) -> str:
        """``unbegun``, ``running``, ``done`` or ``stopped``."""

    @abstractmethod
    def close(self) -> None:
        """Commit what waits and close what is open; the record can be used again."""

    def values(self) -> ValuesView:
        """Return a view of the values; what is deleted meanwhile is left out."""
        return ValuesView(self)

    def items(self) -> ItemsView:
        """Return a view of keys and values; what is deleted meanwhile is left out."""
        return ItemsView(self)

    def pop(self, key: str, *default: Any) -> Any:
        """Delete an entry and return its value: for a directory a dict, for another file its bytes.

        Parameters
        ----------
        key : str
            The entry.
        *default : object
            What to return when there is none.

        Returns
        -------
        object
            The value, held in memory.

        Raises
        ------
        NotFoundError
            When there is no such entry and no default.
        """
        try:
            value = _in_memory(self[key], self, key)
        except NotFoundError:
            if default:
                return default[0]
            raise
        del self[key]
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and str(self.path) == str(other.path)

    def __hash__(self) -> int:
        return hash(str(self.path))

    def __repr__(self) -> str:
        return f"Record({str(self.path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Record, (str(self.path), self._durability)


class ValuesView(collections.abc.ValuesView[Any]):
    """Iterate over values; an entry that vanishes meanwhile is left out."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self._record = record

    def __iter__(self) -> Iterator[Any]:
        for _, value in ItemsView(self._record):
            yield value


class ItemsView(collections.abc.ItemsView[str, Any]):
    """Iterate over keys and values; an entry that vanishes meanwhile is left out."""

    def __init__(self, record: Record) -> None:
        super().__init__(record)
        self._record = record

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for key in self._record:
            try:
                value = self._record[key]
            except NotFoundError:
                continue
            yield key, value


def _in_memory(value: Any, record: Record, key: str) -> Any:
    if isinstance(value, Record):
        return {name: _in_memory(inner, value, name) for name, inner in value.items()}
    if isinstance(value, PathLike):
        with record.open(key) as file:
            return file.read()
    return value
