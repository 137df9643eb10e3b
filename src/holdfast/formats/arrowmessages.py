"""The messages of Arrow files and streams: where each lies, and what it claims, before anything is unpacked.

Owns the walk along them; pyarrow decodes what is in them.

References
----------
Apache Arrow columnar format, "Encapsulated message format", ``Message.fbs``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.errors import UnreadableError
from holdfast.formats.source import Source

__all__ = ["DICTIONARY", "RECORDS", "SCHEMA", "Message", "claimed_bytes", "messages", "parse_message"]

SCHEMA, DICTIONARY, RECORDS = 1, 2, 3
"""Kinds of messages, as ``Message.fbs`` numbers them."""

_MAX_HEADER_BYTES = 64 << 20
_MAX_MESSAGES = 200_000
_CONTINUED = 0xFFFFFFFF
_UNCOMPRESSED = -1


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Parameters
    ----------
    kind : int
        `SCHEMA`, `DICTIONARY`, `RECORDS` or another number.
    offset, head, body : int
        Where it starts in the file, and the sizes of its two parts in bytes.
    rows : int
        Rows of a record batch.
    nulls : tuple of int
        Absent values of each node of a record batch, in the order of the schema.
    buffers : tuple of (int, int)
        Place and size of each compressed buffer in the body; empty where nothing is compressed.
    """

    kind: int
    offset: int
    head: int
    body: int
    rows: int = 0
    nulls: tuple[int, ...] = ()
    buffers: tuple[tuple[int, int], ...] = ()


def messages(source: Source, start: int, stop: int) -> Iterator[Message]:
    """Yield the messages of a part of a file up to the mark of their end.

    Parameters
    ----------
    source : Source
        The file.
    start, stop : int
        Where they lie.

    Raises
    ------
    UnreadableError
        One is cut off or damaged, or there are too many.
    """
    for _ in range(_MAX_MESSAGES):
        if start == stop:
            return
        message = _message(source, start, stop)
        if message is None:
            return
        yield message
        start += message.head + message.body
    raise UnreadableError(f"{source.name} has more than {_MAX_MESSAGES} batches; write it in larger ones")


def _message(source: Source, start: int, stop: int) -> Message | None:
    """Read the message at a place; None for the mark of the end."""
    length, prefix = _length(source, start, stop)
    if length == 0:
        return None
    if length > _MAX_HEADER_BYTES or start + prefix + length > stop:
        raise UnreadableError(f"{source.name} is cut off or damaged at byte {start}")
    data = bytes(source.read(start + prefix, length))
    try:
        message = parse_message(data, start, prefix + length)
    except (struct.error, ValueError) as error:
        raise UnreadableError(f"{source.name} has a damaged message at byte {start}") from error
    if message.offset + message.head + message.body > stop:
        raise UnreadableError(f"{source.name} is cut off: a batch ends behind the file")
    return message


def _length(source: Source, start: int, stop: int) -> tuple[int, int]:
    """Return the size of a message's description, and of what stands before it."""
    data = bytes(source.read(start, min(8, stop - start)))
    if len(data) < 4:
        raise UnreadableError(f"{source.name} is cut off at byte {start}")
    first = int.from_bytes(data[:4], "little")
    if first != _CONTINUED:
        # As files of before 2019 have it.
        return first, 4
    if len(data) < 8:
        raise UnreadableError(f"{source.name} is cut off at byte {start}")
    return int.from_bytes(data[4:], "little"), 8


def parse_message(data: bytes, offset: int, head: int) -> Message:
    """Read the description of a message.

    Parameters
    ----------
    data : bytes
        A FlatBuffer of the table ``Message``.
    offset, head : int
        Where the message starts, and how long it is with what stands before the description.

    Raises
    ------
    ValueError, struct.error
        It is none.
    """
    table = _Table.root(data)
    kind, body = table.number(1, "<B"), table.number(3, "<q")
    if body < 0:
        raise ValueError("a body has no negative size")
    header = table.below(2)
    if kind == DICTIONARY and header is not None:
        header = header.below(1)
    if kind not in (DICTIONARY, RECORDS) or header is None:
        return Message(kind, offset, head, body)
    rows = header.number(0, "<q")
    nulls = tuple(count for _, count in header.pairs(1))
    places = tuple(header.pairs(2)) if header.below(3) is not None else ()
    if rows < 0 or any(at < 0 or size < 0 or at + size > body for at, size in places):
        raise ValueError("a buffer lies outside of its batch")
    return Message(kind, offset, head, body, rows, nulls, places)


def claimed_bytes(source: Source, message: Message) -> int:
    """Return how large the body of a message says it is when it is unpacked, in bytes.

    Parameters
    ----------
    source : Source
        The file.
    message : Message
        One of its messages.
    """
    if not message.buffers:
        return message.body
    start = message.offset + message.head
    claimed = 0
    for at, size in message.buffers:
        if size >= 8:
            said = int.from_bytes(source.read(start + at, 8), "little", signed=True)
            claimed += size if said == _UNCOMPRESSED else max(said, 0)
    return claimed


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a FlatBuffer; every place is checked before it is read."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, _read(data, "<I", 0))

    def number(self, field: int, layout: str) -> int:
        """Return a number; 0 where it is left out."""
        place = self._place(field)
        return 0 if place is None else _read(self.data, layout, place)

    def below(self, field: int) -> _Table | None:
        """Return the table that a field points to; None where it is left out."""
        place = self._place(field)
        return None if place is None else _Table(self.data, place + _read(self.data, "<I", place))

    def pairs(self, field: int) -> Iterator[tuple[int, int]]:
        """Yield the pairs of numbers in a vector."""
        place = self._place(field)
        if place is not None:
            start = place + _read(self.data, "<I", place)
            count = _read(self.data, "<I", start)
            if count * 16 > len(self.data) - start:
                raise ValueError("a list ends behind the message")
            yield from struct.iter_unpack("<qq", self.data[start + 4 : start + 4 + 16 * count])

    def _place(self, field: int) -> int | None:
        vtable = self.at - _read(self.data, "<i", self.at)
        size = _read(self.data, "<H", vtable)
        entry = 4 + 2 * field
        offset = _read(self.data, "<H", vtable + entry) if entry + 2 <= size else 0
        return self.at + offset if offset else None


def _read(data: bytes, layout: str, at: int) -> int:
    if at < 0:
        raise ValueError("it points before its start")
    return int(struct.unpack_from(layout, data, at)[0])
