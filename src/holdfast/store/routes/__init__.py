"""Own the addresses of stores: the protocol of encore's DynamicURLStore, and our own for whole interfaces.

encore: ``KEY/data``, ``KEY/metadata``, ``KEY/auth``, ``KEY`` (DELETE) and ``query``, answered whole, whatever
``Range`` says, as its client needs. Ours: ``_holdfast/…``, with ranges, batches, queries and transactions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from holdfast.errors import HashError, InvalidInputError, NotFoundError, UnreadableError
from holdfast.http.routing import Call, Context, Route, Upload
from holdfast.store.routes.encore import EncoreRoutes
from holdfast.store.routes.ours import (
    DataParams,
    KeyParams,
    Keys,
    PatternParams,
    Search,
    StoreRoutes,
    ValueParams,
)
from holdfast.store.routes.places import Find, Stores
from holdfast.store.wire import RECORDS_MEDIA_TYPE

__all__ = ["mount", "routes"]

OURS = "_holdfast"
_LINES = "application/x-ndjson"
_OCTETS = "application/octet-stream"
_ERRORS = (NotFoundError, InvalidInputError, HashError, UnreadableError)


def mount(context: Context) -> list[Route]:
    """Serve the directory itself, when this face is served alone, else every store below it.

    Parameters
    ----------
    context : Context
        From the roof.

    Returns
    -------
    list of Route
        The routes.

    Raises
    ------
    NotAStoreError
        The face is served alone and the directory is no store.
    """
    stores = Stores(context.directory)
    context.closing.append(stores.close)
    if not context.alone:
        return routes(stores.below, "/{name:path}")
    store = stores.open(context.directory)
    return routes(lambda parts: (store, parts))


def routes(find: Find, prefix: str = "") -> list[Route]:
    """Return the routes of stores.

    Parameters
    ----------
    find : callable
        Takes the raw parts of a path; gives the store that they lead to, and the parts below it.
    prefix : str, optional
        The template of what comes before the store's own addresses.

    Returns
    -------
    list of Route
        The specific before the general.
    """
    return [*_own_routes(StoreRoutes(find), f"{prefix}/{OURS}"), *_encore_routes(EncoreRoutes(find), prefix)]


def _own_routes(at: StoreRoutes, top: str) -> Iterable[Route]:
    records, octets, lines = (RECORDS_MEDIA_TYPE,), (_OCTETS,), (_LINES,)
    changes = _route(
        "POST", f"{top}/changes", at.changes, "Change keys, all or none", body=Upload, scope="write"
    )
    return [
        _route("GET", f"{top}/info", at.info, "Describe the store"),
        _route("GET", f"{top}/value", at.value, "A whole value, if small", query=ValueParams, media=records),
        _route("POST", f"{top}/values", at.values, "The values of many keys", body=Keys, media=records),
        _route("GET", f"{top}/bytes", at.data, "Data, with ranges", query=DataParams, media=octets),
        _route("GET", f"{top}/blocks", at.blocks, "Block digests of data", query=DataParams, media=octets),
        _route("GET", f"{top}/facts", at.facts, "Metadata, or null", query=KeyParams),
        _route("GET", f"{top}/keys", at.keys, "Keys by pattern", query=PatternParams, media=lines),
        _route("POST", f"{top}/search", at.search, "Keys by metadata", body=Search, media=lines),
        changes,
        _route("GET", f"{top}/check", at.check, "Verify everything", lane="heavy"),
    ]


def _route(method: str, path: str, call: Call, summary: str, **facts: Any) -> Route:
    return Route(method, path, call, summary=summary, errors=_ERRORS, **facts)


def _encore_routes(at: EncoreRoutes, top: str) -> Iterable[Route]:
    key = top or "/{key:path}"
    yield _route("GET", f"{top}/query", at.query, "Keys by metadata", media=("text/plain",))
    # A key may be named like one of these addresses.
    for path in (f"{top}/query", f"{key}/data", f"{key}/metadata", f"{key}/auth"):
        yield _route("DELETE", path, at.delete, "Delete a key of this name", scope="write")
    yield _route("GET", f"{key}/data", at.data, "Data of a key", media=(_OCTETS,))
    yield _route("PUT", f"{key}/data", at.set_data, "Set the data of a key", body=Upload, scope="write")
    yield _route("GET", f"{key}/metadata", at.metadata, "Metadata of a key")
    for method, call in (("PUT", at.set_metadata), ("POST", at.update_metadata)):
        yield _route(method, f"{key}/metadata", call, "Replace or merge metadata", body=bytes, scope="write")
    yield _route("GET", f"{key}/auth", at.permissions, "Who owns a key")
    for method in ("PUT", "POST"):
        yield _route(method, f"{key}/auth", at.refuse_permissions, "Always refused", scope="write")
    yield _route("DELETE", key, at.delete, "Delete a key", scope="write")
