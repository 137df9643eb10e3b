"""Which nodes a download takes: those asked for, all below them, and the containers above them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from holdfast.catalog.client.container import Container
from holdfast.catalog.client.node import Node
from holdfast.catalog.client.session import Path, Session
from holdfast.catalog.client.wire import path_of
from holdfast.types import Json

__all__ = ["Selection", "select"]

_WITH_SOURCES = ("include_data_sources", "true")


@dataclass(frozen=True, slots=True)
class Selection:
    """What a download takes.

    Parameters
    ----------
    nodes : dict of path to description
        With data sources; parents before children, siblings in the order of the source.
    whole : frozenset of path
        Containers that are taken with all that is below them.
    """

    nodes: dict[Path, Json]
    whole: frozenset[Path]


def select(source: Node) -> Selection:
    """Ask the server for everything that a download takes.

    Parameters
    ----------
    source : Node
        A search result, a container or any other node.

    Returns
    -------
    Selection
        The nodes.
    """
    found: dict[Path, Json] = {}
    whole: set[Path] = set()
    for path, item in _asked_for(source):
        found[path] = item
        if _family(item) == "container" and not _is_below(path, whole):
            whole.add(path)
            found.update(_below(source.session, path, item))
    nodes = _with_parents(source.session, found)
    columns = {path for path in nodes if path and _family(nodes[path[:-1]]) == "table"}
    return Selection({path: item for path, item in nodes.items() if path not in columns}, frozenset(whole))


def _family(item: Json) -> Json:
    return item["attributes"]["structure_family"]


def _asked_for(source: Node) -> Iterator[tuple[Path, Json]]:
    if isinstance(source, Container) and source.is_search:
        yield from _entries(source)
    else:
        yield source.path, source.session.item(source.path, sources=True)


def _entries(container: Container) -> Iterator[tuple[Path, Json]]:
    for item in container.fetch(0, None, extra=[_WITH_SOURCES]):
        yield path_of(item), item


def _below(session: Session, path: Path, item: Json) -> Iterator[tuple[Path, Json]]:
    container = Container(session, path, item)
    if session.uid is not None:
        yield from _entries(container.search_deep())
        return
    # A Tiled server searches its database only; what lies inside files it lists but does not search.
    for child, description in _entries(container):
        yield child, description
        if _family(description) == "container":
            yield from _below(session, child, description)


def _is_below(path: Path, roots: set[Path]) -> bool:
    return any(path[:depth] in roots for depth in range(len(path)))


def _with_parents(session: Session, found: dict[Path, Json]) -> dict[Path, Json]:
    ordered: dict[Path, Json] = {(): found.get(()) or session.item((), sources=True)}
    for path, item in found.items():
        for depth in range(len(path)):
            parent = path[:depth]
            if parent not in ordered:
                ordered[parent] = found.get(parent) or session.item(parent, sources=True)
        ordered[path] = item
    return ordered
