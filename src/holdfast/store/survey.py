"""Own the agreement between a store's index and its files, which other programs change too.

Nothing here takes a lock: what is found is recorded only if no writer of ours recorded anything meanwhile.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from typing import TypeAlias

from holdfast import files
from holdfast.database.store_index import ABSENT, LIVE, UNREADABLE, IndexRow, StoreIndex
from holdfast.errors import BusyError, HoldfastError, NotFoundError
from holdfast.hashing import hash_blocks
from holdfast.store.directory import Look, StoreDirectory
from holdfast.store.inputs import decode_metadata, encode_metadata
from holdfast.store.names import DATA, METADATA, key_of
from holdfast.store.staging import blocks_of
from holdfast.store.watching import DirectoryWatch, watch_of

__all__ = [
    "TRUST_NS",
    "UNKNOWN",
    "DataFacts",
    "Survey",
    "agrees",
    "is_text",
    "is_trusted",
    "kept",
]

TRUST_NS = 10_000_000
"""A file whose time is younger than this at its recording may change again without a sign of it."""

DIGEST_LIMIT_BYTES = 64 << 20
"""Foreign data up to this size are digested when they are first read; larger ones by `check`."""

_ATTEMPTS, _QUICK_ATTEMPTS = 1000, 10
_BATCH = 500
DataFacts: TypeAlias = tuple[int, int, bytes | None, bytes | None]
"""Size in bytes, time in nanoseconds, digest and block digests of a data file; -1 and None for unknown."""

UNKNOWN: DataFacts = (-1, -1, None, None)
_log = logging.getLogger("holdfast.store")


def is_trusted(row: IndexRow) -> bool:
    """Tell whether files with the recorded sizes and times must have the recorded content."""
    return row.recorded - max(row.data_time, row.text_time) >= TRUST_NS


def agrees(row: IndexRow, look: Look) -> bool:
    """Tell whether the files of a key have the recorded sizes and times."""
    return row[5:9] == look


class Survey:
    """Find what other programs did to a store, and record it.

    Parameters
    ----------
    directory : StoreDirectory
        The files.
    index : StoreIndex
        What is known of them.
    """

    def __init__(self, directory: StoreDirectory, index: StoreIndex) -> None:
        self._directory, self._index = directory, index
        self._watch: DirectoryWatch | None = None
        self._lock = threading.Lock()
        self._published: Counter[bytes] = Counter()

    def close(self) -> None:
        """Stop watching."""
        with self._lock:
            self._stop_watching()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def will_publish(self, base: str) -> None:
        """Expect that the metadata file of a key is about to be replaced by this process."""
        if self._watch is not None:
            self._published[os.fsencode(base + METADATA)] += 1

    # All keys ------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring the index up to date with the metadata of all keys."""
        with self._lock:
            changed = None if self._watch is None else self._watch.changed(self._published)
            self._published.clear()
            if changed is None:
                self._stop_watching()
                # Watched first, looked at afterwards: what changes in between is looked at twice.
                directories = [self._directory.root, *self._directory.escaped_directories()]
                self._watch = watch_of(directories, METADATA)
                self._survey()
            else:
                for path in changed:
                    if is_text(path):
                        base = path.removesuffix(METADATA)
                        self.settle(key_of(base[len(self._directory.root) + 1 :]), base)

    def _survey(self) -> None:
        root, facts = self._directory.root, self._index.facts()
        strangers: list[tuple[str, str]] = []
        for name in self._directory.names():
            if not is_text(name):
                continue
            base, key = f"{root}/{name}", key_of(name)
            known = facts.pop(key, None)
            if known is None:
                strangers.append((key, base))
            elif not self._is_as_known(base, known):
                self.settle(key, base)
        for start in range(0, len(strangers), _BATCH):
            batch = strangers[start : start + _BATCH]
            found = (self._found(key, base, None, with_data=False) for key, base in batch)
            self._index.learn_new([row for row in found if row is not None])
        for key, known in facts.items():
            if known[3] != ABSENT:
                self.settle(key, self._directory.base(key))

    @staticmethod
    def _is_as_known(base: str, known: tuple[int, int, int, int]) -> bool:
        try:
            found = os.stat(base + METADATA)
        except FileNotFoundError:
            return False
        size, time_ns, recorded, state = known
        return (
            found.st_mtime_ns == time_ns
            and found.st_size == size
            and recorded - time_ns >= TRUST_NS
            and state != ABSENT
        )

    # One key -------------------------------------------------------------------------------------------

    def settle(self, key: str, base: str, *, with_data: bool = False) -> tuple[IndexRow | None, bool]:
        """Find out what a key is now, and record it if another program changed it.

        Parameters
        ----------
        key, base : str
            The key, and the path of its files without suffix.
        with_data : bool
            Whether the data matter as well; else only the metadata are looked at.

        Returns
        -------
        row : IndexRow or None
            What the key is; None when it does not exist.
        is_known : bool
            False when another program made it so since it was recorded last.

        Raises
        ------
        BusyError
            The files never stay the same for a moment.
        """
        for attempt in range(_ATTEMPTS):
            row = self._index.find(key)
            if row is not None and row.staged and self.is_waiting(row):
                return row, True
            look = self._directory.look(base)  # after the question above: what was moved is in its place
            if row is not None and self._holds(row, look, with_data=with_data):
                return (None if row.state == ABSENT else row), True
            if self._index.find(key) == row:  # else a writer of ours came between
                found = self._found(key, base, row, with_data=with_data)
                if found is not None and self._index.learn(found, row):
                    is_same = row is not None and row.digest == found.digest and row.text == found.text
                    return self._index.find(key) or found, is_same and row is not None and agrees(row, look)
                if found is None and look.text_size < 0 and (row is None or self._index.forget(row)):
                    return None, False
            time.sleep(0 if attempt < _QUICK_ATTEMPTS else 0.001)
        raise BusyError(f"the files of key {key!r:.200} change all the time; try again when that has ended")

    @staticmethod
    def _holds(row: IndexRow, look: Look, *, with_data: bool) -> bool:
        if row.state == ABSENT:
            return look.text_size < 0 or row[7:9] == look[2:4]
        if not with_data:
            return row[7:9] == look[2:4] and row.recorded - row.text_time >= TRUST_NS
        has_digest = row.digest is not None or not 0 <= look.size <= DIGEST_LIMIT_BYTES
        return agrees(row, look) and is_trusted(row) and has_digest

    def is_waiting(self, row: IndexRow) -> bool:
        """Tell whether files of a decided change still wait to be moved."""
        waiting = f"{self._directory.staging}/{row.staged}"
        return os.path.exists(waiting + METADATA) or os.path.exists(waiting + DATA)

    def _found(self, key: str, base: str, row: IndexRow | None, *, with_data: bool) -> IndexRow | None:
        """Return the row that describes the files as they are; None when there is no metadata file."""
        recorded = time.time_ns()
        look = self._directory.look(base)
        text_size, text_time = look.text_size, look.text_time
        try:
            read = self._directory.read_text(base)
            if read is None:
                return None
            raw, text_size, text_time = read
            text, state = decode_metadata(raw, base + METADATA)[1], LIVE
        except HoldfastError as error:
            # One key must not stop the queries of all others: it raises when it is asked for itself.
            text, state = encode_metadata({"error": str(error)}), UNREADABLE
            _log.warning("%s", error)
        data = kept(row, self._directory.look(base))
        if data is None:
            data = self._read_data(base) if with_data else UNKNOWN
        size, data_time, digest, blocks = data
        created = row.created if row is not None and row.state == LIVE else None
        return IndexRow(
            key, text, digest, 0, state, size, data_time, text_size, text_time, recorded, created, blocks
        )

    def _read_data(self, base: str) -> DataFacts:
        try:
            with files.os_errors(base + DATA, "read"), open(self._directory.open_data(base), "rb", 0) as file:
                facts = os.fstat(file.fileno())
                if facts.st_size > DIGEST_LIMIT_BYTES:
                    return facts.st_size, facts.st_mtime_ns, None, None
                found = hash_blocks(file)
        except NotFoundError:
            return UNKNOWN
        return facts.st_size, facts.st_mtime_ns, found.whole.raw, blocks_of(found)


def kept(row: IndexRow | None, look: Look) -> DataFacts | None:
    """Return what is recorded of a key's data where that must still hold.

    Parameters
    ----------
    row : IndexRow or None
        What is recorded.
    look : Look
        What the files are now.

    Returns
    -------
    tuple or None
        Size, time, digest and block digests.
    """
    if row is None or row.digest is None or row[5:7] != look[0:2] or not is_trusted(row):
        return None
    return row.size, row.data_time, row.digest, row.blocks


def is_text(name: str) -> bool:
    """Tell whether the name of a file is UTF-8; of others no key can be made, and `check` tells of them."""
    return name.isascii() or not any("\udc80" <= character <= "\udcff" for character in name)
