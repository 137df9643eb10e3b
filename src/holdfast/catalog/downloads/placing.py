"""Where each file of a download lies below ``data/``: pure decisions, nothing is read or written.

``data/`` mirrors the paths of the catalog; a file that another one refers to lies where that one will look
for it.
Every name comes from a server and is checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.catalog.client.assets import Asset, linked_place
from holdfast.catalog.client.session import Path
from holdfast.errors import ConflictError
from holdfast.paths import parse_key
from holdfast.types import Json

__all__ = ["Placing", "Wanted", "place"]

_WITHOUT_DATA = frozenset({"container", "bytes"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file that a download brings.

    Parameters
    ----------
    asset : Asset
        What the server says of it.
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
    absent : list of str
        Files that others refer to and that are missing at the source.
    without_file : list of str
        Nodes whose data the server has in no file: only what is said of them can be taken.
    """

    files: dict[Path, Wanted] = field(default_factory=dict)
    homes: dict[tuple[Path, int], Path] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    without_file: list[str] = field(default_factory=list)


def place(nodes: Mapping[Path, Json], manifest: Callable[[Path, Asset], Sequence[Path]]) -> Placing:
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
            home = owners.setdefault(asset.id, _own_place(path, asset, alone=len(assets) == 1))
            _put(placing, path, asset, home, _contents(item, path, asset, manifest))
    for path, item in nodes.items():
        assets = _assets(item)
        own = next((owners[asset.id] for asset in assets if asset.link is None), None)
        for asset in assets:
            if asset.link is not None:
                _put(placing, path, asset, linked_place(own or path, asset), [()])
    placing.without_file.extend("/".join(path) for path in nodes if not _has_file(path, nodes))
    _refuse_files_as_directories(placing.files)
    return placing


def _has_file(path: Path, nodes: Mapping[Path, Json]) -> bool:
    """Whether the data of a node, if it has any, is in a file: its own, or that of a node above."""
    if nodes[path]["attributes"]["structure_family"] in _WITHOUT_DATA:
        return True
    above = (nodes.get(path[:depth]) for depth in range(len(path), 0, -1))
    return any(
        not asset.is_directory or each is nodes[path] for each in above if each for asset in _assets(each)
    )


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


def _contents(
    item: Json, path: Path, asset: Asset, manifest: Callable[[Path, Asset], Sequence[Path]]
) -> Iterator[Path]:
    """Give the files of an asset: itself, or those inside; entries of a container are nodes of their own."""
    if not asset.is_directory:
        yield ()
    elif item["attributes"]["structure_family"] != "container":
        yield from manifest(path, asset)


def _put(
    placing: Placing, node: Path, asset: Asset, home: Path, contents: Sequence[Path] | Iterator[Path]
) -> None:
    placing.homes[node, asset.id] = home
    if asset.state == "missing" and asset.link is not None:
        if asset.location not in placing.absent:
            placing.absent.append(asset.location)
        return
    for inside in contents:
        target = (*home, *inside)
        before = placing.files.setdefault(target, Wanted(asset, node, "/".join(inside)))
        if before.asset.id != asset.id:
            raise ConflictError(f"two files of the server claim the place {'/'.join(target)!r}")


def _refuse_files_as_directories(files: Mapping[Path, Wanted]) -> None:
    for target in files:
        for depth in range(1, len(target)):
            if target[:depth] in files:
                raise ConflictError(
                    f"the server names {'/'.join(target[:depth])!r} both as a file and as a directory"
                )
