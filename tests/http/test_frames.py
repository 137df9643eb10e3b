"""Digest frames carry any pieces, and nothing damaged gets through."""

from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import HashError, HoldfastError, NotFoundError, TransportError, UnreadableError
from holdfast.http.frames import FrameReader, framed_size, frames

PIECES = st.lists(st.binary(max_size=300), max_size=6)


def read(data, cut=1):
    reader = FrameReader("x")
    found = b"".join(b for at in range(0, len(data), cut) for b in reader.feed(data[at : at + cut]))
    return found, reader.finish()


def wire(pieces):
    return b"".join(bytes(part) for part in frames(pieces))


@given(PIECES, st.integers(1, 50))
def test_pieces_arrive_however_they_are_cut(pieces, cut):
    found, end = read(wire(pieces), cut)
    assert found == b"".join(pieces)
    assert end.size_bytes == len(found)
    assert end.digest.hex == blake3(found).hexdigest()


@given(st.integers(0, 3000), st.integers(1, 700))
def test_the_framed_size_is_known_before(size, piece):
    pieces = [b"x" * min(piece, size - at) for at in range(0, size, piece)]
    assert len(wire(pieces)) == framed_size(size, piece)


@given(PIECES, st.data())
def test_no_flipped_bit_gets_through(pieces, data):
    sent = bytearray(wire(pieces))
    at = data.draw(st.integers(0, len(sent) * 8 - 1))
    sent[at // 8] ^= 1 << at % 8
    with pytest.raises(HoldfastError):
        read(bytes(sent), 64)


@given(PIECES.filter(any), st.data())
def test_no_missing_end_gets_through(pieces, data):
    sent = wire(pieces)
    with pytest.raises(TransportError, match="broke off"):
        read(sent[: data.draw(st.integers(0, len(sent) - 1))], 64)


def test_an_error_in_the_middle_arrives_as_itself():
    def pieces():
        yield b"abc"
        raise NotFoundError("no block 7", block=7)

    reader = FrameReader("x")
    sent = wire(pieces())
    found = []
    with pytest.raises(NotFoundError, match="no block 7") as caught:
        found.extend(reader.feed(sent))
    assert found == [b"abc"]
    assert caught.value.details == {"block": 7}


def test_what_follows_the_end_is_refused():
    with pytest.raises(UnreadableError, match="goes on"):
        read(wire([b"a"]) + b"\x00" * 40, 1000)


def test_bytes_that_are_no_frames_are_refused():
    with pytest.raises(UnreadableError, match="not in digest frames"):
        read(b"<!doctype html>" * 10, 1000)
    with pytest.raises(UnreadableError, match="not in digest frames"):
        read(b"\xff\xff\xff\xff\xf0\xff\xff\xff", 1000)


def test_a_damaged_piece_names_both_digests():
    sent = bytearray(wire([b"abc"]))
    sent[-40] ^= 1
    with pytest.raises(HashError, match=r"expected blake3:.*found blake3:"):
        read(bytes(sent), 1000)
