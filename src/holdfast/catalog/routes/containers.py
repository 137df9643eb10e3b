"""Own the export of a container: everything below it as a file, the columns of a data set as a table.

References
----------
Tiled 0.2.20: ``/container/full?format=json``; its client fetches the one-dimensional variables of an
``xarray_dataset`` together by ``format=application/vnd.apache.arrow.file&field=…``.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

from holdfast.catalog.routes.exported import export_reply
from holdfast.catalog.routes.nodes import node_path
from holdfast.catalog.routes.params import ContainerParams
from holdfast.catalog.routes.walked import CatalogNode, DatasetTable
from holdfast.database import NodeRow
from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.formats.exports.base import ContainerExport, TablePart
from holdfast.formats.exports.registry import Exports, exports_of
from holdfast.http.negotiation import negotiate
from holdfast.http.reply import Reply
from holdfast.http.request import Request

if TYPE_CHECKING:
    from holdfast.catalog.tree import Catalog

__all__ = ["DATASET", "ContainerRoutes"]

DATASET = "xarray_dataset"
"""The spec of a container whose arrays are the variables of a data set."""


class ContainerRoutes:
    """Answer with whole containers.

    Parameters
    ----------
    catalog : Catalog
        The nodes.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def full(self, request: Request) -> Reply:
        """Answer everything below a container, or the children that are named; of a data set also a table."""
        params = request.params(ContainerParams)
        posted: list[str] = request.json(list[str]) if request.method == "POST" else []
        path = node_path(request)
        row = self._catalog.node(path)
        exports = _offered(row)
        media_type = negotiate(request, exports.media_types, exports.aliases)
        if row.family != "container":
            raise InvalidInputError(f"{'/'.join(path)!r} is a node of family {row.family!r}, not a container")
        chosen = list(dict.fromkeys([*params.field, *posted]))
        for key in chosen:
            self._check_child(path, key)
        node = CatalogNode(self._catalog, row, frozenset(chosen))
        name = path[-1] if path else "catalog"
        if isinstance(exports[media_type], ContainerExport):
            return export_reply(request, exports, media_type, node, name, params.filename)
        with ExitStack() as stack:
            keys = chosen or [child.key for child in node.children()]
            arrays = {key: stack.enter_context(self._catalog.array((*path, key))) for key in keys}
            part = TablePart.of(DatasetTable(arrays), metadata=node.metadata)
            reply = export_reply(request, exports, media_type, part, name, params.filename)
            reply.also_close(stack.pop_all().close)
            return reply

    def _check_child(self, path: tuple[str, ...], key: str) -> None:
        try:
            self._catalog.node((*path, key))
        except NotFoundError as error:
            raise NotFoundError(f"{'/'.join(path) or '/'} has no entry {key[:80]!r} to export") from error


def _offered(row: NodeRow) -> Exports:
    """Return what a container can be exported to: a data set also to a table."""
    specs = [spec["name"] for spec in json.loads(row.specs or "[]")]
    return exports_of("container", *(spec for spec in specs if spec == DATASET))
