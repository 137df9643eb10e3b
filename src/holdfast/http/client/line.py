r"""Own small requests over kept connections: one write, a head read at a glance, the body from the socket.

It does not do TLS, send streams, or read answers that are chunked or odd: ``tcp`` leaves those to urllib3.

>>> Head.parse(b"HTTP/1.1 200 OK\r\ncontent-length: 3").size
3
"""

from __future__ import annotations

import contextlib
import os
import re
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from socket import socket
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError
from urllib3.util.wait import wait_for_read

from holdfast.errors import InvalidInputError, TransportError
from holdfast.http.client.faults import StaleConnectionError, explained
from holdfast.http.limits import PIECE_BYTES
from holdfast.http.request import Headers
from holdfast.types import Buffer

__all__ = ["Head", "LineAnswer", "Lines", "Unread"]

_MOST_KEPT = 32
_READ_BYTES = 64 * 1024
_MOST_HEAD_BYTES = 256 * 1024
_END = b"\r\n\r\n"
_MOST_REMEMBERED_BYTES = 1024
_MOST_DIGITS = 18
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_EMPTY = frozenset({204, 304})
_BREAKS_FIELD = re.compile(r"[\r\n\x00]")
_BREAKS_TARGET = re.compile(r"[\x00-\x20\x7f]")
_HEAD = re.compile(
    r"HTTP/1\.1 ([2-5]\d\d)(?: ([^\r\n]*))?((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\x00]*)*)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Head:
    """Hold the head of an answer whose body has a known size.

    Parameters
    ----------
    status : int
        The status.
    reason : str
        Its words.
    headers : Headers
        The fields, names in lower case.
    size : int
        Of the body, bytes.
    stays : bool
        Whether the connection may be used again.
    """

    status: int
    reason: str
    headers: Headers
    size: int
    stays: bool

    @classmethod
    def parse(cls, head: bytes) -> Head | None:
        """Read a head.

        Parameters
        ----------
        head : bytes
            All lines, without the empty one at the end.

        Returns
        -------
        Head or None
            None for everything that is not plain: another version, chunks, an encoding, folded lines.
        """
        match = _HEAD.fullmatch(head.decode("latin-1"))
        if match is None:
            return None
        parts = [line.partition(":") for line in match[3].split("\r\n")[1:]]
        headers = Headers([(name.lower(), value.strip(" \t")) for name, _, value in parts])
        code = int(match[1])
        sizes = {"0"} if code in _EMPTY else set(headers.all("content-length"))
        if "transfer-encoding" in headers or "content-encoding" in headers or len(sizes) != 1:
            return None
        size = sizes.pop()
        if not (size.isascii() and size.isdigit() and len(size) <= _MOST_DIGITS):
            return None
        stays = (headers.get("connection") or "").lower() in {"", "keep-alive"}
        return cls(code, match[2] or "", headers, int(size), stays)


@dataclass(slots=True)
class Unread:
    """Be a connection with an answer on it whose body is still to be read.

    Parameters
    ----------
    link : socket
        The connection.
    received : bytearray
        What has come so far.
    head_size : int
        How much of that is the head.
    address : str
        Of the server.
    keep : callable
        Takes a connection that may be used again.
    """

    link: socket
    received: bytearray
    head_size: int
    address: str
    keep: Callable[[socket], None]
    is_closed: bool = False

    def close(self, *, stays: bool) -> None:
        """Let go of the connection: keep it, or end it; a second time nothing happens."""
        if not self.is_closed:
            self.is_closed = True
            self.keep(self.link) if stays else self.link.close()


# A server gives many answers the same head.
_parsed = lru_cache(64)(Head.parse)


class Lines:
    """Send small requests over connections that are kept.

    Parameters
    ----------
    address : str
        ``http://host:port``, without a path.
    timeout_s : float
        How long to wait for a connection and for each next bytes, seconds.

    Notes
    -----
    Safe across threads and fork: a connection belongs to one request at a time and to one process.
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        parts = urlsplit(address)
        self.address, self._timeout_s = address, timeout_s
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._begin = f"host: {parts.netloc}\r\naccept-encoding: identity\r\n"
        self._kept: deque[socket] = deque()
        self._pid = os.getpid()
        weakref.finalize(self, _close_all, self._kept)

    def ask(
        self, method: str, target: str, fields: Sequence[tuple[str, str]], body: Buffer | None
    ) -> LineAnswer | Unread:
        """Send a request; see `Transport.open`.

        Parameters
        ----------
        method, target, fields, body
            As `Transport.open`; the body is small.

        Returns
        -------
        LineAnswer or Unread
            The answer, or what a library must read because it is not plain.
        """
        request = self._written(method, target, fields, body)
        link = self._take()
        try:
            link.sendall(request)
            received, end = _head_from(link)
        except BaseException as error:
            link.close()
            if isinstance(error, OSError):
                raise explained(error, self.address) from error
            raise
        unread = Unread(link, received, end + len(_END), self.address, self._keep)
        head = (_parsed if end <= _MOST_REMEMBERED_BYTES else Head.parse)(bytes(received[:end]))
        if head is None:
            return unread
        return LineAnswer(replace(head, size=0) if method == "HEAD" else head, unread)

    def _written(
        self, method: str, target: str, fields: Sequence[tuple[str, str]], body: Buffer | None
    ) -> bytes:
        if body is not None:
            fields = [*fields, ("content-length", str(memoryview(body).nbytes))]
        elif method in _WITH_BODY:
            fields = [*fields, ("content-length", "0")]
        if _BREAKS_TARGET.search(target) or _BREAKS_FIELD.search("".join([a + b for a, b in fields])):
            raise InvalidInputError("a line break in an address or a field of a request; leave it out")
        lines = "".join([f"{name}: {value}\r\n" for name, value in fields])
        try:
            head = f"{method} {target} HTTP/1.1\r\n{self._begin}{lines}\r\n".encode("latin-1")
        except UnicodeEncodeError as error:
            raise InvalidInputError(
                f"a field of a request cannot hold {error.object[error.start]!r}"
            ) from None
        return head if body is None else b"".join((head, body))

    def _take(self) -> socket:
        if self._pid != os.getpid():
            # The parent goes on using its connections; here only the numbers of them are closed.
            _close_all(self._kept)
            self._pid = os.getpid()
        with contextlib.suppress(IndexError):
            while True:
                link = self._kept.pop()
                if not wait_for_read(link, timeout=0.0):
                    return link
                # The server ended it, or said something that nobody asked for.
                link.close()
        return self._connect()

    def _connect(self) -> socket:
        connection = HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.connect()
        except (HTTPError, OSError) as error:
            raise explained(error, self.address) from error
        link, connection.sock = connection.sock, None
        assert isinstance(link, socket)
        return link

    def _keep(self, link: socket) -> None:
        if len(self._kept) < _MOST_KEPT and self._pid == os.getpid():
            self._kept.append(link)
        else:
            link.close()

    def close(self) -> None:
        """Close what is kept."""
        _close_all(self._kept)


def _head_from(link: socket) -> tuple[bytearray, int]:
    """Return what came up to the end of a head, and where that is."""
    received = bytearray(link.recv(_READ_BYTES))
    end = received.find(_END)
    while end < 0:
        more = link.recv(_READ_BYTES)
        if not more or len(received) > _MOST_HEAD_BYTES:
            raise ConnectionResetError("the server ended it without an answer")
        searched = max(0, len(received) - len(_END))
        received += more
        end = received.find(_END, searched)
    return received, end


def _close_all(links: deque[socket]) -> None:
    with contextlib.suppress(IndexError):
        while True:
            links.pop().close()


class LineAnswer:
    """Be an answer whose body has a known size.

    Parameters
    ----------
    head : Head
        Its head.
    unread : Unread
        Where the body comes from, and what of it has come already.
    """

    def __init__(self, head: Head, unread: Unread) -> None:
        self.status, self.reason, self.headers = head.status, head.reason, head.headers
        end = unread.head_size + head.size
        self._from, self._rest = unread, memoryview(unread.received)[unread.head_size : end]
        self._left = head.size
        # More than was announced: nobody knows what the next answer would be.
        self._stays = head.stays and len(unread.received) <= end
        self._let_go_at_end()

    def read(self, limit: int = -1) -> bytes:
        """Return the rest of the body; see `Answer.read`."""
        wanted = self._left if limit < 0 else min(limit, self._left)
        if len(self._rest) >= wanted:
            data, self._rest = bytes(self._rest[:wanted]), self._rest[wanted:]
            self._left -= wanted
            return data
        pieces = []
        while wanted:
            # Not all the room at once: the announced size may be a lie.
            piece = memoryview(bytearray(min(wanted, PIECE_BYTES)))
            filled = 0
            while filled < len(piece):
                filled += self.readinto(piece[filled:])
            pieces.append(piece)
            wanted -= filled
        return b"".join(pieces)

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into a buffer; see `Answer.readinto`."""
        count = min(len(view), self._left)
        if self._rest:
            count = min(count, len(self._rest))
            view[:count], self._rest = self._rest[:count], self._rest[count:]
        elif count:
            try:
                count = self._from.link.recv_into(view[:count])
            except OSError as error:
                raise explained(error, self._from.address) from error
            if not count:
                raise StaleConnectionError(f"the answer broke off {self._left} bytes early; ask again")
        self._left -= count
        self._let_go_at_end()
        return count

    def _let_go_at_end(self) -> None:
        if self._left == len(self._rest):
            self._from.close(stays=self._stays)

    def fill(self, view: memoryview, /) -> Iterator[memoryview]:
        """Put the rest of the body into a buffer; see `Answer.fill`."""
        at = 0
        while at < len(view) and (count := self.readinto(view[at : at + PIECE_BYTES])):
            yield view[at : at + count]
            at += count
        if self._left:
            raise TransportError(f"the answer is longer than the {len(view)} bytes that were expected")

    def arrivals(self) -> Iterator[Buffer]:
        """Give the rest of the body as it arrives; see `Answer.arrivals`."""
        while self._left:
            piece = bytearray(min(self._left, PIECE_BYTES))
            yield memoryview(piece)[: self.readinto(memoryview(piece))]

    def close(self) -> None:
        """Give up the body; a connection whose answer has come to its end is kept."""
        self._from.close(stays=False)

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> LineAnswer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
