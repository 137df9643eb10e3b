"""Own the answers with stored bytes: files and parts of files, verified here or by the client.

A client that says ``Holdfast-Verify: blocks`` checks every block against the list at
``/assets/{id}/digests`` itself: nothing is hashed here. For every other client each block is verified
before it leaves.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from holdfast.database import AssetRow
from holdfast.errors import HoldfastError, NotFoundError
from holdfast.hashing import BlockDigests, Digest
from holdfast.http.ranges import Validators, etag_of
from holdfast.http.reply import Body, FileRange, Reply, file_reply, ranged_reply, repr_digest, stream_reply
from holdfast.http.request import Request
from holdfast.http.stored import StoredPieces, widened

if TYPE_CHECKING:
    from holdfast.catalog.leases import LeasedArray
    from holdfast.catalog.tree import Catalog
    from holdfast.formats.source import Extent

__all__ = ["StoredFiles", "digests_of"]

OCTETS = "application/octet-stream"


def digests_of(asset: AssetRow) -> list[Digest]:
    """Return all digests that are recorded for an asset."""
    further = json.loads(asset.digests) if asset.digests else {}
    texts = [asset.digest, *(f"{name}:{value.rpartition(':')[2]}" for name, value in further.items())]
    return [Digest.parse(text) for text in texts if text]


def _checks_itself(request: Request) -> bool:
    """Tell whether the client verifies blocks against the list of digests."""
    return request.headers.get("holdfast-verify") == "blocks"


class StoredFiles:
    """Answer with stored bytes.

    Parameters
    ----------
    catalog : Catalog
        Knows assets, their places and their digests.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def file_reply(self, request: Request, asset: AssetRow, filename: str | None = None) -> Reply:
        """Return the file of an asset, or the part of it that the request asks for.

        Parameters
        ----------
        request : Request
            The request.
        asset : AssetRow
            A file.
        filename : str, optional
            The name a browser saves it under; default its own.

        Returns
        -------
        Reply
            200, 206 or 304.

        Raises
        ------
        ChangedError, ForbiddenError, MissingFileError
            For a file that is not as it was indexed.
        """
        with self._catalog.open_asset(asset) as source:
            name, blocks = filename or source.path.name, source.digests
            if blocks is None:
                return file_reply(request, source.path, media_type=OCTETS, filename=name)
            span = FileRange(os.dup(source.fd), 0, blocks.size_bytes)
        try:
            reply = self._verified_reply(request, asset, span, blocks, name)
        except HoldfastError:
            span.close()
            raise
        reply.also_close(span.close)
        return reply

    def _verified_reply(
        self, request: Request, asset: AssetRow, whole: FileRange, blocks: BlockDigests, name: str
    ) -> Reply:
        what = self._catalog.places.public(asset.location)

        def part(start: int, stop: int) -> Body:
            """Give a part of the file, hashed here unless the client does it."""
            span = FileRange(os.dup(whole.fd), start, stop)
            return span if _checks_itself(request) else StoredPieces(span, blocks, what)

        validators = Validators(etag_of(blocks.whole), os.fstat(whole.fd).st_mtime)
        reply = ranged_reply(
            request, blocks.size_bytes, part, validators=validators, media_type=OCTETS, filename=name
        )
        reply.headers.append(("repr-digest", repr_digest(digests_of(asset))))
        return reply

    def extent_reply(self, request: Request, reader: LeasedArray, extent: Extent) -> Reply | None:
        """Return bytes that lie in one run of one file, or None when they had better be read.

        Parameters
        ----------
        request : Request
            The request.
        reader : LeasedArray
            What the bytes belong to.
        extent : Extent
            Where they lie.

        Returns
        -------
        Reply or None
            For a client that checks blocks itself: whole blocks around the bytes, with
            ``Holdfast-Source`` telling where the list is, where the first block starts and how many
            bytes to skip. None for a file without digests of its own.
        """
        asset = reader.asset
        blocks = self._catalog.digests(asset) if reader.is_verified else None
        if blocks is None or self._catalog.asset_path(asset) != extent.path:
            return None
        start, stop = extent.offset, extent.offset + extent.size
        tag = ("etag", etag_of(blocks.whole))
        if _checks_itself(request):
            first, last = widened(start, stop, blocks.size_bytes)
            where = (
                f"{request.scope['root_path']}/assets/{asset.id}/digests; start={first}; skip={start - first}"
            )
            headers = [tag, ("holdfast-source", where)]
            return Reply(FileRange.open(extent.path, first, last), 200, headers, OCTETS, last - first)
        pieces = StoredPieces(
            FileRange.open(extent.path, start, stop), blocks, self._catalog.places.public(asset.location)
        )
        headers = [tag, ("holdfast-verified", "stored")]
        return stream_reply(request, pieces, media_type=OCTETS, size=extent.size, headers=headers)

    def blocks_reply(self, request: Request, asset: AssetRow) -> Reply:
        """Return the digests of all blocks of an asset: 32 bytes for each 256 KiB.

        Raises
        ------
        NotFoundError
            While the file was not read yet, and for a directory.
        """
        blocks: BlockDigests | None = None if asset.is_directory else self._catalog.digests(asset)
        if blocks is None:
            raise NotFoundError(f"{asset.location!r} has no digests (yet); its state is {asset.state!r}")
        headers = [
            ("etag", etag_of(blocks.whole)),
            ("cache-control", "private, max-age=31536000, immutable"),
            ("holdfast-digest", str(blocks.whole)),
            ("holdfast-size", str(blocks.size_bytes)),
        ]
        return Reply(blocks.blocks, 200, headers, OCTETS)
