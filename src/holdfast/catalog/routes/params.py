"""Own the parameters of the catalog's addresses.

It does not read filters: ``holdfast.queries`` does.

>>> from holdfast.catalog.routes.params import parse_sort
>>> parse_sort(["color,-n"]), parse_sort(["-"])
([('color', 1), ('n', -1)], [('', -1)])
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from holdfast.errors import InvalidInputError

__all__ = [
    "FIELDS",
    "ArrayParams",
    "AssetParams",
    "AssetsParams",
    "AwkwardParams",
    "BlockParams",
    "BuffersParams",
    "ContainerParams",
    "DistinctParams",
    "FieldName",
    "ManifestParams",
    "MetadataParams",
    "NoParams",
    "PartitionParams",
    "SearchParams",
    "TableParams",
    "page_limit",
    "parse_shape",
    "parse_sort",
]

FieldName = Literal[
    "",
    "metadata",
    "structure_family",
    "structure",
    "count",
    "sorting",
    "specs",
    "data_sources",
    "access_tags",
    "none",
]
FIELDS = frozenset({"metadata", "structure_family", "structure", "sorting", "specs", "access_tags"})
"""What an entry says when ``fields`` is not given."""

Natural = Annotated[int, Meta(ge=0, le=2**62)]
Fields = Annotated[list[FieldName], Meta(description="What to say of each entry; blank: keys only.")]
Format = Annotated[str, Meta(description="A media type or a short name such as csv; wins over Accept.")]
Slice = Annotated[str, Meta(description="NumPy's notation, such as 1:3,::2,0", examples=["0:2"])]

KEYS_PER_PAGE = 300
ITEMS_PER_PAGE = 100
ABSURD_LIMIT = 100_000


class MetadataParams(Struct):
    """Parameters of ``/metadata``."""

    fields: Fields | None = None
    select_metadata: Annotated[str, Meta(description="A JMESPath expression.")] | None = None
    include_data_sources: bool = False
    omit_links: bool = False
    max_depth: Natural | None = None
    root_path: bool = False


class SearchParams(Struct):
    """Parameters of ``/search`` and ``/search-deep`` besides ``filter[NAME][condition][FIELD]``."""

    fields: Fields | None = None
    offset: Natural = field(default=0, name="page[offset]")
    limit: Natural | None = field(default=None, name="page[limit]")
    cursor: str | None = field(default=None, name="page[cursor]")
    sort: list[str] = []
    select_metadata: Annotated[str, Meta(description="A JMESPath expression.")] | None = None
    include_data_sources: bool = False
    omit_links: bool = False
    max_depth: Natural | None = None


class DistinctParams(Struct):
    """Parameters of ``/distinct`` besides filters."""

    metadata: list[str] = []
    structure_families: bool = False
    specs: bool = False
    counts: bool = False
    deep: bool = False


class ArrayParams(Struct):
    """Parameters of ``/array/full``."""

    slice: Slice = ""
    expected_shape: str | None = None
    format: Format | None = None
    filename: str | None = None


class BlockParams(Struct):
    """Parameters of ``/array/block``."""

    block: Annotated[str, Meta(description="The number of the block along each axis, such as 0,1")]
    slice: Slice = ""
    expected_shape: str | None = None
    format: Format | None = None
    filename: str | None = None


class BuffersParams(Struct):
    """Parameters of ``/awkward/buffers``."""

    form_key: list[str] = []
    format: Format | None = None
    filename: str | None = None


class AwkwardParams(Struct):
    """Parameters of ``/awkward/full``."""

    format: Format | None = None
    filename: str | None = None


class TableParams(Struct):
    """Parameters of ``/table/full``."""

    column: list[str] = []
    field: list[str] = []
    format: Format | None = None
    filename: str | None = None


class PartitionParams(Struct):
    """Parameters of ``/table/partition``."""

    partition: Natural
    column: list[str] = []
    field: list[str] = []
    format: Format | None = None
    filename: str | None = None


class ContainerParams(Struct):
    """Parameters of ``/container/full``."""

    field: list[str] = []
    format: Format | None = None
    filename: str | None = None


class AssetParams(Struct):
    """Parameters of ``/asset/bytes``."""

    id: Natural
    relative_path: str | None = None


class ManifestParams(Struct):
    """Parameters of ``/asset/manifest``."""

    id: Natural


class NoParams(Struct):
    """No parameters at all."""


class AssetsParams(Struct):
    """Parameters of ``/assets/{id}``."""

    format: Annotated[Literal["zip", "json"], Meta(description="For a directory.")] | None = None
    relative_path: str | None = None


def page_limit(limit: int | None, largest: int, *, keys_only: bool) -> int:
    """Return how many entries a page has.

    Parameters
    ----------
    limit : int or None
        What the client asks for.
    largest : int
        The most.
    keys_only : bool
        Keys are small: more of them fit a page that nobody sized.

    Returns
    -------
    int
        The number; a client that asks for more than the most follows ``links.next`` for the rest.

    Raises
    ------
    InvalidInputError
        For an absurd number.
    """
    if limit is None:
        return min(largest, KEYS_PER_PAGE if keys_only else ITEMS_PER_PAGE)
    if limit > ABSURD_LIMIT:
        raise InvalidInputError(
            f"page[limit]={limit} is absurd; ask for at most {largest} and follow links.next"
        )
    return min(limit, largest)


def parse_sort(texts: Iterable[str]) -> list[tuple[str, int]]:
    """Read the order of a listing.

    Parameters
    ----------
    texts : iterable of str
        ``name``, ``-name``; a lone ``-`` is the default order reversed; commas separate several.

    Returns
    -------
    list of (str, int)
        Names and directions, 1 or -1; the name of the default order is empty.
    """
    found = []
    for text in texts:
        for part in text.split(","):
            name = part.removeprefix("-")
            if name or part == "-":
                found.append((name, -1 if part.startswith("-") else 1))
    return found


def parse_shape(text: str | None) -> tuple[int, ...] | None:
    """Read ``expected_shape``: numbers with commas, or ``scalar``."""
    if text is None:
        return None
    if text == "scalar":
        return ()
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 20 for part in parts):
        raise InvalidInputError(f"expected_shape={text[:80]!r} is malformed; write 2,3 or scalar")
    return tuple(int(part) for part in parts)
