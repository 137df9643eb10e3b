"""A server that answers what a test tells it to: also what no honest server would."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

API = "/api/v1"


def item(path, family, *, structure=None, metadata=None, sources=None, specs=()):
    """Describe a node as the protocol does."""
    *ancestors, key = path.split("/") if path else [""]
    return {
        "id": key,
        "attributes": {
            "ancestors": ancestors,
            "structure_family": family,
            "specs": list(specs),
            "metadata": metadata or {},
            "structure": structure,
            "sorting": None,
            "data_sources": sources,
        },
        "links": {},
        "meta": None,
    }


class Canned:
    """A catalog held in dicts.

    ``nodes`` maps paths to descriptions, ``bodies`` maps (route, path) to bytes or to a function.
    """

    def __init__(self, nodes, bodies=None, about=None):
        self.nodes = {"": item("", "container"), **nodes}
        self.bodies = dict(bodies or {})
        self.about = about or {"api_version": 0, "meta": {}}
        self.asked = []
        self.headers = []

    def answer(self, handler):
        parts = urlsplit(handler.path)
        path, query = unquote(parts.path), parse_qsl(parts.query, keep_blank_values=True)
        self.asked.append((path, query))
        self.headers.append(dict(handler.headers))
        if path == f"{API}/":
            return self.about
        for route in ("array/full", "table/partition", "asset/bytes", "asset/manifest", "distinct"):
            if path.startswith(f"{API}/{route}"):
                body = self.bodies.get((route, path.removeprefix(f"{API}/{route}/")), 404)
                return body(handler, dict(query)) if callable(body) else body
        _, _, _, route, *keys = path.split("/")
        node = "/".join(keys).strip("/")
        if node not in self.nodes:
            return 404
        if route == "metadata":
            return {"data": self.nodes[node]}
        return self.listing(node, route, query)

    def listing(self, node, route, query):
        depth = len(node.split("/")) + 1 if node else 1
        below = [path for path in self.nodes if path and (path.startswith(f"{node}/") or not node)]
        found = below if route == "search-deep" else [path for path in below if len(path.split("/")) == depth]
        chosen = dict(query)
        start = int(chosen.get("page[offset]", chosen.get("page[cursor]", 0)))
        limit = int(chosen.get("page[limit]", 100))
        if limit > 300:
            return 422
        page = [] if chosen.get("fields") == "count" else found[start : start + limit]
        more = start + limit < len(found)
        link = f"http://x{API}/search/?page[cursor]={start + limit}&page[limit]={limit}" if more else None
        return {
            "data": [self.nodes[path] for path in page],
            "links": {"next": link},
            "meta": {"count": len(found)},
        }


@contextmanager
def serving(canned):
    """Serve on a loopback port; gives the URL."""

    connections = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            connections.add(self.connection)

        def do_GET(self):
            answer = canned.answer(self)
            if answer is None:
                return
            status, body, kind = 200, answer, "application/octet-stream"
            if isinstance(answer, int):
                status, body, kind = (
                    answer,
                    json.dumps({"detail": "no such thing"}).encode(),
                    "application/json",
                )
            elif not isinstance(answer, bytes):
                body, kind = json.dumps(answer).encode(), "application/json"
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()
        thread.join()
