"""Own ``serve``: the records of a directory on a port, as the original does.

It does not know routes. The whole server, with every face, is `holdfast serve`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from holdfast.config import settings
from holdfast.errors import NotFoundError
from holdfast.http.auth import Access
from holdfast.http.edge import Site
from holdfast.http.origin import Origin
from holdfast.http.routing import Mount
from holdfast.http.serving import serve as serve_site
from holdfast.paths import local_path
from holdfast.records.routes import routes
from holdfast.types import PathLike

__all__ = ["serve", "site_of"]

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def serve(
    path: PathLike,
    port: int = 3000,
    *,
    host: str = "127.0.0.1",
    allow_origin: str | Sequence[str] = "*",
    api_key: str | None = None,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serve the records in a directory until SIGINT or SIGTERM.

    Parameters
    ----------
    path : path-like
        The directory.
    port : int, default 3000
        0 for a free one.
    host : str, default "127.0.0.1"
        Where to listen. On the loopback anyone may read, as with the original; elsewhere the key is needed.
    allow_origin : str or sequence of str, default "*"
        Web pages that may read.
    api_key : str, optional
        The key for writing; default ``HOLDFAST_API_KEY``. Without one nobody may write.
    ready : callable, optional
        Takes the address when clients can connect.

    Raises
    ------
    NotFoundError
        When there is no such directory.
    BusyError
        When the port is taken.
    """
    key = api_key or settings().api_key or None
    site = site_of(path, api_key=key, allow_origin=allow_origin, public=host in _LOOPBACK)
    serve_site(site, host, port, ready=ready)


def site_of(
    path: PathLike,
    *,
    api_key: str | None = None,
    allow_origin: str | Sequence[str] = "*",
    public: bool = True,
) -> Site:
    """Return the site that `serve` serves.

    Parameters
    ----------
    path : path-like
        The directory.
    api_key : str, optional
        The key for writing.
    allow_origin : str or sequence of str, default "*"
        Web pages that may read.
    public : bool, default True
        Let anyone read.

    Returns
    -------
    Site
        The site.

    Raises
    ------
    NotFoundError
        When there is no such directory.
    """
    directory = os.path.abspath(local_path(path))
    if not os.path.isdir(directory):
        raise NotFoundError(f"no directory {directory!r} to serve; make it, or write a record to it first")
    _, table = routes(directory)
    access = (
        Access.with_key(api_key, public=public) if api_key else Access(lambda digest: None, public=public)
    )
    origins = [allow_origin] if isinstance(allow_origin, str) else list(allow_origin)
    return Site([Mount("", table)], access=access, origin=Origin(allow_origin=origins))
