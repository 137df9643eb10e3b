"""Own the writing of one sealed file: head, data, keys and seal, hashed while they are written.

It does not publish: it fills an open `holdfast.files.AtomicWriter`, and its caller decides when and under
which lock the file appears.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass

from blake3 import blake3

from holdfast.errors import ConflictError
from holdfast.files import AtomicWriter
from holdfast.formats.sealed.datatypes import STRING_MESSAGE, datatype_message
from holdfast.formats.sealed.encoder import compose_head, data_offset
from holdfast.formats.sealed.seal import Facts, compose_seal, describe, seal_length
from holdfast.formats.sealed.selection import bytes_of
from holdfast.formats.sealed.strings import REFERENCE, encode_strings
from holdfast.formats.sealed.threads import TASK_BYTES, run_all
from holdfast.formats.sealed.values import Values
from holdfast.types import Buffer

__all__ = ["Role", "write_sealed"]

# Up to here the whole file is composed in memory: one system call and one digest.
_SMALL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Role:
    """Say what a file is to the entry that it belongs to.

    Parameters
    ----------
    uid : str
        32 hexadecimal digits.
    origin : str
        The uid of the first publication of these rows.
    log : bool
        A log must lie beside it.
    keys : bytes
        Idempotency keys to carry along, 32 bytes each.
    """

    uid: str
    origin: str
    log: bool = False
    keys: bytes = b""

    @classmethod
    def new(cls) -> Role:
        """Return the role of an entry that is written anew, without a log."""
        uid = os.urandom(16).hex()
        return cls(uid, uid)


def write_sealed(out: AtomicWriter, values: Values, role: Role) -> Facts:
    """Fill a file with values and its seal.

    Parameters
    ----------
    out : AtomicWriter
        An empty file.
    values : Values
        What to write; slabs are taken one at a time.
    role : Role
        What the file is to its entry.

    Returns
    -------
    Facts
        What the seal says.

    Raises
    ------
    StorageFullError, StorageError
        The disk is full or failing.
    ConflictError
        When slabs have another size than the shape says.
    """
    if values.texts is not None:
        return _write_texts(out, values, role)
    assert values.dtype is not None
    message = datatype_message(values.dtype)
    nbytes = values.dtype.itemsize * math.prod(values.shape)
    facts = _facts(values, role, data_offset(message, values.shape, nbytes), nbytes)
    layout = _Layout.of(facts, message, facts.offset + nbytes, role.keys)
    if layout.file_bytes <= _SMALL_BYTES and values.array is not None:
        _write_small(out, layout, bytes(bytes_of(values.array)))
    else:
        _write_large(out, layout, (bytes_of(piece) for piece in values.pieces()))
    return facts


def _facts(values: Values, role: Role, offset: int, nbytes: int) -> Facts:
    return Facts(
        dtype=values.description,
        shape=values.shape,
        offset=offset,
        nbytes=nbytes,
        uid=role.uid,
        origin=role.origin,
        whole=values.texts is not None,
        give=values.give,
        log=role.log,
        keys=len(role.keys) // 32,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Hold where everything lies in a file."""

    facts: Facts
    described: bytes
    head: bytes
    keys: bytes
    keys_offset: int
    seal_offset: int
    file_bytes: int

    @classmethod
    def of(cls, facts: Facts, message: bytes, data_end: int, keys: bytes) -> _Layout:
        keys_offset = -(-data_end // 8) * 8
        seal_offset = keys_offset + len(keys)
        described = describe(facts)
        file_bytes = seal_offset + seal_length(facts, described, seal_offset)
        seal_range = (keys_offset, file_bytes - keys_offset)
        head = compose_head(message, facts.shape, facts.nbytes, seal_range, file_bytes)
        return cls(facts, described, head, keys, keys_offset, seal_offset, file_bytes)


def _write_texts(out: AtomicWriter, values: Values, role: Role) -> Facts:
    assert values.texts is not None
    nbytes = REFERENCE.itemsize * len(values.texts)
    offset = data_offset(STRING_MESSAGE, values.shape, nbytes)
    references, heap = encode_strings(values.texts, offset + nbytes)
    facts = _facts(values, role, offset, nbytes)
    layout = _Layout.of(facts, STRING_MESSAGE, offset + nbytes + len(heap), role.keys)
    if layout.file_bytes <= _SMALL_BYTES:
        _write_small(out, layout, references + heap)
    else:
        _write_large(out, layout, (references, heap))
    return facts


def _write_small(out: AtomicWriter, layout: _Layout, data: bytes) -> None:
    body = (layout.head + data).ljust(layout.keys_offset, b"\0") + layout.keys
    out.write(body + compose_seal(layout.described, layout.seal_offset, blake3(body).digest()))


def _write_large(out: AtomicWriter, layout: _Layout, pieces: Iterable[Buffer]) -> None:
    out.allocate(layout.file_bytes)
    segments = _SegmentWriter(out, layout)
    segments.feed(layout.head)
    for piece in pieces:
        segments.feed(piece)
    if not 0 <= layout.keys_offset - segments.position < 8:
        raise ConflictError(f"the values for {out.path} are fewer than their shape says; nothing was written")
    segments.feed(b"\0" * (layout.keys_offset - segments.position))
    segments.feed(layout.keys)
    out.pwrite(compose_seal(layout.described, layout.seal_offset, segments.finish()), layout.seal_offset)


class _SegmentWriter:
    """Write consecutive bytes and collect the digest of each segment."""

    __slots__ = ("_digests", "_edge", "_facts", "_hasher", "_limit", "_out", "position")

    def __init__(self, out: AtomicWriter, layout: _Layout) -> None:
        self._out, self._facts, self._limit = out, layout.facts, layout.seal_offset
        self.position = 0
        self._digests = bytearray()
        self._hasher = blake3()
        first = layout.facts.block if layout.facts.whole else layout.facts.offset
        self._edge = self._limit if self._limit <= layout.facts.block else first

    def feed(self, data: Buffer) -> None:
        """Write bytes at the end; they may be changed after this returns."""
        view = memoryview(data)
        if self.position + len(view) > self._limit:
            raise ConflictError(f"the values for {self._out.path} are more than their shape says")
        while view:
            has_block = self._edge - self.position == self._facts.block <= len(view)
            view = self._feed_blocks(view) if has_block else self._feed_part(view)

    def _feed_part(self, view: memoryview) -> memoryview:
        part = view[: self._edge - self.position]
        self._hasher.update(part)
        self._out.pwrite(part, self.position)
        self.position += len(part)
        if self.position == self._edge:
            self._digests += self._hasher.digest()
            self._hasher = blake3()
            self._edge = min(self._edge + self._facts.block, self._limit)
        return view[len(part) :]

    def _feed_blocks(self, view: memoryview) -> memoryview:
        """Write and hash whole blocks on both cores."""
        block = self._facts.block
        whole = len(view) // block * block
        step = max(block, TASK_BYTES // block * block)
        parts = [(start, view[start : min(start + step, whole)]) for start in range(0, whole, step)]
        base = self.position
        for digests in run_all(lambda part: self._write_blocks(base + part[0], part[1]), parts):
            self._digests += digests
        self.position += whole
        self._edge = min(self.position + block, self._limit)
        return view[whole:]

    def _write_blocks(self, offset: int, view: memoryview) -> bytes:
        self._out.pwrite(view, offset)
        block = self._facts.block
        return b"".join(blake3(view[start : start + block]).digest() for start in range(0, len(view), block))

    def finish(self) -> bytes:
        """Return the digests of all segments."""
        return bytes(self._digests)
