"""A server that asks another one once for each URL and then replays the answer from memory: a client's floor.

usage: canned_server.py URL
"""

from __future__ import annotations

import http.client
import socket
import sys
from urllib.parse import urlsplit

import uvicorn

SOURCE = urlsplit(sys.argv[1])
KEPT: dict[bytes, tuple[int, list[tuple[bytes, bytes]], bytes]] = {}


def fetch(
    target: bytes, headers: list[tuple[bytes, bytes]], here: str
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Ask the source; write this server's own address into the links."""
    connection = http.client.HTTPConnection(SOURCE.netloc, timeout=60)
    wanted = {
        name.decode(): value.decode() for name, value in headers if name not in (b"host", b"accept-encoding")
    }
    connection.request("GET", target.decode(), headers=wanted)
    answer = connection.getresponse()
    body = answer.read()
    kind = answer.getheader("content-type", "application/json").encode()
    connection.close()
    if b"json" in kind:
        body = body.replace(SOURCE.netloc.encode(), here.encode())
    return answer.status, [(b"content-type", kind), (b"content-length", b"%d" % len(body))], body


async def application(scope: dict, receive: object, send: object) -> None:
    """Answer from memory; only the first request of a URL goes to the source."""
    if scope["type"] != "http":
        return
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    if target not in KEPT:
        host, port = scope["server"]
        KEPT[target] = fetch(target, scope["headers"], f"{host}:{port}")
    status, headers, body = KEPT[target]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(application, log_level="error", access_log=False, lifespan="off")).run(
        [listener]
    )
