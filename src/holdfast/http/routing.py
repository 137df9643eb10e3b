"""Own the declaration of routes: method, path, function, and what the edge must know about them.

It does not match addresses (Starlette does) and does not run routes (the edge does).

>>> from holdfast.http.reply import text_reply
>>> from holdfast.http.routing import Route, by_path
>>> routes = [Route("GET", "/{path:path}", lambda request: text_reply("x"))]
>>> sorted(by_path(routes)["/{path:path}"])
['GET', 'HEAD']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from holdfast.errors import HoldfastError
from holdfast.http.auth import Need
from holdfast.http.receive import Receiver
from holdfast.http.reply import Reply
from holdfast.http.request import Request

__all__ = ["Call", "Context", "Lane", "Mount", "Route", "Shape", "Upload", "by_path"]

Lane = Literal["inline", "brief", "io", "heavy"]
"""Where a route runs: on the event loop, there while nothing else runs, among waits, or among work."""

Shape: TypeAlias = Callable[[HoldfastError], Reply]
"""How a protocol writes an error."""


class Call(Protocol):
    """Answer a request; a route that takes an upload gives what receives it."""

    def __call__(self, request: Request, /) -> Reply | Receiver:
        """Answer, or raise an error of ours."""
        ...


class Upload:
    """Mark a route whose body is streamed to a `Receiver`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """Hold what the edge and the schema must know of a route."""

    scope: Need = "read"
    lane: Lane | Callable[[Request], Lane] = "io"
    query: type | None = None
    body: Any = None
    answer: Any = None
    media: tuple[str, ...] = ()
    summary: str = ""
    errors: tuple[type[HoldfastError], ...] = ()
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class Route(_Facts):
    """Declare one route.

    Parameters
    ----------
    method : str
        The method in capitals; GET answers HEAD too.
    path : str
        Starlette's template below the mount, such as ``/{path:path}``; the specific before the general.
    call : callable
        Takes a `Request` and gives a `Reply` (a `Receiver` where ``body`` is `Upload`).
    scope : {"open", "read", "write"}
        What a key must allow.
    lane : {"inline", "brief", "io", "heavy"} or callable
        ``inline`` for what never waits and is bounded, ``io`` for waits, ``heavy`` for work; or what
        tells it from the request. ``brief`` is for bounded work that waits for the disk once: it runs on
        the loop while nothing else runs, with `Request.may_wait` False, and where it raises a `BusyError`
        (having done nothing) it runs again among waits.
    query : type, optional
        A `msgspec.Struct` of the parameters, for the schema and for `Request.params`.
    body : type, optional
        None, a type that JSON bodies have, ``bytes`` (read whole), or `Upload` (streamed).
    answer : type, optional
        The type of a JSON answer, for the schema.
    media : tuple of str, optional
        Media types of answers besides JSON, for the schema.
    summary : str, optional
        One line for the schema.
    errors : tuple of type, optional
        Errors it can raise, for the schema.
    shape : callable, optional
        How errors are written; default JSON.
    """

    method: str
    path: str
    call: Call

    def lane_of(self, request: Request) -> Lane:
        """Return where a request runs."""
        return self.lane if isinstance(self.lane, str) else self.lane(request)


@dataclass(frozen=True, slots=True)
class Mount:
    """Put routes below a prefix.

    Parameters
    ----------
    prefix : str
        Empty, or with a slash at its beginning and none at its end.
    routes : sequence of Route
        The routes.
    tag : str, optional
        The name of the group in the schema.
    """

    prefix: str
    routes: Sequence[Route]
    tag: str = ""


@dataclass(slots=True)
class Context:
    """Be what the roof gives a face that it mounts.

    Parameters
    ----------
    directory : Path
        The served directory.
    database : Path or None
        The database chosen by the user; None lets the face follow the one rule for all.
    options : mapping
        The face's own settings, by name.
    closing : list of callable
        A face appends what must run when the server ends.
    alone : bool
        No other face is served: the directory itself is this face's.
    """

    directory: Path
    database: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    closing: list[Callable[[], object]] = field(default_factory=list)
    alone: bool = False


def by_path(routes: Iterable[Route]) -> dict[str, dict[str, Route]]:
    """Return routes by path template and method, in the order of their first appearance.

    Parameters
    ----------
    routes : iterable of Route
        The routes.

    Returns
    -------
    dict of str to dict of str to Route
        HEAD is answered by the route of GET.
    """
    found: dict[str, dict[str, Route]] = {}
    for route in routes:
        methods = found.setdefault(route.path, {})
        methods.setdefault(route.method, route)
        if route.method == "GET":
            methods.setdefault("HEAD", route)
    return found
