"""Own the database of a directory as a whole: how it is opened, read and written.

>>> with Database(":memory:") as database:
...     len(database.uid), database.nodes.count(ROOT)
(32, 0)
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

from holdfast.database.asset_writing import AssetWriter
from holdfast.database.assets import Assets
from holdfast.database.connection import SqliteFile
from holdfast.database.documents import Documents, DocumentWriter
from holdfast.database.facts import Keys, KeyWriter, Links, LinkWriter, Log, LogWriter
from holdfast.database.frames import FrameReader, FrameWriter
from holdfast.database.indexing import Indexer, rebuild
from holdfast.database.nodes import Nodes
from holdfast.database.opening import MEMORY
from holdfast.database.pathways import PathWriter
from holdfast.database.schema import set_about
from holdfast.database.tables import CATALOG, ROOT
from holdfast.database.writing import NodeWriter
from holdfast.files import make_directories
from holdfast.types import Durability, PathLike

__all__ = ["ROOT", "Database", "Transaction"]

T = TypeVar("T")


class Transaction:
    """Hold what can be written in one transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a writing transaction.
    paths : PathWriter
        The numbers of paths.

    Attributes
    ----------
    nodes, assets, frames, keys, links, log, documents
        The writers.
    """

    def __init__(self, connection: sqlite3.Connection, paths: PathWriter) -> None:
        self.connection, self._paths = connection, paths

    @property
    def documents(self) -> DocumentWriter:
        """The writer of documents."""
        return DocumentWriter(self.connection)

    @property
    def keys(self) -> KeyWriter:
        """The writer of keys."""
        return KeyWriter(self.connection)

    @property
    def links(self) -> LinkWriter:
        """The writer of links."""
        return LinkWriter(self.connection)

    @property
    def log(self) -> LogWriter:
        """The writer of the log."""
        return LogWriter(self.connection)

    @cached_property
    def assets(self) -> AssetWriter:
        """The writer of assets."""
        return AssetWriter(self.connection)

    @cached_property
    def nodes(self) -> NodeWriter:
        """The writer of nodes."""
        return NodeWriter(self.connection, Indexer(self.connection, self._paths), self.assets)

    @cached_property
    def frames(self) -> FrameWriter:
        """The writer of sequences of files."""
        return FrameWriter(self.connection, self.nodes, self.assets)

    def note(self, name: str, value: str) -> None:
        """Write a free fact about the database, which `Database.fact` reads."""
        set_about(self.connection, f"note.{name}", value)

    def rebuild_index(self) -> None:
        """Make the metadata index anew from the nodes."""
        rebuild(self.connection)


class Database:
    """Use the database of a directory, from any number of threads and processes.

    Parameters
    ----------
    path : path-like
        ``catalog.db``, or ``":memory:"``.
    read_only : bool, default False
        Never write.
    create : bool, default True
        Make it when it is absent.
    uid : str, optional
        The uid of a new database; random by default. A download keeps that of its origin.
    durability : {"sync", "group", "os"}
        What a commit waits for.

    Attributes
    ----------
    nodes : Nodes
    assets : Assets
    frames : FrameReader
    keys : Keys
    links : Links
    log : Log
    documents : Documents

    Raises
    ------
    NotFoundError
        When it is absent and shall not be made.
    UnreadableError, NewerFormatError, OldFormatError
        When it is damaged or of another release.

    Notes
    -----
    Pickles by path, survives fork. Readers never wait for a writer on a local file system.
    """

    def __init__(
        self,
        path: PathLike,
        *,
        read_only: bool = False,
        create: bool = True,
        uid: str | None = None,
        durability: Durability = "sync",
    ) -> None:
        if os.fspath(path) != MEMORY and create and not read_only:
            make_directories(os.path.dirname(os.path.abspath(path)))
        self._file = SqliteFile(path, CATALOG, read_only=read_only, create=create, durability=durability)
        self._paths = PathWriter()
        self.uid = self._file.about("uid") or self._name(uid or uuid.uuid4().hex)
        self.nodes, self.assets = Nodes(self._file), Assets(self._file)
        self.frames = FrameReader(self._file)
        self.keys, self.links, self.log = Keys(self._file), Links(self._file), Log(self._file)
        self.documents = Documents(self._file)

    def _name(self, uid: str) -> str:
        def write(connection: sqlite3.Connection) -> None:
            # Of two processes that make the same database, the first names it.
            connection.execute("INSERT INTO about VALUES ('uid', ?) ON CONFLICT DO NOTHING", (uid,))

        self._file.write(write)
        return self._file.about("uid") or uid

    @property
    def path(self) -> str:
        """The path of the file."""
        return self._file.path

    @property
    def read_only(self) -> bool:
        """Whether it was opened for reading only."""
        return self._file.read_only

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._file.is_closed

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Give a transaction of its own: committed at the end of the block, undone by an exception.

        Yields
        ------
        Transaction
            What can be written.

        Raises
        ------
        ReadOnlyError
            When the database was opened for reading.
        BusyError
            When another process keeps writing for too long.
        """
        with self._file.transaction() as connection:
            yield Transaction(connection, self._paths)

    def write(self, function: Callable[[Transaction], T], *, wait: bool = True) -> T:
        """Run a function in a transaction that it may share with others who wait; see `SqliteFile.write`.

        Parameters
        ----------
        function : callable
            Takes a `Transaction`; all or nothing of what it does is kept.
        wait : bool, default True
            Wait while others write, or else raise a `BusyError`.

        Returns
        -------
        object
            What the function returned, once it is durable.
        """
        return self._file.write(lambda connection: function(Transaction(connection, self._paths)), wait=wait)

    def tend(self) -> None:
        """Do what writes without waiting left to be done; see `SqliteFile.tend`."""
        self._file.tend()

    def change(self) -> Hashable:
        """Return a token that differs after any commit of any process."""
        return self._file.change()

    def fact(self, name: str) -> str | None:
        """Return a free fact that `Transaction.note` wrote, or None."""
        return self._file.about(f"note.{name}")

    def close(self) -> None:
        """Close; the last user leaves one file, without log."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.path, self.read_only, self._file.durability)

    def __repr__(self) -> str:
        return f"Database({self.path!r})"


def _reopened(path: str, read_only: bool, durability: Durability) -> Database:
    return Database(path, read_only=read_only, create=False, durability=durability)
