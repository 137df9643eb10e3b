"""Own the plain values that go into and come out of the database of a directory.

Texts named metadata, specs, structure, parameters, properties and digests are JSON as it is stored.

>>> NewNode("a.csv", "table", {"n": 1}).specs
()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from holdfast.types import Json

__all__ = [
    "ASSET_STATES",
    "AssetRow",
    "AssetState",
    "KeyRow",
    "LinkRow",
    "LogRow",
    "NewAsset",
    "NewLink",
    "NewNode",
    "NewSource",
    "NodeRow",
    "Outcome",
    "Page",
    "RevisionRow",
    "SourceRow",
]

AssetState = Literal["pending", "growing", "verified", "missing", "error"]
"""Whether the bytes of an asset are known: not yet, still written, digested, gone, unreadable."""

ASSET_STATES: tuple[AssetState, ...] = ("pending", "growing", "verified", "missing", "error")


class NodeRow(NamedTuple):
    """Hold one node; ``specs``, ``metadata`` and ``structure`` are JSON text to be spliced, not decoded."""

    id: int
    parent: int
    key: str
    family: str
    specs: str
    metadata: str
    structure: str | None
    time_created: float
    time_updated: float
    children: int


@dataclass(frozen=True, slots=True)
class Page:
    """Hold one page of a search: rows, the exact count of all (-1 if not asked for) and the next cursor."""

    rows: list[NodeRow]
    count: int
    cursor: str | None


class AssetRow(NamedTuple):
    """Hold one file or directory behind a data source; ``location`` is relative, with slashes."""

    id: int
    location: str
    is_directory: bool
    size: int | None
    mtime_ns: int | None
    state: AssetState
    digest: str | None
    digests: str | None
    parameter: str = ""
    num: int | None = None


class SourceRow(NamedTuple):
    """Hold one data source of a node with its assets in order."""

    id: int
    node: int
    family: str
    structure: str | None
    mimetype: str | None
    parameters: str
    properties: str
    management: str
    assets: list[AssetRow]


class RevisionRow(NamedTuple):
    """Hold what a node was before a change."""

    number: int
    metadata: str
    specs: str
    time: float


class KeyRow(NamedTuple):
    """Hold one API key, without the key."""

    id: int
    scope: str
    note: str
    created: float
    expires: float | None


class LinkRow(NamedTuple):
    """Hold one edge between two objects; ``rows`` is JSON text or None."""

    id: int
    source: str
    relation: str
    target: str
    digest: str | None
    rows: str | None
    time: float


class LogRow(NamedTuple):
    """Hold one line of the log."""

    id: int
    time: float
    actor: str
    action: str
    object: str
    detail: str


class Outcome(NamedTuple):
    """Say what `sync` did with one node."""

    id: int
    what: Literal["added", "updated", "same"]


@dataclass(frozen=True, slots=True)
class NewAsset:
    """Describe a file or directory to be recorded.

    Parameters
    ----------
    location : str
        Relative to the directory of the database, with slashes.
    is_directory : bool
        Whether it is one.
    size, mtime_ns : int or None
        Size in bytes, time of modification in nanoseconds.
    state : str
        One of `ASSET_STATES`.
    digest : str or None
        ``blake3:…`` of the whole file.
    digests : mapping of str to str or None
        Further digests by algorithm.
    blocks : bytes or None
        The 32-byte blake3 digests of its 256 KiB blocks, one after the other.
    parameter : str
        What the file is to the data source.
    num : int or None
        Its number where several assets share a parameter.
    """

    location: str
    is_directory: bool = False
    size: int | None = None
    mtime_ns: int | None = None
    state: AssetState = "pending"
    digest: str | None = None
    digests: Mapping[str, str] | None = None
    blocks: bytes | None = None
    parameter: str = "data_uri"
    num: int | None = None


@dataclass(frozen=True, slots=True)
class NewSource:
    """Describe a data source of a node to be recorded.

    Parameters
    ----------
    family : str
        Structure family.
    mimetype : str
        Media type of the assets.
    structure : JSON or None
        The structure.
    parameters, properties : mapping
        JSON values for the format that reads it.
    management : str
        ``external``, ``immutable``, ``locked`` or ``writable``.
    assets : sequence of NewAsset
        The files.
    """

    family: str
    mimetype: str
    structure: Json = None
    parameters: Mapping[str, Json] = field(default_factory=dict)
    properties: Mapping[str, Json] = field(default_factory=dict)
    management: str = "external"
    assets: Sequence[NewAsset] = ()


@dataclass(frozen=True, slots=True)
class NewNode:
    """Describe a node, with all below it, to be recorded.

    Parameters
    ----------
    key : str
        Its key in its container.
    family : str
        Structure family.
    metadata : dict
        JSON values.
    specs : sequence of str or dict
        Names, or ``{"name": …, "version": …}``.
    structure : JSON or None
        The structure; None for containers and bytes.
    sources : sequence of NewSource
        Where its data comes from.
    children : sequence of NewNode
        The nodes below it.
    """

    key: str
    family: str
    metadata: dict[str, Json] = field(default_factory=dict)
    specs: Sequence[str | Mapping[str, Any]] = ()
    structure: Json = None
    sources: Sequence[NewSource] = ()
    children: Sequence[NewNode] = ()


@dataclass(frozen=True, slots=True)
class NewLink:
    """Describe an edge from one object to another.

    Parameters
    ----------
    source, target : str
        Object names, or URLs.
    relation : str
        ``used``, ``generated``, ``derived_from``, ``supersedes`` …
    digest : str or None
        What the target's digest was.
    rows : JSON or None
        ``[start, stop]`` where only a part is meant.
    """

    source: str
    relation: str
    target: str
    digest: str | None = None
    rows: Json = None
