"""Own the answer at the root of the API: what this server is and can.

References
----------
Tiled 0.2.20: ``GET /api/v1/``; its client validates the eight members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.catalog.routes.awkward import AWKWARD_ALIASES, AWKWARD_TYPES
from holdfast.catalog.routes.containers import DATASET
from holdfast.formats.exports.registry import exports_of
from holdfast.http.reply import Reply, json_reply
from holdfast.http.request import Request
from holdfast.queries import FILTERS
from holdfast.types import VERSION

if TYPE_CHECKING:
    from holdfast.catalog.tree import Catalog

__all__ = ["TILED_VERSION", "AboutRoutes"]

TILED_VERSION = "0.2.20"
"""The release of Tiled whose API this is; its clients leave fields out for older ones."""

_FAMILIES = ("array", "table", "container", "sparse")


class AboutRoutes:
    """Answer about the server.

    Parameters
    ----------
    catalog : Catalog
        Whose uid is told.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def about(self, request: Request) -> Reply:
        """Answer what this server is and can."""
        site = request.scope["holdfast.site"]
        offered = {family: exports_of(family) for family in _FAMILIES}
        offered[DATASET] = exports_of("container", DATASET)
        formats = {family: exports.media_types for family, exports in offered.items()}
        aliases = {family: exports.aliases for family, exports in offered.items()}
        formats["awkward"], aliases["awkward"] = AWKWARD_TYPES, AWKWARD_ALIASES
        required = not (request.direct or site.access.public)
        return json_reply(
            {
                "api_version": 0,
                "library_version": TILED_VERSION,
                "formats": formats,
                "aliases": {family: _by_type(names) for family, names in aliases.items()},
                "queries": [name for name in FILTERS if name != "tree"],
                "authentication": {"required": required, "providers": [], "links": None},
                "links": {"self": request.root, "documentation": f"{request.base}/openapi.json"},
                "meta": {
                    "root_path": "/api",
                    "holdfast": {"version": VERSION, "uid": self._catalog.uid},
                },
            }
        )


def _by_type(names: dict[str, str]) -> dict[str, list[str]]:
    short = {name: media_type for name, media_type in names.items() if "/" not in name}
    return {
        media_type: [name for name, each in short.items() if each == media_type]
        for media_type in short.values()
    }
