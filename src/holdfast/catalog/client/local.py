"""Open a catalog of this machine: a server's own routes, stepped in this process, without a socket."""

from __future__ import annotations

import os
from collections.abc import Sequence

from holdfast.catalog.client.node import Node, make_node
from holdfast.catalog.client.session import Session
from holdfast.catalog.routes import routes
from holdfast.catalog.tree import Catalog
from holdfast.errors import InvalidInputError
from holdfast.http.auth import Access
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.routing import Mount
from holdfast.paths import is_url, local_path
from holdfast.types import PathLike

__all__ = ["from_catalog"]


def from_catalog(catalog: PathLike, readable_storage: Sequence[PathLike] | None = None) -> Node:
    """Open a catalog of this machine without a server.

    Parameters
    ----------
    catalog : path-like
        A ``catalog.db``, the directory that holds it, or any indexed directory.
    readable_storage : sequence of path-like, optional
        Where the files lie; default ``data`` beside the ``catalog.db``, or the indexed directory itself.

    Returns
    -------
    Node
        The root container. Answers equal those of a server for every call.

    Raises
    ------
    NotFoundError
        When there is no catalog.

    References
    ----------
    Seed 4: ``from_catalog("stuff/catalog.db", readable_storage=["stuff/data"])``.
    """
    if isinstance(catalog, str) and is_url(catalog):
        raise InvalidInputError(f"{catalog!r} is a URL; open it with from_uri")
    storage = None if readable_storage is None else tuple(_absolute(path) for path in readable_storage)
    session = _opened(_absolute(catalog), storage)
    return make_node(session, (), session.item(()))


def _absolute(path: PathLike) -> str:
    """Return a path that means the same after the working directory changed."""
    return os.path.abspath(local_path(path))


def _opened(path: str, storage: tuple[str, ...] | None) -> Session:
    catalog = Catalog.open(path, readable_storage=storage, read_only=True)
    site = Site([Mount("/api/v1", routes(catalog))], access=Access.open())

    def release() -> None:
        site.close()
        catalog.close()

    return Session(Connection.to_site(site), _opened, (path, storage), release)
