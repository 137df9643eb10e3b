"""Own the addresses of the analysis face: the original's protocol, and beside it search and lineage.

>>> sorted({route.path for route in routes.__globals__["_table"](None)})[:3]
['/analysis_header', '/analysis_header/search', '/analysis_tail']

References
----------
analysisstore 0.0.6 (Tornado): ``GET /KIND?{JSON}`` and ``POST /KIND`` with ``payload`` and ``signature``. Its
answers of 500 are 400 or 409 here, with a JSON body.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from holdfast.analysis.documents import NEWEST_FIRST, Documents
from holdfast.analysis.kinds import KINDS, REFERENCE
from holdfast.analysis.lineage import trace
from holdfast.analysis.projecting import projected
from holdfast.errors import ConflictError, InvalidInputError, NotFoundError, TimeLimitError, TooLargeError
from holdfast.http.reply import JSON, Reply, encode_json, json_reply
from holdfast.http.request import Request
from holdfast.http.routing import Context, Lane, Route
from holdfast.types import Json

__all__ = ["Inserted", "LineageParams", "SearchBody", "mount", "routes"]

BULK = "bulk_data_reference_insert"
_ERRORS = (InvalidInputError, ConflictError, TooLargeError, TimeLimitError)
_KEPT = encode_json({"status": True})
_BRIEF_BYTES = 4096


class SearchBody(msgspec.Struct, forbid_unknown_fields=True):
    """Ask for documents: the query in MongoDB's notation, and which of its hits."""

    query: dict[str, Any] = {}
    sort: list[Any] = msgspec.field(default_factory=lambda: [list(key) for key in NEWEST_FIRST])
    limit: int | None = None
    skip: int = 0
    projection: Any = None
    count: bool = False


class LineageParams(msgspec.Struct, forbid_unknown_fields=True):
    """Ask for a lineage."""

    of: str
    direction: str = "upstream"


class Inserted(msgspec.Struct):
    """Say that documents were kept."""

    status: bool


def mount(context: Context) -> list[Route]:
    """Return the routes for a served directory.

    Parameters
    ----------
    context : Context
        What the roof knows; its option ``lenient`` takes documents without parents.

    Returns
    -------
    list of Route
        The routes; the database closes with the server.
    """
    strict = not context.options.get("lenient", False)
    documents = Documents(context.directory, context.database, strict=strict)
    context.closing.append(documents.close)
    return routes(documents)


def routes(documents: Documents) -> list[Route]:
    """Return the routes for documents.

    Parameters
    ----------
    documents : Documents
        Where they are kept.

    Returns
    -------
    list of Route
        The routes.
    """
    return _table(documents)


def _table(documents: Any) -> list[Route]:
    found = [
        Route(
            "GET",
            "/is_connected",
            _is_connected,
            scope="open",
            lane="inline",
            summary="Say that the server is there",
        )
    ]
    for name in KINDS:
        path, title = f"/{name}", name.replace("_", " ")
        found += [
            Route("GET", path, partial(_find, documents, name), answer=list[dict[str, Any]],
                  summary=f"Find documents of the kind {title}, newest first", errors=_ERRORS),
            Route("POST", path, partial(_insert, documents, name), scope="write", body=bytes, lane=_lane,
                  answer=Inserted,
                  summary=f"Insert a document of the kind {title}", errors=_ERRORS),
            Route("POST", f"{path}/search", partial(_search, documents, name), body=SearchBody,
                  answer=list[dict[str, Any]], summary=f"Search documents of the kind {title}",
                  errors=_ERRORS),
        ]  # fmt: skip
    found.append(
        Route("GET", "/lineage", partial(_lineage, documents), query=LineageParams, lane="heavy",
              summary="What a document came from, or what came of it", errors=(*_ERRORS, NotFoundError))
    )  # fmt: skip
    return found


def _is_connected(request: Request) -> Reply:
    return Reply(b"", media_type="text/html; charset=UTF-8")


