"""What arrives is counted and compared with what was announced."""

from __future__ import annotations

import base64
import hashlib

import pytest

from holdfast.errors import InvalidInputError, TooLargeError, TransportError, UnexpectedHashError
from holdfast.http.frames import FRAMES_MEDIA_TYPE, frames
from holdfast.http.receive import BytesReceiver, Intake, expected_digests
from holdfast.http.request import Headers

SHA = base64.b64encode(hashlib.sha256(b"abc").digest()).decode()


def intake(*fields, limit=100):
    return Intake(BytesReceiver(limit, lambda data, received: (data, received)), Headers(fields))


def test_sizes_and_digests_that_agree_are_accepted():
    upload = intake(("content-length", "3"), ("content-digest", f"sha-256=:{SHA}:, unknown=:AA==:"))
    upload.take(b"ab")
    upload.take(b"c")
    data, received = upload.end()
    assert (data, received.size_bytes) == (b"abc", 3)
    assert set(received.digests) == {"blake3", "sha256"}


def test_frames_are_unwrapped():
    wire = b"".join(bytes(part) for part in frames([b"abc", b"def"]))
    upload = intake(("content-type", FRAMES_MEDIA_TYPE))
    upload.take(wire[:50])
    upload.take(wire[50:])
    assert upload.end()[0] == b"abcdef"
    unfinished = intake(("content-type", FRAMES_MEDIA_TYPE))
    unfinished.take(wire[:-1])
    with pytest.raises(TransportError, match="broke off"):
        unfinished.end()


def test_what_does_not_agree_is_refused():
    short = intake(("content-length", "4"))
    short.take(b"abc")
    with pytest.raises(TransportError, match="3 of 4 bytes"):
        short.end()
    other = intake(("repr-digest", f"sha-256=:{SHA}:"))
    other.take(b"abd")
    with pytest.raises(UnexpectedHashError, match="the upload"):
        other.end()
    damaged = intake(("content-type", FRAMES_MEDIA_TYPE))
    wire = bytearray(b"".join(bytes(part) for part in frames([b"abc"])))
    wire[-40] ^= 1
    with pytest.raises(UnexpectedHashError, match="on its way"):
        damaged.take(wire)
    with pytest.raises(TooLargeError, match="limit of 2"):
        intake(limit=2).take(b"abc")


@pytest.mark.parametrize(
    "field", ["sha-256=abc", "sha-256=:!!:", "sha-256=:AAA=:", "sha-256=:AAAA:", "md5=:%%:", "="]
)
def test_malformed_digests_are_refused(field):
    with pytest.raises(InvalidInputError):
        expected_digests(Headers([("content-digest", field)]))


@pytest.mark.parametrize("size", ["x", "-1", "1e3", "٣", ""])
def test_malformed_sizes_are_refused(size):
    with pytest.raises(InvalidInputError, match="Content-Length"):
        intake(("content-length", size))


def test_an_aborted_upload_is_forgotten():
    upload = intake()
    upload.take(b"abc")
    upload.abort(TransportError("left"))
    assert upload.end()[0] == b""
