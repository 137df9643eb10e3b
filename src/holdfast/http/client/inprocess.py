"""Own the transport within one process: the application's coroutine is stepped by who reads.

It opens no socket, starts no thread and buffers nothing: each piece is made when it is asked for.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator, Iterator, MutableMapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote

from holdfast.errors import TransportError
from holdfast.http.client.transport import Outgoing, Stream
from holdfast.http.limits import PIECE_BYTES
from holdfast.http.reply import Body
from holdfast.http.request import Headers
from holdfast.types import Buffer

__all__ = ["Application", "InProcess", "SteppedAnswer"]

Application: TypeAlias = Callable[[MutableMapping[str, Any], Any, Any], Coroutine[Any, Any, None]]
"""An ASGI application."""

_RECEIVE = object()
_ADDRESS = "http://localhost"


@types.coroutine
def _emit(message: object) -> Generator[object, Any, Any]:
    """Hand a message to whoever steps the coroutine and take back what it answers."""
    return (yield message)


def _receive() -> Any:
    return _emit(_RECEIVE)


class InProcess:
    """Bring requests to an application of this process.

    Parameters
    ----------
    application : callable
        An ASGI application whose routes never await anything real when ``holdfast.direct`` is set.
    address : str, optional
        What links in answers begin with.
    """

    def __init__(self, application: Application, address: str = _ADDRESS) -> None:
        self.application = application
        self.address = address
        scheme, _, host = address.partition("://")
        self._scheme = scheme
        self._host = host.encode("latin-1")

    def open(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: Outgoing = None, /
    ) -> SteppedAnswer:
        """Run a request up to the head of its answer; see `Transport.open`."""
        path, _, query = target.partition("?")
        fields = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        pieces, size = _outgoing(body)
        if size is not None:
            fields.append((b"content-length", str(size).encode()))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": self._scheme,
            "path": unquote(path) if "%" in path else path,
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": [(b"host", self._host), *fields],
            "client": None,
            "server": None,
            "holdfast.direct": True,
        }
        return SteppedAnswer(self.application, scope, pieces)

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _outgoing(body: Outgoing) -> tuple[Iterator[Buffer], int | None]:
    if body is None:
        return iter(()), None
    if isinstance(body, Stream):
        return iter(body.pieces), body.size
    view = memoryview(body).cast("B")
    return (view[at : at + PIECE_BYTES] for at in range(0, len(view), PIECE_BYTES)), len(view)


class SteppedAnswer:
    """Be the answer of an application that goes on only while the body is read."""

    reason = ""

    def __init__(
        self, application: Application, scope: MutableMapping[str, Any], pieces: Iterator[Buffer]
    ) -> None:
        self._scope = scope
        self._pieces = pieces
        self._rest: memoryview = memoryview(b"")
        self._is_over = False
        self._coroutine = application(scope, _receive, _emit)
        start = self._step()
        if start is None:
            raise TransportError("the application ended without an answer")
        self.status: int = start["status"]
        self.headers = Headers.decode(start["headers"])

    def read(self, limit: int = -1) -> bytes:
        """Return the rest of the body; see `Answer.read`."""
        taken: list[Buffer] = []
        total = 0
        while (limit < 0 or total < limit) and (piece := self._next()) is not None:
            taken.append(piece)
            total += len(piece)
        if len(taken) == 1 and isinstance(taken[0], bytes) and limit < 0:
            return taken[0]
        data = b"".join(taken)
        if 0 <= limit < len(data):
            self._rest = memoryview(data)[limit:]
            return data[:limit]
        return data

    def readinto(self, view: memoryview, /) -> int:
        """Put the next bytes into a buffer; see `Answer.readinto`."""
        piece = self._next()
        if piece is None:
            return 0
        whole = memoryview(piece).cast("B")
        count = min(len(whole), len(view))
        view[:count] = whole[:count]
        self._rest = whole[count:]
        return count

    def fill(self, view: memoryview, /) -> Iterator[memoryview]:
        """Let the body be read straight into a buffer; see `Answer.fill`."""
        self._scope["holdfast.into"] = view
        at = 0
        while (message := self._step()) is not None:
            piece: Body = message["body"]
            part = memoryview(piece).cast("B")  # type: ignore[arg-type]  # a sent body is a buffer
            if at + len(part) > len(view):
                raise TransportError(f"the answer is longer than the {len(view)} bytes that were expected")
            target = view[at : at + len(part)]
            if "holdfast.placed" not in message:
                target[:] = part
            at += len(part)
            if target:
                yield target

    def arrivals(self) -> Iterator[Buffer]:
        """Give the rest of the body as it is made; see `Answer.arrivals`."""
        while (piece := self._next()) is not None:
            yield piece

    def close(self) -> None:
        """Stop the application; its own clean-up runs."""
        self._is_over = True
        self._coroutine.close()

    def __enter__(self) -> SteppedAnswer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _next(self) -> Buffer | None:
        if len(self._rest):
            rest, self._rest = self._rest, memoryview(b"")
            return rest
        while (message := self._step()) is not None:
            body: Buffer = message["body"]
            if len(body):
                return body
        return None

    def _step(self) -> dict[str, Any] | None:
        """Return the next message of the application, or None at its end."""
        if self._is_over:
            return None
        value: object = None
        while True:
            try:
                message = self._coroutine.send(value)
            except StopIteration:
                self._is_over = True
                return None
            except BaseException:
                self._is_over = True
                raise
            if message is _RECEIVE:
                value = self._request_message()
                continue
            if not isinstance(message, dict):
                self.close()
                raise TransportError("a route waited for something that only a server can give")
            return message

    def _request_message(self) -> dict[str, Any]:
        piece = next(self._pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}
