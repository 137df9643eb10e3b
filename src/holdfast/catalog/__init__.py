"""Find data, slice it over the network, take a search result home: the catalog's public names.

Everything is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.lazy import lazy_names

if TYPE_CHECKING:
    from holdfast.catalog.checking import check
    from holdfast.catalog.client.container import Container
    from holdfast.catalog.client.local import from_catalog
    from holdfast.catalog.client.remote import from_uri
    from holdfast.catalog.downloads import download
    from holdfast.catalog.indexing import index

__all__ = ["Container", "check", "download", "from_catalog", "from_uri", "index"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Container": "holdfast.catalog.client.container",
        "check": "holdfast.catalog.checking",
        "download": "holdfast.catalog.downloads",
        "from_catalog": "holdfast.catalog.client.local",
        "from_uri": "holdfast.catalog.client.remote",
        "index": "holdfast.catalog.indexing",
    },
)
