"""Own ZIP files that are made while they are sent: stored, deterministic, any byte range of them.

It does not decide what goes in: it is given entries.

>>> from holdfast.http.zipstream import ZipPlan
>>> ZipPlan([]).size_bytes
22
"""

from __future__ import annotations

import os
import struct
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from blake3 import blake3

from holdfast.errors import ChangedError, InvalidInputError, MissingFileError
from holdfast.hashing import BlockDigests, Digest
from holdfast.http.limits import PIECE_BYTES
from holdfast.http.pieces import read_cold
from holdfast.http.ranges import Validators
from holdfast.http.reply import FileRange, Reply, ranged_reply
from holdfast.http.request import Request
from holdfast.http.stored import verified_pieces
from holdfast.types import Buffer

__all__ = ["ZIP_MEDIA_TYPE", "Entry", "ZipPlan", "zip_reply"]

ZIP_MEDIA_TYPE = "application/zip"

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_MAX32, _MAX16 = 0xFFFF_FFFF, 0xFFFF
_PLAIN, _ZIP64 = 20, 45
# Bit 3: the checksum follows the data. Bit 11: names are UTF-8.
_FLAGS = 0x0808
_MADE_ON_UNIX = 3 << 8
_FILE_MODE = 0o100644 << 16
_MAX_CHECKSUMS = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """Be one file of a ZIP.

    Parameters
    ----------
    name : str
        Its relative path in the ZIP, with ``/``.
    path : str
        Where it lies.
    size : int
        Bytes, as they were when the ZIP was planned.
    mtime_ns : int
        Its modification time, nanoseconds.
    digest : Digest, optional
        Of its content; it goes into the entity tag.
    blocks : callable, optional
        Gives its block digests; every byte is then verified before it is sent.
    """

    name: str
    path: str
    size: int
    mtime_ns: int
    digest: Digest | None = None
    blocks: Callable[[], BlockDigests | None] | None = field(default=None, compare=False)


