"""Own the seal: facts and digests of every byte before it, at the end of a file.

It does not read or write files: bytes in, bytes out. ``docs/format/record.md`` draws it.

>>> facts = Facts(dtype="<f8", shape=(3,), offset=512, nbytes=24, uid="00" * 16, origin="00" * 16)
>>> raw = compose_seal(describe(facts), 536, bytes(32))
>>> parse_seal(raw, 536 + len(raw), "k")[0] == facts
True
"""

from __future__ import annotations

import hmac
import json
import struct
from dataclasses import dataclass

from blake3 import blake3

from holdfast.errors import HashError, NewerFormatError
from holdfast.hashing import BLOCK_BYTES, DIGEST_BYTES
from holdfast.types import Buffer, Json

__all__ = [
    "FOOTER_BYTES",
    "Facts",
    "compose_seal",
    "describe",
    "footer_offset",
    "has_footer",
    "parse_seal",
    "seal_bytes",
    "seal_length",
    "segment_bounds",
    "segment_count",
    "segment_index",
]

FOOTER_BYTES = 64
"""The last bytes of a sealed file: the footer and the digest of the seal."""

VERSION = 1
_MAGIC, _END = b"HFSEAL1\n", b"HOLDFAST"
_FOOTER = struct.Struct("<8sHHIQQ")
_KNOWN_FEATURES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Facts:
    """Say what a sealed file holds.

    Parameters
    ----------
    dtype : str or list
        numpy's ``descr`` of the stored values, or ``"str"``.
    shape : tuple of int
        The shape of ``data``.
    offset, nbytes : int
        Where the bytes of ``data`` start, and how many they are (for strings, the references only).
    uid : str
        32 hexadecimal digits, new for every publication; it binds the log.
    origin : str
        The uid of the first publication of these rows: folding keeps it, writing anew changes it.
    block : int
        The size of the digested blocks.
    whole : bool
        Blocks are counted from the start of the file and not of the data (strings).
    give : str
        What to give back where the stored type does not say it: ``U``, ``O`` or ``T`` for the three
        numpy types of strings, ``str`` or ``bytes`` for Python's own.
    log : bool
        A log must lie beside the file.
    keys : int
        How many idempotency keys lie between the data and the seal.
    read, write : tuple of str
        Features that a reader, and a writer, must know.
    """

    dtype: Json
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    uid: str
    origin: str
    block: int = BLOCK_BYTES
    whole: bool = False
    give: str = ""
    log: bool = False
    keys: int = 0
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


def describe(facts: Facts) -> bytes:
    """Return facts as they stand in a seal: JSON without what has its default."""
    values: dict[str, Json] = {
        "dtype": facts.dtype,
        "shape": facts.shape,
        "offset": facts.offset,
        "nbytes": facts.nbytes,
        "uid": facts.uid,
        "origin": facts.origin,
        "block": facts.block,
    }
    for name in ("whole", "give", "log", "keys", "read", "write"):
        if value := getattr(facts, name):
            values[name] = value
    return json.dumps(values, separators=(",", ":"), ensure_ascii=True).encode()


def segment_bounds(facts: Facts, seal_offset: int, index: int) -> tuple[int, int]:
    """Return start and stop of a digested segment; they cover every byte before the seal, without a gap.

    Parameters
    ----------
    facts : Facts
        What the file holds.
    seal_offset : int
        Where the seal starts.
    index : int
        The number of the segment. A file of up to one block is one segment; otherwise segment 0 is the head
        and blocks are counted from the data; or, for ``whole``, blocks are counted from 0.

    Returns
    -------
    tuple of int
        Offsets in the file.
    """
    if seal_offset <= facts.block:
        return 0, seal_offset
    if index == 0 and not facts.whole:
        return 0, facts.offset
    start = index * facts.block if facts.whole else facts.offset + (index - 1) * facts.block
    return start, min(start + facts.block, seal_offset)


def segment_index(facts: Facts, seal_offset: int, position: int) -> int:
    """Return the number of the segment that holds a byte; see `segment_bounds`."""
    if seal_offset <= facts.block or (position < facts.offset and not facts.whole):
        return 0
    return position // facts.block if facts.whole else (position - facts.offset) // facts.block + 1


