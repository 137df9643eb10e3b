"""Own the reading of one sealed file, verified: whole ranges of bytes and the arrays in them.

It does not know the log beside it: ``view`` puts both together. A `Base` keeps its file open, so that
overwriting or deleting the entry changes nothing for those who read it.
"""

from __future__ import annotations

import hmac
import os
from typing import Any

import numpy as np
from blake3 import blake3

from holdfast.errors import HashError
from holdfast.files import os_errors
from holdfast.formats.sealed.datatypes import STRING_DTYPE, dtype_of
from holdfast.formats.sealed.encoder import SEAL_NAME
from holdfast.formats.sealed.seal import (
    FOOTER_BYTES,
    footer_offset,
    has_footer,
    parse_seal,
    seal_bytes,
    segment_bounds,
    segment_index,
)
from holdfast.formats.sealed.strings import REFERENCE
from holdfast.formats.sealed.threads import TASK_BYTES, run_all
from holdfast.hashing import DIGEST_BYTES

__all__ = ["Base", "open_base", "quick_uid"]

_TAIL_BYTES = 16 * 1024
_FACTS_BYTES = 64 * 1024
# Up to here a file is read at once: one system call and one digest.
_SMALL_BYTES = 128 * 1024


class Base:
    """Be one open sealed file.

    Parameters
    ----------
    fd : int
        An open descriptor, closed with this object.
    what : str
        The entry, for messages.
    stat : stat_result
        What the system says about the descriptor.
    tail : bytes
        The last bytes of the file; all of them if it is small.

    Attributes
    ----------
    facts : Facts
        What the seal says.
    dtype : dtype
        The type of the stored elements: references for strings.
    identity : tuple of int
        Device and inode.
    """

    __slots__ = ("_digests", "_small", "dtype", "facts", "fd", "identity", "seal_offset", "size", "what")

    def __init__(self, fd: int, what: str, stat: os.stat_result, tail: bytes) -> None:
        self.what, self.size = what, stat.st_size
        self.identity = (stat.st_dev, stat.st_ino)
        self.seal_offset, length = seal_bytes(tail, self.size, what)
        seal = tail[-length:] if length <= len(tail) else _read_at(fd, self.seal_offset, length, what)
        self.facts, self._digests = parse_seal(seal, self.size, what)
        is_text = self.facts.dtype == STRING_DTYPE
        self.dtype: np.dtype[Any] = REFERENCE if is_text else dtype_of(self.facts.dtype)
        self._small: bytes | None = tail if len(tail) == self.size else None
        if self._small is not None and self.seal_offset <= self.facts.block:
            self._check(memoryview(self._small)[: self.seal_offset], 0, 0)
        self.fd = fd  # the caller closes it when anything above fails

    @property
    def is_text(self) -> bool:
        """Tell whether the elements are variable-length strings."""
        return self.dtype is REFERENCE

    @property
    def row_bytes(self) -> int:
        """The size of one row along the first axis, of the whole for a scalar."""
        return self.facts.nbytes // self.facts.shape[0] if self.facts.shape and self.facts.shape[0] else 0

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self.close()

    def read_into(self, start: int, out: memoryview) -> None:
        """Read bytes of the file into a buffer and verify every block that they touch.

        Parameters
        ----------
        start : int
            Where in the file.
        out : memoryview of bytes
            Filled completely.

        Raises
        ------
        HashError
            When a block is not what was written, or the file became shorter.
        """
        stop = start + len(out)
        if self._small is not None and self.seal_offset <= self.facts.block:
            out[:] = memoryview(self._small)[start:stop]
            return
        tasks = self._tasks(start, stop)
        if stop - start < 2 * TASK_BYTES // 8:
            for task in tasks:
                self._read_segments(task, start, out)
        else:
            run_all(lambda task: self._read_segments(task, start, out), tasks)

    def read(self, start: int, stop: int) -> memoryview:
        """Return verified bytes of the file."""
        out = np.empty(stop - start, np.uint8)
        self.read_into(start, out.data)
        return out.data

    def verify(self) -> None:
        """Read and verify every byte before the seal, in bounded memory.

        Raises
        ------
        HashError
            When one is not what was written.
        """
        for start in range(0, self.seal_offset, TASK_BYTES):
            self.read(start, min(start + TASK_BYTES, self.seal_offset))

    def _bounds(self, index: int) -> tuple[int, int]:
        return segment_bounds(self.facts, self.seal_offset, index)

    def _index(self, position: int) -> int:
        return segment_index(self.facts, self.seal_offset, position)

    def _tasks(self, start: int, stop: int) -> list[range]:
        if stop <= start:
            return []
        first, last = self._index(start), self._index(stop - 1) + 1
        step = max(1, TASK_BYTES // self.facts.block)
        return [range(begin, min(begin + step, last)) for begin in range(first, last, step)]

    def _read_segments(self, indices: range, start: int, out: memoryview) -> None:
        """Read consecutive segments; those that lie wholly in ``out`` without a copy."""
        stop = start + len(out)
        whole = [
            index for index in indices if start <= self._bounds(index)[0] and self._bounds(index)[1] <= stop
        ]
        if whole:
            first, last = self._bounds(whole[0])[0], self._bounds(whole[-1])[1]
            _fill(self.fd, first, out[first - start : last - start], self.what)
            for index in whole:
                begin, end = self._bounds(index)
                self._check(out[begin - start : end - start], index, begin)
        for index in indices:
            if index not in whole:
                self._read_edge(index, start, out)

    def _read_edge(self, index: int, start: int, out: memoryview) -> None:
        begin, end = self._bounds(index)
        block = np.empty(end - begin, np.uint8).data
        _fill(self.fd, begin, block, self.what)
        self._check(block, index, begin)
        low, high = max(begin, start), min(end, start + len(out))
        out[low - start : high - start] = block[low - begin : high - begin]

    def _check(self, data: memoryview, index: int, begin: int) -> None:
        expected = self._digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        found = blake3(data).digest()
        if not hmac.compare_digest(found, expected):
            raise HashError(
                f"{self.what} is damaged in the bytes {begin} to {begin + len(data)}: expected "
                f"blake3:{expected.hex()}, found blake3:{found.hex()}; restore it from another copy",
                expected=f"blake3:{expected.hex()}",
                found=f"blake3:{found.hex()}",
            )


def open_base(path: str, what: str) -> Base | None:
    """Open a sealed file.

    Parameters
    ----------
    path : str
        The file.
    what : str
        The entry, for messages.

    Returns
    -------
    Base or None
        None for a file that bears no seal and never did.

    Raises
    ------
    FileNotFoundError
        When there is none; the plain one of the system, for callers that try again.
    HashError
        When the seal is damaged, or was cut off or moved by another program.
    NewerFormatError
        When a later release wrote it.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        stat = os.fstat(fd)
        wanted = stat.st_size if stat.st_size <= _SMALL_BYTES else _TAIL_BYTES
        tail = _read_at(fd, stat.st_size - wanted, wanted, what)
        if has_footer(tail):
            return Base(fd, what, stat, tail)
        if _bore_seal(fd):
            raise HashError(
                f"{what} is damaged or was changed by another program: its seal is not at its end; "
                "restore it from another copy, or accept it with adopt()"
            )
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


def quick_uid(path: str) -> str | None:
    """Return the uid that a sealed file says it has, without verifying anything.

    Parameters
    ----------
    path : str
        The file, which need not exist.

    Returns
    -------
    str or None
        None for a file without seal. It is good for finding a log of that name, and for nothing else.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        size = os.fstat(fd).st_size
        tail = os.pread(fd, FOOTER_BYTES, max(0, size - FOOTER_BYTES))
        if not has_footer(tail):
            return None
        seal = os.pread(fd, _FACTS_BYTES, footer_offset(tail))
    finally:
        os.close(fd)
    _, found, rest = seal.partition(b'"uid":"')
    return rest[:32].decode("ascii", "replace") if found else None


def _bore_seal(fd: int) -> bool:
    """Tell whether a file without footer has the link to a seal in its first bytes, where we put it."""
    return SEAL_NAME.encode() in os.pread(fd, 512, 0)


def _read_at(fd: int, start: int, size: int, what: str) -> bytes:
    with os_errors(what, "read"):
        data = os.pread(fd, size, start)
        while len(data) < size and (more := os.pread(fd, size - len(data), start + len(data))):
            data += more
    if len(data) < size:
        raise HashError(
            f"{what} is damaged: it ends at {start + len(data)} bytes; restore it from another copy"
        )
    return data


def _fill(fd: int, start: int, out: memoryview, what: str) -> None:
    done = 0
    with os_errors(what, "read"):
        while done < len(out) and (count := os.preadv(fd, [out[done:]], start + done)):
            done += count
    if done < len(out):
        raise HashError(f"{what} is damaged: it ends at {start + done} bytes; restore it from another copy")
