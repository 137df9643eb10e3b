"""What every node of a catalog offers, whatever it holds: its metadata, its address and its files."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path as FilePath
from types import TracebackType
from typing import Any, BinaryIO, ClassVar, NamedTuple, Self

from holdfast.catalog.client.assets import Asset, fetch
from holdfast.catalog.client.exporting import save
from holdfast.catalog.client.html import described
from holdfast.catalog.client.session import Pairs, Path, Session
from holdfast.errors import (
    HoldfastError,
    InvalidInputError,
    MissingFileError,
    NotAcceptableError,
    ServerError,
)
from holdfast.hashing import hash_bytes
from holdfast.types import Json, PathLike

__all__ = ["BytesNode", "Node", "Spec", "make_node"]

_HOME = "holdfast.catalog.client"
_FAMILIES = {
    "array": ("array", "ArrayNode"),
    "awkward": ("awkward", "AwkwardNode"),
    "bytes": ("node", "BytesNode"),
    "container": ("container", "Container"),
    "sparse": ("sparse", "SparseNode"),
    "table": ("table", "TableNode"),
}


class Spec(NamedTuple):
    """Name a convention that a node follows, such as ``xarray_dataset``."""

    name: str
    version: str | None = None


class Node:
    """Be one node of a catalog.

    Parameters
    ----------
    session : Session
        The catalog.
    path : tuple of str
        The keys from the root.
    item : mapping
        The server's description.

    Notes
    -----
    A description is a snapshot; `refresh` gives the present one. Nodes may be shared by threads, survive
    ``fork``, and pickle by their address, never with a key.
    """

    _label: ClassVar[str] = "Node"

    def __init__(self, session: Session, path: Path, item: Mapping[str, Json]) -> None:
        self.session = session
        self.path = path
        self.item = dict(item)

    def close(self) -> None:
        """Give back what the whole catalog holds open: sockets, files, the database."""
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _identity(self) -> tuple[Any, ...]:
        return self.session.address, self.path

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Node) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def key(self) -> str:
        """The last key of the path; empty for the root."""
        return self.path[-1] if self.path else ""

    @property
    def uri(self) -> str:
        """The address of this node."""
        return self.session.uri(self.path)

    @property
    def structure_family(self) -> str:
        """The structure family, such as ``container``, ``array``, ``table`` or ``bytes``."""
        return str(self._attributes.get("structure_family"))

    @property
    def metadata(self) -> dict[str, Json]:
        """The metadata, a copy that may be changed freely."""
        return copy.deepcopy(self._attributes.get("metadata") or {})

    @property
    def specs(self) -> list[Spec]:
        """The conventions that the node follows."""
        return [Spec(spec["name"], spec.get("version")) for spec in self._attributes.get("specs") or []]

    @property
    def _attributes(self) -> dict[str, Json]:
        return self.item.get("attributes") or {}

    def refresh(self) -> Self:
        """Return this node as the server describes it now."""
        fresh = copy.copy(self)
        fresh.item = self.session.item(self.path)
        return fresh

    def data_sources(self) -> list[dict[str, Json]]:
        """Return where the data lies, as the server says it."""
        known = self._attributes.get("data_sources")
        if known is None:
            known = self.session.item(self.path, sources=True)["attributes"].get("data_sources")
        return copy.deepcopy(known or [])

    def assets(self) -> list[Asset]:
        """Return the files and directories that hold this node.

        Returns
        -------
        list of Asset
            The node's own first, then those that its links and virtual data sets name.
        """
        found = [Asset.read(asset) for source in self.data_sources() for asset in source.get("assets") or []]
        return sorted({asset.id: asset for asset in found}.values(), key=lambda asset: asset.link is not None)

    def raw_export(self, directory: PathLike) -> list[FilePath]:
        """Copy the files that hold this node, byte for byte.

        Parameters
        ----------
        directory : path-like
            Where to; made when absent.

        Returns
        -------
        list of Path
            The files that were written, each verified against its digest.

        Raises
        ------
        BulkError
            All failures together: damaged, missing or unreachable files, names that leave the directory.
        """
        return fetch(self.session, self.path, self.assets(), directory)

    def export(self, path: PathLike | BinaryIO, format: str | None = None, **options: Any) -> None:
        """Save the data in another format.

        Parameters
        ----------
        path : path-like or binary file
            The file to write; it appears whole or not at all. What is written into an open file is worthless
            when this raises.
        format : str, optional
            A media type or a suffix such as ``csv``; the suffix of `path` when absent.
        **options : object
            ``slice`` (arrays) takes a numpy index, ``columns`` (tables) and ``fields`` (containers) take
            lists of names.

        Raises
        ------
        NotAcceptableError
            When the server cannot give this format; it names the ones that it can.
        InvalidInputError
            When neither `format` nor the suffix says which format, or for an unknown option.
        """
        suffix = FilePath(path).suffix if isinstance(path, str | os.PathLike) else ""
        wanted = (format or suffix).lstrip(".")
        if not wanted:
            raise InvalidInputError(f"{path!s} has no suffix; say the format, for example format='csv'")
        query = [("format", wanted), *self._export_query(options)]
        save(self.session, self._export_route, self.path, query, path)

    @property
    def _export_route(self) -> str:
        return f"{self.structure_family}/full"

    def _export_query(self, options: dict[str, Any]) -> Pairs:
        """Return what the options ask for; each family knows its own."""
        if options:
            raise InvalidInputError(f"export of {self._label} takes no option {next(iter(options))!r}")
        return ()

    def __repr__(self) -> str:
        try:
            summary = self._summary()
        except HoldfastError as error:  # a repr must not fail where the server does
            summary = f" ({error})"
        return f"<{self._label} {'/'.join(self.path) or '/'!r}{summary}>"

    def _summary(self) -> str:
        """Return what the repr says behind the name."""
        return ""

    def _facts(self) -> dict[str, object]:
        """Return what a notebook shows."""
        return {
            "family": self.structure_family,
            "specs": ", ".join(spec.name for spec in self.specs),
            "address": self.uri,
        }

    def _repr_html_(self) -> str:
        return described(repr(self), self._facts(), self._attributes.get("metadata") or {})


class BytesNode(Node):
    """Be a file without structure of arrays, tables or groups."""

    _label = "File"

    def read(self) -> bytes:
        """Return the whole content, verified against the file's digest where one is recorded.

        Raises
        ------
        MissingFileError
            When the file is not there.
        HashError
            When the bytes are not what was recorded.
        """
        own = next((asset for asset in self.assets() if asset.link is None), None)
        if own is None or own.state == "missing" or own.name != self.key:
            reason = (
                self.metadata.get("error") or f"{'/'.join(self.path)!r} has no file at {self.session.address}"
            )
            raise MissingFileError(str(reason))
        route = self.session.route("asset/bytes", self.path)
        data = b"".join(self.session.connection.pieces(route, [("id", str(own.id))]))
        if own.digest is not None:
            own.digest.check(hash_bytes(data, own.digest.algorithm), f"file {own.location!r}")
        return data

    def export(self, path: PathLike | BinaryIO, format: str | None = None, **options: Any) -> None:
        """Refuse: there is no structure that another format could hold; `raw_export` copies the file.

        Raises
        ------
        NotAcceptableError
            Always.
        """
        raise NotAcceptableError(f"{self!r} has no structure to convert; raw_export copies it as it is")


def make_node(session: Session, path: Path, item: Mapping[str, Json]) -> Node:
    """Make the node that a description describes.

    Parameters
    ----------
    session : Session
        The catalog.
    path : tuple of str
        The keys from the root.
    item : mapping
        The server's description.

    Returns
    -------
    Node
        Of the class of its family; a plain `Node` for a family that this release cannot read.

    Raises
    ------
    ServerError
        When the description is not one.
    """
    family = (item.get("attributes") or {}).get("structure_family")
    if not isinstance(family, str):
        raise ServerError(f"the server describes {'/'.join(path)!r} without a structure family")
    if family not in _FAMILIES:
        return Node(session, path, item)
    module, name = _FAMILIES[family]
    made: Node = getattr(import_module(f"{_HOME}.{module}"), name)(session, path, item)
    return made
