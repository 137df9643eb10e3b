"""Own the server as a whole: which faces are mounted where, who may enter, and the pages of the site itself.

It does not serve content: each face's ``routes`` does.

>>> from holdfast.app import FACES
>>> [face.name for face in FACES]
['catalog', 'records', 'store', 'archive', 'analysis']
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from holdfast.database import Database, locate
from holdfast.errors import InvalidInputError, ReadOnlyError
from holdfast.http.auth import Access, key_hash, new_key
from holdfast.http.edge import Site
from holdfast.http.metrics import MEDIA_TYPE
from holdfast.http.openapi import describe
from holdfast.http.origin import Origin
from holdfast.http.principal import Principal
from holdfast.http.reply import Reply, json_reply, text_reply
from holdfast.http.request import Request
from holdfast.http.routing import Context, Mount, Route
from holdfast.lazy import loading
from holdfast.types import VERSION

__all__ = ["FACES", "App", "Face", "ServeOptions", "build", "serve"]


@dataclass(frozen=True, slots=True)
class Face:
    """Know where a face answers.

    Parameters
    ----------
    name : str
        What the user says.
    prefix : str
        Where it is mounted in the whole server.
    alone : str
        Where it is mounted when it is served alone: its original's addresses.
    """

    name: str
    prefix: str
    alone: str

    @property
    def module(self) -> str:
        """The module whose ``mount(context)`` gives the routes."""
        return f"holdfast.{self.name}.routes"

    @property
    def is_there(self) -> bool:
        """True when the face is installed."""
        return find_spec(f"holdfast.{self.name}") is not None and find_spec(self.module) is not None


FACES = (
    Face("catalog", "/api/v1", "/api/v1"),
    Face("records", "/records", ""),
    Face("store", "/store", ""),
    Face("archive", "/archive", ""),
    Face("analysis", "/analysis", ""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Hold what the user says about a server.

    Parameters
    ----------
    directory : Path
        What is served.
    face : str, optional
        Serve this face alone.
    host : str, default "127.0.0.1"
        Where to listen.
    port : int, default 8000
        0 for a free one.
    public : bool, default False
        Let anyone read.
    public_write : bool, default False
        Let anyone write, too.
    api_key : str, optional
        The key to accept; without one the keys in the database count.
    allow_origin : tuple of str, optional
        Web pages that may read answers; ``--public`` implies every page.
    allow_host : tuple of str, optional
        Further names of this server.
    database : Path, optional
        Where the database lies; default by the one rule for all faces.
    faces : mapping, optional
        Settings of the faces, by the face's name.
    """

    directory: Path
    face: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    public: bool = False
    public_write: bool = False
    api_key: str | None = field(default=None, repr=False)
    allow_origin: tuple[str, ...] = ()
    allow_host: tuple[str, ...] = ()
    database: Path | None = None
    faces: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(slots=True)
class App:
    """Be a site with what it holds open; a context manager.

    Parameters
    ----------
    site : Site
        The ASGI application.
    database : Path
        Where the keys are kept.
    made_key : str or None
        The key that was made because there was none; it is shown once.
    """

    site: Site
    database: Path
    made_key: str | None = field(default=None, repr=False)
    _open: ExitStack = field(default_factory=ExitStack, repr=False)

    def close(self) -> None:
        """Close all faces and the database."""
        self._open.close()

    def __enter__(self) -> App:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def build(options: ServeOptions) -> App:
    """Open a directory and mount its faces.

    Parameters
    ----------
    options : ServeOptions
        What the user says.

    Returns
    -------
    App
        Close it.

    Raises
    ------
    InvalidInputError
        For a face that does not exist.
    NotFoundError
        For a directory that does not exist.
    """
    with ExitStack() as stack:
        mounts = _mount(options, stack)
        location = locate(options.directory, options.database)
        access, made_key = _access(options, location.database, stack)
        origin = Origin([options.host, *options.allow_host], _allowed_origins(options))
        # Before a face that is mounted at "/" and takes every path.
        site = Site([Mount("", list(_own_routes(mounts)), "server"), *mounts], access=access, origin=origin)
        stack.callback(site.close)
        return App(site, location.database, made_key, stack.pop_all())


