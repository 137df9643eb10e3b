"""Own what the HTTP server must not do: take endless or slow heads, wait for stalled readers, send in bits.

It does not look at requests: it counts bytes and time on a connection, and brings small requests to those who
answer at once.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from holdfast.http.at_once import AtOnce, Held
from holdfast.http.limits import Limits
from holdfast.http.sendfile import SendFile

__all__ = ["GuardedProtocol", "Protocols"]

# One read of the loop may bring the end of a head together with a piece of its body.
_READ_BYTES = 256 * 1024
# httptools cannot parse an address over 64 KiB; a query may be longer, and no path of ours is.
_PARSED_BYTES = 60_000
_JOINED_BYTES = 64 * 1024
_INTERIM = b"HTTP/1.1 1"


class _Timer(Protocol):
    def cancel(self) -> None: ...


class _Joining:
    """Bring the head of an answer onto the wire together with the first bytes of its body.

    Parameters
    ----------
    transport : asyncio.Transport
        Where uvicorn writes, the head first.
    """

    __slots__ = ("_head", "_is_begun", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport, self._head, self._is_begun = transport, b"", False

    def write(self, data: bytes) -> None:
        """Keep the head, send all else; an interim answer is not the head."""
        if self._is_begun:
            head, self._head = self._head, b""
            if head and len(data) > _JOINED_BYTES:
                self._transport.write(head)
                head = b""
            self._transport.write(head + data if head else data)
        elif data.startswith(_INTERIM):
            self._transport.write(data)
        else:
            self._head, self._is_begun = data, True

    def is_closing(self) -> bool:
        """Tell whether the connection ends."""
        return bool(self._transport.is_closing())

    def close(self) -> None:
        """Send what is kept, and end the connection."""
        if self._head:
            self.write(b"")
        self._transport.close()


class Protocols:
    """Make the protocols of the connections of one server, one ahead of the next connection.

    Parameters
    ----------
    limits : Limits
        What they keep to.
    at_once : AtOnce, optional
        What answers small requests.

    Notes
    -----
    Clients that connect anew for each request wait until theirs is made.
    """

    def __init__(self, limits: Limits, at_once: AtOnce | None = None) -> None:
        facts = {"limits": limits, "at_once": at_once, "protocols": self}
        self._class: type[GuardedProtocol] = type("SiteProtocol", (GuardedProtocol,), facts)
        # Whose head is awaited, and until when; in this order, as all have the same time.
        self.heads: dict[GuardedProtocol, float] = {}
        self._options: dict[str, Any] = {}
        self._ready: GuardedProtocol | None = None

    def __call__(self, **options: Any) -> GuardedProtocol:
        """Return the protocol of a new connection; uvicorn's options are the same for all of one server."""
        ready, self._ready, self._options = self._ready, None, options
        return ready or self._class(**options)

    def prepare(self) -> None:
        """Make the next one while nobody waits."""
        if self._ready is None:
            self._ready = self._class(**self._options)

    def end_heads(self) -> None:
        """End the wait for heads that are late: one look now and then costs less than a timer for each."""
        for protocol, until in self.heads.items():
            if protocol.loop.time() < until:
                return
            # In a turn of its own: a fault of one connection is no fault of the server.
            protocol.loop.call_soon(protocol.end_head)


