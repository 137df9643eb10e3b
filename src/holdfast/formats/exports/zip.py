"""Trees of nodes as a ZIP of ordinary files, made while it is sent.

References
----------
APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

from holdfast.errors import NotAcceptableError
from holdfast.formats.exports.base import ContainerExport, Exported, ExportNode
from holdfast.formats.exports.drain import Drain, drained
from holdfast.formats.exports.npy import NPY
from holdfast.formats.exports.tabletext import CSV
from holdfast.formats.exports.tree import tree_text
from holdfast.types import Buffer

__all__ = ["METADATA", "ZIP", "ZipExport"]

METADATA = "metadata.json"
"""The name of the file that says what is known of each node."""

_MADE = {"array": ".npy", "table": ".csv"}
_FILE_MODE = 0o100644 << 16
_MAX_DEPTH = 200


class ZipExport(ContainerExport):
    """A directory for each container, npy for arrays, CSV for tables, other files as they are.

    Notes
    -----
    ``metadata.json`` holds the metadata of all of them. The same tree gives the same bytes.
    """

    media_types = ("application/zip",)
    suffixes = ("zip",)

    def export(self, part: ExportNode) -> Exported:
        """Return a ZIP.

        Raises
        ------
        NotAcceptableError
            For a tree that is too deep.
        NotFoundError, HashError, ChangedError
            A file that is to go in is absent or not what was recorded.
        """
        for node, _ in _walk(part, (), set()):
            # What cannot be opened is said before the first byte.
            with _opened(node):
                pass
        return Exported(drained(lambda sink: _archive(part, sink)))


def _opened(node: ExportNode) -> AbstractContextManager[object]:
    if node.family == "array":
        return node.array()
    return node.table() if node.family == "table" else nullcontext()


def _archive(part: ExportNode, sink: Drain) -> Iterator[None]:
    used: set[str] = {METADATA}
    with zipfile.ZipFile(sink, "w") as archive:
        yield from _put(archive, METADATA, tree_text(part), is_text=True)
        for node, path in _walk(part, (), used):
            yield from _put_node(archive, path, node)
    yield


def _put_node(archive: zipfile.ZipFile, path: str, node: ExportNode) -> Iterator[None]:
    if node.family == "array":
        with node.array() as array:
            yield from _put(archive, path, NPY.export(array).pieces)
    elif node.family == "table":
        with node.table() as table:
            yield from _put(archive, path, CSV.export(table).pieces, is_text=True)
    else:
        yield from _put(archive, path, node.content() or ())


def _put(
    archive: zipfile.ZipFile, path: str, pieces: Iterable[Buffer], *, is_text: bool = False
) -> Iterator[None]:
    info = zipfile.ZipInfo(path)
    info.external_attr = _FILE_MODE
    info.compress_type = zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED
    with archive.open(info, "w", force_zip64=True) as out:
        for piece in pieces:
            out.write(piece)
            yield


def _walk(node: ExportNode, above: tuple[str, ...], used: set[str]) -> Iterator[tuple[ExportNode, str]]:
    """Give everything below a node that is a file of the ZIP, with its path there.

    What is neither data nor a file, such as a link that leads nowhere, is in the metadata alone.
    """
    if len(above) > _MAX_DEPTH:
        raise NotAcceptableError(f"this tree is deeper than {_MAX_DEPTH} levels; export a part of it")
    for child in node.children():
        if child.family == "container":
            yield from _walk(child, (*above, child.key), used)
        elif child.family in _MADE or child.content() is not None:
            yield child, _free("/".join((*above, child.key)), _suffix(child), used)
        elif child.family != "bytes":
            raise NotAcceptableError(
                f"{child.key!r} of family {child.family} has no form in a ZIP; choose others with field=, "
                "or export it alone"
            )


def _suffix(node: ExportNode) -> str:
    suffix = _MADE.get(node.family, "")
    return "" if node.key.endswith(suffix) else suffix


def _free(path: str, suffix: str, used: set[str]) -> str:
    """Return a path that no other file has: two nodes may differ by what their files do not show."""
    name, number = path + suffix, 1
    while name in used:
        number += 1
        name = f"{path} ({number}){suffix}"
    used.add(name)
    return name


ZIP = ZipExport()
