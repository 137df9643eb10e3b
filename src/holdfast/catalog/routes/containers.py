"""Own the export of a container: its nodes with their metadata, as JSON.

References
----------
Tiled 0.2.20: ``/container/full?format=json``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from holdfast.catalog.routes.nodes import node_path
from holdfast.catalog.routes.params import ContainerParams
from holdfast.catalog.routes.wire import text_json
from holdfast.database import NodeRow
from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.http.negotiation import negotiate
from holdfast.http.reply import Reply, stream_reply
from holdfast.http.request import Request

if TYPE_CHECKING:
    from holdfast.catalog.tree import Catalog

__all__ = ["CONTAINER_ALIASES", "CONTAINER_TYPES", "ContainerRoutes"]

JSON = "application/json"
CONTAINER_TYPES = (JSON,)
CONTAINER_ALIASES = {"json": JSON}
PAGE_ITEMS = 300
MAX_DEPTH = 200


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
        """Answer the metadata of everything below a container.

        Each node is ``{"contents": {key: node, …}, "metadata": {…}}``; what lies in a node of another
        family than container has empty contents.
        """
        params = request.params(ContainerParams)
        posted: list[str] = request.json(list[str]) if request.method == "POST" else []
        negotiate(request, CONTAINER_TYPES, CONTAINER_ALIASES)
        path = node_path(request)
        row = self._catalog.node(path)
        if row.family != "container":
            raise InvalidInputError(f"{'/'.join(path)!r} is a node of family {row.family!r}, not a container")
        chosen = {*params.field, *posted}
        if chosen:
            for key in chosen:
                self._check_child(path, key)
        name = params.filename or f"{path[-1] if path else 'catalog'}.json"
        pieces = (text.encode() for text in self._texts(row, 0, chosen))
        return stream_reply(request, pieces, media_type=JSON, filename=name)

    def _check_child(self, path: tuple[str, ...], key: str) -> None:
        try:
            self._catalog.node((*path, key))
        except NotFoundError as error:
            raise NotFoundError(f"{'/'.join(path) or '/'} has no entry {key[:80]!r} to export") from error

    def _texts(self, row: NodeRow, depth: int, chosen: set[str] | None = None) -> Iterator[str]:
        yield '{"contents":{'
        comma = ""
        if row.family == "container" and depth < MAX_DEPTH:
            for child in self._children(row):
                if not chosen or child.key in chosen:
                    yield f"{comma}{text_json(child.key)}:"
                    yield from self._texts(child, depth + 1)
                    comma = ","
        yield f'}},"metadata":{row.metadata or "{}"}}}'

    def _children(self, row: NodeRow) -> Iterator[NodeRow]:
        cursor = None
        while True:
            page = self._catalog.search(row, None, cursor=cursor, limit=PAGE_ITEMS, count=False)
            yield from page.rows
            cursor = page.cursor
            if cursor is None:
                return
