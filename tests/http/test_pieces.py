"""Reading of pieces: warm, cold, short and broken files; small pieces are joined."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import ChangedError, StorageError
from holdfast.http import pieces
from holdfast.http.body import FileRange
from holdfast.http.limits import SHARED_PIECE_BYTES
from holdfast.http.pieces import gather, place, read_cold, read_warm


@pytest.fixture
def span(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(range(256)) * 20_000)
    opened = FileRange.open(path)
    yield opened
    opened.close()
    opened.close()


def test_warm_and_cold_reads_give_the_same(span):
    assert read_warm(span, 100, 1000) == read_cold(span, 100, 1000) == (bytes(range(256)) * 5)[100:1100]


def test_without_the_system_call_every_read_is_cold(span, monkeypatch):
    monkeypatch.setattr(pieces, "_NOWAIT", 0)
    assert read_warm(span, 0, 10) is None


def test_a_read_beyond_the_end_is_left_to_the_cold_one_which_says_so(span):
    assert read_warm(span, span.stop - 5, 10) is None
    with pytest.raises(ChangedError, match="changed meanwhile"):
        read_cold(span, span.stop - 5, 10)


def test_a_broken_descriptor_is_a_storage_error(tmp_path):
    broken = FileRange(os.open(tmp_path, os.O_RDONLY), 0, 10)
    with pytest.raises(StorageError, match="cannot be read"):
        read_cold(broken, 0, 10)
    broken.close()
    with pytest.raises(StorageError, match="cannot be read"):
        read_warm(broken, 0, 10)


def test_a_range_is_placed_in_the_callers_buffer(span):
    target = memoryview(bytearray(span.size))
    assert sum(len(part) for part in place(span, target)) == span.size
    assert target.tobytes() == bytes(range(256)) * 20_000


def test_a_file_shorter_than_expected_is_not_opened(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ChangedError, match="3 bytes"):
        FileRange.open(tmp_path / "x", 0, 4)
    assert len(os.listdir("/proc/self/fd")) == before


@given(st.lists(st.integers(0, 2 * SHARED_PIECE_BYTES), max_size=8))
def test_gathering_loses_nothing_and_keeps_the_order(sizes):
    made = [bytes([number]) * size for number, size in enumerate(sizes)]
    iterator = iter(made)
    found = []
    while (parts := gather(iterator)) is not None:
        assert sum(map(len, parts)) >= SHARED_PIECE_BYTES or gather(iterator) is None
        found += parts
    assert b"".join(found) == b"".join(made)
