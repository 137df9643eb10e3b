"""Own the bytes of the log of appended rows: header page, commit slots and frames.

It does not read or write files: ``tail`` reads, ``appender`` writes. ``docs/format/record.md`` draws it.

>>> header = LogHeader(bytes(16), bytes(16), 3, 8)
>>> parse_header(compose_page(header, Slot.first(3)), "k") == header
True
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple, Self

from blake3 import blake3

from holdfast.errors import HashError, NewerFormatError
from holdfast.files import boot_id, host_id
from holdfast.types import Buffer

__all__ = [
    "FRAME",
    "FRAME_MAGIC",
    "MARK_OFFSET",
    "NO_KEY",
    "PAGE_BYTES",
    "SLOT_OFFSETS",
    "Frame",
    "LogHeader",
    "Mark",
    "Slot",
    "compose_frame",
    "compose_mark",
    "compose_page",
    "compose_slot",
    "frame_check",
    "parse_header",
    "parse_mark",
    "parse_slots",
    "payload_digest",
    "this_boot",
    "this_host",
]

PAGE_BYTES = 4096
"""The size of the header page; frames follow it."""

SLOT_OFFSETS = (512, 1024)
"""Where the two commit slots lie: each in a sector of its own."""

MARK_OFFSET = 1536
"""Where the appenders note the end of the log for each other."""

FRAME_MAGIC = b"HFR1"
FRAME = struct.Struct("<4sIQQQ16s16sI")
"""One frame's header: magic, rows, payload bytes, first row, number, key, digest, check."""

NO_KEY = bytes(16)
"""The idempotency key of an append that has none."""

_MAGIC = b"HFLOG001"
_HEADER = struct.Struct("<8s16s16sQQ")
_SLOT = struct.Struct("<QQQQ16s16s")
_MARK = struct.Struct("<QQQI")


class Frame(NamedTuple):
    """Say where one append lies: payload offset and size, its rows, key and digest."""

    offset: int
    size: int
    first_row: int
    n_rows: int
    key: bytes
    digest: bytes


class Mark(NamedTuple):
    """Say where a log ends: its bytes, the rows in base and log, and its frames up to there."""

    end: int
    rows: int
    frames: int


@dataclass(frozen=True, slots=True)
class LogHeader:
    """Bind a log to its base.

    Parameters
    ----------
    uid, base_uid : bytes
        16 bytes each.
    base_rows : int
        Rows in the base; the log's first row has this number.
    row_bytes : int
        The size of one row; 0 for strings.
    """

    uid: bytes
    base_uid: bytes
    base_rows: int
    row_bytes: int

    @property
    def key(self) -> bytes:
        """The key of all digests in this log: old blocks of another file never verify."""
        return self.uid * 2

    @property
    def seed(self) -> int:
        """The start value of all frame checks in this log."""
        return zlib.crc32(self.uid)


@dataclass(frozen=True, slots=True)
class Slot:
    """Say up to where a log is on the disk.

    Parameters
    ----------
    number : int
        Counts the commits.
    durable_bytes : int
        Bytes of the log, from its start, that an fsync has covered.
    rows, frames : int
        Rows in base and log, and frames in the log, up to there.
    host, boot : bytes
        16 bytes that name the machine and its boot.
    """

    number: int
    durable_bytes: int
    rows: int
    frames: int
    host: bytes
    boot: bytes

    @classmethod
    def first(cls, base_rows: int) -> Self:
        """Return the slot of an empty log."""
        return cls(1, PAGE_BYTES, base_rows, 0, this_host(), this_boot())

    def following(self, durable_bytes: int, rows: int, frames: int) -> Slot:
        """Return the next commit, made by this machine in this boot."""
        return replace(
            self,
            number=self.number + 1,
            durable_bytes=durable_bytes,
            rows=rows,
            frames=frames,
            host=this_host(),
            boot=this_boot(),
        )

    @property
    def is_of_earlier_boot(self) -> bool:
        """Tell whether this machine was started anew since: frames behind may be remnants of a power cut."""
        return self.host == this_host() and self.boot != this_boot()


@lru_cache(maxsize=1)
def this_host() -> bytes:
    """Return 16 bytes that name this machine."""
    return blake3(host_id().encode()).digest(16)


@lru_cache(maxsize=1)
def this_boot() -> bytes:
    """Return 16 bytes that name this boot of this machine."""
    return blake3(boot_id().encode()).digest(16)


