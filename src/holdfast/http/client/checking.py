"""Own the checking of blocks behind the reading of them: two cores take a large body faster than one.

It does not know where blocks come from.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Final, Protocol

from holdfast.hashing import BlockDigests
from holdfast.types import Buffer

__all__ = ["Checking", "checking"]

_LEAST_BYTES: Final = 4 * 1024 * 1024
_HAS_CORES: Final = (os.cpu_count() or 1) > 1
_BATCH: Final = 4
_MOST_WAITING: Final = 2


class Checking(Protocol):
    """Check blocks, at the latest when the ``with`` block ends."""

    def __enter__(self) -> Callable[[int, Buffer], None]: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def checking(blocks: BlockDigests, size: int, what: str) -> Checking:
    """Return what checks the blocks of a body.

    Parameters
    ----------
    blocks : BlockDigests
        Of the stored file.
    size : int
        How much is to come, bytes.
    what : str
        The object, for messages.

    Returns
    -------
    Checking
        In its ``with`` block, a function that takes the number of a block and its bytes, which must stay as
        they are. Once the block has ended without an error, every one of them was checked.
    """
    return _InThread(blocks, what) if _HAS_CORES and size >= _LEAST_BYTES else _InPlace(blocks, what)


class _InPlace:
    """Check each block when it is there."""

    def __init__(self, blocks: BlockDigests, what: str) -> None:
        self._blocks, self._what = blocks, what

    def __enter__(self) -> Callable[[int, Buffer], None]:
        return lambda index, data: self._blocks.check(index, data, self._what)

    def __exit__(self, *exc: object) -> None:
        return


class _InThread:
    """Check blocks in a thread, in their order; the first that is damaged ends it."""

    def __init__(self, blocks: BlockDigests, what: str) -> None:
        self._blocks, self._what = blocks, what
        self._waiting: SimpleQueue[list[tuple[int, Buffer]] | None] = SimpleQueue()
        self._batch: list[tuple[int, Buffer]] = []
        self._is_given_up = False
        self._thread = ThreadPoolExecutor(1, "holdfast-checking")

    def __enter__(self) -> Callable[[int, Buffer], None]:
        self._checked = self._thread.submit(self._check_all)
        return self._take

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_given_up = error is not None
        self._waiting.put(self._batch)
        self._waiting.put(None)
        self._thread.shutdown()
        if error is None:
            self._checked.result()

    def _take(self, index: int, data: Buffer) -> None:
        if self._checked.done():
            self._checked.result()
        if self._waiting.qsize() >= _MOST_WAITING:
            # The thread cannot keep up: help it.
            self._blocks.check(index, data, self._what)
            return
        self._batch.append((index, data))
        if len(self._batch) == _BATCH:
            self._waiting.put(self._batch)
            self._batch = []

    def _check_all(self) -> None:
        while (batch := self._waiting.get()) is not None:
            for index, data in batch:
                if self._is_given_up:
                    return
                self._blocks.check(index, data, self._what)
