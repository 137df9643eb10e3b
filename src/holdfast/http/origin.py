"""Own what browsers must be told and kept from: the Host check and CORS headers.

It does not know keys.

>>> from holdfast.http.origin import Origin
>>> Origin(["127.0.0.1"]).knows_host("localhost:8000")
True
>>> Origin(["127.0.0.1"]).knows_host("evil.example:8000")
False
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence

from holdfast.http.request import Request

__all__ = ["Origin"]

# It goes into links: nothing that could end a text or begin a path may be in it.
_HOST = re.compile(r"(?:\[(?P<address>[0-9a-fA-F:.]+)\]|(?P<name>[\w.-]+))(?::\d{1,5})?\Z", re.ASCII)
_MOST_KNOWN = 100
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain"})
_EXPOSED = (
    "Accept-Ranges, Content-Digest, Content-Disposition, Content-Length, Content-Range, ETag, Last-Modified, "
    "Repr-Digest, Retry-After"
)
_ALLOWED_HEADERS = (
    "Accept, Authorization, Content-Digest, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
    "If-Range, Last-Event-ID, Range, Repr-Digest, X-API-Key"
)


class Origin:
    """Know the names of this server and the web pages that may read its answers.

    Parameters
    ----------
    hosts : iterable of str, optional
        Names that clients may use besides this machine's own; ``"*"`` allows every name.
    allow_origin : sequence of str, optional
        Origins of web pages, or ``"*"``; none: no CORS headers at all.

    Notes
    -----
    A page of another site can make a browser send requests here under that site's name (DNS
    rebinding). Addresses in digits cannot be rebound and are always known.
    """

    def __init__(self, hosts: Iterable[str] = (), allow_origin: Sequence[str] = ()) -> None:
        self._hosts = {host.lower() for host in hosts} | _LOCAL_NAMES | _own_names()
        self._allowed = frozenset([allow_origin] if isinstance(allow_origin, str) else allow_origin)
        self._known: dict[str, bool] = {}

    def knows_host(self, host: str | None) -> bool:
        """Tell whether a ``Host`` field names this server.

        Parameters
        ----------
        host : str or None
            With or without a port; None as HTTP/1.0 clients send none.

        Returns
        -------
        bool
            False for a name that is not ours.
        """
        if host is None:
            return True
        known = self._known.get(host)
        if known is None:
            known = self._is_ours(host)
            if len(self._known) < _MOST_KNOWN:
                self._known[host] = known
        return known

    def _is_ours(self, host: str) -> bool:
        match = _HOST.match(host)
        if match is None:
            return False
        name = (match["address"] or match["name"]).lower()
        return "*" in self._hosts or name in self._hosts or _is_address(name)

    def headers_for(self, request: Request) -> list[tuple[str, str]]:
        """Return the CORS fields of an answer."""
        if not self._allowed:
            return []
        origin = request.headers.get("origin")
        if "*" in self._allowed:
            return [("access-control-allow-origin", "*"), ("access-control-expose-headers", _EXPOSED)]
        if origin is None or origin not in self._allowed:
            return [("vary", "Origin")]
        return [
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", _EXPOSED),
            ("vary", "Origin"),
        ]

    def preflight_for(self, methods: Iterable[str]) -> list[tuple[str, str]]:
        """Return what a preflight is answered besides `headers_for`."""
        if not self._allowed:
            return []
        return [
            ("access-control-allow-methods", ", ".join(methods)),
            ("access-control-allow-headers", _ALLOWED_HEADERS),
            ("access-control-max-age", "600"),
        ]


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    return {name, name.partition(".")[0], name + ".local"}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
