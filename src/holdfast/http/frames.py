"""Own the verified body format: pieces with their digests, an end with the digest of all.

It does not touch sockets or files. Byte by byte: ``docs/format/frames.md``.

>>> from holdfast.http.frames import FrameReader, frames
>>> reader = FrameReader()
>>> b"".join(bytes(piece) for frame in frames([b"abc", b"d"]) for piece in reader.feed(frame))
b'abcd'
>>> reader.finish().size_bytes
4
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
from blake3 import blake3

from holdfast.errors import HashError, HoldfastError, TransportError, UnreadableError
from holdfast.hashing import DIGEST_BYTES, Digest
from holdfast.http.errors import error_from, error_json, status_of
from holdfast.types import Buffer

__all__ = ["FAILED", "FRAMES_MEDIA_TYPE", "MAX_FRAME_BYTES", "FrameReader", "Framed", "framed_size", "frames"]

FRAMES_MEDIA_TYPE = "application/vnd.holdfast.frames"
MAX_FRAME_BYTES = 16 * 1024 * 1024
FAILED = 0xFFFF_FFFF
"""The length that announces an error instead of a piece."""

_LENGTH = struct.Struct("<I")
_HEAD_BYTES = _LENGTH.size + DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class Framed:
    """Say what a framed body held."""

    size_bytes: int
    digest: Digest


def framed_size(size: int, piece: int) -> int:
    """Return the size of a body in frames.

    Parameters
    ----------
    size : int
        The bytes in all pieces.
    piece : int
        The bytes of each piece but the last.

    Returns
    -------
    int
        What ``Content-Length`` is.
    """
    count = -(-size // piece)
    return size + (count + 1) * _HEAD_BYTES


def frames(pieces: Iterable[Buffer]) -> Iterator[Buffer]:
    """Wrap pieces in frames; an error of ours while making a piece ends the body with that error.

    Parameters
    ----------
    pieces : iterable of bytes-like
        Each not longer than `MAX_FRAME_BYTES`; empty ones are passed over.

    Yields
    ------
    bytes-like
        Heads and pieces in turn.
    """
    whole = blake3()
    try:
        for piece in pieces:
            view = memoryview(piece).cast("B")
            if view.nbytes:
                whole.update(view)
                yield _LENGTH.pack(view.nbytes) + blake3(view).digest()
                yield view
    except HoldfastError as error:
        yield _failure(error)
        return
    yield _LENGTH.pack(0) + whole.digest()


def _failure(error: HoldfastError) -> bytes:
    text = msgspec.json.encode({**error_json(error), "status": status_of(error)}, enc_hook=str)
    return _LENGTH.pack(FAILED) + _LENGTH.pack(len(text)) + text


class FrameReader:
    """Take a framed body in parts of any size and give back its verified pieces.

    Parameters
    ----------
    what : str, optional
        The object, for messages.
    """

    def __init__(self, what: str = "the body") -> None:
        self._what = what
        self._buffer = bytearray()
        self._whole = blake3()
        self._size = 0
        self._end: Framed | None = None

    @property
    def is_complete(self) -> bool:
        """True when the end frame has come."""
        return self._end is not None

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """Take more of the body.

        Parameters
        ----------
        data : bytes-like
            What arrived.

        Yields
        ------
        bytes
            Pieces that are complete and verified.

        Raises
        ------
        HashError
            For a piece or a whole that is not what its digest says.
        HoldfastError
            Of the class that the sender met.
        UnreadableError
            For bytes that are not frames.
        """
        self._buffer += data
        while (piece := self._next()) is not None:
            yield piece
        if self._end is not None and self._buffer:
            raise UnreadableError(f"{self._what} goes on after its end frame")

    def finish(self) -> Framed:
        """Return the size and the digest of the whole body.

        Raises
        ------
        TransportError
            When the end frame has not come.
        """
        if self._end is None:
            raise TransportError(f"{self._what} broke off after {self._size} bytes; ask again")
        return self._end

    def _next(self) -> bytes | None:
        if self._end is not None or len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length == FAILED:
            self._fail()
            return None
        if length > MAX_FRAME_BYTES:
            raise UnreadableError(f"{self._what} is not in digest frames (a length of {length})")
        if len(self._buffer) < _HEAD_BYTES + length:
            return None
        return self._take(length)

    def _take(self, length: int) -> bytes | None:
        expected = bytes(self._buffer[_LENGTH.size : _HEAD_BYTES])
        piece = bytes(memoryview(self._buffer)[_HEAD_BYTES : _HEAD_BYTES + length])
        del self._buffer[: _HEAD_BYTES + length]
        if length == 0:
            self._check(expected, self._whole.digest(), "as a whole")
            self._end = Framed(self._size, Digest("blake3", expected.hex()))
            return None
        self._check(expected, blake3(piece).digest(), f"at byte {self._size}")
        self._whole.update(piece)
        self._size += length
        return piece

    def _check(self, expected: bytes, found: bytes, where: str) -> None:
        if not hmac.compare_digest(expected, found):
            raise HashError(
                f"{self._what} was damaged on its way {where}: expected blake3:{expected.hex()}, "
                f"found blake3:{found.hex()}; ask again",
                expected=f"blake3:{expected.hex()}",
                found=f"blake3:{found.hex()}",
            )

    def _fail(self) -> None:
        if len(self._buffer) < 2 * _LENGTH.size:
            return
        (length,) = _LENGTH.unpack_from(self._buffer, _LENGTH.size)
        if length > MAX_FRAME_BYTES:
            raise UnreadableError(f"{self._what} is not in digest frames (a length of {length})")
        if len(self._buffer) >= 2 * _LENGTH.size + length:
            raise error_from(500, bytes(self._buffer[2 * _LENGTH.size : 2 * _LENGTH.size + length]))
