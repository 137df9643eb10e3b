r"""Own small requests that are answered where their last bytes are read: without a task and without messages.

It does not read the wire: the protocol does. It takes only what a ``brief`` route does with a whole body; for
all else, and while others are in the way, the edge is there.

>>> from holdfast.http.edge import Site
>>> from holdfast.http.reply import json_reply
>>> from holdfast.http.routing import Mount, Route
>>> route = Route("POST", "/n", lambda request: json_reply(len(request.body)), body=bytes, lane="brief")
>>> scope = {"headers": [(b"content-length", b"3")], "client": ("127.0.0.1", 1)}
>>> held = AtOnce(Site([Mount("", [route])])).held(b"POST", b"/n", scope)
>>> held.answer(b"abc", [], stays=True)
b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n3'
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, MutableMapping, Sequence
from hashlib import blake2b
from http import HTTPStatus
from itertools import chain
from typing import Any, NamedTuple

from holdfast.errors import BusyError, HoldfastError
from holdfast.http.answering import WITHOUT_BODY, head_of, told
from holdfast.http.auth import key_hash, key_of
from holdfast.http.edge import Site
from holdfast.http.receive import is_plain
from holdfast.http.reply import JSON, Reply
from holdfast.http.request import Headers, Request
from holdfast.http.routing import Route

__all__ = ["AtOnce", "Held"]

Scope = MutableMapping[str, Any]
Pairs = Sequence[tuple[bytes, bytes]]

_END_OF_HEAD = b"\r\n\r\n"
_MOST_BYTES = 64 * 1024
_MOST_KNOWN = 200
_LONG_LANES = ("inline", "io", "heavy")
_BEGINNINGS = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n".encode() for each in HTTPStatus}
_BREAKS_FIELD = re.compile(rb"[\x00\r\n]")


class _Known(NamedTuple):
    """Hold what the fields of a head say once and for all.

    Parameters
    ----------
    key : str or None
        The hash of the key in it.
    size : int
        The size of the body that it announces, bytes.
    extra : bytes
        The lines that its answer gets for web pages.
    """

    key: str | None
    size: int
    extra: bytes


class _Seen(NamedTuple):
    """Hold what is known of a head that came before, besides its text.

    Parameters
    ----------
    route : Route
        Where it leads.
    known : object
        What its fields say.
    scope : dict
        The scope of its requests, without the fields.
    stays : bool
        Whether the connection may be used again.
    """

    route: Route
    known: _Known
    scope: Scope
    stays: bool


class _Again(Request):
    """Be a request whose head came before: its fields are read when somebody asks for them."""

    def __init__(self, scope: Scope, head: bytes) -> None:
        super().__init__(scope)
        self._head = head

    @property
    def headers(self) -> Headers:
        """The fields of the head, by lower-case name."""
        if self._headers is None:
            self._headers = Headers.decode(_fields_of(self._head))
        return self._headers


class AtOnce:
    """Know which requests may be answered at once.

    Parameters
    ----------
    site : Site
        What is served.

    Notes
    -----
    Clients send the same head over and over: what it says is remembered under its hash; the head is not kept.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._routes: dict[tuple[bytes, bytes], tuple[Route, str, dict[bytes, _Known]]] = {
            (method.encode(), path.encode()): (route, prefix, {})
            for path, (endpoint, prefix) in site.addresses.fixed.items()
            for method, route in endpoint.routes.items()
            if route.body is bytes and route.lane not in _LONG_LANES and path.isascii()
        }
        self._seen: dict[bytes, _Seen] = {}

    def held(self, method: bytes, url: bytes, scope: Scope) -> Held | None:
        """Return what answers a request as soon as it is whole, or None for one that the edge answers.

        Parameters
        ----------
        method, url : bytes
            As they stand in the request line.
        scope : dict
            The beginning of its ASGI scope, with the fields of its head; it is not changed.

        Returns
        -------
        Held or None
            The request.
        """
        found = self._routes.get((method, url))
        if found is None:
            return None
        route, prefix, kept = found
        own = {"method": route.method, "path": url.decode(), "root_path": prefix, "query_string": b""}
        request = Request({**scope, **own})
        digest = _hash(b"\n".join(chain.from_iterable(scope["headers"])))
        known = kept.get(digest)
        repeats = known is not None
        if known is None:
            known = self._read(route, request)
            if known is None:
                return None
            if len(kept) >= _MOST_KNOWN:
                kept.clear()
            kept[digest] = known
        return Held(self._site, route, request, known, repeats=repeats)

    def again(self, data: bytes) -> Held | None:
        """Return what answers a request whose head came before, letter by letter: it is not parsed again.

        Parameters
        ----------
        data : bytes
            What arrived, from the beginning of a request.

        Returns
        -------
        Held or None
            The request, which says how long it is; None for one that has to be parsed.
        """
        end = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        seen = self._seen.get(_hash(data[:end]))
        if seen is None:
            return None
        request = _Again({**seen.scope}, data[:end])
        return Held(self._site, seen.route, request, seen.known, head_bytes=end, stays=seen.stays)

    def remember(self, data: bytes, held: Held, *, stays: bool) -> None:
        """Remember the head of a request that was parsed, under its hash, if it is surely read right.

        Parameters
        ----------
        data : bytes
            What arrived first of it.
        held : Held
            The request.
        stays : bool
            Whether its connection may be used again.
        """
        head = data[: data.find(_END_OF_HEAD) + len(_END_OF_HEAD)]
        scope = {**held.request.scope}
        line = b"%b %b HTTP/1.1" % (held.route.method.encode(), scope["path"].encode())
        # The parser may allow line ends, blanks and folds that are not looked for here.
        if head.partition(b"\r\n")[0] == line and _fields_of(head) == list(scope.pop("headers")):
            if len(self._seen) >= _MOST_KNOWN:
                self._seen.clear()
            self._seen[_hash(head)] = _Seen(held.route, held.known, scope, stays)

    def _read(self, route: Route, request: Request) -> _Known | None:
        """Read a head; None where the edge must look at it."""
        try:
            self._site.check(request)
        except HoldfastError:
            return None
        text = request.headers.get("content-length") or ""
        size = int(text) if text.isdecimal() and len(text) < len(str(_MOST_BYTES)) + 1 else _MOST_BYTES + 1
        if size > _MOST_BYTES or route.lane_of(request) != "brief" or not is_plain(request.headers, size):
            return None
        key = key_of(request)
        extra = [
            (name.encode(), value.encode("latin-1")) for name, value in self._site.origin.headers_for(request)
        ]
        if any(_BREAKS_FIELD.search(value) for _, value in extra):
            return None
        return _Known(None if key is None else key_hash(key), size, _lines(extra))


