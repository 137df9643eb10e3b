"""Where each file of a download lies below ``data/``: pure decisions, nothing is read or written.

``data/`` mirrors the paths of the catalog; a file that another one refers to lies where that one will look
for it.
Every name comes from a server and is checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.catalog.client.assets import Asset, linked_place
from holdfast.catalog.client.session import Path
from holdfast.errors import ConflictError
from holdfast.paths import parse_key
from holdfast.types import Json

__all__ = ["Placing", "Wanted", "place"]

_WITHOUT_DATA = frozenset({"container", "bytes"})


# Media types of containers that are directories with nodes of their own in them.
_PLAIN = frozenset({None, "", "inode/directory"})

Inside = tuple[Path, Asset]
Manifest = Callable[[Path, Asset], Sequence[Inside]]
"""What answers with the files in a directory: names relative to it, and what is said of each."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file that a download brings.

    Parameters
    ----------
    asset : Asset
        What the server says of it; of a file in a directory under the id of the directory.
    node : tuple of str
        A node through which it can be asked for.
    relative : str
        The file inside an asset that is a directory; else empty.
    """

    asset: Asset
    node: Path
    relative: str = ""


@dataclass(frozen=True, slots=True)
class Placing:
    """Where files go.

    Parameters
    ----------
    files : dict of path to Wanted
        Paths below ``data/``.
    homes : dict of (path, int) to path
        Where the asset of a node (path, number of the asset) lies below ``data/``.
    inside : dict of path to list of path
        The files of each directory that is one node, by the place of the directory.
    absent : list of str
        Files that others refer to and that are missing at the source.
    without_file : list of str
        Nodes whose data the server has in no file: only what is said of them can be taken.
    """

    files: dict[Path, Wanted] = field(default_factory=dict)
    homes: dict[tuple[Path, int], Path] = field(default_factory=dict)
    inside: dict[Path, list[Path]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    without_file: list[str] = field(default_factory=list)


def place(nodes: Mapping[Path, Json], manifest: Manifest) -> Placing:
    """Decide where all files of a download go.

    Parameters
    ----------
    nodes : mapping of path to description
        Parents before children, with data sources.
    manifest : callable
        Gives the files inside an asset that is a directory.

    Returns
    -------
    Placing
        The files and their places.

    Raises
    ------
    InvalidInputError
        For a name that is no file name.
    ForbiddenError
        For a reference that leaves the destination.
    ConflictError
        When two files claim one place.
    """
    placing = Placing()
    owners: dict[int, Path] = {}
    for path, item in nodes.items():
        assets = [asset for asset in _assets(item) if asset.link is None]
        for asset in assets:
            # The files of a directory are listed once, for the first node that it is behind.
            is_first = asset.id not in owners or not asset.is_directory
            home = owners.setdefault(asset.id, _own_place(path, asset, alone=len(assets) == 1))
            _put(placing, path, asset, home, _contents(item, path, asset, manifest) if is_first else ())
    for path, item in nodes.items():
        assets = _assets(item)
        own = next((owners[asset.id] for asset in assets if asset.link is None), None)
        for asset in assets:
            if asset.link is not None:
                _put(placing, path, asset, linked_place(own or path, asset), [((), asset)])
    placing.without_file.extend("/".join(path) for path in nodes if not _has_file(path, nodes))
    _refuse_files_as_directories(placing.files)
    return placing


def _has_file(path: Path, nodes: Mapping[Path, Json]) -> bool:
    """Whether the data of a node, if it has any, is in a file: its own, or that of a node above."""
    if nodes[path]["attributes"]["structure_family"] in _WITHOUT_DATA:
        return True
    if _assets(nodes[path]):
        return True
    above = (nodes[path[:depth]] for depth in range(len(path) - 1, 0, -1) if path[:depth] in nodes)
    return any(not (asset.is_directory and _is_plain(each)) for each in above for asset in _assets(each))


def _is_plain(item: Json) -> bool:
    """Whether a node is a directory of files that are nodes of their own, not one that is a file together."""
    is_container = item["attributes"]["structure_family"] == "container"
    types = {source.get("mimetype") for source in item["attributes"].get("data_sources") or []}
    return is_container and types <= _PLAIN


def _assets(item: Json) -> list[Asset]:
    sources = item["attributes"].get("data_sources") or []
    return [Asset.read(asset) for source in sources for asset in source.get("assets") or []]


def _own_place(path: Path, asset: Asset, *, alone: bool) -> Path:
    """Return the place of a node's own file: the node's path, or below it where names differ."""
    key = parse_key("/".join(path), "path of a node") if path else ()
    if asset.is_frame:
        return *key[:-1], *parse_key(asset.name, "name of a file")
    if asset.is_directory or (alone and path and asset.name == path[-1]):
        return key
    return *key, *parse_key(asset.name, "name of a file")


def _contents(item: Json, path: Path, asset: Asset, manifest: Manifest) -> Iterable[Inside]:
    """Give the files of an asset: itself, or those inside; what is in a plain directory has its own nodes."""
    if not asset.is_directory:
        return [((), asset)]
    return [] if _is_plain(item) else manifest(path, asset)


def _put(placing: Placing, node: Path, asset: Asset, home: Path, contents: Iterable[Inside]) -> None:
    placing.homes[node, asset.id] = home
    if asset.state == "missing" and asset.link is not None:
        if asset.location not in placing.absent:
            placing.absent.append(asset.location)
        return
    for inside, member in contents:
        target = (*home, *inside)
        before = placing.files.setdefault(target, Wanted(member, node, "/".join(inside)))
        if asset.is_directory:
            placing.inside.setdefault(home, []).append(target)
        if before.asset.id != asset.id:
            raise ConflictError(f"two files of the server claim the place {'/'.join(target)!r}")


def _refuse_files_as_directories(files: Mapping[Path, Wanted]) -> None:
    for target in files:
        for depth in range(1, len(target)):
            if target[:depth] in files:
                raise ConflictError(
                    f"the server names {'/'.join(target[:depth])!r} both as a file and as a directory"
                )
