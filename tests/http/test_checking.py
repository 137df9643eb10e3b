"""Blocks are checked behind the reading of them; not one is let through."""

from __future__ import annotations

import random
import threading

import pytest

from holdfast.errors import HashError, TransportError
from holdfast.hashing import BLOCK_BYTES, BlockDigests, hash_bytes
from holdfast.http.client import checking as room
from holdfast.http.client.checking import checking

COUNT = 21


@pytest.fixture(scope="module")
def pieces():
    return [random.Random(number).randbytes(BLOCK_BYTES) for number in range(COUNT)]


@pytest.fixture(scope="module")
def blocks(pieces):
    raw = b"".join(hash_bytes(each).raw for each in pieces)
    return BlockDigests(hash_bytes(b"".join(pieces)), COUNT * BLOCK_BYTES, raw)


@pytest.fixture(params=["behind", "at once", "helped"], autouse=True)
def way(request, monkeypatch):
    monkeypatch.setattr(room, "_HAS_CORES", request.param != "at once")
    monkeypatch.setattr(room, "_MOST_WAITING", 0 if request.param == "helped" else 10)
    return request.param


def check_all(blocks, pieces):
    with checking(blocks, blocks.size_bytes, "x") as check:
        for index, piece in enumerate(pieces):
            check(index, piece)


def test_good_blocks_pass_and_no_thread_stays(blocks, pieces):
    before = threading.active_count()
    check_all(blocks, pieces)
    assert threading.active_count() == before


@pytest.mark.parametrize("damaged", range(COUNT))
def test_every_damaged_block_is_found_and_named(blocks, pieces, damaged):
    bad = [bytes(BLOCK_BYTES) if index == damaged else each for index, each in enumerate(pieces)]
    before = threading.active_count()
    with pytest.raises(HashError, match=f"block {damaged} ") as caught:
        check_all(blocks, bad)
    assert caught.value.details["block"] == damaged
    assert threading.active_count() == before


def test_what_breaks_off_says_that_and_no_thread_stays(blocks, pieces):
    before = threading.active_count()

    def break_off():
        with checking(blocks, blocks.size_bytes, "x") as check:
            for index, piece in enumerate(pieces[:7]):
                check(index, piece)
            raise TransportError("broke off")

    with pytest.raises(TransportError, match="broke off"):
        break_off()
    assert threading.active_count() == before
