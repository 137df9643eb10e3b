"""Buffers begin at a page."""

from __future__ import annotations

import ctypes

import pytest

from holdfast.buffers import aligned_bytes


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, 65_537, 1_000_000, 4 << 20])
def test_a_buffer_is_zeroed_writable_and_begins_at_a_page_when_it_is_large(size):
    found = aligned_bytes(size)
    assert (found.nbytes, found.format, found.readonly) == (size, "B", False)
    assert found.tobytes() == bytes(size)
    if size >= 65_536:
        assert ctypes.addressof(ctypes.c_char.from_buffer(found)) % 4096 == 0
