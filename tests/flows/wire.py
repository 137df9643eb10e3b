"""Requests exactly as they are written: no client that tidies them first."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from served import KEY


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        """Return the message of an error, after looking at its form."""
        assert self.headers["content-type"] == "application/json", self.headers
        value = self.json()
        assert isinstance(value["detail"], str), value
        assert isinstance(value["code"], str), value
        return value["detail"]


def ask(
    url: str,
    target: str | bytes,
    method: str = "GET",
    key: str | None = KEY,
    body: bytes = b"",
    headers: tuple[str, ...] = (),
    timeout_s: float = 30,
) -> Answer:
    """Send one request with a raw target; read the whole answer; the connection is closed after it."""
    place = urlsplit(url)
    raw = target if isinstance(target, bytes) else target.encode("latin-1")
    lines = [f"Host: {place.netloc}", "Connection: close", *headers]
    if key is not None:
        lines.append(f"Authorization: Apikey {key}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines).encode("latin-1")
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=timeout_s) as connection:
        connection.sendall(method.encode() + b" " + raw + b" HTTP/1.1\r\n" + head + b"\r\n\r\n" + body)
        received = bytearray()
        while block := connection.recv(1 << 16):
            received += block
    return parse(bytes(received))


def parse(received: bytes) -> Answer:
    """Take an HTTP answer apart."""
    head, separator, body = received.partition(b"\r\n\r\n")
    assert separator, f"no answer: {received[:200]!r}"
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)
    }
    if headers.get("transfer-encoding") == "chunked":
        body = unchunked(body)
    elif "content-length" in headers and int(headers["content-length"]) != len(body):
        raise ShortBodyError(f"{len(body)} of {headers['content-length']} bytes")
    return Answer(int(first.split()[1]), headers, body)


class ShortBodyError(Exception):
    """Says that a connection ended before the body did: the server gave up in the middle."""


def unchunked(body: bytes) -> bytes:
    pieces = []
    while True:
        size, _, rest = body.partition(b"\r\n")
        if not size:
            raise ShortBodyError("no last chunk")
        length = int(size, 16)
        if not length:
            return b"".join(pieces)
        pieces.append(rest[:length])
        body = rest[length + 2 :]
