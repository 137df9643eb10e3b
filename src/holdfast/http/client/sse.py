r"""Own the reading of Server-Sent Events.

It does not connect.

>>> from holdfast.http.client.sse import parse
>>> [event.data for event in parse([b"id: 1\ndata: a", b"\n\n: note\n\ndata: b\n\n"])]
['a', 'b']
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holdfast.errors import TransportError
from holdfast.http.reply import ServerEvent
from holdfast.types import Buffer

__all__ = ["parse"]

MAX_EVENT_BYTES = 64 * 1024 * 1024


def parse(pieces: Iterable[Buffer]) -> Iterator[ServerEvent]:
    """Give the events of a body as they arrive.

    Parameters
    ----------
    pieces : iterable of bytes-like
        The body, cut anywhere.

    Yields
    ------
    ServerEvent
        Events with data; comments are passed over.

    Raises
    ------
    TransportError
        For an event of more than 64 MiB.

    References
    ----------
    WHATWG HTML, section 9.2.
    """
    waiting = bytearray()
    for piece in pieces:
        waiting += bytes(piece).replace(b"\r\n", b"\n")
        while (end := waiting.find(b"\n\n")) >= 0:
            event = _event(bytes(waiting[:end]).decode("utf-8", "replace"))
            del waiting[: end + 2]
            if event is not None:
                yield event
        if len(waiting) > MAX_EVENT_BYTES:
            raise TransportError(f"an event is over {MAX_EVENT_BYTES} bytes")


def _event(text: str) -> ServerEvent | None:
    data: list[str] = []
    found: dict[str, str] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name in {"id", "event"}:
            found[name] = value
    return ServerEvent("\n".join(data), found.get("id"), found.get("event")) if data else None