class Held:
    """Hold a request until it is whole.

    Parameters
    ----------
    site : Site
        What answers.
    route : Route
        Where it leads.
    request : Request
        The request.
    known : object
        What its head says.
    repeats : bool, default False
        Whether its fields came before.
    head_bytes : int, default 0
        The size of its head, where that was not parsed.
    stays : bool, default True
        Whether its connection may be used again, where its head was not parsed.
    """

    __slots__ = ("_reply", "_site", "_started", "head_bytes", "known", "repeats", "request", "route", "stays")

    def __init__(
        self,
        site: Site,
        route: Route,
        request: Request,
        known: _Known,
        *,
        repeats: bool = False,
        head_bytes: int = 0,
        stays: bool = True,
    ) -> None:
        self._site, self.route, self.request, self.known = site, route, request, known
        self.repeats, self.head_bytes, self.stays = repeats, head_bytes, stays
        self._started = time.perf_counter()
        self._reply: Reply | None = None

    def answer(self, body: bytes, fields: Pairs, *, stays: bool) -> bytes | None:
        """Answer.

        Parameters
        ----------
        body : bytes
            The whole body.
        fields : sequence of (bytes, bytes)
            What every answer of the server says.
        stays : bool
            Whether the connection may be used again.

        Returns
        -------
        bytes or None
            The whole answer; None where the edge has to go on, with what `left` gives.
        """
        reply = self._reply = self._answered(body)
        if reply is None or not isinstance(reply.body, bytes) or reply.status in WITHOUT_BODY:
            return None
        head = _written_head(reply)
        if head is None:
            return None
        end = b"\r\n" if stays else b"connection: close\r\n\r\n"
        return b"".join((_BEGINNINGS[reply.status], _lines(fields), head, self.known.extra, end, reply.body))

    def _answered(self, body: bytes) -> Reply | None:
        site, request, route = self._site, self.request, self.route
        try:
            request.principal = site.access.admit_holder(self.known.key, route.scope)
            if len(body) != self.known.size:
                return None
            request.body = body
            reply = site.run_here(request, route.call, request)
            assert isinstance(reply, Reply), "a route without an upload answers with a Reply"
        except BusyError:
            return None
        except Exception as error:
            return told(request, route, error)
        return reply

    def left(self) -> dict[str, Any]:
        """Return what the scope of the request must tell the edge: that it waits, or what was done."""
        if self._reply is None:
            return {"holdfast.waits": True}
        return {"holdfast.done": (self.request.principal, self._reply)}

    def sent(self, client: tuple[Any, ...] | None) -> None:
        """Log and count an answer that is on its way.

        Parameters
        ----------
        client : tuple or None
            The address of who asked.
        """
        reply, site = self._reply, self._site
        assert reply is not None
        self.request.scope["client"] = client
        if self.route.scope == "write" and site.writes.note(self.request, reply.status):
            site.writes.log()
        assert isinstance(reply.body, bytes)
        site.metrics.body_bytes += len(reply.body)
        site.metrics.count(self.route.method, reply.status, time.perf_counter() - self._started)
        site.finish(reply)


def _written_head(reply: Reply) -> bytes | None:
    """Return the fields of an answer as they stand on the wire; None where uvicorn has to refuse them."""
    assert isinstance(reply.body, bytes)
    if reply.media_type == JSON and not reply.headers:
        return b"content-type: application/json\r\ncontent-length: %d\r\n" % len(reply.body)
    pairs = head_of(reply, ())["headers"]
    return None if any(_BREAKS_FIELD.search(value) for _, value in pairs) else _lines(pairs)


def _lines(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%b: %b\r\n" % pair for pair in pairs])


def _hash(head: bytes) -> bytes:
    # Unlike sha256 it does not go through OpenSSL, which takes longer to begin than to sum a head.
    return blake2b(head, digest_size=32).digest()


def _fields_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields of a head as uvicorn gives them."""
    parts = (line.partition(b":") for line in head.split(b"\r\n")[1:-2])
    return [(name.lower(), value.strip(b" \t")) for name, _, value in parts]
