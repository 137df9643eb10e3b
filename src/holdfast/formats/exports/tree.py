"""Trees of nodes as JSON: what is known of each, without the data.

References
----------
Tiled 0.2.20: ``{"contents": {key: node, …}, "metadata": {…}}`` at each level.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.formats.exports.base import ContainerExport, Exported, ExportNode
from holdfast.formats.exports.drain import joined
from holdfast.formats.exports.plain import to_json

__all__ = ["JSON", "JsonExport", "tree_text"]

_MAX_DEPTH = 200


class JsonExport(ContainerExport):
    """Each node as its metadata and its contents; what lies in other nodes than containers is left out."""

    media_types = ("application/json",)
    suffixes = ("json",)
    is_shown = True

    def export(self, part: ExportNode) -> Exported:
        """Return one object."""
        return Exported(joined(tree_text(part)))


def tree_text(node: ExportNode, depth: int = 0) -> Iterator[bytes]:
    """Give the JSON of a node and of what is below it."""
    yield b'{"contents":{'
    comma = b""
    for child in node.children() if depth < _MAX_DEPTH else ():
        yield comma + to_json(child.key) + b":"
        yield from tree_text(child, depth + 1)
        comma = b","
    yield b'},"metadata":' + to_json(node.metadata) + b"}"


JSON = JsonExport()