def compose_page(header: LogHeader, slot: Slot) -> bytes:
    """Return the header page of a new log."""
    body = _HEADER.pack(_MAGIC, header.uid, header.base_uid, header.base_rows, header.row_bytes)
    page = bytearray((body + blake3(body).digest()).ljust(PAGE_BYTES, b"\0"))
    raw = compose_slot(slot, header.key)
    for offset in SLOT_OFFSETS:
        page[offset : offset + len(raw)] = raw
    return bytes(page)


def parse_header(page: Buffer, what: str) -> LogHeader:
    """Verify the header of a log and return it.

    Parameters
    ----------
    page : bytes-like
        At least the first 88 bytes.
    what : str
        The entry, for the message.

    Returns
    -------
    LogHeader
        The header.

    Raises
    ------
    HashError
        When it is not what was written.
    NewerFormatError
        When a later release wrote it.
    """
    size = _HEADER.size
    if len(page) < size + 32 or blake3(page[:size]).digest() != bytes(page[size : size + 32]):
        raise HashError(f"{what} is damaged: the header of its log; restore it from another copy")
    magic, uid, base_uid, base_rows, row_bytes = _HEADER.unpack_from(page)
    if magic != _MAGIC:
        raise NewerFormatError(f"{what} has a log of another version ({magic!r}): update holdfast")
    return LogHeader(uid, base_uid, base_rows, row_bytes)


def compose_slot(slot: Slot, key: bytes) -> bytes:
    """Return the bytes of a commit slot."""
    body = _SLOT.pack(slot.number, slot.durable_bytes, slot.rows, slot.frames, slot.host, slot.boot)
    return body + blake3(body, key=key).digest()


def parse_slots(page: Buffer, key: bytes, what: str) -> Slot:
    """Return the newer of the two slots that verify.

    Parameters
    ----------
    page : bytes-like
        The header page.
    key : bytes
        The log's `LogHeader.key`.
    what : str
        The entry, for the message.

    Returns
    -------
    Slot
        The last commit; the one before it while the last is being written.

    Raises
    ------
    HashError
        When both are damaged.
    """
    found = [slot for offset in SLOT_OFFSETS if (slot := _parse_slot(page, offset, key)) is not None]
    if not found:
        raise HashError(f"{what} is damaged: both commit slots of its log; restore it from another copy")
    return max(found, key=lambda slot: slot.number)


def _parse_slot(page: Buffer, offset: int, key: bytes) -> Slot | None:
    body, end = page[offset : offset + _SLOT.size], offset + _SLOT.size
    if len(body) < _SLOT.size or blake3(body, key=key).digest() != bytes(page[end : end + 32]):
        return None
    return Slot(*_SLOT.unpack(body))


def compose_mark(mark: Mark, header: LogHeader) -> bytes:
    """Return the bytes of a mark, with a check of their own."""
    raw = _MARK.pack(*mark, 0)[:-4]
    return raw + struct.pack("<I", zlib.crc32(raw, header.seed))


def parse_mark(fd: int, header: LogHeader) -> Mark | None:
    """Read the mark of a log; None when there is none that verifies.

    Parameters
    ----------
    fd : int
        The log.
    header : LogHeader
        Its header.

    Returns
    -------
    Mark or None
        A hint for appenders that hold the lock and have verified the log in this boot: to be believed only
        where it names the size of the file.
    """
    raw = os.pread(fd, _MARK.size, MARK_OFFSET)
    if len(raw) < _MARK.size:
        return None
    *found, check = _MARK.unpack(raw)
    return Mark(*found) if check == zlib.crc32(raw[:-4], header.seed) else None


def payload_digest(payload: Buffer, key: bytes) -> bytes:
    """Return the 16-byte digest of a frame's payload."""
    return blake3(payload, key=key).digest(16)


def frame_check(header: Buffer, seed: int) -> int:
    """Return the check of a frame's header: it stands alone, so that a flipped length is no torn tail."""
    return zlib.crc32(header[: FRAME.size - 4], seed)


def compose_frame(header: LogHeader, frame: Frame, number: int) -> bytes:
    """Return the header of a frame.

    Parameters
    ----------
    header : LogHeader
        The log.
    frame : Frame
        What it holds.
    number : int
        Counts the frames of the log, from 1.

    Returns
    -------
    bytes
        68 bytes; the payload follows them.
    """
    _, size, first_row, n_rows, key, digest = frame
    raw = FRAME.pack(FRAME_MAGIC, n_rows, size, first_row, number, key, digest, 0)[:-4]
    return raw + struct.pack("<I", zlib.crc32(raw, header.seed))
