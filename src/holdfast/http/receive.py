"""Own what happens to an upload: batches to a receiver, counted, hashed and compared at its end.

It does not read the wire: the edge feeds it; it does not publish: the receiver does.

>>> from holdfast.http.receive import BytesReceiver, Intake
>>> from holdfast.http.request import Headers
>>> intake = Intake(BytesReceiver(10, lambda data, received: (data, received.size_bytes)), Headers())
>>> intake.take(b"abc")
>>> intake.end()
(b'abc', 3)
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from holdfast.errors import HashError, InvalidInputError, TooLargeError, TransportError, UnexpectedHashError
from holdfast.hashing import Digest, MultiHasher
from holdfast.http.frames import FRAMES_MEDIA_TYPE, FrameReader
from holdfast.http.reply import Reply
from holdfast.http.request import Headers
from holdfast.types import Buffer

__all__ = [
    "BytesReceiver",
    "Intake",
    "Received",
    "Receiver",
    "content_length",
    "expected_digests",
    "is_plain",
    "receive_whole",
]

_NAMES = {"blake3": "blake3", "sha-256": "sha256", "sha-512": "sha512", "md5": "md5"}
_FIELD = re.compile(r"\s*([a-z0-9-]+)\s*=\s*:([A-Za-z0-9+/=]*):\s*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Received:
    """Say what arrived.

    Parameters
    ----------
    size_bytes : int
        The size of the body, without frames.
    digests : dict of str to Digest
        By algorithm; blake3 always, others where the sender announced them.
    """

    size_bytes: int
    digests: dict[str, Digest]


class Receiver(Protocol):
    """Take an upload; ``finish`` comes last, or ``abort`` after what failed, ``finish`` included."""

    def write(self, block: memoryview, /) -> object:
        """Take the next bytes; they are valid only during the call."""
        ...

    def finish(self, received: Received, /) -> Reply:
        """Publish what arrived and answer."""
        ...

    def abort(self, error: BaseException, /) -> None:
        """Leave no trace."""
        ...


class BytesReceiver:
    """Collect an upload in memory.

    Parameters
    ----------
    limit : int
        The most bytes.
    done : callable
        Takes the bytes and what is known of them, and answers.
    """

    def __init__(self, limit: int, done: Callable[[bytes, Received], Reply]) -> None:
        self._limit = limit
        self._done = done
        self._data = bytearray()

    def write(self, block: memoryview) -> None:
        """Take the next bytes.

        Raises
        ------
        TooLargeError
            Over the limit.
        """
        if len(self._data) + len(block) > self._limit:
            raise TooLargeError(f"the body is over the limit of {self._limit} bytes; send less at once")
        self._data += block

    def finish(self, received: Received) -> Reply:
        """Answer."""
        return self._done(bytes(self._data), received)

    def abort(self, error: BaseException) -> None:
        """Forget what came."""
        self._data.clear()


def content_length(headers: Headers) -> int | None:
    """Return the announced size of a body, or None.

    Raises
    ------
    InvalidInputError
        For a value that is not a number.
    """
    text = headers.get("content-length")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise InvalidInputError(f"Content-Length {text[:40]!r} is not a number of bytes")
    return int(text)


def expected_digests(headers: Headers) -> dict[str, Digest]:
    """Return the digests that a sender announced, by algorithm.

    Parameters
    ----------
    headers : Headers
        ``Content-Digest`` and ``Repr-Digest`` are read; unknown algorithms are passed over.

    Returns
    -------
    dict of str to Digest
        The digests.

    Raises
    ------
    InvalidInputError
        For a known algorithm with a malformed value.

    References
    ----------
    RFC 9530; ``blake3`` is ours.
    """
    found: dict[str, Digest] = {}
    for field in ("content-digest", "repr-digest"):
        for part in filter(None, (headers.get(field) or "").split(",")):
            match = _FIELD.match(part)
            if match is None:
                raise InvalidInputError(f"{field} {part[:80]!r} is malformed; write sha-256=:BASE64:")
            name = _NAMES.get(match.group(1).lower())
            if name is not None:
                found[name] = _digest(name, match.group(2))
    return found


def is_plain(headers: Headers, size: int) -> bool:
    """Tell whether a body that arrived whole needs no `Intake`.

    Parameters
    ----------
    headers : Headers
        Of its request.
    size : int
        Of what arrived, bytes.

    Returns
    -------
    bool
        True for as many bytes as were announced, without digests and frames.
    """
    framed = (headers.get("content-type") or "").startswith(FRAMES_MEDIA_TYPE)
    return (
        not framed
        and "content-digest" not in headers
        and "repr-digest" not in headers
        and content_length(headers) in {size, None}
    )


def receive_whole(receiver: Receiver, headers: Headers, data: Buffer) -> Reply:
    """Bring a body that arrived whole to its receiver, and let it answer.

    Parameters
    ----------
    receiver : Receiver
        What takes it; told to abort if anything fails.
    headers : Headers
        Of its request.
    data : bytes-like
        The body.

    Returns
    -------
    Reply
        The answer.
    """
    try:
        intake = Intake(receiver, headers)
        if data:
            intake.take(data)
        return intake.end()
    except BaseException as error:
        receiver.abort(error)
        raise


@contextmanager
def _as_sent() -> Iterator[None]:
    """Tell damage on the way here from damage in the store: the sender can mend it."""
    try:
        yield
    except HashError as error:
        raise UnexpectedHashError(error.message, **error.details) from error


def _digest(name: str, encoded: str) -> Digest:
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"the {name} digest {encoded[:80]!r} is not base64") from error
    return Digest.parse(raw.hex(), name)


class Intake:
    """Bring one upload to its receiver, hash it, and compare its size and digests at the end.

    Parameters
    ----------
    receiver : Receiver
        What takes the bytes.
    headers : Headers
        Of the request: size, digests and framing are read from it.

    Raises
    ------
    InvalidInputError
        For malformed sizes and digests.
    """

    def __init__(self, receiver: Receiver, headers: Headers) -> None:
        self._receiver = receiver
        self._wire_size = content_length(headers)
        self._expected = expected_digests(headers)
        self._hasher = MultiHasher({"blake3", *self._expected})
        self._framed = (headers.get("content-type") or "").startswith(FRAMES_MEDIA_TYPE)
        self._frames = FrameReader("the upload")
        self._arrived = 0

    def take(self, data: Buffer) -> None:
        """Take the next bytes of the wire.

        Raises
        ------
        UnexpectedHashError
            For a damaged frame.
        """
        self._arrived += len(data)
        if not self._framed:
            self._write(memoryview(data))
            return
        with _as_sent():
            pieces = list(self._frames.feed(data))
        for piece in pieces:
            self._write(memoryview(piece))

    def end(self) -> Reply:
        """Compare what arrived with what was announced, and let the receiver answer.

        Raises
        ------
        TransportError
            For a body that is shorter than announced.
        UnexpectedHashError
            For other bytes than announced.
        """
        if self._wire_size is not None and self._wire_size != self._arrived:
            raise TransportError(
                f"the upload broke off: {self._arrived} of {self._wire_size} bytes arrived; send it again"
            )
        if self._framed:
            self._frames.finish()
        digests = self._hasher.digests()
        with _as_sent():
            for name, expected in self._expected.items():
                expected.check(digests[name], "the upload")
        return self._receiver.finish(Received(self._hasher.size_bytes, digests))

    def abort(self, error: BaseException) -> None:
        """Tell the receiver that nothing will come of it."""
        self._receiver.abort(error)

    def _write(self, view: memoryview) -> None:
        self._hasher.update(view)
        self._receiver.write(view)
