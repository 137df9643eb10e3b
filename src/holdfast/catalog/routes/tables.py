"""Own the answers with tables: whole, by partition, some columns, in the formats that tables are exported to.

References
----------
Tiled 0.2.20: ``/table/full`` and ``/table/partition``, GET and (for long lists of columns) POST.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from holdfast.catalog.routes.exported import export_reply
from holdfast.catalog.routes.nodes import node_path
from holdfast.catalog.routes.params import PartitionParams, TableParams
from holdfast.formats.exports.base import TablePart
from holdfast.formats.exports.registry import exports_of
from holdfast.http.negotiation import negotiate
from holdfast.http.reply import Reply
from holdfast.http.request import Request

if TYPE_CHECKING:
    from holdfast.catalog.tree import Catalog

__all__ = ["TableRoutes"]


class TableRoutes:
    """Answer with tables.

    Parameters
    ----------
    catalog : Catalog
        The tables.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def full(self, request: Request) -> Reply:
        """Answer a whole table."""
        params = request.params(TableParams)
        columns = _columns(request, [*params.column, *params.field])
        return self._answer(request, columns, None, params.filename)

    def partition(self, request: Request) -> Reply:
        """Answer one partition of a table."""
        params = request.params(PartitionParams)
        columns = _columns(request, [*params.column, *params.field])
        return self._answer(request, columns, params.partition, params.filename)

    def _answer(
        self, request: Request, columns: list[str] | None, partition: int | None, filename: str | None
    ) -> Reply:
        exports = exports_of("table")
        media_type = negotiate(request, exports.media_types, exports.aliases)
        path = node_path(request)
        with ExitStack() as stack:
            reader = stack.enter_context(self._catalog.table(path))
            metadata = json.loads(self._catalog.node(path).metadata or "{}")
            part = TablePart.of(reader, columns, partition, metadata)
            reply = export_reply(request, exports, media_type, part, path[-1], filename)
            # The reader stays open until the last piece was made.
            reply.also_close(stack.pop_all().close)
            return reply


def _columns(request: Request, named: Sequence[str]) -> list[str] | None:
    if request.method == "POST":
        posted: list[str] = request.json(list[str])
        return posted or None
    return list(named) or None
