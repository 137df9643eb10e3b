"""Own hashing of what passes: whole digest and block digests, in a thread of its own once that pays.

>>> hasher = BlockHasher()
>>> hasher.update(b"abc")
>>> hasher.digests().whole.hex[:8]
'6437b3ac'
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from blake3 import blake3

from holdfast.hashing import BLOCK_BYTES, BlockDigests, Digest
from holdfast.types import Buffer

__all__ = ["BlockHasher"]

_THREAD_FROM = 4 * BLOCK_BYTES
_WAITING = 4


class BlockHasher:
    """Hash pieces of any length as they pass; `close` it in the end."""

    __slots__ = ("_blocks", "_first", "_pool", "_rest", "_size", "_waiting", "_whole")

    def __init__(self) -> None:
        self._whole = blake3()
        self._first: Buffer | None = None
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
        self._submit(piece)

    def _submit(self, piece: Buffer) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "holdfast-hash")
        if len(self._waiting) >= _WAITING:
            self._waiting.pop(0).result()
        self._waiting.append(self._pool.submit(self._hash, piece))

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