class ZipPlan:
    """Know every byte position of a ZIP before a byte of its files is read.

    Parameters
    ----------
    entries : iterable of Entry
        The files; they are sorted by name.

    Raises
    ------
    InvalidInputError
        For two entries of one name, and for a name over 65,535 bytes.

    Notes
    -----
    Planning needs sizes and times only. Checksums are computed while sending and remembered by size
    and time, so that resuming does not read again what was sent before.

    References
    ----------
    APPNOTE.TXT 6.3.10.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = sorted(entries, key=lambda entry: entry.name)
        self._names = [entry.name.encode("utf-8", "surrogateescape") for entry in self.entries]
        if len(set(self._names)) != len(self._names) or any(len(name) > _MAX16 for name in self._names):
            raise InvalidInputError("the files of a ZIP need different names of at most 65,535 bytes")
        self._offsets: list[int] = []
        at = 0
        for entry, name in zip(self.entries, self._names, strict=True):
            self._offsets.append(at)
            at += len(_local_header(entry, name)) + entry.size + _descriptor_size(entry)
        self._directory_at = at
        at += sum(len(self._central_header(index, 0)) for index in range(len(self.entries)))
        self._directory_end = at
        self.size_bytes = at + len(self._end())

    @property
    def etag(self) -> str:
        """A strong entity tag of names, sizes, times and digests."""
        hasher = blake3()
        for entry, name in zip(self.entries, self._names, strict=True):
            stamp = entry.digest or entry.mtime_ns
            hasher.update(struct.pack("<Q", len(name)) + name + f"{entry.size} {stamp}\n".encode())
        return f'"zip-{hasher.hexdigest()[:40]}"'

    def stream(self, start: int = 0, stop: int | None = None) -> Iterator[Buffer]:
        """Give the bytes of a range.

        Parameters
        ----------
        start : int, default 0
            The first byte.
        stop : int, optional
            The one after the last; default the end.

        Yields
        ------
        bytes-like
            Pieces of at most about 1 MiB.

        Raises
        ------
        ChangedError
            For a file that is not as it was planned.
        HashError
            For a file whose bytes are not what was recorded.
        MissingFileError
            For a file that is gone.
        """
        end = self.size_bytes if stop is None else stop
        for index in range(self._entry_at(start), len(self.entries)):
            if self._offsets[index] >= end:
                return
            yield from self._entry_bytes(index, start, end)
        if end > self._directory_at:
            directory = b"".join(self._directory()) if self._directory_end > start else b""
            yield from _cut(directory, self._directory_at, start, end)
            yield from _cut(self._end(), self._directory_end, start, end)

    def _entry_at(self, position: int) -> int:
        low, high = 0, len(self._offsets)
        while low < high:
            middle = (low + high) // 2
            if self._offsets[middle] <= position:
                low = middle + 1
            else:
                high = middle
        return max(0, low - 1)

    def _entry_bytes(self, index: int, start: int, end: int) -> Iterator[Buffer]:
        entry, at = self.entries[index], self._offsets[index]
        header = _local_header(entry, self._names[index])
        yield from _cut(header, at, start, end)
        at += len(header)
        first, last = max(0, start - at), min(entry.size, end - at)
        if first < last:
            yield from _file_bytes(entry, first, last)
        at += entry.size
        if start < at + _descriptor_size(entry) and end > at:
            yield from _cut(_descriptor(entry, _checksum(entry)), at, start, end)

    def _directory(self) -> Iterator[bytes]:
        for index, entry in enumerate(self.entries):
            yield self._central_header(index, _checksum(entry))

    def _central_header(self, index: int, checksum: int) -> bytes:
        entry, name, offset = self.entries[index], self._names[index], self._offsets[index]
        large = [value for value in (entry.size, entry.size) if _is_large(entry.size)]
        large += [offset] if offset >= _MAX32 else []
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        version = _ZIP64 if large else _PLAIN
        size = _MAX32 if _is_large(entry.size) else entry.size
        clock, date = _dos_time(entry.mtime_ns)
        return (
            _CENTRAL.pack(
                b"PK\x01\x02", _MADE_ON_UNIX | version, version, _FLAGS, 0, clock, date, checksum, size, size,
                len(name), len(extra), 0, 0, 0, _FILE_MODE, min(offset, _MAX32),
            )
            + name
            + extra
        )  # fmt: skip

    def _end(self) -> bytes:
        count, at, size = len(self.entries), self._directory_at, self._directory_end - self._directory_at
        end = _END.pack(
            b"PK\x05\x06", 0, 0, min(count, _MAX16), min(count, _MAX16), min(size, _MAX32), min(at, _MAX32), 0
        )
        if count < _MAX16 and at < _MAX32 and size < _MAX32:
            return end
        end64 = _END64.pack(
            b"PK\x06\x06", _END64.size - 12, _MADE_ON_UNIX | _ZIP64, _ZIP64, 0, 0, count, count, size, at
        )
        return end64 + _LOCATOR64.pack(b"PK\x06\x07", 0, self._directory_end, 1) + end


def zip_reply(request: Request, entries: Iterable[Entry], *, filename: str) -> Reply:
    """Return files as one ZIP, or the part of it that the request asks for.

    Parameters
    ----------
    request : Request
        The request.
    entries : iterable of Entry
        The files.
    filename : str
        The name a browser saves it under.

    Returns
    -------
    Reply
        The answer; the same entries give the same bytes.
    """
    plan = ZipPlan(entries)
    validators = Validators(plan.etag)
    return ranged_reply(
        request,
        plan.size_bytes,
        plan.stream,
        validators=validators,
        media_type=ZIP_MEDIA_TYPE,
        filename=filename,
    )


def _is_large(size: int) -> bool:
    return size >= _MAX32


def _local_header(entry: Entry, name: bytes) -> bytes:
    extra = struct.pack("<HHQQ", 1, 16, 0, 0) if _is_large(entry.size) else b""
    version, size = (_ZIP64, _MAX32) if extra else (_PLAIN, 0)
    clock, date = _dos_time(entry.mtime_ns)
    head = _LOCAL.pack(b"PK\x03\x04", version, _FLAGS, 0, clock, date, 0, size, size, len(name), len(extra))
    return head + name + extra


def _descriptor_size(entry: Entry) -> int:
    return 24 if _is_large(entry.size) else 16


def _descriptor(entry: Entry, checksum: int) -> bytes:
    form = "<4sIQQ" if _is_large(entry.size) else "<4sIII"
    return struct.pack(form, b"PK\x07\x08", checksum, entry.size, entry.size)


def _dos_time(mtime_ns: int) -> tuple[int, int]:
    moment = time.gmtime(min(max(mtime_ns // 10**9, 315_532_800), 4_354_819_198))
    clock = moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2
    return clock, (moment.tm_year - 1980) << 9 | moment.tm_mon << 5 | moment.tm_mday


def _cut(data: bytes, at: int, start: int, end: int) -> Iterator[bytes]:
    part = data[max(0, start - at) : max(0, end - at)]
    if part:
        yield part


class _Checksums:
    """Remember CRC-32 values of files by path, size and time."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int, int], int] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, entry: Entry) -> int | None:
        """Return a checksum, or None."""
        with self._lock:
            return self._known.get((entry.path, entry.size, entry.mtime_ns))

    def put(self, entry: Entry, checksum: int) -> None:
        """Keep a checksum."""
        with self._lock:
            self._known[entry.path, entry.size, entry.mtime_ns] = checksum
            if len(self._known) > _MAX_CHECKSUMS:
                self._known.popitem(last=False)


_checksums = _Checksums()


def _checksum(entry: Entry) -> int:
    known = _checksums.get(entry)
    if known is None:
        for _ in _file_bytes(entry, 0, entry.size):
            pass
        known = _checksums.get(entry)
    return known or 0


def _file_bytes(entry: Entry, first: int, last: int) -> Iterator[memoryview]:
    """Give a part of a file, compared with the plan; a whole pass leaves its checksum behind."""
    span = _open_planned(entry, first, last)
    checksum = 0
    try:
        for piece in _pieces(entry, span):
            checksum = zlib.crc32(piece, checksum)
            yield piece
    finally:
        span.close()
    if (first, last) == (0, entry.size):
        _checksums.put(entry, checksum)


def _pieces(entry: Entry, span: FileRange) -> Iterator[memoryview]:
    blocks = entry.blocks() if entry.blocks is not None else None
    if blocks is not None:
        yield from verified_pieces(span, blocks, repr(entry.name))
        return
    for at in range(span.start, span.stop, PIECE_BYTES):
        yield memoryview(read_cold(span, at, min(PIECE_BYTES, span.stop - at)))


def _open_planned(entry: Entry, first: int, last: int) -> FileRange:
    try:
        span = FileRange.open(entry.path, first, last)
    except FileNotFoundError as error:
        raise MissingFileError(f"{entry.name!r} is gone; index the directory again") from error
    stat = os.fstat(span.fd)
    if (stat.st_size, stat.st_mtime_ns) != (entry.size, entry.mtime_ns):
        span.close()
        raise ChangedError(f"{entry.name!r} changed since the ZIP was begun; fetch it anew")
    return span
