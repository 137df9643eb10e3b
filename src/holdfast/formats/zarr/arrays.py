"""Arrays of a Zarr store.

Owns finding the chunks of an array among the files of its store; decodes none.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from holdfast.errors import ChangedError, UnreadableError
from holdfast.formats.base import SLAB_BYTES, ArrayReader
from holdfast.formats.chunks import parts
from holdfast.formats.slicing import Axis, Index, Selection, chunked_slabs, slabs
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure
from holdfast.formats.zarr.chunks import Window, is_texts, read_window
from holdfast.formats.zarr.metadata import ArrayMeta
from holdfast.formats.zarr.store import Store

__all__ = ["ZarrArray", "structure_of"]

_MAX_MEASURED = 1 << 24
# From so many chunks on, directories are listed rather than asked for each file.
_MANY = 64
_KEPT_LISTINGS = 256


def structure_of(store: Store, key: str, meta: ArrayMeta) -> ArrayStructure:
    """Return type, shape and blocks of an array; texts of any length are measured.

    Parameters
    ----------
    store : Store
        Where its chunks are.
    key : str
        Its path in the store; empty for the store itself.
    meta : ArrayMeta
        What its document says.
    """
    chain = meta.chain.inner or meta.chain
    dtype = _measured(store, key, meta) if is_texts(chain) else chain.dtype
    return ArrayStructure.build(dtype, meta.shape, stored=chain.chunks, dims=meta.dims)


def _measured(store: Store, key: str, meta: ArrayMeta) -> np.dtype:
    """Read texts once to find the longest."""
    if math.prod(meta.shape) > _MAX_MEASURED:
        raise UnreadableError(
            f"{store.name}/{key} has {math.prod(meta.shape)} texts of any length; more than "
            f"{_MAX_MEASURED} are not read; store them with a fixed length"
        )
    longest = 1
    # As objects, so that no length is needed before it is known.
    rows = Selection.of(..., meta.shape)
    for piece in slabs(rows, 16, _MAX_MEASURED // 16):
        out = np.empty(piece.kept_shape, object)
        _read(store, key, meta, piece.axes, out)
        longest = max(longest, max(map(len, out.reshape(-1)), default=0))
    return np.dtype(f"{meta.chain.dtype.kind}{longest}")


def _read(store: Store, key: str, meta: ArrayMeta, axes: Sequence[Axis], out: np.ndarray) -> None:
    """Read a slice chunk by chunk into place."""
    files = _Files(store, key, is_many=_count(axes, meta.chain.chunks) > _MANY)
    for part in parts(axes, meta.chain.chunks):
        source = files.open(meta.chunk_key(part.numbers))
        target = out[part.target]
        if source is None:
            target[...] = meta.fill
            continue
        with source:
            read_window(Window(source, 0, source.size), meta.chain, part.inside, target, meta.fill)


def _count(axes: Sequence[Axis], chunks: Sequence[int]) -> int:
    """Return about how many chunks a slice touches."""
    spans = (max(axis.high - axis.low, 0) for axis in axes)
    return math.prod(
        min(axis.count, span // length + 1) for axis, span, length in zip(axes, spans, chunks, strict=True)
    )


class _Files:
    """The chunks of an array as files."""

    def __init__(self, store: Store, key: str, *, is_many: bool) -> None:
        self._store = store
        self._prefix = f"{key}/" if key else ""
        self._is_many = is_many
        self._inside: set[Path] = set()
        self._listings: dict[Path, frozenset[str]] = {}

    def open(self, chunk: str) -> Source | None:
        """Open a chunk; None when it was never written."""
        key = self._prefix + chunk
        if self._is_many and not self._is_listed(self._store.path(key)):
            self._store.source.require(self._store.path(key))
            return None
        source = self._store.open(key, self._inside)
        if source is not None and self._store.source.is_verified and not source.is_verified:
            source.close()
            raise ChangedError(f"{source.name} is new since the store was indexed; index the directory again")
        return source

    def _is_listed(self, path: Path) -> bool:
        if path.parent not in self._listings:
            if len(self._listings) >= _KEPT_LISTINGS:
                self._listings.clear()
            try:
                self._listings[path.parent] = frozenset(os.listdir(path.parent))
            except (FileNotFoundError, NotADirectoryError):
                self._listings[path.parent] = frozenset()
        return path.name in self._listings[path.parent]


class ZarrArray(ArrayReader):
    """An array whose chunks are files; those that were never written read as the fill value.

    Parameters
    ----------
    store : Store
        Where the chunks are.
    key : str
        Path of the array in the store; empty for the store itself.
    meta : ArrayMeta
        What its document says.
    """

    def __init__(self, store: Store, key: str, meta: ArrayMeta) -> None:
        self.structure = structure_of(store, key, meta)
        self.is_verified = store.source.is_verified
        self._store, self._key, self._meta = store, key, meta

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements."""
        out = np.empty(selection.kept_shape, self.structure.dtype)
        self.read_into(selection, out)
        return out

    def read_into(self, selection: Selection, out: np.ndarray) -> None:
        """Fill an array of shape `selection.kept_shape`, each chunk decoded once."""
        if out.size:
            _read(self._store, self._key, self._meta, selection.axes, out)

    def slabs(self, index: Index = ...) -> Iterator[np.ndarray]:
        """Yield a slice in consecutive flat pieces of C order."""
        selection = Selection.of(index, self.structure.shape)
        itemsize = self.structure.dtype.itemsize
        for part in chunked_slabs(selection, itemsize, self._meta.chain.chunks, SLAB_BYTES):
            yield self.fetch(part).reshape(-1)