# -- finding -----------------------------------------------------------------------------------------------


def _find(documents: Documents, kind: str, request: Request) -> Reply:
    asked = _decoded(unquote_to_bytes(request.raw_query), "the query")
    payload = _payload(asked, "No payload provided by the client")
    if "signature" not in asked:
        raise InvalidInputError("No signature provided by the client")
    if asked["signature"] != f"find_{kind}":
        raise InvalidInputError(f"Not a valid signature {asked['signature']!r:.80}; use 'find_{kind}'")
    return _list_reply(documents.find_bodies(kind, payload))


def _search(documents: Documents, kind: str, request: Request) -> Reply:
    asked = request.json(SearchBody)
    if asked.count:
        return json_reply({"count": documents.count(kind, asked.query)})
    bodies = documents.find_bodies(kind, asked.query, sort=asked.sort, limit=asked.limit, skip=asked.skip)
    if asked.projection:
        return json_reply(projected((msgspec.json.decode(body) for body in bodies), asked.projection))
    return _list_reply(bodies)


def _list_reply(bodies: list[str]) -> Reply:
    # The stored texts are the answer; nothing is decoded on the way.
    return Reply(f"[{','.join(bodies)}]".encode(), media_type="application/json")


# -- inserting ---------------------------------------------------------------------------------------------


def _insert(documents: Documents, kind: str, request: Request) -> Reply:
    asked = _decoded(request.body, "the body")
    if not isinstance(asked, dict) or "payload" not in asked:
        raise InvalidInputError("A payload field must exist for post")
    if "signature" not in asked:
        raise InvalidInputError("No valid signature field provided")
    references = _listed(kind, asked["signature"], asked["payload"])
    documents.insert(kind, references, request.principal.name, wait=request.may_wait)
    return Reply(_KEPT, media_type=JSON, on_close=None if request.may_wait else documents.tend)


def _lane(request: Request) -> Lane:
    """Keep what is small at once; what takes longer must not hold up others."""
    size = request.headers.get("content-length") or ""
    return "brief" if size.isdecimal() and int(size) <= _BRIEF_BYTES else "io"


def _listed(kind: str, signature: Json, payload: Json) -> list[Any]:
    if signature == f"insert_{kind}":
        if not isinstance(payload, dict):
            raise InvalidInputError(f"the payload must be an object, not {payload!r:.80}")
        return [payload]
    if signature == BULK and kind == REFERENCE.name:
        return _references(payload)
    known = f"insert_{kind}" + (f" or {BULK}" if kind == REFERENCE.name else "")
    raise InvalidInputError(f"Not a valid signature {signature!r:.80}; use {known}")


def _references(payload: Json) -> list[Any]:
    if not isinstance(payload, dict) or not isinstance(payload.get("data_references"), list):
        raise InvalidInputError(
            "the payload of a bulk insert must be an object with a list 'data_references'"
        )
    header = payload.get("data_header")
    references: list[Any] = payload["data_references"]
    for each in references:
        if isinstance(each, dict) and header is not None:
            each.setdefault(REFERENCE.parent_field, header)
    return references


def _payload(asked: Json, absent: str) -> dict[str, Json]:
    if not isinstance(asked, dict) or "payload" not in asked:
        raise InvalidInputError(absent)
    if not isinstance(asked["payload"], dict):
        raise InvalidInputError(f"the payload must be an object of fields, not {asked['payload']!r:.80}")
    return asked["payload"]


def _decoded(text: bytes, what: str) -> Json:
    text = text.removesuffix(b"=")
    if not text:
        raise InvalidInputError("No payload provided by the client")
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{what} is not JSON that can be kept: {error}") from error


# -- lineage -----------------------------------------------------------------------------------------------


def _lineage(documents: Documents, request: Request) -> Reply:
    asked = request.params(LineageParams)
    return json_reply(trace(documents, asked.of, asked.direction, outside=False).to_dict())
