"""Own the export of a container: its nodes with their metadata as JSON, a data set's columns as a table.

References
----------
Tiled 0.2.20: ``/container/full?format=json``; its client fetches the one-dimensional variables of an
``xarray_dataset`` together by ``format=application/vnd.apache.arrow.file&field=…``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.catalog.routes.nodes import node_path
from holdfast.catalog.routes.params import ContainerParams
from holdfast.catalog.routes.tables import TABLE_ALIASES, TABLE_TYPES, table_reply
from holdfast.catalog.routes.wire import text_json
from holdfast.database import NodeRow
from holdfast.errors import InvalidInputError, NotAcceptableError, NotFoundError
from holdfast.formats.tables import Table
from holdfast.http.negotiation import negotiate
from holdfast.http.reply import Reply, stream_reply
from holdfast.http.request import Request

if TYPE_CHECKING:
    from holdfast.catalog.tree import Catalog

__all__ = ["CONTAINER_ALIASES", "CONTAINER_TYPES", "DATASET_TYPES", "ContainerRoutes"]

JSON = "application/json"
CONTAINER_TYPES = (JSON,)
CONTAINER_ALIASES = {"json": JSON}
DATASET = "xarray_dataset"
DATASET_TYPES = (JSON, *(kind for kind in TABLE_TYPES if kind != JSON))
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
        family than container has empty contents. A data set is also a table of its columns.
        """
        params = request.params(ContainerParams)
        posted: list[str] = request.json(list[str]) if request.method == "POST" else []
        path = node_path(request)
        row = self._catalog.node(path)
        media_type = negotiate(request, *_offered(row))
        if row.family != "container":
            raise InvalidInputError(f"{'/'.join(path)!r} is a node of family {row.family!r}, not a container")
        chosen = list(dict.fromkeys([*params.field, *posted]))
        for key in chosen:
            self._check_child(path, key)
        key = path[-1] if path else "catalog"
        if media_type != JSON:
            columns = self._columns(row, path, chosen)
            return table_reply(request, columns, media_type, params.filename or key)
        pieces = (text.encode() for text in self._texts(row, 0, chosen))
        return stream_reply(request, pieces, media_type=JSON, filename=params.filename or f"{key}.json")

    def _columns(self, row: NodeRow, path: tuple[str, ...], chosen: Collection[str]) -> Table:
        """Read the variables of a data set that are columns of one table."""
        columns: dict[str, np.ndarray[Any, Any]] = {}
        for key in chosen or [child.key for child in self._children(row)]:
            with self._catalog.array((*path, key)) as reader:
                shape = reader.structure.shape
                if len(shape) != 1 or any(shape != column.shape for column in columns.values()):
                    raise NotAcceptableError(
                        f"{key!r} of shape {shape} is no column beside {', '.join(columns) or 'others'}; "
                        "name one-dimensional variables of one length with field=, or read it as an array"
                    )
                columns[key] = reader.read()
        return Table(columns)

    def _check_child(self, path: tuple[str, ...], key: str) -> None:
        try:
            self._catalog.node((*path, key))
        except NotFoundError as error:
            raise NotFoundError(f"{'/'.join(path) or '/'} has no entry {key[:80]!r} to export") from error

    def _texts(self, row: NodeRow, depth: int, chosen: Collection[str] = ()) -> Iterator[str]:
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


def _offered(row: NodeRow) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the media types of a container and their short names."""
    if DATASET in (spec["name"] for spec in json.loads(row.specs or "[]")):
        return DATASET_TYPES, TABLE_ALIASES
    return CONTAINER_TYPES, CONTAINER_ALIASES
