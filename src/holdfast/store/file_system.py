"""Own the store in a directory: two ordinary files a key, in the layout of encore, and an index beside them.

encore may use the directory at the same time: each sees the other's changes at its next call.

>>> import tempfile
>>> path = tempfile.mkdtemp()
>>> init_shared_store(path)
>>> with FileSystemStore(path) as store:
...     store.from_bytes("k", b"data")
>>> import os; sorted(name for name in os.listdir(path) if name[0] != ".")
['k.data', 'k.metadata']
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from blake3 import blake3

from holdfast import files
from holdfast.database.store_index import LIVE, UNREADABLE, IndexRow, StoreIndex
from holdfast.errors import (
    HashError,
    InvalidInputError,
    MissingFileError,
    NotAStoreError,
    NotFoundError,
    ReadOnlyError,
    UnreadableError,
)
from holdfast.hashing import BLOCK_BYTES, BlockDigests, Digest, hash_bytes
from holdfast.paths import local_path
from holdfast.reports import Report
from holdfast.store.base import Store
from holdfast.store.changes import Content, Incoming, Outcome, missing
from holdfast.store.checking import check_directory
from holdfast.store.directory import OPEN_TO_READ, StoreDirectory
from holdfast.store.matching import Condition, Found
from holdfast.store.names import DATA, METADATA
from holdfast.store.publishing import Publisher
from holdfast.store.survey import TRUST_NS, Survey, is_trusted
from holdfast.store.value import FileReader, HeldReader, Value
from holdfast.types import DURABILITIES, Durability, Json, PathLike

__all__ = ["FileSystemStore", "init_shared_store"]

MAGIC = ".FSStore"
_MAGIC_TEXT = b"__version__ = 0\n"
_ATTEMPTS = 100
_log = logging.getLogger("holdfast.store")


def init_shared_store(path: PathLike, magic_fname: str = MAGIC) -> None:
    """Make a directory a store, by writing its magic file.

    Parameters
    ----------
    path : path-like
        An existing directory.
    magic_fname : str
        The name of the magic file.

    Raises
    ------
    NotFoundError
        There is no such directory.
    ReadOnlyError
        It may not be written.
    """
    files.write_atomic(local_path(path) / magic_fname, _MAGIC_TEXT)


class FileSystemStore(Store):
    """Keep each key in two files of a directory, ``KEY.data`` and ``KEY.metadata``.

    Parameters
    ----------
    path : path-like
        A directory that `init_shared_store` or encore made a store.
    magic_fname : str
        The name of its magic file.
    durability : {"sync", "group", "os"}
        What a change waits for: the disk; the disk for data, with names following within 50 ms; or the
        system.

    Raises
    ------
    NotFoundError
        There is no such directory.
    NotAStoreError
        The directory has no magic file.

    Notes
    -----
    A directory that cannot be written is read; what other programs changed in it is then remembered only by
    this object.
    """

    def __init__(self, path: PathLike, magic_fname: str = MAGIC, durability: Durability = "sync") -> None:
        super().__init__()
        if durability not in DURABILITIES:
            raise InvalidInputError(f"durability {durability!r} is none of {', '.join(DURABILITIES)}")
        if magic_fname.endswith((DATA, METADATA)) or "/" in magic_fname:
            raise InvalidInputError(f"the magic file cannot be named {magic_fname!r}, which could be a key's")
        root = os.path.abspath(local_path(path))
        if not os.path.isdir(root):
            raise NotFoundError(f"there is no directory {root}; make it, then call init_shared_store()")
        if not os.path.exists(f"{root}/{magic_fname}"):
            raise NotAStoreError(
                f"{root} is not a store: it has no file {magic_fname}; init_shared_store() makes it one"
            )
        self.path, self.durability, self._magic = root, durability, magic_fname
        self._directory = StoreDirectory(root, durability)
        self._is_read_only = not os.access(root, os.W_OK)
        self._open()

    def _open(self) -> None:
        self._index = self._open_index()
        self._survey = Survey(self._directory, self._index)
        self._publisher = Publisher(self._directory, self._index, self._survey)
        if not self._is_read_only:
            self._publisher.recover()

    def _open_index(self) -> StoreIndex:
        path = f"{self._directory.hidden}/store.db"
        if self._is_read_only:
            if os.path.exists(path):
                return StoreIndex(path, self.durability, read_only=True)
            return StoreIndex(":memory:", self.durability)
        self._directory.prepare()
        try:
            return StoreIndex(path, self.durability)
        except UnreadableError as error:
            _log.warning("the index is made again from the files: %s", error)
            for suffix in ("", "-wal", "-shm", "-journal"):
                files.remove(path + suffix, missing_ok=True)
            return StoreIndex(path, self.durability)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self._magic, self.durability)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def info(self) -> dict[str, Json]:
        """Describe the store; see `Store.info`."""
        return super().info() | {"readonly": self._is_read_only, "durability": self.durability}

    def connect(self, credentials: object = None) -> None:
        """Bring the index up to date, so that the first query is quick; see `Store.connect`."""
        self._survey.refresh()
        super().connect(credentials)

    def disconnect(self) -> None:
        """Stop watching the directory and lay the index to rest; see `Store.disconnect`."""
        self._survey.close()
        self._index.close()
        self._directory.lock.close()
        super().disconnect()

    # Reading -------------------------------------------------------------------------------------------

    def _find(self, key: str) -> Value:
        base = self._directory.base(key)
        value = self._as_recorded(key, base)
        return self._settled(key, base) if value is None else value

    def _as_recorded(self, key: str, base: str) -> Value | None:
        """Return a small value whose files are as recorded, the common case; None for any other."""
        try:
            descriptor = os.open(base + DATA, OPEN_TO_READ)
        except OSError:
            return None
        try:
            facts, text_facts = os.fstat(descriptor), os.stat(base + METADATA)
            size, data_time, text_time = facts.st_size, facts.st_mtime_ns, text_facts.st_mtime_ns
            if size > BLOCK_BYTES:
                return None
            # After the question above: what the row says of these very files is what is in them.
            row = self._index.match(key, size, data_time, text_facts.st_size, text_time)
            if row is None:
                return None
            data = os.read(descriptor, size + 1)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        text, digest, created = row
        if len(data) != size or blake3(data).digest() != digest:
            return None
        modified = (max(text_time, data_time)) / 1e9
        created_at = None if created is None else created / 1e9
        return Value(key, text, size, modified, created_at, True, digest, HeldReader(data))

    def _settled(self, key: str, base: str) -> Value:
        row = self._index.find(key)
        if row is not None and row.state == LIVE:
            value = self._opened(row, base, is_known=True)
            if value is not None:
                return value
        for _ in range(_ATTEMPTS):
            row, is_known = self._survey.settle(key, base, with_data=True)
            value = self._opened(self._readable(key, row), base, is_known=is_known)
            if value is not None:
                return value
            if row is not None and row.size < 0 and not self._survey.is_waiting(row):
                raise MissingFileError(
                    f"the data file of key {key!r:.200} is missing, its metadata is there; set its data "
                    "again or delete it"
                )
        raise HashError(f"the data of key {key!r:.200} change while they are read; try again")

    @staticmethod
    def _readable(key: str, row: IndexRow | None) -> IndexRow:
        if row is None:
            raise missing(key)
        if row.state == UNREADABLE:
            raise UnreadableError(f"key {key!r:.200}: {row.text[10:-2]}")
        return row

    def _opened(self, row: IndexRow, base: str, *, is_known: bool) -> Value | None:
        """Return the value that a row describes; None when the files are others."""
        try:
            descriptor = self._directory.open_data(base)
        except FileNotFoundError:
            return self._opened_waiting(row)
        try:
            data, text = os.fstat(descriptor), os.stat(base + METADATA)
        except FileNotFoundError:
            os.close(descriptor)
            return self._opened_waiting(row)
        if row[5:9] != (data.st_size, data.st_mtime_ns, text.st_size, text.st_mtime_ns):
            os.close(descriptor)
            return self._opened_waiting(row)
        return self._value(row, descriptor, is_known=is_known)

    def _opened_waiting(self, row: IndexRow) -> Value | None:
        """Return the value whose data still wait to be moved, or are in place while the metadata wait."""
        if not row.staged:
            return None
        for path in (f"{self._directory.staging}/{row.staged}{DATA}", self._directory.base(row.key) + DATA):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            facts = os.fstat(descriptor)
            if row[5:7] == (facts.st_size, facts.st_mtime_ns) and self._survey.is_waiting(row):
                return self._value(row, descriptor, is_known=True)
            os.close(descriptor)
        return None

    @staticmethod
    def _value(row: IndexRow, descriptor: int, *, is_known: bool) -> Value | None:
        """Return the value of an open data file; None for a young file that has other bytes."""
        digests: BlockDigests | None = None
        reader: FileReader | HeldReader
        if row.size > BLOCK_BYTES:
            reader = FileReader(descriptor)
            if row.digest is not None:
                digests = BlockDigests(Digest("blake3", row.digest.hex()), row.size, row.blocks or b"")
        else:
            data = _read_all(descriptor, row.size)
            if row.digest is not None and blake3(data).digest() != row.digest:
                if not is_trusted(row):
                    return None
                _tell_damage(row, data)
            reader = HeldReader(data)
        return Value(
            row.key,
            row.text,
            row.size,
            max(row.data_time, row.text_time) / 1e9,
            None if row.created is None else row.created / 1e9,
            is_known and row.digest is not None,
            row.digest,
            reader,
            digests,
        )

    def _text(self, key: str) -> str | None:
        row = self._row(key)
        return None if row is None else self._readable(key, row).text

    def _has(self, key: str) -> bool:
        return self._row(key) is not None

    def _row(self, key: str) -> IndexRow | None:
        """Return what a key is as far as its metadata go."""
        base = self._directory.base(key)
        row = self._index.find(key)
        if row is not None and row.state == LIVE and row.recorded - row.text_time >= TRUST_NS:
            try:
                text = os.stat(base + METADATA)
            except FileNotFoundError:
                text = None
            if text is not None and row[7:9] == (text.st_size, text.st_mtime_ns):
                return row
        return self._survey.settle(key, base)[0]

    def _search(self, condition: Condition) -> Iterator[Found]:
        self._survey.refresh()
        yield from condition.matching(self._index.search(condition.where, condition.equal))

    def _keys(self, pattern: str) -> Iterator[str]:
        self._survey.refresh()
        return self._index.keys(pattern)

    # Writing -------------------------------------------------------------------------------------------

    def _incoming(self, key: str, size: int = -1) -> Incoming:
        self._require_writable()
        return self._directory.incoming(key, size)

    def _hold(self, key: str, data: bytes) -> Content:
        self._require_writable()
        return self._directory.hold(data, key) if len(data) <= BLOCK_BYTES else super()._hold(key, data)

    def _require_writable(self) -> None:
        if self._is_read_only:
            raise ReadOnlyError(f"the store {self.path} cannot be written; mount it for writing or copy it")

    def _exclusive(self) -> AbstractContextManager[object]:
        self._require_writable()
        return self._directory.lock

    def _apply(self, outcomes: Sequence[Outcome]) -> None:
        self._publisher.apply(outcomes)

    def check(self) -> Report:
        """Verify all files against what was recorded, and digest what was not read yet.

        Returns
        -------
        Report
            ``checked`` counts the keys. Findings are ``changed`` (the bytes differ, size and time do not),
            ``missing`` (metadata without data), ``extra`` (data without metadata, names that are not UTF-8)
            and ``unreadable`` (metadata). Notes tell of what other programs wrote.
        """
        self._survey.refresh()
        return check_directory(self._directory, self._index, self._survey)


def _read_all(descriptor: int, size: int) -> bytes:
    try:
        data = os.read(descriptor, size + 1)
        while len(data) < size and (more := os.read(descriptor, size - len(data))):
            data += more
        return data
    finally:
        os.close(descriptor)


def _tell_damage(row: IndexRow, data: bytes) -> None:
    expected = Digest("blake3", (row.digest or b"").hex())
    expected.check(hash_bytes(data), f"the data of key {row.key!r:.200}")
