"""Own the moving of large data: a thread beside reads and hashes, who asked for it writes.

Reading and hashing take about as long as writing, so that two cores do all in the time of the longer half.
What is hashed is the very memory that is written, never the source, which may change meanwhile.

>>> import io
>>> from holdfast.hashing import hash_blocks
>>> data, copy, digester = bytes(3_000_000), bytearray(), BlockDigester()
>>> def read(view, at):
...     view[: len(data) - at] = data[at : at + len(view)]
...     return min(len(view), len(data) - at)
>>> move(read, copy.extend, digester, Steps(1 << 20, print))
1048576
2097152
3000000
3000000
>>> copy == data, digester.digests() == hash_blocks(io.BytesIO(data))
(True, True)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Lock
from typing import TypeAlias

from blake3 import blake3

from holdfast.buffers import aligned_bytes
from holdfast.hashing import BLOCK_BYTES, BlockDigests, Digest
from holdfast.types import Buffer

__all__ = ["PIECE_BYTES", "BlockDigester", "BlockVerifier", "Looking", "Read", "Steps", "fill", "move"]

PIECE_BYTES = 4 * BLOCK_BYTES
"""What moves at a time: a few pieces stay in the caches of both cores."""

_BUFFERS = 4
Read: TypeAlias = Callable[[memoryview, int], int]
"""Fill a view from an offset and return how many bytes it got: less than its length only at the end."""


class Looking(ABC):
    """Look at data that move. Another thread may look at another block at the same time."""

    @abstractmethod
    def piece(self, piece: Buffer) -> None:
        """Look at the next piece, in the order of the data."""

    @abstractmethod
    def block(self, number: int, block: Buffer) -> None:
        """Look at one block, each once, in any order."""


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
        self._digests, self._what = digests, what

    def piece(self, piece: Buffer) -> None:
        """Do nothing: the blocks are all."""

    def block(self, number: int, block: Buffer) -> None:
        """Compare one block; raises `HashError`."""
        self._digests.check(number, block, self._what)


class BlockDigester(Looking):
    """Digest data and each of their blocks."""

    def __init__(self) -> None:
        self._whole = blake3()
        self._blocks: dict[int, bytes] = {}
        self._size = 0

    def piece(self, piece: Buffer) -> None:
        """Digest the next piece."""
        self._size += len(piece)
        self._whole.update(piece)

    def block(self, number: int, block: Buffer) -> None:
        """Digest one block."""
        self._blocks[number] = blake3(block).digest()

    def digests(self) -> BlockDigests:
        """Return the digests of all that was looked at."""
        whole = Digest("blake3", self._whole.hexdigest())
        blocks = b"".join(self._blocks[number] for number in range(len(self._blocks)))
        return BlockDigests(whole, self._size, blocks or whole.raw)


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


class _Piece:
    """Hold one piece and those of its blocks that nobody has looked at: who has time takes one."""

    __slots__ = ("_blocks", "_looking", "buffer", "is_back", "is_seen", "view")

    def __init__(self, buffer: memoryview, count: int, start: int, looking: Looking) -> None:
        self.buffer, self.view, self._looking = buffer, buffer[:count], looking
        self.is_back = self.is_seen = False
        view = self.view
        self._blocks = deque(
            (number, view[at : at + BLOCK_BYTES])
            for number, at in enumerate(range(0, count, BLOCK_BYTES), start // BLOCK_BYTES)
        )

    def look(self) -> bool:
        """Look at one block; return False when there was none left."""
        try:
            number, block = self._blocks.popleft()
        except IndexError:
            return False
        self._looking.block(number, block)
        return True

    def look_at_all(self) -> None:
        """Look at all blocks."""
        while self.look():
            pass


class _Source:
    """Read and look at pieces in a thread beside, until the end or until `close`."""

    def __init__(self, read: Read, looking: Looking) -> None:
        self._read, self._looking = read, looking
        self._back: SimpleQueue[_Piece | None] = SimpleQueue()
        self.ready: SimpleQueue[_Piece | None] = SimpleQueue()
        self._free = [aligned_bytes(PIECE_BYTES) for _ in range(_BUFFERS)]
        self._unseen: deque[_Piece] = deque()
        self._done, self._is_at_end = 0, False

    # In the thread beside --------------------------------------------------------------------------------

    def run(self) -> None:
        """Do it; what becomes ready last is None, also when something went wrong."""
        try:
            while self._step():
                pass
        finally:
            self.ready.put(None)

    def _step(self) -> bool:
        """Do what is needed most: something to write, then looking at what waits for it."""
        can_read = bool(self._free) and not self._is_at_end
        if can_read and (self.ready.empty() or not self._unseen):
            self._read_one()
        elif self._unseen:
            self._look()
        elif self._is_at_end:
            return False
        while not self._back.empty() or not (self._free or self._unseen or self._is_at_end):
            piece = self._back.get()
            if piece is None:
                return False
            piece.is_back = True
            self._reuse(piece)
        return True

    def _read_one(self) -> None:
        buffer = self._free.pop()
        count = self._read(buffer, self._done)
        self._is_at_end = count < PIECE_BYTES
        if count:
            piece = _Piece(buffer, count, self._done, self._looking)
            self._done += count
            self._unseen.append(piece)
            self.ready.put(piece)
            self._looking.piece(piece.view)

    def _look(self) -> None:
        if not self._unseen[0].look():
            piece = self._unseen.popleft()
            piece.is_seen = True
            self._reuse(piece)

    def _reuse(self, piece: _Piece) -> None:
        """Read into a buffer again once it was written and its blocks were taken."""
        if piece.is_back and piece.is_seen:
            self._free.append(piece.buffer)

    # In the thread that writes ---------------------------------------------------------------------------

    def give_back(self, piece: _Piece) -> None:
        """Let the memory of a piece be used again, after helping with its blocks if nothing else waits."""
        while self.ready.empty() and piece.look():
            pass
        self._back.put(piece)

    def close(self) -> None:
        """Let the thread end."""
        self._back.put(None)


def move(read: Read, write: Callable[[memoryview], object], looking: Looking, steps: Steps) -> int:
    """Move data from where they are read to where they are written, looked at on the way.

    Parameters
    ----------
    read : callable
        Gives the data, in another thread.
    write : callable
        Takes each piece, in this thread.
    looking : Looking
        Looks at all of them, before this returns.
    steps : Steps
        Is told, in this thread.

    Returns
    -------
    int
        How many bytes were moved.
    """
    done, source = 0, _Source(read, looking)
    with ThreadPoolExecutor(1, "holdfast-beside") as pool:
        running = pool.submit(source.run)
        try:
            while (piece := source.ready.get()) is not None:
                write(piece.view)
                done += len(piece.view)
                steps(done)
                source.give_back(piece)
            running.result()
        finally:
            source.close()
    steps.end(done)
    return done


def fill(read: Read, view: memoryview, looking: Looking, steps: Steps) -> int:
    """Fill memory in this thread and one beside; each looks at what it read while it is in its core's cache.

    Parameters
    ----------
    read : callable
        Gives the data, in their order, in one of the threads at a time.
    view : memoryview
        The memory.
    looking : Looking
        Looks at all blocks, before this returns.
    steps : Steps
        Is told, in this thread.

    Returns
    -------
    int
        How many bytes were read.
    """
    starts, reading, counts = deque(range(0, len(view), PIECE_BYTES)), Lock(), SimpleQueue[int]()

    def fill_one() -> bool:
        """Fill one piece; return False when there was none left."""
        with reading:
            if not starts:
                return False
            start = starts.popleft()
            part = view[start : start + PIECE_BYTES]
            count = read(part, start)
        _Piece(part, count, start, looking).look_at_all()
        counts.put(count)
        return True

    def fill_all() -> None:
        """Fill pieces until there are none left, here or because the other thread failed."""
        try:
            while fill_one():
                pass
        finally:
            starts.clear()

    done = 0
    with ThreadPoolExecutor(1, "holdfast-beside") as pool:
        beside = pool.submit(fill_all)
        try:
            while fill_one():
                done += _taken(counts)
                steps(done)
        finally:
            starts.clear()
        beside.result()
    done += _taken(counts)
    steps(done)
    steps.end(done)
    return done


def _taken(counts: SimpleQueue[int]) -> int:
    return sum(counts.get() for _ in range(counts.qsize()))