def segment_count(facts: Facts, seal_offset: int) -> int:
    """Return the number of segments; see `segment_bounds`."""
    if seal_offset <= facts.block:
        return 1
    first = 0 if facts.whole else facts.offset
    return -(-(seal_offset - first) // facts.block) + (not facts.whole)


def seal_length(facts: Facts, described: bytes, seal_offset: int) -> int:
    """Return the size of the seal in bytes, before any digest is known."""
    used = len(_MAGIC) + 8 + len(described) + DIGEST_BYTES * segment_count(facts, seal_offset)
    return -(-used // 8) * 8 + FOOTER_BYTES


def compose_seal(described: bytes, seal_offset: int, digests: bytes) -> bytes:
    """Return the bytes of a seal.

    Parameters
    ----------
    described : bytes
        What the file holds: what `describe` gives.
    seal_offset : int
        Where the seal starts; a multiple of 8.
    digests : bytes
        32 bytes of blake3 for each segment.

    Returns
    -------
    bytes
        The last bytes of the file.
    """
    head = _MAGIC + struct.pack("<II", len(described), len(digests) // DIGEST_BYTES) + described + digests
    head = head.ljust(-(-len(head) // 8) * 8, b"\0")
    length = len(head) + FOOTER_BYTES
    body = head + _FOOTER.pack(_END, VERSION, 0, length, seal_offset, seal_offset + length)
    return body + blake3(body).digest()


def has_footer(tail: Buffer) -> bool:
    """Tell whether bytes end like a sealed file."""
    return len(tail) >= FOOTER_BYTES and bytes(tail[-FOOTER_BYTES : 8 - FOOTER_BYTES]) == _END


def footer_offset(tail: Buffer) -> int:
    """Return where the footer says that the seal starts, unverified."""
    offset: int = _FOOTER.unpack_from(tail, len(tail) - FOOTER_BYTES)[4]
    return offset


def seal_bytes(tail: Buffer, size: int, what: str) -> tuple[int, int]:
    """Return offset and length of the seal from the last bytes of a file.

    Parameters
    ----------
    tail : bytes-like
        At least the last `FOOTER_BYTES`.
    size : int
        The size of the file.
    what : str
        The entry, for the message.

    Returns
    -------
    tuple of int
        Offset and length.

    Raises
    ------
    HashError
        When the footer contradicts the size of the file.
    """
    _, _, _, length, offset, file_bytes = _FOOTER.unpack_from(tail, len(tail) - FOOTER_BYTES)
    if file_bytes != size or offset + length != size or length < FOOTER_BYTES:
        raise HashError(
            f"{what} is damaged: its seal does not fit its {size} bytes; restore it from another copy"
        )
    return offset, length


def parse_seal(seal: Buffer, size: int, what: str) -> tuple[Facts, bytes]:
    """Verify a seal and return what it says.

    Parameters
    ----------
    seal : bytes-like
        The whole seal: the last bytes of the file.
    size : int
        The size of the file.
    what : str
        The entry, for the message.

    Returns
    -------
    tuple of Facts, bytes
        The facts, and one digest for each segment.

    Raises
    ------
    HashError
        When the seal is not what was written.
    NewerFormatError
        When its version, or a feature it needs, is not known to this release.
    """
    if not hmac.compare_digest(blake3(seal[:-DIGEST_BYTES]).digest(), bytes(seal[-DIGEST_BYTES:])):
        raise HashError(f"{what} is damaged: its seal has another digest; restore it from another copy")
    _, version, flags, *_ = _FOOTER.unpack_from(seal, len(seal) - FOOTER_BYTES)
    if version != VERSION or flags:
        raise NewerFormatError(
            f"{what} has version {version} of the sealed format (flags {flags}); this release knows "
            f"{VERSION}: update holdfast"
        )
    json_length, count = struct.unpack_from("<II", seal, len(_MAGIC))
    start = len(_MAGIC) + 8 + json_length
    facts = _facts_of(json.loads(bytes(seal[start - json_length : start])))
    if missing := set(facts.read) - _KNOWN_FEATURES:
        raise NewerFormatError(
            f"{what} needs {', '.join(sorted(missing))}, which this release lacks: update holdfast"
        )
    if count != segment_count(facts, size - len(seal)):
        raise HashError(f"{what} is damaged: its seal lists {count} digests; restore it from another copy")
    return facts, bytes(seal[start : start + count * DIGEST_BYTES])


def _facts_of(values: dict[str, Json]) -> Facts:
    names: tuple[str, ...] = Facts.__slots__
    known = {name: values[name] for name in names if name in values}
    for name in ("shape", "read", "write"):
        known[name] = tuple(known.get(name, ()))
    return Facts(**known)
