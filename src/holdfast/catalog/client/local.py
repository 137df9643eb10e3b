"""Open a catalog of this machine: a server's own routes, stepped in this process, without a socket."""

from __future__ import annotations

import os
from collections.abc import Sequence

from holdfast.catalog.client.node import Node, make_node
from holdfast.catalog.client.session import Path, Session
from holdfast.catalog.routes import routes
from holdfast.catalog.tree import Catalog
from holdfast.database import ObjectName
from holdfast.errors import InvalidInputError
from holdfast.http.auth import Access
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.routing import Mount
from holdfast.paths import is_url, local_path
from holdfast.types import PathLike

__all__ = ["LocalSession", "from_catalog"]


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
    session = LocalSession(_absolute(catalog), storage)
    return make_node(session, (), session.item(()))


def _absolute(path: PathLike) -> str:
    """Return a path that means the same after the working directory changed."""
    return os.path.abspath(local_path(path))


class LocalSession(Session):
    """Hold what all nodes of a catalog of this machine share: its routes, its database and its open files.

    Parameters
    ----------
    path : str
        The ``catalog.db`` or directory, absolute.
    storage : tuple of str or None
        Where the files lie.
    """

    def __init__(self, path: str, storage: tuple[str, ...] | None) -> None:
        self._catalog = Catalog.open(path, readable_storage=storage, read_only=True)
        self._site = Site([Mount("/api/v1", routes(self._catalog))], access=Access.open())
        super().__init__(Connection.to_site(self._site), LocalSession, (path, storage))

    def uri(self, path: Path) -> str:
        """Return the name of a node, which means the same in every copy of the catalog."""
        return str(ObjectName(self._catalog.uid, "catalog", path))

    def close(self) -> None:
        """Give back open files and the database; a second time does nothing."""
        self._site.close()
        self._catalog.close()
