"""Memory of large arrays: where it begins, and that it is used again only when nobody can see it."""

from __future__ import annotations

import gc
import os
import sys
import threading

import numpy as np
import pytest

from holdfast import arraymemory
from holdfast.arraymemory import KEPT_BYTES, large_array

MEGA = 1024 * 1024
linux = pytest.mark.skipif(sys.platform != "linux", reason="nothing is kept elsewhere")


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    found = []
    monkeypatch.setattr(arraymemory, "_kept", found)
    return found


@pytest.mark.parametrize("shape", [(), (0, 5), (3,), (100, 100), (1025, 1024), (3, 5, 7 * MEGA // 8)])
@pytest.mark.parametrize("dtype", ["u1", "<f8", ">i2", "S3", [("a", "<i4"), ("b", "u1")]])
def test_an_array_is_as_numpys(shape, dtype):
    found, plain = large_array(shape, dtype), np.empty(shape, dtype)
    assert (found.shape, found.dtype, found.strides) == (plain.shape, plain.dtype, plain.strides)
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert found.flags.aligned
    found[...] = np.ones((), dtype)
    assert (found == np.ones((), dtype)).all()


@linux
def test_a_large_one_begins_at_a_page():
    assert large_array((9 * MEGA,), "u1").ctypes.data % 4096 == 0


@linux
def test_memory_is_used_again_when_the_array_is_gone(kept):
    first = large_array((10 * MEGA,), "u1")
    where = first.ctypes.data
    del first
    assert len(kept) == 1
    again = large_array((9 * MEGA,), "u1")
    assert again.ctypes.data == where
    assert not kept


@linux
@pytest.mark.parametrize(
    "see",
    [
        lambda array: array[5:6],
        lambda array: array.reshape(2, -1).T,
        memoryview,
        lambda array: np.asarray(memoryview(array)),
        lambda array: array.base,
        lambda array: array.base.base if array.base.base is not None else array.base,
        lambda array: array.view("u2"),
        lambda array: array.ctypes,
    ],
)
def test_whatever_sees_the_memory_keeps_it(kept, see):
    array = large_array((10 * MEGA,), "u1")
    array[:] = 7
    seen = see(array)
    del array
    gc.collect()
    other = large_array((10 * MEGA,), "u1")
    other[:] = 9
    assert not kept
    if not isinstance(seen, np.ndarray | memoryview):
        seen = []
    assert all(each == 7 or each == 0x0707 for each in np.asarray(seen).ravel()[:5])
    del seen, other
    gc.collect()
    assert len(kept) == 2


@linux
def test_much_larger_memory_is_not_taken_for_a_small_array(kept):
    del (one := {0: large_array((64 * MEGA,), "u1")})[0]
    assert len(kept) == 1
    small = large_array((10 * MEGA,), "u1")
    assert len(kept) == 1
    assert small.nbytes == 10 * MEGA
    assert not one


@linux
def test_no_more_is_kept_than_is_said(kept):
    arrays = [large_array((KEPT_BYTES // 4,), "u1") for _ in range(6)]
    arrays.append(large_array((KEPT_BYTES + 1,), "u1"))
    arrays.clear()
    assert sum(map(len, kept)) == KEPT_BYTES


@linux
def test_threads_never_share(kept):
    def work(number):
        for _ in range(50):
            array = large_array((8 * MEGA,), "u1")
            array[:: MEGA // 4] = number
            if not (array[:: MEGA // 4] == number).all():
                wrong.append(number)

    wrong = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(kept) <= 4


@linux
def test_a_forked_child_has_its_own(kept):
    array = large_array((10 * MEGA,), "u1")
    array[:] = 1
    del array
    child = os.fork()
    if not child:
        mine = large_array((10 * MEGA,), "u1")
        mine[:] = 2
        os._exit(0 if not kept else 1)
    ours = large_array((10 * MEGA,), "u1")
    ours[:] = 3
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (ours == 3).all()


def test_an_array_that_does_not_fit_is_a_memory_error():
    with pytest.raises(MemoryError):
        large_array((2**60,), "u1")


def test_without_the_system_call_nothing_is_kept(kept, monkeypatch):
    monkeypatch.setattr(arraymemory, "_CAN_KEEP", False)
    large_array((10 * MEGA,), "u1")
    assert not kept
