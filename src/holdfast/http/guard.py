"""Own what the HTTP server must not do: take endless or slow heads, wait for stalled readers, send in bits.

It does not look at requests: it counts bytes and time on a connection.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast.http.limits import Limits

__all__ = ["GuardedProtocol"]

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


class GuardedProtocol(HttpToolsProtocol):
    """Be one connection with limits on its heads and on the time a peer may stall.

    Notes
    -----
    The body of an upload is timed by the edge, an unused connection by uvicorn.
    """

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_in_head = True
        self._head_bytes = 0
        self._head_timer: _Timer | None = None
        self._write_timer: _Timer | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock of the first head."""
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head, then let uvicorn parse them."""
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.url_bytes + self.limits.header_bytes + _READ_BYTES:
                self._refuse_head()
                return
            if self._head_timer is None:
                self._start_head_timer()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Stop the clock of the head, and bring long addresses past the parser of addresses."""
        self._is_in_head = False
        self._stop_head_timer()
        path, _, query = self.url.partition(b"?")
        self.url = path[:_PARSED_BYTES]
        super().on_headers_complete()
        # The request's task was made and has not run yet: it sees the whole query.
        self.scope["query_string"] = query
        cycle = self.cycle
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # ASGI allows names of one's own
        scope["holdfast.is_here"] = lambda: not cycle.more_body
        if self.scope["method"] != "HEAD":
            # Of an answer to HEAD nothing would follow the head.
            cycle.transport = _Joining(self.transport)  # type: ignore[assignment]  # all that a cycle uses

    def on_message_complete(self) -> None:
        """Expect the next head."""
        super().on_message_complete()
        self._is_in_head = True
        self._head_bytes = 0

    def pause_writing(self) -> None:
        """Start the clock of a reader that does not take what is ready."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.limits.idle_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the clock of the reader."""
        self._stop_write_timer()
        super().resume_writing()

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_s, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

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
