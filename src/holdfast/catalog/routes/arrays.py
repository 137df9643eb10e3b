"""Own the answers with array data: whole, sliced, by block, and as npy, JSON or CSV.

References
----------
Tiled 0.2.20: ``/array/full`` and ``/array/block``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.catalog.leases import LeasedSparse
from holdfast.catalog.routes import bodies
from holdfast.catalog.routes.nodes import node_path
from holdfast.catalog.routes.params import ArrayParams, BlockParams, parse_shape
from holdfast.catalog.routes.sparse import sparse_reply
from holdfast.catalog.routes.stored import StoredFiles
from holdfast.errors import InvalidInputError
from holdfast.formats.slicing import Selection, block_index, parse_slice
from holdfast.http.limits import MEBIBYTE
from holdfast.http.negotiation import negotiate
from holdfast.http.reply import Reply, bytes_reply, stream_reply
from holdfast.http.request import Request

if TYPE_CHECKING:
    from holdfast.catalog.leases import LeasedArray
    from holdfast.catalog.tree import Catalog
    from holdfast.formats.sparse import SparseStructure
    from holdfast.formats.structures import ArrayStructure

__all__ = ["ARRAY_ALIASES", "ARRAY_TYPES", "ArrayRoutes"]

OCTETS, NPY = "application/octet-stream", "application/x-npy"
JSON, CSV, TEXT = "application/json", "text/csv", "text/plain"
ARRAY_TYPES = (OCTETS, NPY, JSON, CSV, TEXT)
ARRAY_ALIASES = {"npy": NPY, "json": JSON, "csv": CSV, "txt": TEXT, "bin": OCTETS}
_SUFFIXES = {NPY: ".npy", JSON: ".json", CSV: ".csv", TEXT: ".txt"}

SMALL_BYTES = MEBIBYTE
"""Answers up to this size are read at once, verified here, and carry their digest."""


class ArrayRoutes:
    """Answer with array data.

    Parameters
    ----------
    catalog : Catalog
        The arrays.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._files = StoredFiles(catalog)

    def full(self, request: Request) -> Reply:
        """Answer a slice of an array, or all of it."""
        params = request.params(ArrayParams)
        return self._answer(
            request, params, lambda structure: Selection.of(parse_slice(params.slice), structure.shape)
        )

    def block(self, request: Request) -> Reply:
        """Answer one block of an array, or a slice of it."""
        params = request.params(BlockParams)

        def select(structure: ArrayStructure | SparseStructure) -> Selection:
            """Select a part of the block."""
            whole = Selection.of(block_index(structure.chunks, _numbers(params.block)), structure.shape)
            return _within(whole, Selection.of(parse_slice(params.slice), whole.shape))

        return self._answer(request, params, select)

    def _answer(
        self,
        request: Request,
        params: ArrayParams | BlockParams,
        select: Callable[[ArrayStructure | SparseStructure], Selection],
    ) -> Reply:
        path = node_path(request)
        with ExitStack() as stack:
            reader = self._catalog.array_or_sparse(path)
            stack.callback(reader.close)
            selection = select(reader.structure)
            _check_shape(params.expected_shape, selection)
            if isinstance(reader, LeasedSparse):
                return sparse_reply(request, reader, selection, params.filename or path[-1])
            media_type = negotiate(request, ARRAY_TYPES, ARRAY_ALIASES)
            if media_type == OCTETS:
                reply = self._octets(request, reader, selection, params.filename)
            else:
                name = params.filename or f"{path[-1] if path else 'array'}{_SUFFIXES[media_type]}"
                reply = _exported(request, reader, selection, media_type, name)
            if not isinstance(reply.body, memoryview):
                # The reader stays open until the last piece was made.
                reply.also_close(stack.pop_all().close)
            return reply

    def _octets(
        self, request: Request, reader: LeasedArray, selection: Selection, filename: str | None
    ) -> Reply:
        index = _index_of(selection)
        size = selection.size * reader.structure.dtype.itemsize
        verified = [("holdfast-verified", "stored")] if reader.is_verified else []
        if size <= SMALL_BYTES:
            reply = bytes_reply(request, bodies.raw_bytes(reader.read(index)), filename=filename)
            reply.headers += verified
            return reply
        extent = reader.extent(index)
        stored = None if extent is None else self._files.extent_reply(request, reader, extent)
        if stored is not None:
            return stored
        pieces = bodies.raw_pieces(reader.slabs(index))
        return stream_reply(
            request, pieces, media_type=OCTETS, size=size, headers=verified, filename=filename
        )


def _exported(
    request: Request, reader: LeasedArray, selection: Selection, media_type: str, filename: str
) -> Reply:
    dtype, size = reader.structure.dtype, None
    if media_type == NPY:
        header = bodies.npy_header(dtype, selection.shape)
        size = len(header) + selection.size * dtype.itemsize
        pieces: Iterator[Any] = _after(header, bodies.raw_pieces(reader.slabs(_index_of(selection))))
    else:
        rows = bodies.row_blocks(_row_reader(reader, selection), selection.shape, dtype.itemsize)
        if media_type == JSON:
            pieces = bodies.json_rows(rows)
        else:
            bodies.check_csv(len(selection.shape), dtype.names, [OCTETS, NPY, JSON])
            pieces = bodies.csv_rows(rows, dtype.names)
    return stream_reply(request, pieces, media_type=media_type, size=size, filename=filename)


def _after(header: bytes, pieces: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    yield header
    yield from pieces


def _check_shape(text: str | None, selection: Selection) -> None:
    expected = parse_shape(text)
    if expected is not None and expected != selection.shape:
        raise InvalidInputError(
            f"expected_shape is {expected}, but the slice has the shape {selection.shape}; reload the node"
        )


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        raise InvalidInputError(
            f"block={text[:80]!r} is malformed; write a number for each axis, such as 0,1"
        )
    return tuple(int(part) for part in parts)


def _within(outer: Selection, inner: Selection) -> Selection:
    """Return a selection of a selection; the outer one keeps every axis and goes forward by ones."""
    axes = tuple(
        type(part)(start=base.start + part.start, step=part.step, count=part.count, dropped=part.dropped)
        for base, part in zip(outer.axes, inner.axes, strict=True)
    )
    return Selection(axes, outer.source)


def _index_of(selection: Selection) -> tuple[int | slice, ...]:
    return tuple(
        axis.start if axis.dropped else whole
        for axis, whole in zip(selection.axes, selection.index, strict=True)
    )


def _row_reader(reader: LeasedArray, selection: Selection) -> Callable[[Any], np.ndarray[Any, Any]]:
    """Return what reads rows of a selection: a slice along its first axis that is kept."""
    first = next((number for number, axis in enumerate(selection.axes) if not axis.dropped), None)

    def read(rows: Any) -> np.ndarray[Any, Any]:
        if first is None:
            return reader.read(_index_of(selection))
        start, stop, _ = rows.indices(selection.axes[first].count)
        axes = list(selection.axes)
        axes[first] = axes[first].part(start, stop - start)
        return reader.read(_index_of(Selection(tuple(axes), selection.source)))

    return read
