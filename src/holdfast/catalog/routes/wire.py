"""Own how nodes and pages are written on the wire, in Tiled's form.

It does not query: it is given rows, whose stored JSON goes into the answer as it is.

References
----------
Tiled 0.2.20, ``server/core.py`` and ``server/links.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from holdfast.database import AssetRow, NodeRow, SourceRow
from holdfast.http.reply import encode_json
from holdfast.types import Json

__all__ = ["Wire", "asset_json", "text_json"]

_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*\Z")
_UNESCAPED = re.compile(r'[^"\\\x00-\x1f\x7f-\uffff\U00010000-\U0010ffff]*\Z')
_SORTING = '[{"key":"","direction":1}]'
_STATES = {"verified": "ok"}

Select = Callable[[str], str]
"""Takes metadata as JSON text and gives what is selected of it."""


class _Shape(msgspec.Struct):
    shape: list[int]


def text_json(text: str) -> str:
    """Return text as a JSON string."""
    return f'"{text}"' if _UNESCAPED.match(text) else msgspec.json.encode(text).decode()


def _quoted(part: str) -> str:
    return part if _PLAIN.match(part) else quote(part, safe="")


@dataclass(frozen=True, slots=True)
class Wire:
    """Write entries for one request.

    Parameters
    ----------
    root : str
        The address that links begin with.
    fields : frozenset of str
        What is said of each entry; empty: its key alone.
    links : bool
        Whether entries have links.
    select : callable, optional
        What is done with metadata.
    sources : mapping of int to list, optional
        Data sources by node id; None leaves them out.
    location : callable, optional
        Turns the recorded location of a file into the one that clients see.
    """

    root: str
    fields: frozenset[str]
    links: bool = True
    select: Select | None = None
    sources: Mapping[int, Sequence[SourceRow]] | None = None
    location: Callable[[str], str] = str

    def entry(self, row: NodeRow, ancestors: Sequence[str]) -> str:
        """Return one entry as JSON text.

        Parameters
        ----------
        row : NodeRow
            The node.
        ancestors : sequence of str
            The keys above it.

        Returns
        -------
        str
            An object with ``id``, ``attributes``, ``links`` and ``meta``.
        """
        above = f"[{','.join(map(text_json, ancestors))}]"
        path = "/".join(map(_quoted, (*ancestors, row.key) if row.key else ancestors))
        return self._entry(row, above, path)

    def children(self, rows: Iterable[NodeRow], ancestors: Sequence[str]) -> str:
        """Return entries of one container as a JSON list."""
        above = f"[{','.join(map(text_json, ancestors))}]"
        prefix = "".join(f"{_quoted(key)}/" for key in ancestors)
        if not self.fields:
            return f"[{','.join(self._keys(rows, above, prefix))}]"
        return f"[{','.join(self._entry(row, above, prefix + _quoted(row.key)) for row in rows)}]"

    def scattered(self, rows: Iterable[NodeRow], paths: Mapping[int, Sequence[str]]) -> str:
        """Return entries of many containers as a JSON list."""
        return f"[{','.join(self.entry(row, paths[row.id][:-1]) for row in rows)}]"

    def _keys(self, rows: Iterable[NodeRow], above: str, prefix: str) -> Iterator[str]:
        """Give entries that are only keys: listings are long, and most keys need no quoting at all."""
        if not self.links:
            yield from (self._key(row, above, "") for row in rows)
            return
        middle = f'","attributes":{{"ancestors":{above}}},"links":{{"self":"{self.root}/metadata/{prefix}'
        for row in rows:
            key = row.key
            if _PLAIN.match(key):
                yield f'{{"id":"{key}{middle}{key}"}}}}'
            else:
                yield self._key(row, above, prefix + _quoted(key))

    def _key(self, row: NodeRow, above: str, path: str) -> str:
        links = f'{{"self":"{self.root}/metadata/{path}"}}' if self.links else "null"
        return f'{{"id":{text_json(row.key)},"attributes":{{"ancestors":{above}}},"links":{links}}}'

    def _entry(self, row: NodeRow, above: str, path: str) -> str:
        if not self.fields:
            return self._key(row, above, path)
        is_container = row.family == "container"
        return (
            f'{{"id":{text_json(row.key)},"attributes":{{"ancestors":{above}'
            f',"structure_family":{_when("structure_family" in self.fields, text_json(row.family))}'
            f',"specs":{_when("specs" in self.fields, row.specs or "[]")}'
            f',"metadata":{self._metadata(row)}'
            f',"structure":{self._structure(row, is_container)}'
            f',"access_tags":{_when("access_tags" in self.fields, "[]")}'
            f',"access_blob":{_when("access_tags" in self.fields, "{}")}'
            f',"sorting":{_when(is_container and "sorting" in self.fields, _SORTING)}'
            f',"data_sources":{self._data_sources(row)}}}'
            f',"links":{self._links(row, path) if self.links else "null"},"meta":null}}'
        )

    def _metadata(self, row: NodeRow) -> str:
        if "metadata" not in self.fields:
            return "null"
        text = row.metadata or "{}"
        return text if self.select is None else self.select(text)

    def _structure(self, row: NodeRow, is_container: bool) -> str:
        if not {"structure", "count"} & self.fields:
            return "null"
        return f'{{"contents":null,"count":{row.children}}}' if is_container else row.structure or "null"

    def _data_sources(self, row: NodeRow) -> str:
        if self.sources is None:
            return "null"
        return encode_json(
            [_source_json(source, self.location) for source in self.sources.get(row.id, ())]
        ).decode()

    def _links(self, row: NodeRow, path: str) -> str:
        root = self.root
        links = f'"self":"{root}/metadata/{path}"'
        if row.family == "container":
            links += (
                f',"search":"{root}/search/{path}","search_deep":"{root}/search-deep/{path}"'
                f',"full":"{root}/container/full/{path}"'
            )
        elif row.family in ("array", "sparse"):
            count = len(msgspec.json.decode(row.structure or '{"shape":[]}', type=_Shape).shape)
            places = ",".join(f"{{{axis}}}" for axis in range(count))
            links += f',"full":"{root}/array/full/{path}","block":"{root}/array/block/{path}?block={places}"'
        elif row.family == "table":
            links += (
                f',"full":"{root}/table/full/{path}"'
                f',"partition":"{root}/table/partition/{path}?partition={{index}}"'
            )
        elif row.family == "awkward":
            links += f',"buffers":"{root}/awkward/buffers/{path}","full":"{root}/awkward/full/{path}"'
        return f"{{{links}}}"


def _when(wanted: bool, text: str) -> str:
    return text if wanted else "null"


def _source_json(source: SourceRow, location: Callable[[str], str]) -> dict[str, Json]:
    """Return a data source with its assets."""
    return {
        "id": source.id,
        "structure_family": source.family,
        "structure": _raw(source.structure),
        "mimetype": source.mimetype,
        "parameters": _raw(source.parameters, "{}"),
        "properties": _raw(source.properties, "{}"),
        "assets": [asset_json(asset, location(asset.location)) for asset in source.assets],
        "management": source.management,
    }


def asset_json(asset: AssetRow, location: str) -> dict[str, Json]:
    """Return an asset: what Tiled says of it, and what is known of its bytes.

    Parameters
    ----------
    asset : AssetRow
        The asset.
    location : str
        Its path below the served directory, which is also the path of its own node.

    Returns
    -------
    dict
        ``data_uri`` names the asset by its location below the served directory, not by a path of
        the server's machine.
    """
    kind, _, name = (asset.parameter or "").partition(":")
    linked = kind in {"external", "virtual", "storage"}
    return {
        "id": asset.id,
        "data_uri": f"file://localhost/{quote(location)}",
        "is_directory": bool(asset.is_directory),
        "size": asset.size,
        "parameter": asset.parameter,
        "num": asset.num,
        "location": location,
        "digest": asset.digest,
        "modified": asset.mtime_ns,
        "state": _STATES.get(asset.state, asset.state),
        "link": name if linked else None,
        "link_kind": kind if linked else None,
    }


def _raw(text: str | None, default: str = "null") -> Any:
    return msgspec.Raw((text or default).encode())
