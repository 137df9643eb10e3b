"""Own the memory of large arrays: it begins at a page, and is used again when an array is gone.

The system zeroes fresh memory, which takes longer than filling it from a socket.

>>> from holdfast.arraymemory import large_array
>>> int(large_array((2000, 1000), "f8").ctypes.data) % 4096
0
"""

from __future__ import annotations

import contextlib
import math
import mmap
import sys
import weakref
from ctypes import addressof, c_char
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["KEPT_BYTES", "large_array"]

KEPT_BYTES: Final = 512 * 1024 * 1024
"""The most memory of arrays that are gone which is kept for others."""

_HUGE_BYTES: Final = 2 * 1024 * 1024
# Smaller ones are kept by malloc.
_LEAST_BYTES: Final = 8 * 1024 * 1024
_CAN_KEEP: Final = sys.platform == "linux" and hasattr(mmap, "MADV_FREE")

# Changed by single steps that no other thread, fork or collection of garbage comes between.
_kept: list[mmap.mmap] = []


def large_array(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray[Any, Any]:
    """Return an array whose elements are still to be set, as `numpy.empty` does.

    Parameters
    ----------
    shape : tuple of int
        The length of each axis.
    dtype : dtype
        Type of the elements, without objects.

    Returns
    -------
    ndarray
        In C order. The memory of a large one is used again when nothing refers to it any more; until then the
        system may take it whenever it is short of memory.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < _LEAST_BYTES or not _CAN_KEEP:
        return np.empty(shape, kind)
    return np.asarray(_Lease(_kept_for(size) or _fresh(size)))[:size].view(kind).reshape(shape)


class _Lease:
    """Hold a mapping for as long as any array lies in it: numpy keeps it as the base of all of them."""

    def __init__(self, mapping: mmap.mmap) -> None:
        where = (addressof(c_char.from_buffer(mapping)), False)
        self.__array_interface__ = {"version": 3, "typestr": "|u1", "shape": (len(mapping),), "data": where}
        weakref.finalize(self, _keep, mapping).atexit = False


def _fresh(size: int) -> mmap.mmap:
    whole = -(-size // _HUGE_BYTES) * _HUGE_BYTES
    try:
        mapping = mmap.mmap(-1, whole, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"there is no room for an array of {size} bytes; read less at once") from error
    with contextlib.suppress(OSError):
        mapping.madvise(mmap.MADV_HUGEPAGE)
    return mapping


def _kept_for(size: int) -> mmap.mmap | None:
    """Take the smallest kept mapping that is large enough and not much too large."""
    for mapping in sorted(_kept, key=len):
        if size <= len(mapping) <= 2 * size:
            # Another thread may have taken it.
            with contextlib.suppress(ValueError):
                _kept.remove(mapping)
                return mapping
    return None


def _keep(mapping: mmap.mmap) -> None:
    """Keep a mapping that nothing refers to, and forget the oldest ones: that unmaps them."""
    if len(mapping) > KEPT_BYTES:
        return
    try:
        mapping.madvise(mmap.MADV_FREE)
    except OSError:
        return
    _kept.append(mapping)
    with contextlib.suppress(IndexError):
        while sum(map(len, tuple(_kept))) > KEPT_BYTES:
            _kept.pop(0)
