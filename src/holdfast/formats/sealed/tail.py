"""Own the reading of a log: which frames count, which are torn, and which are damage.

It does not write: ``appender`` cuts torn tails off. The rules of the tail are those of
``docs/format/record.md``: a fault is never silent, and a row that was acknowledged is never missing.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from holdfast.errors import HashError
from holdfast.files import os_errors
from holdfast.formats.sealed.log import (
    FRAME,
    FRAME_MAGIC,
    PAGE_BYTES,
    Frame,
    LogHeader,
    Slot,
    frame_check,
    parse_header,
    parse_slots,
    payload_digest,
)
from holdfast.types import Buffer

__all__ = ["Tail", "check_tail", "read_frames", "read_page", "read_tail", "scan"]

_WINDOW_BYTES = 1024 * 1024


@dataclass(slots=True)
class Tail:
    """Say how far a log was read.

    Parameters
    ----------
    end : int
        The offset behind the last frame that counts.
    rows : int
        Rows in base and log up to there.
    frames : list of Frame
        The frames up to there.
    stopped : str
        Why reading stopped: ``end`` of the file, ``torn`` frame, ``bad`` frame.
    """

    end: int
    rows: int
    frames: list[Frame] = field(default_factory=list)
    stopped: Literal["end", "torn", "bad"] = "end"

    def add(self, frame: Frame) -> None:
        """Take in the next frame."""
        self.frames.append(frame)
        self.rows += frame.n_rows
        self.end = frame.offset + frame.size

    def cut(self, end: int) -> None:
        """Forget the frame behind ``end``, the start of a frame, if it was read."""
        if self.end > end:
            self.rows = self.frames.pop().first_row
            self.end = end


def read_page(fd: int, what: str) -> bytes:
    """Return the header page of a log."""
    with os_errors(what, "read"):
        return os.pread(fd, PAGE_BYTES, 0)


def read_tail(fd: int, what: str) -> tuple[LogHeader, Tail]:
    """Read a log as a reader does: without a lock, unless something looks wrong.

    Parameters
    ----------
    fd : int
        The log, open for reading.
    what : str
        The entry, for messages.

    Returns
    -------
    tuple of LogHeader, Tail
        The header, and the frames that count. The payload of frames that a commit covers is not verified
        here but when it is read.

    Raises
    ------
    HashError
        When acknowledged bytes are missing or not what was written.
    """
    page = read_page(fd, what)
    header = parse_header(page, what)
    slot = parse_slots(page, header.key, what)
    tail = Tail(PAGE_BYTES, header.base_rows)
    scan(fd, header, tail, trusted=slot.durable_bytes)
    if tail.stopped == "bad" and tail.end >= slot.durable_bytes and not slot.is_of_earlier_boot:
        # A writer may be at work just here: with the lock shared, what is bad is damage.
        slot = _rescan_locked(fd, header, tail, what)
    check_tail(tail, slot, what)
    return header, tail


def _rescan_locked(fd: int, header: LogHeader, tail: Tail, what: str) -> Slot:
    fcntl.flock(fd, fcntl.LOCK_SH)
    try:
        slot = parse_slots(read_page(fd, what), header.key, what)
        scan(fd, header, tail, trusted=slot.durable_bytes)
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)
    return slot


def check_tail(tail: Tail, slot: Slot, what: str) -> None:
    """Refuse a log that lacks what a commit covers, or that has a bad frame which no power cut explains.

    Raises
    ------
    HashError
        In these two cases.
    """
    if tail.end < slot.durable_bytes:
        raise HashError(
            f"{what} is damaged: its log is good up to byte {tail.end} but {slot.durable_bytes} were "
            "committed; restore it from another copy"
        )
    if tail.stopped == "bad" and not slot.is_of_earlier_boot:
        raise HashError(
            f"{what} is damaged: a frame at byte {tail.end} of its log; restore it from another copy"
        )


def scan(fd: int, header: LogHeader, tail: Tail, *, trusted: int = 0) -> None:
    """Read frames from where a tail ends, and move its end.

    Parameters
    ----------
    fd : int
        The log.
    header : LogHeader
        Its header.
    tail : Tail
        Changed in place.
    trusted : int
        Payloads of frames that end before this offset are not verified now.
    """
    size = os.fstat(fd).st_size
    tail.stopped = "end"
    while tail.end < size and tail.stopped == "end":
        window = os.pread(fd, min(_WINDOW_BYTES, size - tail.end), tail.end)
        _scan_window(fd, header, tail, window, size, trusted)


def _scan_window(fd: int, header: LogHeader, tail: Tail, window: bytes, size: int, trusted: int) -> None:
    start, position, seed, key = tail.end, 0, header.seed, header.key
    while tail.end < size:
        if position + FRAME.size > len(window):
            if start + len(window) >= size:
                tail.stopped = "torn"
            return
        raw = window[position : position + FRAME.size]
        magic, n_rows, length, first_row, number, idempotency, digest, check = FRAME.unpack(raw)
        is_next = first_row == tail.rows and number == len(tail.frames) + 1
        if magic != FRAME_MAGIC or check != frame_check(raw, seed) or not is_next:
            tail.stopped = "bad"
            return
        offset = tail.end + FRAME.size
        if offset + length > size:
            tail.stopped = "torn"
            return
        frame = Frame(offset, length, first_row, n_rows, idempotency, digest)
        if offset + length > trusted:
            begin = position + FRAME.size
            payload: Buffer = memoryview(window)[begin : begin + length]
            if len(payload) < length:
                payload = _read_payload(fd, frame)
            if payload_digest(payload, key) != digest:
                tail.stopped = "bad"
                return
        tail.add(frame)
        position += FRAME.size + length


def _read_payload(fd: int, frame: Frame) -> memoryview:
    out = np.empty(frame.size, np.uint8).data
    done = 0
    while done < frame.size and (count := os.preadv(fd, [out[done:]], frame.offset + done)):
        done += count
    return out[:done]


def read_frames(fd: int, header: LogHeader, frames: list[Frame], out: memoryview, what: str) -> None:
    """Read the payloads of consecutive frames into a buffer and verify each.

    Parameters
    ----------
    fd : int
        The log.
    header : LogHeader
        Its header.
    frames : list of Frame
        Consecutive ones.
    out : memoryview of bytes
        Exactly as long as the payloads together.
    what : str
        The entry, for messages.

    Raises
    ------
    HashError
        When a payload is not what was written.
    """
    filled = 0
    for group in _windows(frames):
        first = group[0].offset
        block = (
            memoryview(os.pread(fd, group[-1].offset + group[-1].size - first, first))
            if len(group) > 1
            else None
        )
        for frame in group:
            begin = frame.offset - first
            part = _read_payload(fd, frame) if block is None else block[begin : begin + frame.size]
            if payload_digest(part, header.key) != frame.digest:
                raise HashError(
                    f"{what} is damaged in row {frame.first_row} or the {frame.n_rows - 1} behind it; "
                    "restore it from another copy"
                )
            out[filled : filled + frame.size] = part
            filled += frame.size


def _windows(frames: list[Frame]) -> list[list[Frame]]:
    groups: list[list[Frame]] = []
    for frame in frames:
        if groups and frame.offset + frame.size - groups[-1][0].offset <= _WINDOW_BYTES:
            groups[-1].append(frame)
        else:
            groups.append([frame])
    return groups
