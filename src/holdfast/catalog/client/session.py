"""A catalog that is being read: its connection, its address, and what it says about itself.

It knows the addresses of the routes and how answers are paged, not what the answers mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from holdfast.catalog.client.wire import check
from holdfast.errors import InvalidInputError, ServerError
from holdfast.hashing import hash_bytes
from holdfast.http.client import Connection
from holdfast.types import Json

__all__ = ["PAGE", "Pairs", "Path", "Session", "split_address"]

PAGE = 300
"""The most entries that a server of this protocol gives at once."""

Pairs = Sequence[tuple[str, str]]
"""The query of a URL: names and values, in order, not encoded."""

Path = tuple[str, ...]
"""The keys from the root of a catalog to a node."""

API = "/api/v1"


class Session:
    """Hold what all nodes of one catalog share.

    Parameters
    ----------
    connection : Connection
        The way to the server, or to the routes in this process.
    reopen : callable
        Makes an equal session from `arguments`, in another process too.
    arguments : tuple
        The address; never a key.
    """

    def __init__(
        self, connection: Connection, reopen: Callable[..., Session], arguments: tuple[Any, ...]
    ) -> None:
        self.connection = connection
        self._reopen = reopen
        self._arguments = arguments

    def __reduce__(self) -> tuple[Callable[..., Session], tuple[Any, ...]]:
        return self._reopen, self._arguments

    def __repr__(self) -> str:
        return f"<Session {self._arguments[0]}>"

    def close(self) -> None:
        """Close the connections; a second time does nothing."""
        self.connection.close()

    @property
    def address(self) -> str:
        """Where the catalog is: a URL, or a path of this machine."""
        return str(self._arguments[0])

    @cached_property
    def about(self) -> dict[str, Json]:
        """What the server says about itself (``GET /api/v1/``)."""
        return _object(self.connection.get_json(f"{API}/"), "description of itself")

    @property
    def uid(self) -> str | None:
        """The catalog's uid, which its downloads keep; None for a server of another kind."""
        meta = self.about.get("meta")
        own = meta.get("holdfast") if isinstance(meta, dict) else None
        uid = own.get("uid") if isinstance(own, dict) else None
        return uid if isinstance(uid, str) else None

    @property
    def name(self) -> str:
        """What tells this catalog from others: its uid, or a digest of the address where it has none."""
        return self.uid or str(hash_bytes(self.address.encode()))

    def check_filters(self, filters: Pairs) -> None:
        """Refuse a query that the server would pass over: it would answer with too much.

        Raises
        ------
        InvalidInputError
            When the server, of another kind, does not know such queries.
        """
        if self.uid is not None:
            return
        known = self.about.get("queries") or []
        for name, _ in filters:
            kind = name.removeprefix("filter[").partition("]")[0]
            if known and kind not in known:
                raise InvalidInputError(
                    f"the server at {self.address} does not know queries of the kind {kind!r}, it knows "
                    f"{', '.join(map(str, known))}; OR, NOT and names with dots need a Holdfast server"
                )

    def get(self, route: str, path: Path, query: Pairs = ()) -> dict[str, Json]:
        """Return the answer of a route for a node.

        Parameters
        ----------
        route : str
            ``metadata``, ``search``, ``distinct``, ``asset/manifest`` …
        path : tuple of str
            The node.
        query : sequence of pairs
            What is asked.

        Raises
        ------
        HoldfastError
            The error that the server raised.
        """
        return _object(self.connection.get_json(self.route(route, path), query), f"{route} answer")

    def route(self, route: str, path: Path) -> str:
        """Return the address of a route for a node, below the server's own."""
        return f"{API}/{route}/{'/'.join(path)}"

    def uri(self, path: Path) -> str:
        """Return the address of a node, which `from_uri` takes."""
        return self.connection.uri_of(self.route("metadata", path))

    def item(self, path: Path, *, sources: bool = False) -> dict[str, Json]:
        """Return the description of a node.

        Raises
        ------
        NotFoundError
            When there is none.
        """
        query = [("include_data_sources", "true")] if sources else []
        return check(self.get("metadata", path, query).get("data"), f"the node {'/'.join(path) or '/'!r}")

    def pages(self, route: str, path: Path, query: Pairs, start: int, stop: int | None) -> Iterator[Json]:
        """Give the entries start … stop of a listing, in as many pages as it takes.

        Parameters
        ----------
        route : str
            ``search`` or ``search-deep``.
        path : tuple of str
            The container.
        query : sequence of pairs
            Filters, order, fields.
        start, stop : int
            Which entries; to the end when stop is None.

        Yields
        ------
        dict
            The description of each entry.
        """
        wanted = None if stop is None else stop - start
        place: Pairs = [("page[offset]", str(start))] if start else []
        while wanted is None or wanted > 0:
            size = PAGE if wanted is None else min(PAGE, wanted)
            answer = self.get(route, path, [*query, *place, ("page[limit]", str(size))])
            entries = _entries(answer)
            for entry in entries:
                yield check(entry, f"an entry of {'/'.join(path) or '/'!r}")
            before, place = place, _next_place(answer)
            if not place or not entries:
                return
            if place == before:
                raise ServerError(
                    f"the server's listing of {'/'.join(path) or '/'!r} does not go on; ask again"
                )
            wanted = None if wanted is None else wanted - len(entries)

    def count(self, route: str, path: Path, query: Pairs) -> int:
        """Return the number of entries of a listing."""
        answer = self.get(route, path, [*query, ("fields", "count")])
        try:
            return int(answer["meta"]["count"])
        except (KeyError, TypeError, ValueError) as error:
            raise ServerError(
                f"the server does not count the entries of {'/'.join(path) or '/'!r}"
            ) from error


def split_address(url: str) -> tuple[str, Path]:
    """Split the address of a node into the server's address and the path of the node.

    Parameters
    ----------
    url : str
        ``http://host:port``, ``…/api/v1`` or ``…/api/v1/metadata/a/b``; a key in it is left where it is.

    Returns
    -------
    tuple of (str, tuple of str)
        The address without ``/api/v1`` and what follows, and the path.

    Examples
    --------
    >>> split_address("http://127.0.0.1:8000/lab/api/v1/metadata/a/b%20c")
    ('http://127.0.0.1:8000/lab', ('a', 'b c'))
    """
    parts = urlsplit(url)
    prefix, _, rest = parts.path.partition(API)
    _, found, path = rest.partition("/metadata/")
    keys = tuple(unquote(key) for key in path.split("/") if key) if found else ()
    return urlunsplit(parts._replace(path=prefix.rstrip("/"), fragment="")), keys


def _entries(answer: dict[str, Json]) -> list[Json]:
    found = answer.get("data") or []
    if not isinstance(found, list):
        raise ServerError("the server's listing is no list; is this the address of a catalog?")
    return found


def _next_place(answer: dict[str, Json]) -> Pairs:
    """Return where the next page starts, as the server's own link says."""
    links = answer.get("links")
    link = links.get("next") if isinstance(links, dict) else None
    if not isinstance(link, str):
        return []
    return [pair for pair in parse_qsl(urlsplit(link).query) if pair[0] in {"page[cursor]", "page[offset]"}]


def _object(answer: Json, what: str) -> dict[str, Json]:
    if not isinstance(answer, dict):
        raise ServerError(f"the server's {what} is no JSON object; is this the address of a catalog?")
    return answer
