"""Columns of tables as arrays that can be sliced without reading the whole column.

Owns the way from rows to batches; the batches are read by the table's format.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.base import ArrayReader, TableReader
from holdfast.formats.slicing import Selection
from holdfast.formats.structures import ArrayStructure

__all__ = ["SlicedColumn"]


class SlicedColumn(ArrayReader):
    """A column of fixed type, read batch by batch of the partitions that a slice touches.

    Parameters
    ----------
    table : TableReader
        What yields the batches.
    name : str
        The column.
    dtype : numpy.dtype
        Type of its elements.
    lengths : sequence of int
        Rows of each partition.

    Notes
    -----
    Memory holds one batch. A reader goes on where the last slice ended, so that slabs in order read each
    partition once.
    """

    def __init__(self, table: TableReader, name: str, dtype: np.dtype, lengths: Sequence[int]) -> None:
        self.structure = ArrayStructure.build(dtype, (sum(lengths),))
        self.is_verified = table.is_verified
        self._table, self._name, self._dtype = table, name, dtype
        self._starts = list(itertools.accumulate(lengths, initial=0))
        self._lock = threading.Lock()
        # The batch that was read last, the row it begins with, and those that follow.
        self._batch, self._at = np.empty(0, dtype), 0
        self._batches = self._from(0)

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements."""
        (axis,) = selection.axes
        if not axis.count:
            return np.empty(0, self._dtype)
        out = np.empty(axis.count, self._dtype)
        wanted = np.arange(axis.count) * axis.step + axis.start
        with self._lock:
            for start, batch in self._covering(axis.low, axis.high):
                inside = (wanted >= start) & (wanted < start + len(batch))
                out[inside] = batch[wanted[inside] - start]
        return out

    def _covering(self, low: int, high: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the batches from the one with row `low` to the one before row `high`."""
        if low < self._at or low >= self._starts[self._partition(self._at) + 1]:
            self._restart(low)
        while True:
            stop = self._at + len(self._batch)
            if low < stop:
                yield self._at, self._batch
            if high <= stop:
                return
            self._at, self._batch = self._next()

    def _partition(self, row: int) -> int:
        return min(bisect_right(self._starts, row), len(self._starts) - 1) - 1

    def _restart(self, row: int) -> None:
        """Begin anew with the partition that holds a row."""
        partition = self._partition(row)
        self._batches = self._from(partition)
        self._at, self._batch = self._starts[partition], np.empty(0, self._dtype)

    def _next(self) -> tuple[int, np.ndarray]:
        try:
            return next(self._batches)
        except StopIteration:
            raise UnreadableError(f"column {self._name!r} has fewer rows than the file says") from None
        except BaseException:
            # A generator that raised has ended; the next slice begins anew.
            self._restart(0)
            raise

    def _from(self, partition: int) -> Iterator[tuple[int, np.ndarray]]:
        for number in range(partition, len(self._starts) - 1):
            row = self._starts[number]
            for table in self._table.batches([self._name], number):
                yield row, table[self._name].astype(self._dtype, copy=False)
                row += len(table)
