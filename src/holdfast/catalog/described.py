"""From what a file holds to the nodes that are recorded.

Owns the mapping; reads nothing but the times of linked files.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from pathlib import Path

from holdfast.catalog.places import Places
from holdfast.catalog.scanning import Found
from holdfast.database import AssetState, NewAsset, NewNode, NewSource
from holdfast.formats.base import Described, Linked
from holdfast.formats.probe import Probed
from holdfast.formats.source import FileState
from holdfast.hashing import BLOCK_BYTES

__all__ = ["DIRECTORY_TYPE", "directory_node", "directory_source", "file_node", "own_asset", "refused_node"]

DIRECTORY_TYPE = "inode/directory"
"""The media type of a directory as the asset of a container."""

# Not even the bytes of the file could be had; asked again at each indexing.
_UNREADABLE = frozenset({"forbidden", "storage"})
_BYTES_TYPE = "application/octet-stream"
_TEXT_TYPE = "text/plain"


def directory_source(found: Found) -> NewSource:
    """Return the data source of a directory: the directory itself."""
    asset = NewAsset(
        found.location,
        is_directory=True,
        mtime_ns=found.state.mtime_ns if found.state is not None else None,
        state="verified",
    )
    return NewSource("container", DIRECTORY_TYPE, assets=[asset])


def directory_node(found: Found) -> NewNode:
    """Return the node of a directory, without what is in it."""
    metadata = {"error": found.error} if found.error else {}
    return NewNode(found.key[-1], "container", metadata, sources=[directory_source(found)])


def refused_node(found: Found) -> NewNode:
    """Return the node of what is listed but never opened."""
    return NewNode(found.key[-1], "bytes", {"error": found.error})


def file_node(found: Found, probed: Probed, places: Places, *, is_growing: bool) -> NewNode:
    """Return the node of a file with everything below it.

    Parameters
    ----------
    found : Found
        The file.
    probed : Probed
        What is in it.
    places : Places
        How locations are spelled.
    is_growing : bool
        Whether it is being written.
    """
    asset = own_asset(found, probed, is_growing=is_growing)
    if probed.description is None:
        message = probed.failure.message if probed.failure is not None else "it cannot be read"
        root = Described("", "bytes", {"error": message})
        return _node(root, found.key[-1], _media_type(found.path, _BYTES_TYPE), asset, places)
    media_type = probed.description.media_type
    if probed.description.root.family == "bytes":
        media_type = _media_type(found.path, media_type)
    return _node(probed.description.root, found.key[-1], media_type, asset, places)


def _node(described: Described, key: str, media_type: str, own: NewAsset, places: Places) -> NewNode:
    source = NewSource(
        described.family,
        media_type,
        structure=described.structure,
        parameters=described.parameters,
        assets=[own, *_linked_assets(described.linked, places)],
    )
    return NewNode(
        key,
        described.family,
        described.metadata,
        described.specs,
        described.structure,
        sources=[source],
        children=[_node(child, child.key, media_type, own, places) for child in described.children],
    )


def own_asset(found: Found, probed: Probed, *, is_growing: bool) -> NewAsset:
    """Return a file as an asset, with what is known of its bytes."""
    state = probed.state or found.state
    digests = probed.digests()
    kind: AssetState = "verified" if digests is not None else "pending"
    if probed.failure is not None and probed.failure.code in _UNREADABLE:
        kind = "error"
    elif is_growing:
        kind = "growing"
    return NewAsset(
        found.location,
        size=state.size if state is not None else None,
        mtime_ns=state.mtime_ns if state is not None else None,
        state=kind,
        digest=str(digests.whole) if digests is not None else None,
        blocks=digests.blocks if digests is not None and digests.size_bytes > BLOCK_BYTES else None,
    )


def _linked_assets(linked: Sequence[Linked], places: Places) -> list[NewAsset]:
    return [_linked_asset(each, places) for each in linked]


def _linked_asset(linked: Linked, places: Places) -> NewAsset:
    parameter = f"{linked.kind}:{linked.name}"
    location = places.location(Path(linked.path))
    try:
        state = FileState.of(Path(linked.path).stat()) if linked.is_present else None
    except OSError:
        state = None
    if state is None:
        return NewAsset(location, state="missing", parameter=parameter)
    return NewAsset(location, size=state.size, mtime_ns=state.mtime_ns, parameter=parameter)


def _media_type(path: Path, default: str) -> str:
    """Return what the suffix says of a file that is plain bytes or text."""
    guessed = mimetypes.guess_type(path.name, strict=False)
    return guessed[0] if guessed[0] and not guessed[1] else default