class GuardedProtocol(HttpToolsProtocol):
    """Be one connection with limits on its heads and on the time a peer may stall.

    Notes
    -----
    The body of an upload is timed by the edge, an unused connection by uvicorn.
    """

    limits: ClassVar[Limits] = Limits()
    at_once: ClassVar[AtOnce | None] = None
    protocols: ClassVar[Protocols]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._held: Held | None = None
        self._held_body = b""
        self._beginning = b""  # what arrived first of a request
        self._unparsed = b""  # what arrived of a request that is held and whose head came before
        self._left: dict[str, Any] | None = None  # what its scope tells the edge when it is parsed after all
        self._is_between = True  # the parser is at the end of a message
        self._is_in_head = True
        self._head_bytes = 0
        self._write_timer: _Timer | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock of the first head; both addresses are found out when somebody asks for them."""
        self.connections.add(self)
        self.transport, self.flow = transport, FlowControl(transport)
        self.scheme = "https" if is_ssl(transport) else "http"
        self._start_head_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._stop_head_clock()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head, then let uvicorn parse them, unless the same head came before."""
        if self._unparsed:
            data, self._unparsed, self._held = self._unparsed + data, b"", None
        elif self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.url_bytes + self.limits.header_bytes + _READ_BYTES:
                self._refuse_head()
                return
            if self not in self.protocols.heads:
                self._start_head_clock()
        if self._is_between and self._is_seen(data):
            return
        super().data_received(data)

    def _is_seen(self, data: bytes) -> bool:
        """Take a request whose head came before: answer it when it is whole, else hold it."""
        self._beginning = data
        if self.at_once is None or not self._is_free():
            return False
        held = self.at_once.again(data)
        if held is None or len(data) > held.head_bytes + held.known.size:
            return False
        self._unset_keepalive_if_required()
        self._held, self._unparsed, self._is_in_head = held, data, False
        if len(data) == held.head_bytes + held.known.size:
            self._stop_head_clock()
            self._answer(held, data[held.head_bytes :], stays=held.stays)
            self._is_in_head, self._head_bytes = True, 0
        return True

    def on_message_begin(self) -> None:
        """Know that what comes next is for the parser."""
        self._is_between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop the clock of the head; where the request may be answered at once it runs on for the body."""
        self._is_in_head = False
        if self._left is not None:
            left, self._left = self._left, None
            self._stop_head_clock()
            self._begin_cycle()
            self.scope.update(left)  # type: ignore[typeddict-item]  # ASGI allows names of one's own
            return
        self._held = self._may_be_held()
        if self._held is None:
            self._beginning = b""
            self._stop_head_clock()
            self._begin_cycle()

    def _is_free(self) -> bool:
        """Tell whether no other answer of this connection is on its way."""
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _may_be_held(self) -> Held | None:
        if self.at_once is None or self.expect_100_continue or not self._is_free():
            return None
        if self.parser.should_upgrade() or self.parser.get_http_version() != "1.1":
            return None
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # a plain dictionary
        return self.at_once.held(self.parser.get_method(), self.url, scope)

    def _begin_cycle(self) -> None:
        """Let uvicorn make a task, and bring long addresses past the parser of addresses."""
        path, _, query = self.url.partition(b"?")
        self.url = path[:_PARSED_BYTES]
        super().on_headers_complete()
        # The request's task was made and has not run yet: it sees the whole query.
        self.scope["query_string"] = query
        cycle = self.cycle
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # ASGI allows names of one's own
        if self.client is None:
            self.server, self.client = get_local_addr(self.transport), get_remote_addr(self.transport)
        scope["server"], scope["client"] = self.server, self.client
        scope["holdfast.is_here"] = lambda: not cycle.more_body
        scope["holdfast.sendfile"] = SendFile.of(cycle, self.transport)
        if self.scope["method"] != "HEAD":
            # Of an answer to HEAD nothing would follow the head.
            cycle.transport = _Joining(self.transport)  # type: ignore[assignment]  # all that a cycle uses

    def on_body(self, body: bytes) -> None:
        """Keep what is held back, hand on all else."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held_body += body

    def on_message_complete(self) -> None:
        """Answer at once, or let the edge go on; then expect the next head."""
        if self._held is not None:
            self._stop_head_clock()
            self._answer_parsed(self._held)
        else:
            super().on_message_complete()
        self._is_between = self.parser.should_keep_alive() and not self.parser.should_upgrade()
        self._is_in_head = True
        self._head_bytes = 0

    def _answer_parsed(self, held: Held) -> None:
        stays = self.parser.should_keep_alive()
        if held.repeats and self.at_once is not None:
            self.at_once.remember(self._beginning, held, stays=stays)
        if not self._answer(held, self._held_body, stays=stays):
            super().on_message_complete()

    def _answer(self, held: Held, body: bytes, *, stays: bool) -> bool:
        answer = held.answer(body, self.server_state.default_headers, stays=stays)
        if answer is None:
            self._let_go(held.left())
            return False
        self._held, self._held_body, self._beginning, self._unparsed = None, b"", b"", b""
        self.transport.write(answer)
        if not stays:
            self.transport.close()
        self.on_response_complete()
        held.sent(self.transport.get_extra_info("peername"))
        self.protocols.prepare()
        return True

    def _let_go(self, left: dict[str, Any]) -> None:
        """Let the edge go on with a request that was held."""
        self._beginning = b""
        if self._unparsed:
            data, self._unparsed, self._held, self._left = self._unparsed, b"", None, left
            super().data_received(data)
            return
        body, self._held, self._held_body = self._held_body, None, b""
        self._begin_cycle()
        self.scope.update(left)  # type: ignore[typeddict-item]  # ASGI allows names of one's own
        if body:
            super().on_body(body)

    def end_head(self) -> None:
        """End the wait for a head that did not come meanwhile; a body that is late is timed by the edge."""
        if self.loop.time() < self.protocols.heads.get(self, math.inf):
            return
        self._stop_head_clock()
        if self._held is None:
            self.transport.abort()
        else:
            self._let_go({})

    def shutdown(self) -> None:
        """Answer what has begun to come, then end."""
        if self._held is not None:
            self._let_go({})
        super().shutdown()

    def pause_writing(self) -> None:
        """Start the clock of a reader that does not take what is ready."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.limits.idle_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the clock of the reader."""
        self._stop_write_timer()
        super().resume_writing()

    def _start_head_clock(self) -> None:
        self.protocols.heads[self] = self.loop.time() + self.limits.head_s

    def _stop_head_clock(self) -> None:
        self.protocols.heads.pop(self, None)

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _refuse_head(self) -> None:
        body = (
            b'{"detail":"the head of the request is too long; use POST","code":"head-too-long","details":{}}'
        )
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            b"connection: close\r\ncontent-length: " + str(len(body)).encode() + b"\r\n\r\n" + body
        )
        self.transport.close()