def serve(options: ServeOptions, ready: Callable[[str, App], object]) -> None:
    """Serve a directory until SIGINT or SIGTERM.

    Parameters
    ----------
    options : ServeOptions
        What the user says.
    ready : callable
        Takes the address and the `App` as soon as clients can connect.

    Raises
    ------
    BusyError, ForbiddenError, InvalidInputError
        For an address that cannot be listened at.
    """
    with ExitStack() as stack:
        with loading():
            # The HTTP server is loaded by who serves, not by who opens an app in-process.
            from holdfast.http.serving import listen, serve_on

            # Listening comes first: a key that is made, and shown once, must not be lost to a taken port.
            listener = stack.enter_context(listen(options.host, options.port))
            app = stack.enter_context(build(options))
        serve_on(listener, app.site, ready=lambda url: ready(url, app))


def _mount(options: ServeOptions, stack: ExitStack) -> list[Mount]:
    mounts = []
    for face in _chosen(options.face):
        alone = options.face is not None
        context = Context(options.directory, options.database, options.faces.get(face.name, {}), alone=alone)
        try:
            routes = import_module(face.module).mount(context)
        finally:
            for close in context.closing:
                stack.callback(close)
        mounts.append(Mount(face.prefix if options.face is None else face.alone, routes, face.name))
    return mounts


def _chosen(name: str | None) -> Iterable[Face]:
    there = [face for face in FACES if face.is_there]
    if name is None:
        return there
    chosen = [face for face in there if face.name == name]
    if not chosen:
        names = ", ".join(face.name for face in there)
        raise InvalidInputError(f"there is no face {name!r} to serve; choose one of {names}, or none for all")
    return chosen


def _allowed_origins(options: ServeOptions) -> tuple[str, ...]:
    public = options.public or options.public_write
    return options.allow_origin or (("*",) if public else ())


def _access(options: ServeOptions, path: Path, stack: ExitStack) -> tuple[Access, str | None]:
    rules = {"public": options.public, "public_write": options.public_write}
    given = None if options.api_key is None else key_hash(options.api_key)
    database = stack.enter_context(Database(path))
    made = None if given or database.keys.list() else _make_key(database)
    temporary = key_hash(made) if made else None

    def find(digest: str) -> Principal | None:
        """Look at the server's own key first, then at the kept ones."""
        if digest in {given, temporary}:
            return Principal("key of the server", "write")
        row = database.keys.check(digest)
        if row is None:
            return None
        return Principal(f"key {row.id}", "write" if row.scope == "write" else "read")

    return Access(find, **rules), made


def _make_key(database: Database) -> str:
    """Make the first key; where the database cannot be written it lives as long as the server."""
    key = new_key()
    try:
        with database.transaction() as change:
            change.keys.add(key_hash(key), "write", note="made at first start")
    except ReadOnlyError:
        return key
    return key


def _own_routes(mounts: Iterable[Mount]) -> Iterable[Route]:
    yield Route(
        "GET", "/healthz", _health, scope="open", lane="inline", summary="Tell that the server answers"
    )
    yield Route(
        "GET", "/metrics", _metrics, lane="inline", media=("text/plain",), summary="Counters for Prometheus"
    )
    yield Route("GET", "/openapi.json", _description, summary="This description")
    if not any(mount.prefix == "" and route.path == "/" for mount in mounts for route in mount.routes):
        yield Route("GET", "/", _landing, media=("text/html",), summary="What is served here")


def _site(request: Request) -> Site:
    site: Site = request.scope["holdfast.site"]
    return site


def _health(request: Request) -> Reply:
    return json_reply({"status": "ok"})


def _metrics(request: Request) -> Reply:
    return text_reply(_site(request).metrics.text(), media_type=MEDIA_TYPE)


def _description(request: Request) -> Reply:
    return json_reply(describe(_site(request).mounts, VERSION))


def _landing(request: Request) -> Reply:
    items = "".join(
        f'<li><a href="{html.escape(request.base + mount.prefix)}/">{html.escape(mount.tag)}</a></li>'
        for mount in _site(request).mounts
        if mount.prefix
    )
    page = (
        f"<!doctype html><title>Holdfast</title><h1>Holdfast {VERSION}</h1><ul>{items}"
        '<li><a href="openapi.json">every address</a></li></ul>'
    )
    return text_reply(page, media_type="text/html; charset=utf-8")
