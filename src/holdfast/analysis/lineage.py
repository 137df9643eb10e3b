"""Own lineage: what an analysis was made from, and what was made from it, across all faces.

>>> graph = Lineage("a", "upstream", [LineageNode("a", "analysis")], [])
>>> graph.tree()
'a  analysis'

Notes
-----
Edges point as in W3C PROV: an analysis ``used`` its inputs, ``generated`` its outputs, is ``derived_from`` or
``supersedes`` another one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from holdfast.analysis.documents import Documents
from holdfast.analysis.kinds import HEADER, KINDS, REFERENCE, STREAM
from holdfast.analysis.linking import DERIVED, GENERATED, SUPERSEDES, USED
from holdfast.database import ObjectName, resolve
from holdfast.errors import ForbiddenError, InvalidInputError, NotFoundError
from holdfast.hashing import Digest, hash_file
from holdfast.paths import join, local_path, resolve_below
from holdfast.types import Json

__all__ = ["Direction", "Lineage", "LineageEdge", "LineageNode", "trace"]

Direction = Literal["upstream", "downstream"]
State = Literal["unchanged", "changed", "missing", "unverified"]
_MAX_NODES = 100_000
# Objects of all faces lie in the directory under readable names; a face that registers itself knows better.
_SUFFIXES = {"catalog": "", "archive": "", "records": ".h5", "store": ".data"}


class LineageEdge(NamedTuple):
    """Hold one edge, from the object that used, generated or derived to the other one."""

    source: str
    target: str
    relation: str


@dataclass(frozen=True, slots=True)
class LineageNode:
    """Hold one object of a lineage.

    Parameters
    ----------
    uri : str
        Its object name or URL.
    kind : str
        ``analysis``, ``records``, ``archive``, ``catalog``, ``store``, ``file`` or ``url``.
    digest : str or None
        The digest that was recorded when it was linked.
    state : str
        ``unchanged`` or ``changed`` since then, ``missing``, or ``unverified`` where that cannot be told.
    """

    uri: str
    kind: str
    digest: str | None = None
    state: State = "unverified"


@dataclass(frozen=True, slots=True)
class Lineage:
    """Hold the lineage of one object.

    Parameters
    ----------
    root : str
        The object asked for.
    direction : {"upstream", "downstream"}
        Towards its origins, or towards what came of it.
    nodes : list of LineageNode
        All objects reached, the root first.
    edges : list of LineageEdge
        All edges between them.
    """

    root: str
    direction: Direction
    nodes: list[LineageNode] = field(default_factory=list)
    edges: list[LineageEdge] = field(default_factory=list)

    def to_dict(self) -> dict[str, Json]:
        """Return the lineage as JSON values; an edge has ``from``, ``to`` and ``relation``."""
        return {
            "root": self.root,
            "direction": self.direction,
            "nodes": [asdict(node) for node in self.nodes],
            "edges": [
                {"from": edge.source, "to": edge.target, "relation": edge.relation} for edge in self.edges
            ],
        }

    @classmethod
    def from_dict(cls, value: dict[str, Json]) -> Lineage:
        """Read what `to_dict` gives."""
        nodes = [LineageNode(**node) for node in value["nodes"]]
        edges = [LineageEdge(edge["from"], edge["to"], edge["relation"]) for edge in value["edges"]]
        return cls(value["root"], value["direction"], nodes, edges)

    def tree(self) -> str:
        """Return the lineage drawn as a tree; what occurs again is not drawn again."""
        nodes = {node.uri: node for node in self.nodes}
        return "\n".join(self._lines(self.root, nodes, "", "", set()))

    def _lines(
        self, uri: str, nodes: dict[str, LineageNode], indent: str, relation: str, drawn: set[str]
    ) -> Iterator[str]:
        node = nodes[uri]
        state = "" if node.state == "unverified" else f"  {node.state}"
        yield f"{relation}{uri}  {node.kind}{state}{'  (see above)' if uri in drawn else ''}"
        if uri in drawn:
            return
        drawn.add(uri)
        below = [*self._steps(uri)]
        for number, (other, word) in enumerate(below):
            is_last = number == len(below) - 1
            branch, stem = ("└─ ", "   ") if is_last else ("├─ ", "│  ")
            for position, line in enumerate(self._lines(other, nodes, "", f"{word} ", drawn)):
                yield indent + (stem if position else branch) + line

    def _steps(self, uri: str) -> Iterator[tuple[str, str]]:
        for edge in self.edges:
            other, word = _step(edge, uri, self.direction)
            if other is not None:
                yield other, word


def _step(edge: LineageEdge, uri: str, direction: Direction) -> tuple[str | None, str]:
    """Return where an edge leads from an object in a direction, and what that step is called."""
    # Inputs lie upstream of an analysis, and an analysis upstream of its outputs.
    up, down = (edge.source, edge.target) if edge.relation != GENERATED else (edge.target, edge.source)
    if direction == "upstream":
        word = "generated by" if edge.relation == GENERATED else edge.relation.replace("_", " ")
        return (down, word) if up == uri else (None, "")
    words = {USED: "used by", GENERATED: "generated", DERIVED: "basis of", SUPERSEDES: "superseded by"}
    return (up, words.get(edge.relation, edge.relation)) if down == uri else (None, "")


def trace(documents: Documents, start: str, direction: str = "upstream", *, outside: bool = True) -> Lineage:
    """Follow links from a document or an object.

    Parameters
    ----------
    documents : Documents
        The documents with their links.
    start : str
        A uid of a document, or the uri of anything.
    direction : {"upstream", "downstream"}
        Where to go.
    outside : bool, default True
        Also look at files outside the directory; a server does not, so that nobody can ask about them.

    Returns
    -------
    Lineage
        All that is reached.

    Raises
    ------
    NotFoundError
        When no document has the uid, and nothing links the uri.
    InvalidInputError
        For another direction.
    """
    towards: Direction = "upstream" if direction == "upstream" else "downstream"
    if direction != towards:
        raise InvalidInputError(f"direction must be 'upstream' or 'downstream', not {direction!r:.40}")
    root = _root(documents, start)
    seen, edges = _followed(documents, root, towards)
    nodes = [_node(documents, uri, digest, outside=outside) for uri, digest in seen.items()]
    return Lineage(root, towards, nodes, edges)


def _followed(
    documents: Documents, root: str, direction: Direction
) -> tuple[dict[str, str | None], list[LineageEdge]]:
    """Return all objects reached with their recorded digests, and the edges on the way."""
    seen: dict[str, str | None] = {root: None}
    edges: dict[LineageEdge, None] = {}
    waiting = deque([root])
    while waiting and len(seen) <= _MAX_NODES:
        uri = waiting.popleft()
        for link in [*documents.database.links.of(uri), *documents.database.links.to(uri)]:
            edge = LineageEdge(link.source, link.target, link.relation)
            other, _ = _step(edge, uri, direction)
            if other is None:
                continue
            edges[edge] = None
            if other not in seen:
                seen[other] = None
                waiting.append(other)
            if link.digest is not None:
                seen[link.target] = link.digest
    return seen, list(edges)


def _node(documents: Documents, uri: str, digest: str | None, *, outside: bool) -> LineageNode:
    if not uri.startswith("holdfast:"):
        kind = "file" if uri.startswith("file:") else "url"
        is_looked_at = kind == "file" and outside
        return LineageNode(uri, kind, digest, _state_of_file(uri, digest) if is_looked_at else "unverified")
    name = ObjectName.parse(uri)
    if name.uid != documents.places.uid:
        return LineageNode(uri, name.face, digest)
    if name.face == "analysis":
        is_there = any(documents.get(kind, name.path[-1]) for kind in KINDS)
        return LineageNode(uri, name.face, digest, "unchanged" if is_there else "missing")
    state = _state_of_object(name, digest)
    if state == "unverified" and name.path:
        state = _state_below(documents.directory, name, digest)
    return LineageNode(uri, name.face, digest, state)


def _state_below(directory: Path, name: ObjectName, digest: str | None) -> State:
    parts = (*name.path[:-1], name.path[-1] + _SUFFIXES[name.face])
    try:
        path = resolve_below(join(directory, parts), directory)
    except (InvalidInputError, ForbiddenError):
        return "unverified"
    return _state_of_file(path.as_uri(), digest)


def _state_of_file(uri: str, digest: str | None) -> State:
    path = local_path(uri)
    if not path.exists():
        return "missing"
    if digest is None or not path.is_file():
        return "unverified"
    recorded = Digest.parse(digest)
    found = hash_file(path, (recorded.algorithm,))[recorded.algorithm]
    return "unchanged" if found == recorded else "changed"


def _state_of_object(name: ObjectName, digest: str | None) -> State:
    try:
        found = resolve(name)
    except NotFoundError as error:
        # A face that knows the name says whether it is there; without such a face nothing can be said.
        return "missing" if error.details.get("known") else "unverified"
    if digest is None or found is None:
        return "unverified"
    return "unchanged" if str(found) == digest else "changed"


def _root(documents: Documents, start: str) -> str:
    for kind in KINDS.values():
        document = documents.get(kind.name, start)
        if document is None:
            continue
        if kind is REFERENCE:
            stream = documents.get(STREAM.name, document["data_reference_header"]) or {}
            return documents.places.document(stream.get(HEADER.name, start))
        return documents.places.document(start if kind is HEADER else document[HEADER.name])
    uri = documents.places.name_of(start)
    if not documents.database.links.to(uri) and not documents.database.links.of(uri):
        raise NotFoundError(f"no document has the uid {start!r:.200}, and no analysis links {uri!r:.200}")
    return uri
