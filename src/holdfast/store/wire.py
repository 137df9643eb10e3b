"""Own the bytes in which our own routes and our client speak of values and changes.

Everything is a record: four bytes of length (little endian), a JSON object, then as many bytes of data as the
object's ``size`` says where it has ``inline`` or is a change with data. See docs/format/store.md.

>>> reader = RecordReader()
>>> list(reader.feed(record({"op": "delete", "key": "k"})))
[{'op': 'delete', 'key': 'k'}]
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from holdfast.errors import InvalidInputError, TooLargeError
from holdfast.hashing import BlockDigests, Digest, hash_bytes
from holdfast.store.changes import Change
from holdfast.store.value import HeldReader, Reader, Value
from holdfast.types import Buffer, Json

__all__ = [
    "INLINE_BYTES",
    "RECORDS_MEDIA_TYPE",
    "RecordReader",
    "change_facts",
    "change_of",
    "record",
    "value_facts",
    "value_of",
]

RECORDS_MEDIA_TYPE = "application/vnd.holdfast.store-records"
INLINE_BYTES = 1 << 20
"""Data up to this size travel with their facts."""

_LENGTH = struct.Struct("<I")
_LONGEST_FACTS = 64 << 20


def record(facts: dict[str, Json]) -> bytes:
    """Return the beginning of a record: its length and its JSON object."""
    text = msgspec.json.encode(facts)
    return _LENGTH.pack(len(text)) + text


class RecordReader:
    """Cut a stream of bytes into records, whatever pieces it comes in."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data_left = 0

    def feed(self, piece: Buffer) -> Iterator[dict[str, Any] | memoryview]:
        """Take more bytes.

        Parameters
        ----------
        piece : bytes-like
            The next bytes.

        Yields
        ------
        dict or memoryview
            The object of a record, then the pieces of its data, which are valid until the next step.

        Raises
        ------
        InvalidInputError
            For what is no record.
        """
        view = memoryview(piece)
        while True:
            if self._data_left:
                part = view[: self._data_left]
                if not part:
                    return
                self._data_left -= len(part)
                view = view[len(part) :]
                yield part
                continue
            facts, view = self._facts(view)
            if facts is None:
                return
            yield facts

    def _facts(self, view: memoryview) -> tuple[dict[str, Any] | None, memoryview]:
        view = self._gather(view, _LENGTH.size)
        if len(self._rest) < _LENGTH.size:
            return None, view
        (length,) = _LENGTH.unpack_from(self._rest)
        if length > _LONGEST_FACTS:
            raise TooLargeError(f"a record of {length} bytes of JSON is over the limit of {_LONGEST_FACTS}")
        view = self._gather(view, _LENGTH.size + length)
        if len(self._rest) < _LENGTH.size + length:
            return None, view
        facts = _object(bytes(self._rest[_LENGTH.size :]))
        self._rest.clear()
        size = facts.get("size", 0) if facts.get("inline") else 0
        if not isinstance(size, int) or size < 0:
            raise InvalidInputError(f"a record has the size {size!r}; it must be a number of bytes")
        self._data_left = size
        return facts, view

    def _gather(self, view: memoryview, length: int) -> memoryview:
        take = max(0, length - len(self._rest))
        self._rest += view[:take]
        return view[take:]

    def end(self) -> None:
        """Check that nothing is missing.

        Raises
        ------
        InvalidInputError
            The last record is not complete.
        """
        if self._rest or self._data_left:
            raise InvalidInputError("the last record is not complete; send it again")


def _object(text: bytes) -> dict[str, Any]:
    try:
        facts = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"a record's JSON cannot be read: {error}") from error
    if not isinstance(facts, dict):
        raise InvalidInputError("a record's JSON must be an object")
    return facts


def change_facts(change: Change) -> dict[str, Json]:
    """Return the record of a change; its data follow where it has new ones."""
    facts: dict[str, Json] = {"key": change.key}
    if change.is_removal:
        return facts | {"op": "delete"}
    facts["op"] = "update" if change.is_patch else "set"
    if change.text is not None:
        facts["metadata"] = msgspec.json.decode(change.text)
    if change.content is not None:
        facts |= {"inline": True, "size": change.content.size}
    return facts


def change_of(facts: dict[str, Any], text: str | None) -> Change:
    """Return the change that a record asks for, without its data.

    Parameters
    ----------
    facts : dict
        The record.
    text : str or None
        Its metadata as checked JSON text.

    Raises
    ------
    InvalidInputError
        For an operation that does not exist.
    """
    op = facts.get("op")
    if op == "delete":
        return Change(facts["key"], is_removal=True)
    if op == "update" and text is not None:
        return Change(facts["key"], text=text, is_patch=True)
    if op == "set":
        return Change(facts["key"], text=text)
    raise InvalidInputError(f"a change has op {op!r}; it must be set, update (with metadata) or delete")


def value_facts(value: Value, *, inline: bool) -> dict[str, Json]:
    """Return the record of a value; its data follow where `inline`."""
    return {
        "key": value.key,
        "metadata": msgspec.Raw(value.text.encode()),
        "size": value.size,
        "modified": value.modified,
        "created": value.created,
        "verified": value.verified,
        "digest": None if value.digest is None else str(value.digest),
        "inline": inline,
    }


def value_of(facts: dict[str, Any], reader: Reader, blocks: bytes = b"") -> Value:
    """Return the value of a record.

    Parameters
    ----------
    facts : dict
        The record.
    reader : Reader
        Where its data are; those that came with it are compared with the digest here.
    blocks : bytes
        The digests of the blocks of other data.

    Raises
    ------
    HashError
        The data are not what was recorded.
    """
    digest = None if facts["digest"] is None else Digest.parse(facts["digest"])
    digests = None
    if digest is not None and isinstance(reader, HeldReader):
        digest.check(hash_bytes(reader.data), f"the data of key {facts['key']!r:.200}")
    elif digest is not None and blocks:
        digests = BlockDigests(digest, facts["size"], blocks)
    return Value(
        facts["key"],
        msgspec.json.encode(facts["metadata"]).decode(),
        facts["size"],
        facts["modified"],
        facts["created"],
        facts["verified"],
        None if digest is None else digest.raw,
        reader,
        digests,
    )
