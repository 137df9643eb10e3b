"""Own the checking of what arrives: against block lists of stored bytes and against digests of frames.

It does not fetch: a `Connection` gives the answer and the list.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from holdfast.errors import TransportError
from holdfast.hashing import BLOCK_BYTES, DIGEST_BYTES, BlockDigests, Digest, MultiHasher, hash_bytes
from holdfast.http.client.checking import checking
from holdfast.http.client.transport import Answer
from holdfast.http.frames import FRAMES_MEDIA_TYPE, FrameReader
from holdfast.http.receive import expected_digests
from holdfast.http.request import Headers
from holdfast.types import Buffer

__all__ = [
    "Arrival",
    "BlockCache",
    "checked_pieces",
    "block_list",
    "check_body",
    "fill_checked",
    "fill_framed",
    "fill_verified",
    "parse_source",
    "read_exactly",
]

_SOURCE = re.compile(r"(\S+); start=(\d+); skip=(\d+)\Z")
_PARTIAL = 206
_MAX_CACHED_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Arrival:
    """Say what is known of bytes that arrived.

    Parameters
    ----------
    size_bytes : int
        Their number.
    checked : {"stored", "sent", "no"}
        ``stored``: against digests recorded when the file was indexed or written; ``sent``: against
        digests the server computed while sending; ``no``: against nothing.
    """

    size_bytes: int
    checked: Literal["stored", "sent", "no"]


class BlockCache:
    """Keep block lists by entity tag: they never change, so each is fetched once.

    Parameters
    ----------
    limit : int, optional
        The most bytes kept; the list not used for longest goes first.
    """

    def __init__(self, limit: int = _MAX_CACHED_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, BlockDigests] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, etag: str) -> BlockDigests | None:
        """Return a list, or None."""
        with self._lock:
            found = self._kept.get(etag)
            if found is not None:
                self._kept.move_to_end(etag)
            return found

    def put(self, etag: str, blocks: BlockDigests) -> None:
        """Keep a list."""
        with self._lock:
            if etag not in self._kept:
                self._kept[etag] = blocks
                self._bytes += len(blocks.blocks)
            while self._bytes > self._limit and self._kept:
                self._bytes -= len(self._kept.popitem(last=False)[1].blocks)


def parse_source(header: str | None) -> tuple[str, int, int] | None:
    """Read ``holdfast-source``: where the block list lies, where the body starts, what to skip.

    Parameters
    ----------
    header : str or None
        ``PATH; start=N; skip=M``.

    Returns
    -------
    (str, int, int) or None
        The path of the list below the server's address; the position in the file of the body's first
        byte, which begins a block; the number of bytes of the body before the data.
    """
    match = _SOURCE.match(header or "")
    return (match.group(1), int(match.group(2)), int(match.group(3))) if match else None


def read_exactly(answer: Answer, view: memoryview) -> None:
    """Fill a buffer from a body.

    Raises
    ------
    TransportError
        When the body ends before.
    """
    at = 0
    while at < len(view):
        count = answer.readinto(view[at:])
        if count == 0:
            raise TransportError(f"the answer broke off {len(view) - at} bytes early; ask again")
        at += count


def fill_verified(
    answer: Answer, view: memoryview, blocks: BlockDigests, span: tuple[int, int], what: str
) -> None:
    """Fill a buffer from a body of whole blocks, each verified while it is hot.

    Parameters
    ----------
    answer : Answer
        Its body starts at a block and reaches to the end of one.
    view : memoryview
        The target.
    blocks : BlockDigests
        Of the stored file.
    span : (int, int)
        The position of the body's first byte in the file, and the number of bytes before the data.
    what : str
        The object, for messages.

    Raises
    ------
    HashError
        For a damaged block; it is named.
    TransportError
        For a body that breaks off.
    """
    start, skip = span
    with checking(blocks, len(view), what) as check:
        for index, size, first, last, at in _layout(blocks.size_bytes, start, skip, len(view)):
            if first == 0 and last == size:
                target = view[at : at + size]
                read_exactly(answer, target)
                check(index, target)
            else:
                # A block at an end, of which only a part is wanted.
                block = memoryview(bytearray(size))
                read_exactly(answer, block)
                check(index, block)
                view[at : at + last - first] = block[first:last]


def _layout(total: int, start: int, skip: int, wanted: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Give each block's number, its size, the part of it that is wanted, and where that part goes."""
    data_start, data_stop = start + skip, start + skip + wanted
    if start % BLOCK_BYTES or data_stop > total:
        raise TransportError("the server's answer does not fit its own list of blocks")
    for position in range(start, data_stop, BLOCK_BYTES):
        size = min(BLOCK_BYTES, total - position)
        first, last = max(0, data_start - position), min(size, data_stop - position)
        yield position // BLOCK_BYTES, size, first, last, position + first - data_start


