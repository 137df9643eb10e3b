"""Own copying and hashing beside it: whole digest and block digests, in a thread of its own once that pays.

>>> hasher = BlockHasher()
>>> hasher.update(b"abc")
>>> hasher.digests().whole.hex[:8]
'6437b3ac'
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from blake3 import blake3

from holdfast.errors import ChangedError
from holdfast.hashing import BLOCK_BYTES, BlockDigests, Digest
from holdfast.types import Buffer

__all__ = ["BlockHasher", "copy_inside"]

_THREAD_FROM = 4 * BLOCK_BYTES
_WAITING = 4
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def copy_inside(source: int, target: int, size: int) -> int:
    """Copy bytes from one file to another, at their positions, without taking them out of the kernel.

    Parameters
    ----------
    source, target : int
        Open files.
    size : int
        How many bytes to copy at most.

    Returns
    -------
    int
        How many were copied; 0 at the end, and where this cannot be done: reading and writing tells which.

    Raises
    ------
    OSError
        The disk is full.
    """
    try:
        return os.copy_file_range(source, target, size)
    except OSError as error:
        if error.errno in _FULL:
            raise
        return 0


class BlockHasher:
    """Hash pieces of any length as they pass; `close` it in the end."""

    __slots__ = ("_blocks", "_buffer", "_first", "_pool", "_rest", "_size", "_waiting", "_whole")

    def __init__(self) -> None:
        self._whole = blake3()
        self._first: Buffer | None = None
        self._buffer: memoryview | None = None
        self._rest = bytearray()
        self._blocks = bytearray()
        self._size = 0
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Future[None]] = []

    def update(self, piece: Buffer) -> None:
        """Take more bytes.

        Parameters
        ----------
        piece : bytes-like
            The next bytes.
        """
        if not self._size and type(piece) is bytes and len(piece) <= BLOCK_BYTES:
            self._size, self._first = len(piece), piece  # most data come in one piece
            return
        if self._first is not None:
            first, self._first = self._first, None
            self._hash(first)
        self._size += len(piece)
        if self._size <= _THREAD_FROM and self._pool is None:
            self._hash(piece)
            return
        if type(piece) is not bytes:
            piece = bytes(piece)  # the source may use its buffer again
        self._submit(self._hash, piece)

    def update_written(self, descriptor: int, offset: int, size: int) -> None:
        """Take more bytes, which were written to a file.

        Parameters
        ----------
        descriptor : int
            The file, open for reading until `digests` or `close`.
        offset, size : int
            Where they are, in bytes.
        """
        if self._first is not None:
            first, self._first = self._first, None
            self._hash(first)
        self._size += size
        self._submit(self._hash_written, descriptor, offset, size)

    def _submit(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "holdfast-hash")
        if len(self._waiting) >= _WAITING:
            self._waiting.pop(0).result()
        self._waiting.append(self._pool.submit(function, *arguments))

    def _hash_written(self, descriptor: int, offset: int, size: int) -> None:
        if self._buffer is None:
            self._buffer = memoryview(bytearray(BLOCK_BYTES))
        done = 0
        while done < size:
            count = os.preadv(descriptor, [self._buffer[: size - done]], offset + done)
            if not count:
                raise ChangedError("a file that is being received became shorter; leave it to this process")
            self._hash(self._buffer[:count])
            done += count

    def _hash(self, piece: Buffer) -> None:
        self._whole.update(piece)
        view = memoryview(piece)
        if self._rest:
            take = BLOCK_BYTES - len(self._rest)
            self._rest += view[:take]
            view = view[take:]
            if len(self._rest) < BLOCK_BYTES:
                return
            self._blocks += blake3(self._rest).digest()
            self._rest.clear()
        while len(view) >= BLOCK_BYTES:
            self._blocks += blake3(view[:BLOCK_BYTES]).digest()
            view = view[BLOCK_BYTES:]
        self._rest += view

    def digests(self) -> BlockDigests:
        """Return the digests of all bytes so far.

        Returns
        -------
        BlockDigests
            Data of one block have their whole digest as the only block digest.
        """
        if self._first is not None:
            whole = blake3(self._first)
            return BlockDigests(Digest("blake3", whole.hexdigest()), self._size, whole.digest())
        while self._waiting:
            self._waiting.pop(0).result()
        if self._size <= BLOCK_BYTES:
            return BlockDigests(Digest("blake3", self._whole.hexdigest()), self._size, self._whole.digest())
        blocks = bytes(self._blocks) + (blake3(self._rest).digest() if self._rest else b"")
        return BlockDigests(Digest("blake3", self._whole.hexdigest()), self._size, blocks)

    def close(self) -> None:
        """End the thread."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
