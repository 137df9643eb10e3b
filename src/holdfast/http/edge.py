"""Own the only asynchronous part: it runs plain routes in their lanes and sends bodies piece by piece.

It does not decide anything about content: routes, `Access`, `Origin` and `Limits` do.

>>> from holdfast.http.edge import Site
>>> from holdfast.http.reply import text_reply
>>> from holdfast.http.routing import Mount, Route
>>> site = Site([Mount("", [Route("GET", "/", lambda request: text_reply("hello"))])])
>>> [route.path for mount in site.mounts for route in mount.routes]
['/']
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from itertools import chain
from typing import Any, TypeAlias, TypeVar

from holdfast.errors import BusyError, HoldfastError, TransportError
from holdfast.http.addresses import Addresses
from holdfast.http.answering import WITHOUT_BODY, head_of, told, without_route
from holdfast.http.auth import Access
from holdfast.http.errors import AddressTooLongError, HeadTooLongError, MisdirectedError
from holdfast.http.limits import PIECE_BYTES, Limits
from holdfast.http.logbook import Writes
from holdfast.http.metrics import Metrics
from holdfast.http.origin import Origin
from holdfast.http.pieces import gather, place, read_cold, read_warm
from holdfast.http.pool import Gate, Lanes
from holdfast.http.principal import Principal
from holdfast.http.receive import BytesReceiver, Intake, Received, Receiver, is_plain, receive_whole
from holdfast.http.reply import FileRange, Live, Reply
from holdfast.http.request import Request
from holdfast.http.routing import Lane, Mount, Route, Upload
from holdfast.http.sendfile import LEAST_BYTES, SLICE_BYTES, SendFile, push
from holdfast.types import Buffer

__all__ = ["Site"]

T = TypeVar("T")
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

HEARTBEAT_S = 15.0
# Below this a batch of an upload is hashed faster than a thread is reached.
_INLINE_BYTES = 64 * 1024

_log = logging.getLogger("holdfast.http")


class Site:
    """Be the outermost ASGI application: mounts, who may enter, and the limits.

    Parameters
    ----------
    mounts : sequence of Mount
        The faces; the one with an empty prefix is tried last.
    access : Access, optional
        Who may do what; default everything to everyone.
    origin : Origin, optional
        The names of the server and the web pages that may read from it.
    limits : Limits, optional
        The limits.

    Notes
    -----
    The site may be served over TCP and stepped in-process at the same time, by any number of threads.
    """

    def __init__(
        self,
        mounts: Sequence[Mount],
        *,
        access: Access | None = None,
        origin: Origin | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.mounts = tuple(sorted(mounts, key=lambda mount: -len(mount.prefix)))
        self.access = access or Access.open()
        self.origin = origin or Origin()
        self.limits = limits or Limits()
        self.metrics = Metrics()
        self.writes = Writes()
        self._lanes = Lanes()
        self.addresses = Addresses(self.mounts, _Endpoint)
        self._gate: Gate | None = None
        self._listeners: set[Callable[[], None]] = set()
        self.is_stopping = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or the messages of the server's life."""
        if scope["type"] == "lifespan":
            await _live_and_die(receive, send)
        elif scope["type"] == "http":
            scope["holdfast.site"] = self
            await self.addresses.find(scope)(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    def check(self, request: Request) -> None:
        """Refuse what no route should see.

        Raises
        ------
        AddressTooLongError, HeadTooLongError
            For an address, or the fields of a head, over the limit.
        MisdirectedError
            For a ``Host`` that is not this server.
        """
        if request.direct:
            return
        length = len(request.raw_path) + len(request.raw_query)
        if length > self.limits.url_bytes:
            raise AddressTooLongError(
                f"the address has {length} bytes, over the limit of {self.limits.url_bytes}; use POST"
            )
        head = sum(map(len, chain.from_iterable(request.scope["headers"])))
        if head > self.limits.header_bytes:
            raise HeadTooLongError(
                f"the head of the request has {head} bytes, over the limit of {self.limits.header_bytes}"
            )
        if not self.origin.knows_host(request.headers.get("host")):
            raise MisdirectedError(
                "this server is not known by the name in Host; start it with --allow-host NAME to allow it"
            )

    def stop(self) -> None:
        """End the answers that have no end of their own; safe in signal handlers and threads."""
        self.is_stopping = True
        for wake in list(self._listeners):
            wake()

    def close(self) -> None:
        """End the threads of the lanes, and log what is to be logged."""
        self._lanes.close()
        while self.writes.log():
            pass

    def log_writes(self) -> None:
        """Log some of the writes, and then, when others had their turn, more."""
        if self.writes.log():
            asyncio.get_running_loop().call_soon(self.log_writes)

    async def run(self, request: Request, lane: Lane, function: Callable[..., T], *args: Any) -> T:
        """Run a function in a lane; in-process it runs where the caller is."""
        if lane == "inline" or request.direct:
            return function(*args)
        if lane == "brief":
            try:
                return self.run_here(request, function, *args)
            except BusyError:
                # Somebody else is in the way, and nothing was done: wait where others are not held up.
                request.may_wait, lane = True, "io"
        return await self._lanes.run(lane, function, *args)

    def run_here(self, request: Request, function: Callable[..., T], *args: Any) -> T:
        """Run something brief on the loop; a `BusyError` says that others are in the way."""
        if request.scope.get("holdfast.waits") or not self.is_quiet:
            raise BusyError("others are served; wait for them")
        request.may_wait = False
        return self._lanes.run_here(function, *args)

    @property
    def is_quiet(self) -> bool:
        """Whether something brief may be done on the loop."""
        return self._lanes.are_quiet and not (self._gate and self._gate.bodies)

    async def take_in(
        self, request: Request, lane: Lane, receiver: Receiver, receive: Receive, first: Message | None = None
    ) -> Reply:
        """Bring the body of a request to a receiver, batch by batch, and let it answer."""
        try:
            intake = Intake(receiver, request.headers)
            async for batch in _batches(receive, self.idle_s(request), first):
                small = len(batch) <= _INLINE_BYTES
                await self.run(request, "inline" if small else lane, intake.take, batch)
            return await self.run(request, lane, intake.end)
        except BaseException as error:
            await self.run(request, lane, receiver.abort, error)
            raise

    def idle_s(self, request: Request) -> float | None:
        """Return how long to wait for the next bytes of a body; what is there already needs no clock."""
        return None if request.direct or _is_here(request) else self.limits.idle_s

    def is_plain(self, request: Request, body: bytes) -> bool:
        """Tell whether a body that arrived whole can be handed on as it is."""
        return len(body) <= self.limits.body_bytes and is_plain(request.headers, len(body))

    async def begin(self, request: Request, reply: Reply) -> Reply:
        """Make the first pieces of a body that is made: what fails at once has its own status."""
        body = reply.body
        if isinstance(body, bytes | bytearray | memoryview | FileRange | Live) or request.method == "HEAD":
            return reply
        try:
            iterator = iter(body)
            parts = await self.run(request, "heavy", gather, iterator)
        except BaseException:
            reply.close()
            raise
        reply.begun = (parts or [], iterator)
        return reply

    async def deliver(self, request: Request, reply: Reply, receive: Receive, send: Send) -> None:
        """Send an answer."""
        try:
            await send(head_of(reply, self.origin.headers_for(request)))
            body = reply.body
            if request.method == "HEAD" or reply.status in WITHOUT_BODY:
                await send({"type": "http.response.body", "body": b""})
            elif isinstance(body, bytes | bytearray | memoryview) and len(body) <= PIECE_BYTES:
                self.metrics.body_bytes += len(body)
                await send({"type": "http.response.body", "body": body})
            elif request.direct:
                await self._send_direct(request, reply, send)
            else:
                await self._send_watched(request, reply, receive, send)
        finally:
            self.finish(reply)

    def finish(self, reply: Reply) -> None:
        """Close an answer that is on its way, and be cautious for a while if that took long."""
        self._lanes.run_here(reply.close)

    async def _send_direct(self, request: Request, reply: Reply, send: Send) -> None:
        if isinstance(reply.body, Live):
            raise TransportError("live events need a server; in one process listen on the event bus")
        into = request.scope.get("holdfast.into")
        if isinstance(reply.body, FileRange) and into is not None and reply.body.size <= len(into):
            for piece in place(reply.body, into):
                await send(
                    {"type": "http.response.body", "body": piece, "more_body": True, "holdfast.placed": True}
                )
        else:
            async for part in self._pieces(request, reply):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _send_watched(self, request: Request, reply: Reply, receive: Receive, send: Send) -> None:
        """Send a long body; stop at once when the client has left, break off when it fails."""
        gate, left = self._gate_here(), asyncio.ensure_future(_left(receive))
        is_large = not isinstance(reply.body, Live)
        gate.bodies += is_large
        try:
            if isinstance(reply.body, Live):
                await self._send_live(request, reply.body, left, send)
            async for piece in self._pieces(request, reply):
                await gate.turn()
                if left.done():
                    return
                self.metrics.body_bytes += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except HoldfastError as error:
            # The head is out: a body that is too short is the only honest sign. Never pad it.
            _log.warning("%s broke off: %s", request, error)
        except Exception:
            _log.exception("%s broke off by a fault in Holdfast", request)
        finally:
            gate.bodies -= is_large
            left.cancel()

    async def _pieces(self, request: Request, reply: Reply) -> AsyncIterator[Buffer]:
        body = reply.body
        if isinstance(body, Live):
            return
        if isinstance(body, bytes | bytearray | memoryview):
            for cut in self._cut(request, body):
                yield cut
        elif isinstance(body, FileRange):
            async for part in self._file_pieces(request, body):
                yield part
        else:
            begun, iterator = reply.begun or ([], iter(body))
            parts: list[Buffer] | None = begun
            while parts is not None:
                for each in parts:
                    for cut in self._cut(request, each):
                        yield cut
                parts = await self.run(request, "heavy", gather, iterator)

    def _cut(self, request: Request, piece: Buffer) -> Iterable[memoryview]:
        """Cut a piece so that it does not hold up other answers when several bodies are on the wire."""
        view = memoryview(piece).cast("B")
        step = PIECE_BYTES if request.direct else self._gate_here().piece_bytes
        return (view[start : start + step] for start in range(0, len(view), step))

    async def _file_pieces(self, request: Request, span: FileRange) -> AsyncIterator[Buffer]:
        at = span.start
        while at < span.stop:
            if at > span.start and (at := await self._sendfile(request, span, at)) == span.stop:
                return
            count = min(PIECE_BYTES if request.direct else self._gate_here().piece_bytes, span.stop - at)
            piece = read_warm(span, at, count)
            if piece is None:
                piece = await self.run(request, "io", read_cold, span, at, count)
            at += len(piece)
            yield piece

    async def _sendfile(self, request: Request, span: FileRange, at: int) -> int:
        """Let the system send a file that is alone on the wire; return where it stopped."""
        way: SendFile | None = request.scope.get("holdfast.sendfile")
        if way is None:
            return at
        gate, is_fast = self._gate_here(), True
        while is_fast and gate.bodies == 1 and span.stop - at >= LEAST_BYTES:
            await way.drain()
            way.resume()
            if not way.is_clear:
                break
            start, goal = at, min(at + SLICE_BYTES, span.stop)
            at = await self.run(request, "io", push, way.link(), span, at, goal)
            way.count(at - start)
            self.metrics.body_bytes += at - start
            is_fast = at == goal
        return at

    async def _send_live(self, request: Request, live: Live, left: asyncio.Future[None], send: Send) -> None:
        """Send events as they come; a waiting listener is one future and one timer, no thread."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        stop = live.source.subscribe(lambda: _wake(loop, news))
        left.add_done_callback(lambda _: news.set())
        self._listeners.add(wake := lambda: _wake(loop, news))
        quiet_since = loop.time()
        try:
            # The head goes out now, whenever the first event comes.
            await send({"type": "http.response.body", "body": b"", "more_body": True})
            while not (left.done() or self.is_stopping):
                news.clear()
                events = await self.run(request, "io", live.source.take)
                if events is None:
                    return
                text = b"".join(event.encode() for event in events)
                if not text and loop.time() - quiet_since > HEARTBEAT_S:
                    text = b": still here\n\n"
                if text:
                    quiet_since = loop.time()
                    await send({"type": "http.response.body", "body": text, "more_body": True})
                timer = loop.call_later(live.poll_s, news.set)
                await news.wait()
                timer.cancel()
        finally:
            self._listeners.discard(wake)
            stop()

    def _gate_here(self) -> Gate:
        loop = asyncio.get_running_loop()
        if self._gate is None or self._gate.loop is not loop:
            self._gate = Gate(loop)
        return self._gate


class _Endpoint:
    """Be all methods of one path."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self.routes = routes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        site: Site = scope["holdfast.site"]
        request = Request(scope)
        route = self.routes.get(request.method)
        started, site.metrics.in_flight = time.perf_counter(), site.metrics.in_flight + 1
        try:
            reply = await self._answer(site, route, request, receive)
            try:
                await site.deliver(request, reply, receive, send)
            finally:
                # The answer does not wait for the log.
                if route is not None and route.scope == "write" and site.writes.note(request, reply.status):
                    site.writes.log()
            site.metrics.count(request.method, reply.status, time.perf_counter() - started)
        finally:
            site.metrics.in_flight -= 1
            # It leads back to the request: without it nothing is left to the garbage collector.
            scope.pop("holdfast.is_here", None)

    async def _answer(self, site: Site, route: Route | None, request: Request, receive: Receive) -> Reply:
        try:
            done: tuple[Principal, Reply] | None = request.scope.pop("holdfast.done", None)
            if done is not None:
                # It was done at once, and is only to be sent.
                request.principal, reply = done
                return await site.begin(request, reply)
            site.check(request)
            if route is None:
                return without_route(request, self.routes, site.origin)
            request.principal = site.access.admit(request, route.scope)
            return await site.begin(request, await self._call(site, route, request, receive))
        except Exception as error:
            return told(request, route, error)

    async def _call(self, site: Site, route: Route, request: Request, receive: Receive) -> Reply:
        lane = route.lane_of(request)
        if route.body is None:
            return _checked(await site.run(request, lane, route.call, request))
        if route.body is Upload and not _is_here(request):
            # What is still on its way may be refused before it comes.
            receiver = await site.run(request, lane, route.call, request)
            if isinstance(receiver, Reply):
                return receiver
            return await site.take_in(request, lane, receiver, receive)
        return await self._call_with_body(site, route, request, receive)

    async def _call_with_body(self, site: Site, route: Route, request: Request, receive: Receive) -> Reply:
        def answer(data: Buffer, received: Received | None = None) -> Reply:
            """Answer with the whole body at hand."""
            if route.body is Upload:
                found = route.call(request)
                return found if isinstance(found, Reply) else receive_whole(found, request.headers, data)
            request.body = bytes(data)
            return _checked(route.call(request))

        lane = route.lane_of(request)
        first = await _next(receive, site.idle_s(request))
        is_whole = not first.get("more_body", False)
        body: bytes = first.get("body", b"")
        if is_whole and (route.body is Upload or site.is_plain(request, body)):
            return await site.run(request, lane, answer, body)
        receiver = BytesReceiver(site.limits.body_bytes, answer)
        return await site.take_in(request, lane, receiver, receive, first)


def _is_here(request: Request) -> bool:
    """Tell whether the whole body has arrived, as far as the server can say."""
    is_here: Callable[[], bool] | None = request.scope.get("holdfast.is_here")
    return is_here is not None and is_here()


def _checked(reply: Reply | Receiver) -> Reply:
    assert isinstance(reply, Reply), "a route without an upload answers with a Reply"
    return reply


async def _batches(
    receive: Receive, idle_s: float | None, first: Message | None = None
) -> AsyncIterator[bytearray]:
    """Give a body in batches of about 1 MiB; the last one may be empty."""
    batch, more = bytearray(), True
    while more:
        message, first = first or await _next(receive, idle_s), None
        batch += message.get("body", b"")
        more = message.get("more_body", False)
        if len(batch) >= PIECE_BYTES or not more:
            yield batch
            batch = bytearray()


async def _next(receive: Receive, idle_s: float | None) -> Message:
    """Return the next part of a body."""
    try:
        if idle_s is None:
            message = await receive()
        else:
            async with asyncio.timeout(idle_s):
                message = await receive()
    except TimeoutError as error:
        raise TransportError(f"nothing arrived for {idle_s:g} s; send the upload again") from error
    if message["type"] == "http.disconnect":
        raise TransportError("the client left in the middle of its upload; nothing was kept")
    return message


async def _left(receive: Receive) -> None:
    """End when the client leaves. The first message of a request is its (empty) body, not its end."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _wake(loop: asyncio.AbstractEventLoop, news: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(news.set)


async def _live_and_die(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
