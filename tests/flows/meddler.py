"""A proxy between our client and our server that meddles with what passes."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Change = Callable[[str, dict[str, str], bytes], bytes | None]


@dataclass
class Meddler:
    """Where the proxy listens, and what `change(path, headers, body)` makes of a body; None hangs up.

    `cut` sends only so many bytes of each longer body at paths with `cut_paths` in them, `cuts` times.
    """

    url: str = ""
    change: Change | None = None
    cut: int | None = None
    cuts: int = 0
    cut_paths: str = ""
    seen: list[str] = field(default_factory=list)


@contextlib.contextmanager
def meddling(target: str) -> Iterator[Meddler]:
    """Run a proxy in front of `target` until the block ends."""
    meddler = Meddler()
    place = urlsplit(target).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            answer, body = fetch(place, self.path, dict(self.headers))
            meddler.seen.append(self.path)
            body = body.replace(place.encode(), urlsplit(meddler.url).netloc.encode())
            changed = meddler.change(self.path, dict(answer.getheaders()), body) if meddler.change else body
            if changed is None:
                self.close_connection = True
                return
            self.pass_on(answer, changed)

        do_HEAD = do_GET

        def pass_on(self, answer: http.client.HTTPResponse, body: bytes) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in (
                    "content-length",
                    "transfer-encoding",
                    "connection",
                    "date",
                    "server",
                ):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            is_cut = meddler.cut is not None and len(body) > meddler.cut and meddler.cut_paths in self.path
            if is_cut and meddler.cuts > 0:
                meddler.cuts -= 1
                body = body[: meddler.cut]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        meddler.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield meddler
        server.shutdown()
        thread.join(timeout=15)


def fetch(place: str, path: str, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask the real server."""
    connection = http.client.HTTPConnection(place, timeout=30)
    wanted = {n: v for n, v in headers.items() if n.lower() not in ("host", "connection", "accept-encoding")}
    connection.request("GET", path, headers=wanted)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body
