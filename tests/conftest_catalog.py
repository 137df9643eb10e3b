"""Open a directory as a site within this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.catalog.routes import routes
from holdfast.catalog.tree import Catalog
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.routing import Mount


@contextmanager
def open_site(directory: Path) -> Iterator[tuple[Catalog, Connection]]:
    with Catalog(directory, create=True) as catalog:
        site = Site([Mount("/api/v1", routes(catalog), "catalog")])
        yield catalog, Connection.to_site(site, prefix="/api/v1")
