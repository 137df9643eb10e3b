"""Own the answers about nodes: one, the children of one, the subtree of one, and distinct values.

References
----------
Tiled 0.2.20: ``/metadata``, ``/search``, ``/search-deep``, ``/distinct``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from holdfast.catalog.routes.params import (
    FIELDS,
    DistinctParams,
    MetadataParams,
    SearchParams,
    page_limit,
    parse_sort,
)
from holdfast.catalog.routes.remembered import Lasting, Remembered
from holdfast.catalog.routes.selecting import selector
from holdfast.catalog.routes.wire import Wire
from holdfast.database import NodeRow, Page
from holdfast.errors import InvalidInputError
from holdfast.http.limits import Limits
from holdfast.http.reply import Reply, json_reply
from holdfast.http.request import Request
from holdfast.http.routing import Lane
from holdfast.paths import split_key
from holdfast.queries import Query, from_filters

if TYPE_CHECKING:
    from holdfast.catalog.tree import Catalog

__all__ = ["NodeRoutes", "node_path", "search_lane"]

FILTERS = ("filter[",)
_JSON = "application/json"


def node_path(request: Request) -> tuple[str, ...]:
    """Return the path of the node that a request names.

    Raises
    ------
    InvalidInputError
        For a path with parts that no node can have.
    """
    return split_key(request.args["path"])


def search_lane(request: Request) -> Lane:
    """Return where a search runs: a plain listing is one bounded look-up in an index."""
    return "io" if b"filter" in request.raw_query or b"sort" in request.raw_query else "inline"


class NodeRoutes:
    """Answer about nodes.

    Parameters
    ----------
    catalog : Catalog
        The nodes.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._remembered = Remembered(catalog.database.change)

    def metadata(self, request: Request) -> Reply:
        """Answer one node."""
        return self._answered(request, self._metadata)

    def _metadata(self, request: Request) -> Lasting:
        params = request.params(MetadataParams)
        path = node_path(request)
        row = self._catalog.node(path)
        files = self._catalog.data_files(row)
        row = self._catalog.current(row)
        wire = self._wire(request, params, [row])
        meta = '{"root_path":"/"}' if params.root_path else "{}"
        entry = wire.entry(row, path[:-1])
        text = f'{{"data":{entry},"error":null,"links":null,"meta":{meta}}}'
        # A record that grows has another shape, and the database does not know yet.
        return text.encode(), (lambda: self._catalog.are_as_recorded(files)) if files else None

    def search(self, request: Request) -> Reply:
        """Answer a page of the children of a node."""
        return self._answered(request, lambda request: self._page(request, deep=False))

    def search_deep(self, request: Request) -> Reply:
        """Answer a page of everything below a node."""
        return self._answered(request, lambda request: self._page(request, deep=True))

    def distinct(self, request: Request) -> Reply:
        """Answer the different values of metadata fields."""
        params = request.params(DistinctParams, FILTERS)
        row = self._container(node_path(request))
        found = self._catalog.distinct(
            row,
            from_filters(request.query.items()),
            keys=params.metadata,
            families=params.structure_families,
            specs=params.specs,
            counts=params.counts,
            deep=params.deep,
        )
        return json_reply({"metadata": None, "structure_families": None, "specs": None, **found})

    def _answered(self, request: Request, write: Callable[[Request], Lasting]) -> Reply:
        """Answer with JSON, remembered unless it tells the states of files."""
        if b"data_sources" in request.raw_query:
            return Reply(write(request)[0], media_type=_JSON)
        question = (request.root, request.scope["path"], request.raw_query)
        return Reply(self._remembered.answer(question, lambda: write(request)), media_type=_JSON)

    def _page(self, request: Request, *, deep: bool) -> Lasting:
        params = request.params(SearchParams, FILTERS)
        path = node_path(request)
        row = self._container(path)
        query = from_filters(request.query.items())
        if params.fields == ["count"]:
            count = self._catalog.count(row, query, deep=deep)
            return _enveloped("[]", count, request, params, None), None
        keys_only = params.fields is not None and not {*params.fields} - {"", "none"}
        page = self._found(row, query, params, deep=deep, keys_only=keys_only)
        wire = self._wire(request, params, page.rows)
        if deep:
            paths = self._catalog.database.nodes.paths([each.id for each in page.rows])
            data = wire.scattered(page.rows, paths)
        else:
            data = wire.children(page.rows, path)
        return _enveloped(data, page.count, request, params, page.cursor), None

    def _found(
        self, row: NodeRow, query: Query, params: SearchParams, *, deep: bool, keys_only: bool
    ) -> Page:
        return self._catalog.search(
            row,
            query,
            deep=deep,
            sort=parse_sort(params.sort),
            cursor=params.cursor,
            offset=params.offset,
            limit=page_limit(params.limit, Limits().page_items, keys_only=keys_only),
            keys_only=keys_only,
        )

    def _container(self, path: tuple[str, ...]) -> NodeRow:
        row = self._catalog.node(path)
        if row.family != "container":
            raise InvalidInputError(
                f"{'/'.join(path)!r} is a node of family {row.family!r}; it has no children"
            )
        return row

    def _wire(self, request: Request, params: MetadataParams | SearchParams, rows: Sequence[NodeRow]) -> Wire:
        fields = FIELDS if params.fields is None else frozenset(params.fields) - {"", "none"}
        wire = Wire(request.root, fields, not params.omit_links, selector(params.select_metadata))
        if params.include_data_sources or "data_sources" in fields:
            return replace(wire, sources=self._catalog.sources(rows), location=self._catalog.places.public)
        return wire


def _enveloped(
    data: str, count: int | None, request: Request, params: SearchParams, cursor: str | None
) -> bytes:
    """Put a page into Tiled's envelope; links repeat every parameter but the place."""
    here = request.root + quote(request.path)
    kept = [
        (name, value)
        for name, value in request.query.items()
        if name not in {"page[offset]", "page[cursor]", "page[limit]", "api_key"}
    ]
    if params.limit is not None:
        kept.append(("page[limit]", str(params.limit)))
    first = f"{here}?{urlencode(kept, quote_via=quote)}" if kept else here
    following = "null"
    if cursor is not None:
        following = f'"{here}?{urlencode([("page[cursor]", cursor), *kept], quote_via=quote)}"'
    text = (
        f'{{"data":{data},"error":null,"links":{{"self":"{first}","first":"{first}","next":{following}}}'
        f',"meta":{{"count":{count if count is not None else "null"}}}}}'
    )
    return text.encode()
