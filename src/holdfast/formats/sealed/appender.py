"""Own appending: one open base with its log, shared by the threads of a process, checked against the disk.

It does not decide when to fold; ``fold`` does. Lock order: the log, then the directory, never the reverse.
"""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.errors import HashError
from holdfast.files import flush, flush_later, os_errors
from holdfast.formats.sealed.base import Base
from holdfast.formats.sealed.keys import KeyIndex
from holdfast.formats.sealed.log import (
    FRAME,
    NO_KEY,
    PAGE_BYTES,
    SLOT_OFFSETS,
    Frame,
    Slot,
    compose_frame,
    compose_slot,
    parse_header,
    parse_slots,
    payload_digest,
)
from holdfast.formats.sealed.rows import NewRows
from holdfast.formats.sealed.tail import Tail, check_tail, read_page, scan
from holdfast.types import Buffer, Durability

__all__ = ["Appender", "StaleError"]

# Reading a small frame costs about as much as reading this many bytes.
_FRAME_WEIGHT = 12 * 1024


class StaleError(Exception):
    """Say inside this room that the base was replaced: attach anew and try again."""


class Appender:
    """Append to one entry, from any number of threads and processes.

    Parameters
    ----------
    path : str
        The base.
    base : Base
        The open base; closed with this object. While it is open its inode cannot be given to another file.
    log : int
        Its log, open for reading and writing; closed with this object.

    Notes
    -----
    Not to be used after a fork: a lock taken through an inherited descriptor is the parent's.
    """

    def __init__(self, path: str, base: Base, log: int) -> None:
        self.path, self.base, self.log = path, base, log
        self.what = base.what
        page = read_page(log, self.what)
        self.header = parse_header(page, self.what)
        self.tail = Tail(PAGE_BYTES, self.header.base_rows)
        self._mutex = threading.Lock()
        self._keys: KeyIndex | None = None
        self._indexed = 0
        self._is_known = False
        self._pid = os.getpid()
        with self.locked():
            if parse_slots(page, self.header.key, self.what).is_of_earlier_boot:
                self._commit_locked()

    @property
    def weight(self) -> int:
        """What the log costs its readers, in bytes; see `holdfast.formats.sealed.fold`."""
        return self.tail.end + _FRAME_WEIGHT * len(self.tail.frames)

    def close(self) -> None:
        """Commit what waits and close the files; a second time does nothing."""
        if self.log >= 0:
            if os.getpid() == self._pid:
                flush(self._flush_key)
            os.close(self.log)
            self.log = -1
        self.base.close()

    def __del__(self) -> None:
        if getattr(self, "log", -1) >= 0:
            os.close(self.log)

    @property
    def _flush_key(self) -> tuple[str, int]:
        return ("log", id(self))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the entry's log against every other appender and folder, with the tail up to date.

        Raises
        ------
        StaleError
            When the base was replaced or deleted.
        HashError
            When acknowledged rows are missing or damaged.
        """
        with self._mutex:
            fcntl.flock(self.log, fcntl.LOCK_EX)
            try:
                self._check_current()
                size = os.fstat(self.log).st_size
                if size != self.tail.end:
                    self._catch_up(size)
                yield
            finally:
                fcntl.flock(self.log, fcntl.LOCK_UN)

    def _check_current(self) -> None:
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            raise StaleError from None
        if (found.st_dev, found.st_ino) != self.base.identity:
            raise StaleError

    def _catch_up(self, size: int) -> None:
        """Read what others appended; cut off what a dead one left unfinished.

        Under the lock only headers need a look: a writer that is alive has finished, one that was killed
        leaves a prefix. What a power cut can leave is verified when the log is opened.
        """
        scan(self.log, self.header, self.tail, trusted=sys.maxsize if self._is_known else self._durable())
        self._is_known = True
        if size < self.tail.end:
            raise HashError(f"{self.what} is damaged: its log became shorter; restore it from another copy")
        if size == self.tail.end:
            return
        check_tail(
            self.tail, parse_slots(read_page(self.log, self.what), self.header.key, self.what), self.what
        )
        with os_errors(self.what, "append to"):
            os.ftruncate(self.log, self.tail.end)

    def _durable(self) -> int:
        return parse_slots(read_page(self.log, self.what), self.header.key, self.what).durable_bytes

    def append(self, rows: NewRows, key: bytes, durability: Durability) -> int:
        """Append rows in one step.

        Parameters
        ----------
        rows : NewRows
            At least one row.
        key : bytes
            16 bytes, `NO_KEY` for none. If an append with this key is remembered nothing changes.
        durability : {"sync", "group", "os"}
            When the rows must be on the disk.

        Returns
        -------
        int
            The number of the first row.

        Raises
        ------
        StaleError
            When the base was replaced; nothing was written.
        InvalidTypeError
            When the rows do not fit; nothing was written.
        StorageFullError, StorageError
            When the disk is full or fails; the rows are taken back, unless others have built on them.
        """
        payload = rows.payload(self.base)
        digest = payload_digest(payload, self.header.key)  # before the lock: others need not wait for it
        with self.locked():
            done = self._row_of(key)
            if done is None:
                start, first = self.tail.end, self.tail.rows
                self._write(payload, digest, rows.count, key)
            else:
                start, first = -1, done
            end = self.tail.end
        if durability == "group":
            flush_later(self._flush_key, self.commit)
        elif durability == "sync":
            self._sync(start, end)
        return first

    def _row_of(self, key: bytes) -> int | None:
        return None if key == NO_KEY else self.keys().get(key)

    def keys(self) -> KeyIndex:
        """Return the remembered keys, up to date with the tail; only while locked."""
        if self._keys is None:
            count = self.base.facts.keys * 32
            raw = self.base.read(self.base.seal_offset - count, self.base.seal_offset)
            self._keys = KeyIndex.from_bytes(raw)
        for frame in self.tail.frames[self._indexed :]:
            if frame.key != NO_KEY:
                self._keys.add(frame.key, frame.first_row, frame.n_rows)
        self._indexed = len(self.tail.frames)
        return self._keys

    def _write(self, payload: Buffer, digest: bytes, n_rows: int, key: bytes) -> None:
        tail = self.tail
        frame = Frame(tail.end + FRAME.size, len(payload), tail.rows, n_rows, key, digest)
        head = compose_frame(self.header, frame, len(tail.frames) + 1)
        try:
            with os_errors(self.what, "append to"):
                _write_all(self.log, (head, payload), tail.end)
        except BaseException:
            os.ftruncate(self.log, tail.end)
            raise
        tail.frames.append(frame)
        tail.end = frame.offset + frame.size
        tail.rows += n_rows

    def _sync(self, start: int, end: int) -> None:
        """Bring the log up to ``end`` to the disk, outside the lock: writers share the device."""
        try:
            with os_errors(self.what, "append to"):
                os.fdatasync(self.log)
        except BaseException:
            self._take_back(start, end)
            raise
        try:
            with self.locked():
                self._advance(end)
        except StaleError:
            return  # a folder or an overwriter has taken over what was written here

    def _take_back(self, start: int, end: int) -> None:
        try:
            with self.locked():
                if start >= 0 and self.tail.end == end:
                    frame = self.tail.frames.pop()
                    self.tail.end, self.tail.rows = start, frame.first_row
                    os.ftruncate(self.log, start)
                    self._forget_keys()
        except StaleError:
            return

    def _forget_keys(self) -> None:
        self._keys, self._indexed = None, 0

    def _advance(self, end: int) -> None:
        """Write a commit slot if none covers ``end``; only while locked."""
        slot = parse_slots(read_page(self.log, self.what), self.header.key, self.what)
        if slot.durable_bytes >= end and not slot.is_of_earlier_boot:
            return
        frames, count = self.tail.frames, len(self.tail.frames)
        while count and frames[count - 1].offset + frames[count - 1].size > end:
            count -= 1
        rows = frames[count].first_row if count < len(frames) else self.tail.rows
        self._put_slot(slot.following(end, rows, count))

    def _put_slot(self, slot: Slot) -> None:
        with os_errors(self.what, "append to"):
            os.pwrite(self.log, compose_slot(slot, self.header.key), SLOT_OFFSETS[slot.number % 2])

    def _commit_locked(self) -> None:
        with os_errors(self.what, "append to"):
            os.fdatasync(self.log)
        self._advance(self.tail.end)

    def commit(self) -> None:
        """Bring everything that this process has appended to the disk.

        Raises
        ------
        StorageError
            When the device fails.
        """
        if self.log >= 0:
            self._sync(-1, self.tail.end)


def _write_all(fd: int, parts: tuple[Buffer, Buffer], offset: int) -> None:
    wanted = len(parts[0]) + len(parts[1])
    done = os.pwritev(fd, parts, offset)
    if done < wanted:
        rest = memoryview(b"".join(parts))
        while done < wanted:
            done += os.pwrite(fd, rest[done:], offset + done)
