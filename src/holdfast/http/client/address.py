"""Own the addresses a user gives: URL, key in it, quoting of paths and queries.

It does not connect.

>>> from holdfast.http.client.address import split_address, target
>>> split_address("http://key:secret@localhost:8000/store/")
('http://localhost:8000', '/store', 'secret')
>>> target("/metadata/é x", {"fields": ["a", "b"]})
'/metadata/%C3%A9%20x?fields=a&fields=b'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from holdfast.errors import InvalidInputError

__all__ = ["Params", "split_address", "target"]

Value: TypeAlias = str | int | float | bool | None
Params: TypeAlias = "Mapping[str, Value | Sequence[Value]] | Iterable[tuple[str, Value]] | None"
"""Parameters of an address; None values are left out, sequences are repeated."""

_SAFE = "/~!$&'()*+,;=:@"


def split_address(url: str) -> tuple[str, str, str | None]:
    """Read the address of a server.

    Parameters
    ----------
    url : str
        ``http(s)://[user:KEY@]host[:port][/prefix][?api_key=KEY]``.

    Returns
    -------
    (str, str, str or None)
        The server without path, the quoted path without a slash at its end, the key.

    Raises
    ------
    InvalidInputError
        For anything that is not such a URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidInputError(f"{_without_key(url)!r} is not an address: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidInputError(f"{_without_key(url)!r} is not an address; write http://host:port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    keys = parse_qs(parts.query).get("api_key")
    key = unquote(parts.password) if parts.password else keys[-1] if keys else None
    server = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    return server, quote(unquote(parts.path), safe=_SAFE).rstrip("/"), key


def _without_key(url: str) -> str:
    return url.rpartition("@")[2].partition("?")[0]


def target(path: str, params: Params = None) -> str:
    """Return the quoted path and query of a request.

    Parameters
    ----------
    path : str
        Decoded, with a slash at its beginning.
    params : mapping or iterable of pairs, optional
        Parameters.

    Returns
    -------
    str
        What stands in the request line.
    """
    quoted = _quoted(path)
    pairs = list(_pairs(params))
    return f"{quoted}?{urlencode(pairs, quote_via=quote)}" if pairs else quoted


@lru_cache(1000)
def _quoted(path: str) -> str:
    return quote(path, safe=_SAFE)


def _pairs(params: Params) -> Iterable[tuple[str, str]]:
    if params is None:
        return
    for name, value in params.items() if isinstance(params, Mapping) else params:
        values = value if isinstance(value, list | tuple) else [value]
        for each in values:
            if each is not None:
                yield name, str(each).lower() if isinstance(each, bool) else str(each)
