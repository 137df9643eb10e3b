"""Own appending: one open base with its log, shared by the threads of a process, checked against the disk.

It does not decide when to fold; ``fold`` does. Lock order: the log, then the directory, never the reverse.
"""

from __future__ import annotations

import contextlib
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
    MARK_OFFSET,
    NO_KEY,
    PAGE_BYTES,
    SLOT_OFFSETS,
    Frame,
    Mark,
    Slot,
    compose_frame,
    compose_mark,
    compose_slot,
    parse_header,
    parse_mark,
    parse_slots,
    payload_digest,
)
from holdfast.formats.sealed.rows import NewRows
from holdfast.formats.sealed.tail import Tail, check_tail, read_page, scan
from holdfast.types import Buffer, Durability

__all__ = ["Appender", "StaleError"]

# An append holds the lock for less time than it takes to wake a sleeper: try this often before sleeping.
_SPINS = 30
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
        self.mark = Mark(PAGE_BYTES, self.header.base_rows, 0)
        self._tail = Tail(PAGE_BYTES, self.header.base_rows)
        self._mutex = threading.Lock()
        self._keys: KeyIndex | None = None
        self._indexed = 0
        self._is_known = False
        self._pid = os.getpid()
        with self.locked():
            with os_errors(self.what, "append to"):
                self._put_mark()  # after a power cut the one on the disk may be of frames that are gone
            if parse_slots(page, self.header.key, self.what).is_of_earlier_boot:
                self._commit_locked()

    @property
    def weight(self) -> int:
        """What the log costs its readers, in bytes; see `holdfast.formats.sealed.fold`."""
        return self.mark.end + _FRAME_WEIGHT * self.mark.frames

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
        """Hold the entry's log against every other appender and folder, with the mark up to date.

        Raises
        ------
        StaleError
            When the base was replaced or deleted.
        HashError
            When acknowledged rows are missing or damaged.
        """
        with self._mutex:
            _lock(self.log)
            try:
                self._check_current()
                size = os.fstat(self.log).st_size
                if size != self.mark.end:
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
        """Learn what others appended: where it ends from their mark, else frame by frame."""
        found = parse_mark(self.log, self.header) if self._is_known else None
        if found is not None and found.end == size > self.mark.end:
            self.mark = found
        else:
            self._scan(size)

    def _scan(self, size: int) -> None:
        """Read the frames to the end; cut off what a dead appender left unfinished.

        Under the lock only headers need a look: a writer that is alive has finished, one that was killed
        leaves a prefix. What a power cut can leave is verified when the log is opened.
        """
        tail = self._tail
        scan(self.log, self.header, tail, trusted=sys.maxsize if self._is_known else self._durable())
        if size < tail.end:
            raise HashError(f"{self.what} is damaged: its log became shorter; restore it from another copy")
        if size > tail.end:
            slot = parse_slots(read_page(self.log, self.what), self.header.key, self.what)
            check_tail(tail, slot, self.what)
        self._is_known, self.mark = True, Mark(tail.end, tail.rows, len(tail.frames))
        with os_errors(self.what, "append to"):
            self._put_mark()
            if size > tail.end:
                os.ftruncate(self.log, tail.end)

    def _put_mark(self) -> None:
        """Note the end of the log for the other appenders: never behind a frame that is not whole."""
        os.pwrite(self.log, compose_mark(self.mark, self.header), MARK_OFFSET)

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
            before, done = self.mark, self._row_of(key)
            if done is None:
                self._write(payload, digest, rows.count, key)
            after = self.mark
        if durability == "group":
            flush_later(self._flush_key, self.commit)
        elif durability == "sync":
            self._sync(before, after)
        return before.rows if done is None else done

    def _row_of(self, key: bytes) -> int | None:
        return None if key == NO_KEY else self.keys().get(key)

    def keys(self) -> KeyIndex:
        """Return the remembered keys, up to date with the log; only while locked."""
        if self._keys is None:
            count = self.base.facts.keys * 32
            raw = self.base.read(self.base.seal_offset - count, self.base.seal_offset)
            self._keys = KeyIndex.from_bytes(raw)
        if self._tail.end != self.mark.end:
            self._scan(self.mark.end)
        for frame in self._tail.frames[self._indexed :]:
            if frame.key != NO_KEY:
                self._keys.add(frame.key, frame.first_row, frame.n_rows)
        self._indexed = len(self._tail.frames)
        return self._keys

    def _write(self, payload: Buffer, digest: bytes, n_rows: int, key: bytes) -> None:
        tail, (end, rows, count) = self._tail, self.mark
        frame = Frame(end + FRAME.size, len(payload), rows, n_rows, key, digest)
        head = compose_frame(self.header, frame, count + 1)
        try:
            with os_errors(self.what, "append to"):
                _write_all(self.log, (head, payload), end)
        except BaseException:
            os.ftruncate(self.log, end)
            raise
        self.mark = Mark(frame.offset + frame.size, rows + n_rows, count + 1)
        if tail.end == end:
            tail.add(frame)
        with contextlib.suppress(OSError):
            self._put_mark()  # the rows are there; an older mark makes others scan, no more

    def _sync(self, before: Mark, after: Mark) -> None:
        """Bring the log up to ``after`` to the disk, outside the lock: writers share the device.

        What could not be brought there from ``before`` on is taken back.
        """
        try:
            with os_errors(self.what, "append to"):
                os.fdatasync(self.log)
        except BaseException:
            if before != after:
                self._take_back(before, after)
            raise
        try:
            with self.locked():
                self._advance(after)
        except StaleError:
            return  # a folder or an overwriter has taken over what was written here

    def _take_back(self, before: Mark, after: Mark) -> None:
        try:
            # A second failure of the disk leaves the rows where they are.
            with contextlib.suppress(OSError), self.locked():
                if self.mark == after:
                    self.mark = before
                    self._put_mark()  # first: nobody may believe in the end of what is cut off
                    os.ftruncate(self.log, before.end)
                    self._tail.cut(before.end)
                    self._forget_keys()
        except StaleError:
            return

    def _forget_keys(self) -> None:
        self._keys, self._indexed = None, 0

    def _advance(self, mark: Mark) -> None:
        """Write a commit slot if none covers ``mark``; only while locked."""
        slot = parse_slots(read_page(self.log, self.what), self.header.key, self.what)
        if slot.durable_bytes < mark.end or slot.is_of_earlier_boot:
            self._put_slot(slot.following(mark.end, mark.rows, mark.frames))

    def _put_slot(self, slot: Slot) -> None:
        with os_errors(self.what, "append to"):
            os.pwrite(self.log, compose_slot(slot, self.header.key), SLOT_OFFSETS[slot.number % 2])

    def _commit_locked(self) -> None:
        with os_errors(self.what, "append to"):
            os.fdatasync(self.log)
        self._advance(self.mark)

    def commit(self) -> None:
        """Bring everything that this process has appended to the disk.

        Raises
        ------
        StorageError
            When the device fails.
        """
        if self.log >= 0:
            mark = self.mark
            self._sync(mark, mark)


def _lock(fd: int) -> None:
    for _ in range(_SPINS):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fcntl.flock(fd, fcntl.LOCK_EX)


def _write_all(fd: int, parts: tuple[Buffer, Buffer], offset: int) -> None:
    wanted = len(parts[0]) + len(parts[1])
    done = os.pwritev(fd, parts, offset)
    if done < wanted:
        rest = memoryview(b"".join(parts))
        while done < wanted:
            done += os.pwrite(fd, rest[done:], offset + done)
