"""Own the types of the catalog's JSON answers, for ``/openapi.json``: the answers are written by `wire`.

A test reads real answers with them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

__all__ = [
    "About",
    "Asset",
    "AssetListing",
    "Attributes",
    "DataSource",
    "Distinct",
    "DistinctValue",
    "Entry",
    "ListedAsset",
    "Manifest",
    "Member",
    "Node",
    "NodePage",
    "PageLinks",
    "PageMeta",
    "Sorting",
    "Spec",
]


class Spec(Struct):
    """A spec of a node."""

    name: str
    version: str | None = None


class Sorting(Struct):
    """One key of the default order."""

    key: str
    direction: int


class Asset(Struct):
    """A file or directory; what begins with ``location`` is beside Tiled's members."""

    id: int
    data_uri: str
    is_directory: bool
    size: int | None
    parameter: str | None
    num: int | None
    location: str
    digest: str | None
    modified: int | None
    state: str
    link: str | None
    link_kind: str | None


class DataSource(Struct):
    """Where the data of a node is."""

    id: int
    structure_family: str
    structure: dict[str, Any] | None
    mimetype: str | None
    parameters: dict[str, Any]
    properties: dict[str, Any]
    assets: list[Asset]
    management: str


class Attributes(Struct):
    """What is said of a node; what was not asked for is null or absent."""

    ancestors: list[str]
    structure_family: str | None = None
    specs: list[Spec] | None = None
    metadata: dict[str, Any] | None = None
    structure: dict[str, Any] | None = None
    access_tags: list[str] | None = None
    access_blob: dict[str, Any] | None = None
    sorting: list[Sorting] | None = None
    data_sources: list[DataSource] | None = None


class Entry(Struct):
    """One node."""

    id: str
    attributes: Attributes
    links: dict[str, str] | None = None
    meta: dict[str, Any] | None = None


class Node(Struct):
    """The answer of ``/metadata``."""

    data: Entry
    error: None
    links: None
    meta: dict[str, Any]


class PageLinks(Struct):
    """Where this page, the first and the next one are."""

    here: str = field(name="self")
    first: str
    next: str | None


class PageMeta(Struct):
    """How many nodes all pages have."""

    count: int | None


class NodePage(Struct):
    """The answer of ``/search`` and ``/search-deep``."""

    data: list[Entry]
    error: None
    links: PageLinks
    meta: PageMeta


class DistinctValue(Struct):
    """A value, and how often it occurs where that was asked for."""

    value: Any
    count: int | None


class Distinct(Struct):
    """The answer of ``/distinct``."""

    metadata: dict[str, list[DistinctValue]] | None
    structure_families: list[DistinctValue] | None
    specs: list[DistinctValue] | None


class Member(Struct):
    """What is known of a file in a directory; the digest and the time are null where they are not."""

    size: int
    digest: str | None
    modified: int | None


class Manifest(Struct):
    """The answer of ``/asset/manifest``: relative paths, and what is known of each."""

    manifest: list[str]
    members: dict[str, Member]


class ListedAsset(Asset):
    """An asset in the list of a directory."""

    name: str
    uri: str


class AssetListing(Struct):
    """The answer of ``/assets/{id}?format=json``."""

    id: int
    location: str
    contents: list[ListedAsset]


class About(Struct):
    """The answer at the root."""

    api_version: int
    library_version: str
    formats: dict[str, list[str]]
    aliases: dict[str, dict[str, list[str]]]
    queries: list[str]
    authentication: dict[str, Any]
    links: dict[str, str]
    meta: dict[str, Any]
