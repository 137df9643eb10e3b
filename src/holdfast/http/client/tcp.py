"""Own the transport over TCP: pooled connections, time-outs, TLS through urllib3; small requests by ``line``.

It does not retry and does not read statuses.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

import urllib3
from urllib3.exceptions import HTTPError

from holdfast.errors import TransportError
from holdfast.http.client.faults import StaleConnectionError, explained
from holdfast.http.client.line import LineAnswer, Lines, Unread
from holdfast.http.client.transport import Answer, Outgoing, Stream
from holdfast.http.limits import MEBIBYTE, PIECE_BYTES
from holdfast.http.request import Headers
from holdfast.types import Buffer

__all__ = ["StaleConnectionError", "Tcp", "TcpAnswer"]

CONNECTIONS = 32
_SMALL_BYTES = 64 * 1024


class Tcp:
    """Bring requests to a server over kept connections.

    Parameters
    ----------
    address : str
        ``http://host:port`` or ``https://host:port``, without a path.
    timeout_s : float, default 30.0
        How long to wait for a connection and for each next bytes, seconds.
    """

    def __init__(self, address: str, timeout_s: float = 30.0) -> None:
        self.address = address.rstrip("/")
        self._timeout = urllib3.Timeout(connect=timeout_s, read=timeout_s)
        self._lines = Lines(self.address, timeout_s) if self.address.startswith("http://") else None
        self._lock = threading.Lock()
        self._pool: urllib3.PoolManager | None = None
        self._pid = 0

    def open(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: Outgoing = None, /
    ) -> Answer:
        """Send a request; see `Transport.open`."""
        if self._lines is not None and not isinstance(body, Stream) and _size(body) <= _SMALL_BYTES:
            found = self._lines.ask(method, target, headers, body)
            return found if isinstance(found, LineAnswer) else _by_library(found, method)
        fields = urllib3.HTTPHeaderDict(headers)
        try:
            response = self._connections().urlopen(
                method,
                self.address + target,
                body=_outgoing(body, fields),
                headers=fields,
                timeout=self._timeout,
                preload_content=False,
                decode_content=True,
                redirect=False,
                retries=False,
            )
        except (HTTPError, OSError) as error:
            raise explained(error, self.address) from error
        return TcpAnswer(response, self.address)

    def close(self) -> None:
        """Close all connections."""
        if self._lines is not None:
            self._lines.close()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.clear()

    def _connections(self) -> urllib3.PoolManager:
        # A connection must never be shared with a forked child: their bytes would mix.
        if self._pool is None or self._pid != os.getpid():
            with self._lock:
                if self._pool is None or self._pid != os.getpid():
                    self._pool = urllib3.PoolManager(num_pools=4, maxsize=CONNECTIONS, block=False)
                    self._pid = os.getpid()
        return self._pool


def _size(body: Buffer | None) -> int:
    return 0 if body is None else memoryview(body).nbytes


def _outgoing(body: Outgoing, fields: urllib3.HTTPHeaderDict) -> Any:
    if isinstance(body, Stream):
        if body.size is not None:
            fields["content-length"] = str(body.size)
        return iter(body.pieces)
    if body is not None:
        view = memoryview(body).cast("B")
        fields["content-length"] = str(len(view))
        return (view[at : at + MEBIBYTE] for at in range(0, len(view), MEBIBYTE)) if view else b""
    return None


class _Replayed(io.RawIOBase):
    """Give what was received once more, and then what follows on the connection."""

    def __init__(self, unread: Unread) -> None:
        super().__init__()
        self._front, self._link = memoryview(unread.received), unread.link

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any, /) -> int:
        view = memoryview(into).cast("B")
        if not self._front:
            return self._link.recv_into(view)
        count = min(len(view), len(self._front))
        view[:count], self._front = self._front[:count], self._front[count:]
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """Be what the standard library takes for a socket."""
        return io.BufferedReader(self)


def _by_library(unread: Unread, method: str) -> TcpAnswer:
    """Let the standard library and urllib3 read an answer that is not plain: chunks, encodings, no size."""
    below = HTTPResponse(cast("Any", _Replayed(unread)), method=method)
    try:
        below.begin()
    except (HTTPException, OSError) as error:
        unread.close(stays=False)
        raise explained(error, unread.address) from error
    response = urllib3.HTTPResponse(
        below,
        headers=urllib3.HTTPHeaderDict(below.msg.items()),
        status=below.status,
        version=below.version,
        reason=below.reason,
        preload_content=False,
        original_response=below,
        request_method=method,
    )
    stays = not below.will_close
    return TcpAnswer(response, unread.address, lambda is_read: unread.close(stays=is_read and stays))


class TcpAnswer:
    """Be an answer of a server that a library reads.

    Parameters
    ----------
    response : urllib3.BaseHTTPResponse
        The answer.
    address : str
        Of the server, for messages.
    done : callable, optional
        Takes whether the body was read to its end, when the answer is given up.
    """

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        address: str,
        done: Callable[[bool], object] = lambda is_read: None,
    ) -> None:
        self._response, self._done = response, done
        self._address = address
        self._is_read = False
        self.status: int = response.status
        self.reason = response.reason or ""
        self.headers = Headers([(name.lower(), value) for name, value in response.headers.items()])
        self._plain = _plain_response(response)

    def read(self, limit: int = -1) -> bytes:
        """Return the rest of the body; see `Answer.read`."""
        try:
            data = self._response.read(None if limit < 0 else limit)
        except (HTTPError, OSError) as error:
            raise explained(error, self._address) from error
        self._is_read = limit < 0
        return data

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into a buffer; see `Answer.readinto`."""
        try:
            count = self._plain.readinto(view) if self._plain is not None else self._response.readinto(view)
        except (HTTPError, HTTPException, OSError) as error:
            raise explained(error, self._address) from error
        self._is_read = count == 0
        if count == 0 and len(view) and self._plain is not None and self._plain.length:
            raise TransportError(f"{self._address} broke off {self._plain.length} bytes early; ask again")
        return int(count)

    def fill(self, view: memoryview, /) -> Iterator[memoryview]:
        """Put the rest of the body into a buffer; see `Answer.fill`."""
        at = 0
        while at < len(view):
            count = self.readinto(view[at : at + PIECE_BYTES])
            if count == 0:
                return
            yield view[at : at + count]
            at += count
        if self.readinto(memoryview(bytearray(1))):
            raise TransportError(f"the answer is longer than the {len(view)} bytes that were expected")

    def arrivals(self) -> Iterator[Buffer]:
        """Give the rest of the body as it arrives; see `Answer.arrivals`."""
        try:
            yield from self._response.stream(PIECE_BYTES)
        except (HTTPError, OSError) as error:
            raise explained(error, self._address) from error
        self._is_read = True

    def close(self) -> None:
        """Give up the body; a connection whose answer was read to its end is kept."""
        is_read = self._is_read or (self._plain is not None and self._plain.isclosed())
        if is_read:
            self._response.release_conn()
        else:
            self._response.close()
        self._done(is_read)

    def __enter__(self) -> TcpAnswer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _plain_response(response: urllib3.BaseHTTPResponse) -> HTTPResponse | None:
    """Return the standard library's response below, where the body is neither chunked nor compressed.

    urllib3's own ``readinto`` (2.8) copies every byte twice; this one reads into the caller's buffer.
    """
    below = getattr(response, "_fp", None)
    if not isinstance(below, HTTPResponse) or below.chunked or "content-encoding" in response.headers:
        return None
    return below