def fill_framed(answer: Answer, view: memoryview, what: str) -> None:
    """Fill a buffer from a body in digest frames.

    Raises
    ------
    HashError
        For damage on the way.
    HoldfastError
        Of the class that the server met while it made the body.
    TransportError
        For a body that breaks off or has another size.
    """
    reader, at = FrameReader(what), 0
    for arrived in answer.arrivals():
        for piece in reader.feed(arrived):
            if at + len(piece) > len(view):
                raise TransportError(f"{what} is longer than the {len(view)} bytes that were expected")
            view[at : at + len(piece)] = piece
            at += len(piece)
    if reader.finish().size_bytes != len(view):
        raise TransportError(f"{what} has {at} bytes where {len(view)} were expected")


def checked_pieces(answer: Answer, what: str) -> Iterator[Buffer]:
    """Give a body of unknown size in pieces: unwrapped from frames, or compared with its digests at the end.

    Raises
    ------
    HashError
        For damage on the way, at the latest after the last piece.
    HoldfastError
        Of the class that the server met while it made the body.
    """
    if answer.headers.get("content-type") == FRAMES_MEDIA_TYPE:
        reader = FrameReader(what)
        for arrived in answer.arrivals():
            yield from reader.feed(arrived)
        reader.finish()
        return
    expected = expected_digests(answer.headers)
    hasher = MultiHasher(expected)
    for arrived in answer.arrivals():
        hasher.update(arrived)
        yield arrived
    for name, found in hasher.digests().items():
        expected[name].check(found, what)


def fill_checked(answer: Answer, view: memoryview, what: str) -> bool:
    """Fill a buffer from a plain body; compare with ``Content-Digest`` where the server sent one.

    Returns
    -------
    bool
        True when there was a digest to compare with.
    """
    filled = 0
    for part in answer.fill(view):
        filled += len(part)
    if filled != len(view):
        raise TransportError(f"{what} has {filled} bytes where {len(view)} were expected; ask again")
    digests = expected_digests(answer.headers) if "content-digest" in answer.headers else {}
    for name, expected in digests.items():
        expected.check(hash_bytes(view, name), what)
    return bool(digests)


def check_body(answer: Answer, data: bytes, what: str) -> None:
    """Compare a whole body with ``Content-Digest``, and with ``Repr-Digest`` where it is not a part.

    Raises
    ------
    HashError
        For other bytes.
    """
    fields = {"content-digest"} if answer.status == _PARTIAL else {"content-digest", "repr-digest"}
    announced = Headers([(name, value) for name, value in answer.headers.items() if name in fields])
    for name, expected in expected_digests(announced).items():
        expected.check(hash_bytes(data, name), what)


def block_list(data: bytes, whole: str, size: str | None) -> BlockDigests:
    """Read the body and the fields of a block list."""
    digest = Digest.parse(whole)
    count = int(size) if size is not None and size.isdigit() else -1
    if len(data) != -(-count // BLOCK_BYTES) * DIGEST_BYTES:
        raise TransportError("the server's list of blocks does not fit the size of the file; ask again")
    return BlockDigests(digest, count, data)
