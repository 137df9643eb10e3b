"""Raw sockets: what no well-behaved client sends."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit


def connect(url, timeout=10.0):
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=timeout)


def send_raw(url, data, timeout=10.0):
    """Send bytes and return everything that comes back until the server closes or nothing more comes."""
    with connect(url, timeout) as link:
        link.sendall(data)
        return receive_all(link)


def receive_all(link):
    return b"".join(iter(lambda: link.recv(65536), b""))


def get(path, *headers, host="localhost"):
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "Connection: close", "", ""]
    return "\r\n".join(lines).encode()
