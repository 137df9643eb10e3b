"""Own the table of the catalog's addresses: Tiled's, and ours for assets.

It does not answer: the modules beside it do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.catalog.routes.about import AboutRoutes
from holdfast.catalog.routes.answers import About, AssetListing, Distinct, Manifest, Node, NodePage
from holdfast.catalog.routes.arrays import ArrayRoutes
from holdfast.catalog.routes.assets import AssetRoutes
from holdfast.catalog.routes.awkward import AWKWARD_TYPES, BUFFERS_TYPES, AwkwardRoutes
from holdfast.catalog.routes.containers import DATASET, ContainerRoutes
from holdfast.catalog.routes.nodes import NodeRoutes, search_lane
from holdfast.catalog.routes.params import (
    ArrayParams,
    AssetParams,
    AssetsParams,
    AwkwardParams,
    BlockParams,
    BuffersParams,
    ContainerParams,
    DistinctParams,
    ManifestParams,
    MetadataParams,
    NoParams,
    PartitionParams,
    SearchParams,
    TableParams,
)
from holdfast.catalog.routes.tables import TableRoutes
from holdfast.catalog.tree import Catalog
from holdfast.catalog.watching import Keeper
from holdfast.errors import (
    ChangedError,
    ForbiddenError,
    HashError,
    MissingDependencyError,
    MissingFileError,
    NotAcceptableError,
    NotFoundError,
    RangeNotSatisfiableError,
    TooLargeError,
    UnreadableError,
)
from holdfast.formats.exports.registry import exports_of
from holdfast.http.request import Request
from holdfast.http.routing import Call, Context, Lane, Route
from holdfast.http.zipstream import ZIP_MEDIA_TYPE

__all__ = ["mount", "routes"]

_DATA_ERRORS = (
    NotFoundError,
    NotAcceptableError,
    ChangedError,
    ForbiddenError,
    HashError,
    MissingFileError,
    MissingDependencyError,
    TooLargeError,
    UnreadableError,
)
_FILE_ERRORS = (
    NotFoundError,
    ChangedError,
    ForbiddenError,
    HashError,
    MissingFileError,
    RangeNotSatisfiableError,
)
_OCTETS = ("application/octet-stream",)


def mount(context: Context) -> list[Route]:
    """Open the catalog of a directory and return its routes.

    Parameters
    ----------
    context : Context
        The served directory; settings ``allow_outside``, ``readable_storage``, ``watch_s``, ``sequences``,
        and ``digest``: ``later``, ``never``, or ``off`` for a catalog that is served as it is.

    Returns
    -------
    list of Route
        The routes.
    """
    options = context.options
    catalog = Catalog.open(
        context.directory,
        readable_storage=options.get("readable_storage"),
        database=context.database,
        allow_outside=options.get("allow_outside", ()),
        create=True,
    )
    context.closing.append(catalog.close)
    if options.get("digest", "later") != "off" and not catalog.database.read_only:
        keeper = Keeper(
            catalog,
            digest=options.get("digest", "later"),
            watch_s=options.get("watch_s"),
            head_start_s=0.5,
            sequences=options.get("sequences"),
        )
        context.closing.append(keeper.stop)
        keeper.start()
    return routes(catalog)


def routes(catalog: Catalog) -> list[Route]:
    """Return the routes over a catalog.

    Parameters
    ----------
    catalog : Catalog
        What is served.

    Returns
    -------
    list of Route
        To be mounted at ``/api/v1``.
    """
    return [*_node_routes(catalog), *_data_routes(catalog), *_asset_routes(catalog)]


def _node_routes(catalog: Catalog) -> Iterable[Route]:
    about, nodes = AboutRoutes(catalog), NodeRoutes(catalog)
    yield Route(
        "GET",
        "/",
        about.about,
        scope="open",
        lane="inline",
        answer=About,
        summary="What this server is and can",
    )
    yield Route(
        "GET",
        "/metadata/{path:path}",
        nodes.metadata,
        lane="inline",
        query=MetadataParams,
        answer=Node,
        errors=(NotFoundError,),
        summary="One node: metadata, structure, links",
    )
    yield Route(
        "GET",
        "/search/{path:path}",
        nodes.search,
        lane=search_lane,
        query=SearchParams,
        answer=NodePage,
        errors=(NotFoundError,),
        summary="The children of a node, filtered and sorted, page by page",
    )
    yield Route(
        "GET",
        "/search-deep/{path:path}",
        nodes.search_deep,
        query=SearchParams,
        answer=NodePage,
        errors=(NotFoundError,),
        summary="Everything below a node, filtered and sorted, page by page",
    )
    yield Route(
        "GET",
        "/distinct/{path:path}",
        nodes.distinct,
        query=DistinctParams,
        answer=Distinct,
        errors=(NotFoundError,),
        summary="The different values of metadata fields, families and specs",
    )


def _data_routes(catalog: Catalog) -> Iterable[Route]:
    arrays, tables, containers = ArrayRoutes(catalog), TableRoutes(catalog), ContainerRoutes(catalog)
    of_arrays, of_tables = exports_of("array").media_types, exports_of("table").media_types
    of_containers = exports_of("container", DATASET).media_types
    yield _data(
        "GET",
        "/array/full/{path:path}",
        arrays.full,
        ArrayParams,
        of_arrays,
        "An array, or a slice of it",
        arrays.lane,
    )
    yield _data(
        "GET",
        "/array/block/{path:path}",
        arrays.block,
        BlockParams,
        of_arrays,
        "One block of an array",
        arrays.lane,
    )
    awkward = AwkwardRoutes(catalog)
    yield _data(
        "GET",
        "/awkward/full/{path:path}",
        awkward.full,
        AwkwardParams,
        AWKWARD_TYPES,
        "A whole awkward array",
    )
    for method in ("GET", "POST"):
        yield _data(
            method,
            "/awkward/buffers/{path:path}",
            awkward.buffers,
            BuffersParams,
            BUFFERS_TYPES,
            "Buffers of an awkward array",
        )
        yield _data(
            method,
            "/table/partition/{path:path}",
            tables.partition,
            PartitionParams,
            of_tables,
            "Part of a table",
        )
        yield _data(method, "/table/full/{path:path}", tables.full, TableParams, of_tables, "A whole table")
        yield _data(
            method,
            "/container/full/{path:path}",
            containers.full,
            ContainerParams,
            of_containers,
            "Everything below a container",
        )


def _data(
    method: str,
    path: str,
    call: Call,
    query: type,
    media: tuple[str, ...],
    summary: str,
    lane: Lane | Callable[[Request], Lane] = "heavy",
) -> Route:
    body = list[str] if method == "POST" else None
    return Route(
        method,
        path,
        call,
        lane=lane,
        query=query,
        body=body,
        media=media,
        errors=_DATA_ERRORS,
        summary=summary,
    )


def _asset_routes(catalog: Catalog) -> Iterable[Route]:
    assets = AssetRoutes(catalog)
    kinds = (*_OCTETS, ZIP_MEDIA_TYPE)
    yield _asset("/asset/bytes/{path:path}", assets.bytes, AssetParams, "A file of a node", media=_OCTETS)
    yield _asset(
        "/asset/manifest/{path:path}",
        assets.manifest,
        ManifestParams,
        "The files below a directory",
        answer=Manifest,
    )
    yield _asset(
        "/assets/{id:int}",
        assets.asset,
        AssetsParams,
        "A file as it is, a directory as a ZIP or a list",
        media=kinds,
        answer=AssetListing,
    )
    yield _asset(
        "/assets/{id:int}/digests", assets.digests, NoParams, "The digests of a file's blocks", media=_OCTETS
    )


def _asset(
    path: str,
    call: Call,
    query: type,
    summary: str,
    *,
    media: tuple[str, ...] = (),
    answer: type | None = None,
) -> Route:
    return Route(
        "GET", path, call, query=query, media=media, answer=answer, errors=_FILE_ERRORS, summary=summary
    )
