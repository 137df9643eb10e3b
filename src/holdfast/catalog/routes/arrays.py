"""Own the answers with array data: whole, sliced, by block, and in the formats that arrays are exported to.

References
----------
Tiled 0.2.20: ``/array/full`` and ``/array/block``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from holdfast.catalog.leases import LeasedSparse
from holdfast.catalog.routes.exported import export_reply
from holdfast.catalog.routes.nodes import node_path
from holdfast.catalog.routes.params import ArrayParams, BlockParams, parse_shape
from holdfast.catalog.routes.quick import Quick
from holdfast.catalog.routes.sparse import sparse_reply
from holdfast.catalog.routes.stored import StoredFiles
from holdfast.errors import InvalidInputError
from holdfast.formats.exports.base import ArrayPart
from holdfast.formats.exports.npy import raw_bytes
from holdfast.formats.exports.registry import exports_of
from holdfast.formats.slicing import Selection, block_index, parse_slice
from holdfast.http.limits import MEBIBYTE
from holdfast.http.negotiation import negotiate
from holdfast.http.reply import Reply, bytes_reply, stream_reply
from holdfast.http.request import Request
from holdfast.http.routing import Lane

if TYPE_CHECKING:
    from holdfast.catalog.leases import LeasedArray
    from holdfast.catalog.tree import Catalog
    from holdfast.formats.sparse import SparseStructure
    from holdfast.formats.structures import ArrayStructure

__all__ = ["ArrayRoutes"]

OCTETS = "application/octet-stream"

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
        self._quick = Quick()

    def lane(self, request: Request) -> Lane:
        """Return where a read runs: what was quick a moment ago is not worth a change of threads."""
        # A small array must not queue behind the pieces of large ones: those are made in the heavy lane
        # whatever the lane of the route.
        return "brief" if self._quick.is_expected(request.path) else "io"

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
            return whole.narrowed(parse_slice(params.slice))

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
                return sparse_reply(request, reader, selection, path[-1], params.filename)
            exports = exports_of("array")
            media_type = negotiate(request, exports.media_types, exports.aliases)
            if media_type == OCTETS:
                reply = self._octets(request, reader, selection, params.filename)
            else:
                metadata = json.loads(self._catalog.node(path).metadata or "{}")
                part = ArrayPart(reader, selection, metadata)
                name = path[-1] if path else "array"
                reply = export_reply(request, exports, media_type, part, name, params.filename)
            if not isinstance(reply.body, memoryview):
                # The reader stays open until the last piece was made.
                reply.also_close(stack.pop_all().close)
            return reply

    def _octets(
        self, request: Request, reader: LeasedArray, selection: Selection, filename: str | None
    ) -> Reply:
        index = selection.reduced_index
        size = selection.size * reader.structure.dtype.itemsize
        verified = [("holdfast-verified", "stored")] if reader.is_verified else []
        if size <= SMALL_BYTES:
            with self._quick.timing(request.path):
                data = raw_bytes(reader.read(index))
            reply = bytes_reply(request, data, filename=filename)
            reply.headers += verified
            return reply
        extent = reader.extent(index)
        stored = None if extent is None else self._files.extent_reply(request, reader, extent)
        if stored is not None:
            return stored
        pieces = map(raw_bytes, reader.slabs(index))
        return stream_reply(
            request, pieces, media_type=OCTETS, size=size, headers=verified, filename=filename
        )


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
