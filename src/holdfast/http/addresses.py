"""Own where each address leads: Starlette's router, and a short way to addresses without variable parts.

It does not answer: what it leads to does.

>>> from holdfast.http.reply import text_reply
>>> from holdfast.http.routing import Mount, Route
>>> route = Route("GET", "/x", lambda request: text_reply("x"))
>>> addresses = Addresses([Mount("/a", [route])], lambda methods: sorted(methods))
>>> scope = {"path": "/a//x"}
>>> addresses.find(scope), scope["root_path"]
(['GET', 'HEAD'], '/a')
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

from starlette.routing import Match, Router
from starlette.routing import Mount as StarletteMount
from starlette.routing import Route as StarletteRoute

from holdfast.http.routing import Mount, Route, by_path

__all__ = ["Addresses"]

Scope = MutableMapping[str, Any]
_SLASHES = re.compile("//+")


class Addresses:
    """Know the addresses of a site.

    Parameters
    ----------
    mounts : sequence of Mount
        The faces, in the order in which they are tried.
    make : callable
        Takes the routes of one path by method and gives the ASGI application that answers there.

    Attributes
    ----------
    fixed : dict of str to (object, str)
        What answers at addresses without variable parts, and the prefix of its mount.
    """

    def __init__(self, mounts: Sequence[Mount], make: Callable[[Mapping[str, Route]], Any]) -> None:
        self._prefixes = frozenset(mount.prefix for mount in mounts if mount.prefix)
        self._router = Router(list(_compiled(mounts, make)), redirect_slashes=False, default=make({}))
        self.fixed = dict(self._without_variables(mounts))

    def _without_variables(self, mounts: Sequence[Mount]) -> Iterable[tuple[str, tuple[Any, str]]]:
        for mount in mounts:
            for route in mount.routes:
                path = mount.prefix + route.path
                found = None if "{" in path else _routed(self._router, {"path": path, "root_path": ""})
                if found is not None:
                    yield path, found

    def find(self, scope: Scope) -> Any:
        """Return what answers at an address.

        Parameters
        ----------
        scope : dict
            The ASGI scope; its path is brought to its plain form, and its root path set.

        Returns
        -------
        object
            An ASGI application.
        """
        path = scope["path"] = self._plain(scope["path"])
        fixed = None if scope.get("root_path") else self.fixed.get(path)
        if fixed is None:
            return self._router
        found, scope["root_path"] = fixed
        return found

    def _plain(self, path: str) -> str:
        # Tiled's server writes links with doubled slashes and its clients follow them.
        plain = _SLASHES.sub("/", path) if "//" in path else path
        return plain + "/" if plain in self._prefixes else plain


def _compiled(
    mounts: Sequence[Mount], make: Callable[[Mapping[str, Route]], Any]
) -> Iterable[StarletteRoute | StarletteMount]:
    for mount in mounts:
        routes = [StarletteRoute(path, _App(make(each))) for path, each in by_path(mount.routes).items()]
        if mount.prefix:
            router = Router(routes, redirect_slashes=False, default=make({}))
            yield StarletteMount(mount.prefix, app=router)
        else:
            yield from routes


class _App:
    """Be an application to Starlette, which takes functions for its own kind of routes."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Any, send: Any) -> Any:
        return self.app(scope, receive, send)


def _routed(router: Router, scope: Scope) -> tuple[Any, str] | None:
    """Return what a router finds at an address, if no part of that is variable, and the mount it is below."""
    for route in router.routes:
        match, found = route.matches({"type": "http", "method": "GET", **scope})
        if match is Match.FULL and isinstance(route, StarletteMount):
            return _routed(route.app, {**scope, **found}) if isinstance(route.app, Router) else None
        if match is Match.FULL:
            return None if found["path_params"] else (found["endpoint"].app, scope["root_path"])
    return None
