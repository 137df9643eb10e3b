"""Digesting: the files that were listed but not read yet.

Owns reading and settling them; which state a file is in is decided at its recording.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, cast

from holdfast.catalog.progress import Progress
from holdfast.catalog.resting import is_recent
from holdfast.catalog.stores import settle_stores
from holdfast.catalog.tree import Catalog
from holdfast.database import AssetRow, AssetState, Transaction
from holdfast.errors import ChangedError, HoldfastError, MissingFileError
from holdfast.events import EventBus, bus
from holdfast.formats.source import FileState, Source
from holdfast.hashing import BLOCK_BYTES, BlockDigests, hash_blocks

__all__ = ["digest_pending"]

_THREADS = 2
_BATCH = 256
_BATCH_S = 1.0


@dataclass(frozen=True, slots=True)
class _Settled:
    """A file with what was found of its bytes."""

    asset: AssetRow
    state: AssetState
    found: FileState | None = None
    digests: BlockDigests | None = None


def digest_pending(
    catalog: Catalog, events: EventBus = bus, is_stopped: Callable[[], bool] = lambda: False
) -> int:
    """Read every file whose digest is pending, and record it.

    Parameters
    ----------
    catalog : Catalog
        Open for writing.
    events : EventBus
        Who is told about progress.
    is_stopped : callable
        Asked between files; when it answers yes, the rest stays pending.

    Returns
    -------
    int
        How many files were digested.

    Notes
    -----
    A file that changes while it is read is growing; one that changed since it was listed keeps waiting for
    the next indexing.
    """
    total = catalog.database.assets.counts().get("pending", 0)
    done = _digest_all(catalog, total, events, is_stopped) if total else 0
    if not is_stopped():
        settle_stores(catalog.database)
    return done


def _digest_all(catalog: Catalog, total: int, events: EventBus, is_stopped: Callable[[], bool]) -> int:
    progress = Progress(events, "digest", "files", catalog.places.storage)
    done = 0
    with ThreadPoolExecutor(_THREADS, "digest") as pool:
        for batch in _batches(pool.map(partial(_digest, catalog, is_stopped), _pending(catalog, is_stopped))):
            catalog.database.write(partial(_settle, batch))
            done += sum(each.digests is not None for each in batch)
            progress.step(done, total)
    progress.end(f"{done:,} files digested")
    return done


def _pending(catalog: Catalog, is_stopped: Callable[[], bool]) -> Iterator[AssetRow]:
    for asset in list(catalog.database.assets.each("pending")):
        if is_stopped():
            return
        if not asset.is_directory:
            yield asset


def _batches(results: Iterator[_Settled]) -> Iterator[list[_Settled]]:
    """Gather results for a second, or until there are many."""
    batch: list[_Settled] = []
    due = time.monotonic() + _BATCH_S
    for result in results:
        batch.append(result)
        if len(batch) >= _BATCH or time.monotonic() > due:
            yield batch
            batch, due = [], time.monotonic() + _BATCH_S
    if batch:
        yield batch


def _digest(catalog: Catalog, is_stopped: Callable[[], bool], asset: AssetRow) -> _Settled:
    try:
        with Source(catalog.places.checked(asset.location)) as source:
            if (source.state.size, source.state.mtime_ns) != (asset.size, asset.mtime_ns):
                return _Settled(asset, "growing" if is_recent(source.state) else "pending")
            digests = hash_blocks(cast(BinaryIO, _Pieces(source, is_stopped)))
            if is_stopped():
                return _Settled(asset, asset.state)
            after = FileState.of(os.fstat(source.fd))
            return (
                _Settled(asset, "verified", after, digests)
                if after == source.state
                else _Settled(asset, "growing")
            )
    except ChangedError:
        return _Settled(asset, "growing")
    except MissingFileError:
        return _Settled(asset, "missing")
    except HoldfastError:
        return _Settled(asset, "error")


class _Pieces(io.RawIOBase):
    """A source from its start on, which ends early when reading is to stop."""

    def __init__(self, source: Source, is_stopped: Callable[[], bool]) -> None:
        super().__init__()
        self._source, self._is_stopped, self._at = source, is_stopped, 0

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        count = 0 if self._is_stopped() else min(len(buffer), self._source.size - self._at)
        self._source.read_into(memoryview(buffer)[:count], self._at)
        self._at += count
        return count


def _settle(batch: list[_Settled], tx: Transaction) -> None:
    for each in batch:
        if each.digests is None or each.found is None:
            if each.state != each.asset.state:
                tx.assets.mark([each.asset.id], each.state)
            continue
        tx.assets.settle(
            each.asset.id,
            size=each.found.size,
            mtime_ns=each.found.mtime_ns,
            digest=str(each.digests.whole),
            blocks=each.digests.blocks if each.found.size > BLOCK_BYTES else None,
        )
