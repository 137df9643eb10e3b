"""Own the moving of large data: while one piece is written, a thread beside looks at the one before it.

Copying takes about as long as hashing, so that two cores do both in the time of one. What is hashed is the
very memory that is written, never the source, which may change meanwhile.

>>> import io
>>> from holdfast.hashing import hash_blocks
>>> with BlockDigester() as digester:
...     digester.add(bytes(3 * BLOCK_BYTES))
...     digester.add(b"end")
...     digester.digests() == hash_blocks(io.BytesIO(bytes(3 * BLOCK_BYTES) + b"end"))
True
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from blake3 import blake3

from holdfast.hashing import BLOCK_BYTES, BlockDigests, Digest
from holdfast.types import Buffer

__all__ = ["PIECE_BYTES", "BlockDigester", "BlockVerifier", "Looking", "Steps", "move"]

PIECE_BYTES = 4 * BLOCK_BYTES
"""What moves at a time: a few pieces stay in the caches of both cores."""

_BUFFERS = 4
_BEHIND = 2


class Looking(ABC):
    """Look at pieces in a thread beside, in their order; a context manager, which waits for the thread.

    Its methods raise what was found wrong with earlier pieces.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "holdfast-beside")
        self._turns: deque[Future[None]] = deque()

    @abstractmethod
    def add(self, piece: Buffer) -> None:
        """Look at the next piece: whole blocks, unless it is the last.

        Parameters
        ----------
        piece : bytes-like
            Not to be changed before `wait` said so.
        """

    def _do(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._turns.append(self._pool.submit(function, *arguments))

    def wait(self, most: int = 0) -> None:
        """Wait until all but some of the last pieces were looked at.

        Parameters
        ----------
        most : int, default 0
            How many may be left.
        """
        while len(self._turns) > most:
            self._turns.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


class BlockVerifier(Looking):
    """Compare blocks with their digests.

    Parameters
    ----------
    digests : BlockDigests
        What they must have.
    what : str
        The data, for the message.
    """

    def __init__(self, digests: BlockDigests, what: str) -> None:
        super().__init__()
        self._digests, self._what = digests, what
        self._count = 0

    def add(self, piece: Buffer) -> None:
        """See `Looking.add`."""
        self._do(self._check, piece, self._count)
        self._count += -(-len(piece) // BLOCK_BYTES)

    def _check(self, piece: Buffer, first: int) -> None:
        for number, block in enumerate(_blocks(piece), first):
            self._digests.check(number, block, self._what)


class BlockDigester(Looking):
    """Digest data and each of their blocks."""

    def __init__(self) -> None:
        super().__init__()
        self._whole = blake3()
        self._blocks: list[bytes] = []
        self._size = 0

    def add(self, piece: Buffer) -> None:
        """See `Looking.add`; when the thread is behind, the caller takes its share."""
        self._size += len(piece)
        if len(self._turns) >= _BEHIND and not self._turns[-_BEHIND].done():
            self._do(self._whole.update, piece)
            self._blocks += [blake3(block).digest() for block in _blocks(piece)]
            return
        first = len(self._blocks)
        self._blocks += [b""] * -(-len(piece) // BLOCK_BYTES)
        self._do(self._digest, piece, first)

    def _digest(self, piece: Buffer, first: int) -> None:
        self._whole.update(piece)
        for number, block in enumerate(_blocks(piece), first):
            self._blocks[number] = blake3(block).digest()

    def digests(self) -> BlockDigests:
        """Return the digests of all pieces."""
        self.wait()
        whole = Digest("blake3", self._whole.hexdigest())
        return BlockDigests(whole, self._size, b"".join(self._blocks) or whole.raw)


def _blocks(piece: Buffer) -> list[memoryview]:
    view = memoryview(piece)
    return [view[start : start + BLOCK_BYTES] for start in range(0, len(view), BLOCK_BYTES)]


class Steps:
    """Tell of bytes that moved, once a buffer, however many move at a time.

    Parameters
    ----------
    buffer_size : int
        Bytes between two calls of `progress`.
    progress : callable
        Takes the bytes so far.
    """

    def __init__(self, buffer_size: int, progress: Callable[[int], object]) -> None:
        self._step = self._next = max(1, buffer_size)
        self._progress, self._told = progress, 0

    def __call__(self, done: int) -> None:
        """Tell of each whole buffer up to `done` bytes."""
        while self._next <= done:
            self._told = self._next
            self._progress(self._told)
            self._next += self._step

    def end(self, done: int) -> None:
        """Tell of what is left."""
        if self._told < done:
            self._progress(done)


def move(
    read: Callable[[memoryview, int], int],
    write: Callable[[memoryview], object],
    looking: Looking,
    steps: Steps,
) -> int:
    """Move data from where they are read to where they are written, looked at on the way.

    Parameters
    ----------
    read : callable
        Fills a view from an offset; less than its length only at the end.
    write : callable
        Takes each piece.
    looking : Looking
        Looks at each piece.
    steps : Steps
        Is told.

    Returns
    -------
    int
        How many bytes were moved.
    """
    buffers = [memoryview(bytearray(PIECE_BYTES)) for _ in range(_BUFFERS)]
    done, count = 0, PIECE_BYTES
    while count == PIECE_BYTES:
        looking.wait(_BUFFERS - 1)
        buffer = buffers[done // PIECE_BYTES % _BUFFERS]
        count = read(buffer, done)
        if count:
            looking.add(buffer[:count])
            write(buffer[:count])
            done += count
            steps(done)
    steps.end(done)
    return done
