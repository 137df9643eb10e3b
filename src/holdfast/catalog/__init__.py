"""Find data, slice it over the network, take a search result home: the catalog's public names.

Everything is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.catalog.checking import check
    from holdfast.catalog.client.container import Container
    from holdfast.catalog.client.local import from_catalog
    from holdfast.catalog.client.remote import from_uri
    from holdfast.catalog.downloads import download
    from holdfast.catalog.indexing import index

__all__ = ["Container", "check", "download", "from_catalog", "from_uri", "index"]

_HOMES = {
    "Container": "holdfast.catalog.client.container",
    "check": "holdfast.catalog.checking",
    "download": "holdfast.catalog.downloads",
    "from_catalog": "holdfast.catalog.client.local",
    "from_uri": "holdfast.catalog.client.remote",
    "index": "holdfast.catalog.indexing",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'holdfast.catalog' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
