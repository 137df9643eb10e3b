"""Own the answers with assets: files as they are, directories as ZIP or as a list.

References
----------
Tiled 0.2.20: ``/asset/bytes`` and ``/asset/manifest``. ``/assets/{id}`` is the wish of Tiled's issue 473.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from holdfast.catalog.routes.nodes import node_path
from holdfast.catalog.routes.params import AssetParams, AssetsParams, ManifestParams, NoParams
from holdfast.catalog.routes.stored import StoredFiles
from holdfast.catalog.routes.wire import asset_json
from holdfast.database import AssetRow
from holdfast.errors import ChangedError, InvalidInputError, NotFoundError
from holdfast.hashing import Digest
from holdfast.http.reply import Reply, file_reply, json_reply
from holdfast.http.request import Request
from holdfast.http.zipstream import Entry, zip_reply
from holdfast.paths import parse_key

if TYPE_CHECKING:
    from holdfast.catalog.listing import Entry as ListedEntry
    from holdfast.catalog.tree import Catalog

__all__ = ["AssetRoutes"]

LARGEST_ID = 2**63 - 1


class AssetRoutes:
    """Answer with assets.

    Parameters
    ----------
    catalog : Catalog
        Knows assets and their places.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._files = StoredFiles(catalog)

    def bytes(self, request: Request) -> Reply:
        """Answer a file of a node, or a file below a directory of a node."""
        params = request.params(AssetParams)
        asset = self._asset_of_node(request, params.id)
        if asset.is_directory:
            if params.relative_path is None:
                raise InvalidInputError(
                    f"asset {asset.id} is a directory; name a file of it with relative_path=, or fetch it as "
                    f"a ZIP from /assets/{asset.id}"
                )
            return self._member(request, asset, params.relative_path)
        if params.relative_path is not None:
            raise InvalidInputError(f"asset {asset.id} is a file; leave relative_path= out")
        return self._files.file_reply(request, asset)

    def manifest(self, request: Request) -> Reply:
        """Answer the relative paths of the files below a directory of a node."""
        params = request.params(ManifestParams)
        asset = self._asset_of_node(request, params.id)
        if not asset.is_directory:
            raise InvalidInputError(f"asset {asset.id} is a file; only directories have a manifest")
        entries = self._catalog.manifest(asset)
        members = {entry.name: _member_json(entry) for entry in entries}
        return json_reply({"manifest": [entry.name for entry in entries], "members": members})

    def asset(self, request: Request) -> Reply:
        """Answer an asset: a file as it is, a directory as a ZIP or as a list of one level."""
        params = request.params(AssetsParams)
        asset = self._asset(request)
        if not asset.is_directory:
            if params.format is not None or params.relative_path is not None:
                raise InvalidInputError(
                    f"asset {asset.id} is a file; format= and relative_path= are for directories"
                )
            return self._files.file_reply(request, asset)
        if params.relative_path is not None:
            return self._member(request, asset, params.relative_path)
        if params.format == "json":
            return self._listing(request, asset)
        return self._zip(request, asset)

    def digests(self, request: Request) -> Reply:
        """Answer the digests of all blocks of a file."""
        request.params(NoParams)
        return self._files.blocks_reply(request, self._asset(request))

    def _asset(self, request: Request) -> AssetRow:
        number: int = request.args["id"]
        if number > LARGEST_ID:
            raise NotFoundError(f"there is no asset {number}; see the data sources of a node")
        return self._catalog.asset(number)

    def _asset_of_node(self, request: Request, number: int) -> AssetRow:
        path = node_path(request)
        row = self._catalog.node(path)
        if self._catalog.database.assets.is_behind(number, row.id):
            return self._catalog.asset(number)
        raise NotFoundError(f"the node {'/'.join(path)!r} has no asset {number}; see its data sources")

    def _member(self, request: Request, directory: AssetRow, name: str) -> Reply:
        parts = parse_key(name, "relative_path")
        recorded = self._catalog.member(directory, parts)
        if recorded is not None:
            return self._files.file_reply(request, recorded)
        for entry in self._catalog.manifest(directory):
            if entry.name == "/".join(parts):
                if entry.asset is not None:
                    return self._files.file_reply(request, entry.asset)
                return file_reply(request, entry.path, filename=entry.path.name)
        raise NotFoundError(f"asset {directory.id} has no file {name[:200]!r}; see its manifest")

    def _zip(self, request: Request, directory: AssetRow) -> Reply:
        top = self._catalog.asset_path(directory)
        entries = [self._zip_entry(entry) for entry in self._catalog.manifest(directory)]
        return zip_reply(request, entries, filename=f"{top.name}.zip")

    def _zip_entry(self, entry: ListedEntry) -> Entry:
        asset, path = entry.asset, str(entry.path)
        if asset is None or asset.digest is None:
            return Entry(entry.name, path, entry.size, entry.mtime_ns)
        if asset.size != entry.size:
            raise ChangedError(f"{entry.name!r} changed since it was indexed; index the directory again")
        digest = Digest.parse(asset.digest)
        return Entry(
            entry.name, path, entry.size, entry.mtime_ns, digest, blocks=lambda: self._catalog.digests(asset)
        )

    def _listing(self, request: Request, directory: AssetRow) -> Reply:
        public = self._catalog.places.public
        items = [
            {
                **asset_json(child, public(child.location)),
                "name": PurePosixPath(child.location).name,
                "uri": f"{request.root}/assets/{child.id}" + ("?format=json" if child.is_directory else ""),
            }
            for child in self._catalog.children_of(directory)
        ]
        return json_reply({"id": directory.id, "location": public(directory.location), "contents": items})


def _member_json(entry: ListedEntry) -> dict[str, int | str | None]:
    """Say what is known of a file; its digest only while it has the size that was digested."""
    asset = entry.asset
    is_known = asset is not None and asset.digest is not None and asset.size == entry.size
    return {
        "size": entry.size,
        "digest": asset.digest if asset is not None and is_known else None,
        "modified": entry.mtime_ns,
    }
