"""Own what the edge itself answers, and what it adds to the answers of routes.

It does not send.

>>> from holdfast.errors import BusyError
>>> from holdfast.http.answering import error_answer
>>> error_answer(None, BusyError("later")).headers
[('retry-after', '1')]
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from holdfast.errors import HoldfastError, MethodNotAllowedError, NotFoundError
from holdfast.http.errors import INTERNAL
from holdfast.http.origin import Origin
from holdfast.http.reply import Reply, empty_reply, error_reply, json_reply
from holdfast.http.request import Request
from holdfast.http.routing import Route

__all__ = ["WITHOUT_BODY", "error_answer", "fault_answer", "head_of", "told", "without_route"]

WITHOUT_BODY = frozenset({204, 304})
_UNAUTHORIZED, _RANGE, _BUSY = 401, 416, 503
_log = logging.getLogger("holdfast.http")


def told(request: Request, route: Route | None, error: Exception) -> Reply:
    """Return the answer to an error: the last line of defence, a fault of ours must not cost the connection.

    Parameters
    ----------
    request : Request
        What was asked.
    route : Route or None
        Where it happened.
    error : Exception
        What happened; a fault of ours is logged.

    Returns
    -------
    Reply
        The answer.
    """
    if isinstance(error, HoldfastError):
        return error_answer(route, error)
    _log.error("%s failed by a fault in Holdfast", request, exc_info=error)
    return fault_answer()


def error_answer(route: Route | None, error: HoldfastError) -> Reply:
    """Return an error in the form of its route, with the fields that HTTP wants beside it.

    Parameters
    ----------
    route : Route or None
        Where it happened.
    error : HoldfastError
        What happened.

    Returns
    -------
    Reply
        The answer.
    """
    reply = error_reply(error) if route is None or route.shape is None else route.shape(error)
    if reply.status == _UNAUTHORIZED and not any(name == "www-authenticate" for name, _ in reply.headers):
        reply.headers.append(("www-authenticate", 'Bearer realm="holdfast"'))
    if reply.status == _BUSY:
        reply.headers.append(("retry-after", "1"))
    size = error.details.get("size")
    if reply.status == _RANGE and size is not None:
        reply.headers.append(("content-range", f"bytes */{size}"))
    return reply


def fault_answer() -> Reply:
    """Return what is said of a fault of ours."""
    detail = "internal error: a fault in Holdfast; the server's log has the details"
    return json_reply({"detail": detail, "code": "internal", "details": {}}, INTERNAL)


def without_route(request: Request, methods: Mapping[str, Route], origin: Origin) -> Reply:
    """Answer a request that no route takes: a preflight, another method, or no such address.

    Parameters
    ----------
    request : Request
        The request.
    methods : mapping of str to Route
        What the address knows; empty where there is nothing.
    origin : Origin
        What preflights are told.

    Returns
    -------
    Reply
        204 to OPTIONS, else 405 with ``Allow``.

    Raises
    ------
    NotFoundError
        For an address without any route.
    """
    if not methods:
        raise NotFoundError(f"there is nothing at {request.scope['path'][:200]!r}; see /openapi.json")
    names = sorted({*methods, "OPTIONS"})
    allow = ", ".join(names)
    if request.method == "OPTIONS":
        return empty_reply(204, {"allow": allow, **dict(origin.preflight_for(names))})
    reply = error_reply(
        MethodNotAllowedError(f"{request.method[:20]} is not known here; use {allow}", allowed=names)
    )
    reply.headers.append(("allow", allow))
    return reply


def head_of(reply: Reply, extra: Sequence[tuple[str, str]]) -> MutableMapping[str, Any]:
    """Return the ASGI message that begins an answer.

    Parameters
    ----------
    reply : Reply
        The answer.
    extra : sequence of (str, str)
        Further fields.

    Returns
    -------
    dict
        With ``content-length`` wherever the size is known.
    """
    body = reply.body
    size = len(memoryview(body).cast("B")) if isinstance(body, bytes | bytearray | memoryview) else reply.size
    headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in reply.headers]
    if reply.media_type is not None:
        headers.append((b"content-type", reply.media_type.encode("latin-1", "replace")))
    if size is not None and reply.status not in WITHOUT_BODY:
        headers.append((b"content-length", str(size).encode()))
    headers += [(name.encode(), value.encode("latin-1")) for name, value in extra]
    return {"type": "http.response.start", "status": reply.status, "headers": headers}
