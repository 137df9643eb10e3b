"""What is known of downloaded files: nodes, metadata, structures and digests, written to ``catalog.db``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from holdfast.catalog.client.assets import Asset
from holdfast.catalog.client.session import Path, Session
from holdfast.catalog.downloads.placing import Placing
from holdfast.catalog.downloads.selection import Selection
from holdfast.catalog.downloads.staging import DATA, DATABASE, MARK, Staging
from holdfast.catalog.downloads.transfer import Arrived
from holdfast.catalog.runs import SEQUENCES_FACT
from holdfast.database import FRAMES, MEMBER, ROOT, AssetState, Database, NewAsset, NewNode, NewSource, backup
from holdfast.hashing import hash_listing
from holdfast.types import Json

__all__ = ["write_facts"]

_PAGE = 1000
_OWN_FILE = "data_uri"
# Their structure is what lies below them, which the database counts itself.
_WITHOUT_STRUCTURE = frozenset({"container", "bytes"})


def write_facts(
    staging: Staging,
    session: Session,
    selection: Selection,
    placing: Placing,
    arrived: Mapping[Path, Arrived],
) -> set[str]:
    """Write the database of a download; that of an earlier one is continued, with its keys and its log.

    Parameters
    ----------
    staging : Staging
        Where it goes.
    session : Session
        The source.
    selection : Selection
        The nodes.
    placing : Placing
        Where their files lie.
    arrived : mapping of path to Arrived
        The facts of the files, by path below ``data/``.

    Returns
    -------
    set of str
        Files of the earlier download, relative to it, that no node names any more.
    """
    nodes = {path: _node(path, item, placing, arrived) for path, item in selection.nodes.items()}
    if session.uid is None:
        nodes = {path: _with_source(path, node, nodes) for path, node in nodes.items()}
    before: set[str] = set()
    if staging.earlier is not None:
        backup(staging.earlier / DATABASE, staging.database)
    with Database(staging.database, uid=session.uid) as database:
        if staging.earlier is not None:
            before = {row.location for row in database.assets.each() if not row.is_directory}
            nodes = {**_kept(database, selection, nodes), **nodes}
        _write(database, nodes, session.name)
        after = {row.location for row in database.assets.each()}
    return before - after


def _write(database: Database, nodes: Mapping[Path, NewNode], source: str) -> None:
    root = nodes[()]
    wanted = _tree((), nodes, _children(nodes))
    with database.transaction() as tx:
        present = {row.key: row.id for row in _rows(database, ROOT, deep=False)}
        for key in present.keys() - {node.key for node in wanted}:
            tx.nodes.remove(present[key], recursive=True)
        tx.nodes.sync(ROOT, wanted)
        tx.nodes.update(ROOT, metadata=root.metadata, specs=root.specs, revision=False)
        tx.nodes.connect(ROOT, root.sources)
        tx.assets.remove_unused()
        tx.note(MARK, source)
        if any(map(_is_sequence, nodes.values())):
            # Indexed again, it stays what it is.
            tx.note(SEQUENCES_FACT, "yes")
        tx.log.add("download", "", detail={"nodes": len(nodes)})


def _is_sequence(node: NewNode) -> bool:
    return any(asset.parameter == FRAMES for source in node.sources for asset in source.assets[:1])


def _children(nodes: Mapping[Path, NewNode]) -> dict[Path, list[Path]]:
    below: dict[Path, list[Path]] = {}
    for path in nodes:
        if path:
            below.setdefault(path[:-1], []).append(path)
    return below


def _tree(path: Path, nodes: Mapping[Path, NewNode], below: Mapping[Path, list[Path]]) -> list[NewNode]:
    """Return the nodes below a path, each with all below it."""
    return [replace(nodes[child], children=_tree(child, nodes, below)) for child in below.get(path, ())]


def _node(path: Path, item: Json, placing: Placing, arrived: Mapping[Path, Arrived]) -> NewNode:
    """Return a node as the source describes it, its files where they lie here."""
    attributes = item["attributes"]
    family = attributes["structure_family"]
    return NewNode(
        path[-1] if path else "",
        family,
        attributes.get("metadata") or {},
        attributes.get("specs") or [],
        None if family in _WITHOUT_STRUCTURE else attributes.get("structure"),
        [_source(path, source, placing, arrived) for source in attributes.get("data_sources") or []],
    )


def _source(path: Path, source: Json, placing: Placing, arrived: Mapping[Path, Arrived]) -> NewSource:
    return NewSource(
        source["structure_family"],
        source.get("mimetype") or "",
        None if source["structure_family"] in _WITHOUT_STRUCTURE else source.get("structure"),
        source.get("parameters") or {},
        source.get("properties") or {},
        "external",
        [each for asset in source.get("assets") or [] for each in _assets(path, asset, placing, arrived)],
    )


def _assets(path: Path, item: Json, placing: Placing, arrived: Mapping[Path, Arrived]) -> list[NewAsset]:
    """Return an asset, and the files in it if it is a directory that is this node."""
    own = _asset(path, item, placing, arrived)
    home = placing.homes[path, Asset.read(item).id]
    inside = placing.inside.get(home, []) if own.is_directory else []
    files = [_file("/".join((DATA, *each)), arrived[each], {"parameter": MEMBER}) for each in inside]
    if files:
        listing = [("/".join(each[len(home) :]), str(arrived[each].digests.whole)) for each in inside]
        own = replace(own, digest=str(hash_listing(listing)), state="verified")
    return [own, *(files if path == home else [])]


def _asset(path: Path, item: Json, placing: Placing, arrived: Mapping[Path, Arrived]) -> NewAsset:
    asset = Asset.read(item)
    home = placing.homes[path, asset.id]
    # Tiled's names for a node's own file differ by format, that for the files of a sequence does not.
    said = item.get("parameter") or _OWN_FILE
    parameter = said if asset.link is not None or said == FRAMES else _OWN_FILE
    role = {"parameter": parameter, "num": item.get("num")}
    location = "/".join((DATA, *home))
    facts = arrived.get(home)
    if facts is None:
        state: AssetState = "missing" if asset.state == "missing" else "verified"
        return NewAsset(location, asset.is_directory, asset.size, asset.modified_ns, state, **role)
    return _file(location, facts, role)


def _file(location: str, facts: Arrived, role: Mapping[str, Json]) -> NewAsset:
    return NewAsset(
        location,
        False,
        facts.digests.size_bytes,
        facts.mtime_ns,
        "verified",
        str(facts.digests.whole),
        blocks=facts.digests.blocks,
        **role,
    )


def _with_source(path: Path, node: NewNode, nodes: Mapping[Path, NewNode]) -> NewNode:
    """Return a node inside a file with its data source; a Tiled server names it for the file alone."""
    if node.sources or node.family in _WITHOUT_STRUCTURE:
        return node
    above = next((path[:depth] for depth in range(len(path) - 1, 0, -1) if nodes[path[:depth]].sources), None)
    if above is None:
        return node
    file = nodes[above].sources[0]
    inside = {**file.parameters, "dataset": "/".join(path[len(above) :])}
    return replace(
        node, sources=[replace(file, family=node.family, structure=node.structure, parameters=inside)]
    )


def _kept(database: Database, selection: Selection, fresh: Mapping[Path, NewNode]) -> dict[Path, NewNode]:
    """Return the nodes of an earlier download that stay: those not below what was now taken as a whole."""
    kept: dict[Path, NewNode] = {}
    rows = list(_rows(database, ROOT, deep=True))
    paths = database.nodes.paths([row.id for row in rows])
    sources = database.nodes.sources([row.id for row in rows])
    for row in rows:
        path = paths[row.id]
        if path in fresh or any(path[:depth] in selection.whole for depth in range(len(path))):
            continue
        kept[path] = NewNode(
            row.key,
            row.family,
            json.loads(row.metadata),
            json.loads(row.specs),
            json.loads(row.structure) if row.structure else None,
            [_kept_source(database, path, source) for source in sources[row.id]],
        )
    return kept


def _kept_source(database: Database, path: Path, source: Json) -> NewSource:
    rows = list(source.assets)
    for directory in [row for row in rows if row.is_directory and row.digest is not None]:
        if directory.location == "/".join((DATA, *path)):
            inside = database.assets.each(under=directory.location)
            rows += [row._replace(parameter=MEMBER) for row in inside if not row.is_directory]
    assets = [
        NewAsset(
            row.location,
            row.is_directory,
            row.size,
            row.mtime_ns,
            row.state,
            row.digest,
            json.loads(row.digests) if row.digests else None,
            database.assets.blocks(row.id),
            row.parameter,
            row.num,
        )
        for row in rows
    ]
    structure = json.loads(source.structure) if source.structure else None
    return NewSource(
        source.family,
        source.mimetype or "",
        structure,
        json.loads(source.parameters),
        json.loads(source.properties),
        source.management,
        assets,
    )


def _rows(database: Database, parent: int, *, deep: bool) -> Iterator[Json]:
    cursor: str | None = None
    while True:
        page = database.nodes.search(parent, deep=deep, cursor=cursor, limit=_PAGE, count=False)
        yield from page.rows
        cursor = page.cursor
        if cursor is None:
            return
