"""A relay between a client and a server that counts what passes and cuts connections when told to."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Relay:
    """Pass bytes on; after `limit` bytes from the server every connection is cut in the middle."""

    def __init__(self, target, limit=None):
        self.target = target
        self.limit = limit
        self.passed = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.open = set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(self.target)
            self.open |= {near, far}
            threading.Thread(target=self.pump, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, True), daemon=True).start()

    def pump(self, source, sink, counted):
        try:
            while data := source.recv(65536):
                sink.sendall(self.taken(data) if counted else data)
                if counted and self.is_over:
                    break
        except OSError:
            pass
        finally:
            for end in (source, sink):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def taken(self, data):
        with self.lock:
            if self.limit is not None:
                data = data[: max(self.limit - self.passed, 0)]
            self.passed += len(data)
        return data

    @property
    def is_over(self):
        return self.limit is not None and self.passed >= self.limit


@contextmanager
def relay(url, limit=None):
    """Give a relay to a server."""
    parts = urlsplit(url)
    between = Relay((parts.hostname, parts.port), limit)
    thread = threading.Thread(target=between.run, daemon=True)
    thread.start()
    try:
        yield between
    finally:
        between.listener.close()
        for end in between.open:
            end.close()
        thread.join(1)
