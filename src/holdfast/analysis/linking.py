"""Own the links inside documents: where they may stand, and the form in which they are kept.

A link is ``{"uri": …, "digest": "alg:hex", "rows": [start, stop]}``. What lies in the repository is kept
under its object name, everything else under the address it was given.

>>> from pathlib import Path
>>> Places("0" * 32, Path("/lab")).name_of("/lab/runs/a b.h5")
'holdfast:00000000000000000000000000000000/catalog/runs/a%20b.h5'
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.database import NewLink, ObjectName
from holdfast.database.names import FACES
from holdfast.errors import InvalidInputError
from holdfast.hashing import Digest
from holdfast.paths import local_path
from holdfast.types import Json

__all__ = ["DERIVED", "GENERATED", "SUPERSEDES", "USED", "Places", "has_links", "linked"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
USED, GENERATED, DERIVED, SUPERSEDES = "used", "generated", "derived_from", "supersedes"
_RELATIONS = frozenset((USED, GENERATED, DERIVED))


@dataclass(frozen=True, slots=True)
class Places:
    """Turn addresses into names.

    Parameters
    ----------
    uid : str
        The uid of the repository.
    directory : Path
        Its directory.
    """

    uid: str
    directory: Path

    def document(self, uid: str) -> str:
        """Return the object name of a document."""
        return str(ObjectName(self.uid, "analysis", (uid,)))

    def name_of(self, uri: str) -> str:
        """Return the form in which an address is kept.

        Parameters
        ----------
        uri : str
            An object name, a URL, a path, or ``FACE/PATH`` such as ``records/run1``.

        Returns
        -------
        str
            An object name where it is ours, else the URL, or a ``file://`` address.

        Raises
        ------
        InvalidInputError
            For an empty or malformed address.
        """
        if not uri or "\x00" in uri:
            raise InvalidInputError("the uri of a link is empty; name what it points at")
        if uri.startswith("holdfast:"):
            return str(ObjectName.parse(uri))
        if _SCHEME.match(uri) and not uri.startswith("file:"):
            return uri
        face, _, rest = uri.partition("/")
        if face in FACES and rest and not (self.directory / uri).exists():
            return str(ObjectName(self.uid, face, tuple(part for part in rest.split("/") if part)))
        return self._of_path(local_path(uri) if uri.startswith("file:") else uri)

    def _of_path(self, path: str | Path) -> str:
        full = Path(os.path.normpath(self.directory / path))
        if full != self.directory and self.directory in full.parents:
            return str(ObjectName(self.uid, "catalog", full.relative_to(self.directory).parts))
        return full.as_uri()


def linked(
    places: Places, kind: str, document: dict[str, Json], header: str
) -> tuple[dict[str, Json], list[NewLink]]:
    """Return a document with its links as they are kept, and these links.

    Parameters
    ----------
    places : Places
        What turns addresses into names.
    kind : str
        The kind of the document.
    document : dict
        It is not changed; a copy is made where something differs.
    header : str
        The uid of the header that the links belong to.

    Returns
    -------
    (dict, list of NewLink)
        The document, and one edge for each link.

    Raises
    ------
    InvalidInputError
        For a link without uri, or with a malformed digest or rows; the message says where.
    """
    if not has_links(kind, document):
        return document, []
    source, edges = places.document(header), list[NewLink]()
    if "supersedes" in document:
        edges.append(
            NewLink(
                places.document(document["uid"]),
                SUPERSEDES,
                places.document(_text(document["supersedes"], "supersedes")),
            )
        )
    if kind == "data_reference":
        return _in_data(places, document, source, edges)
    provenance = document.get("provenance")
    if kind != "analysis_header" or not provenance:
        return document, edges
    kept = dict(provenance)
    for relation in (USED, GENERATED):
        if relation in provenance:
            where = f"provenance.{relation}"
            kept[relation] = [
                _kept(places, each, f"{where}.{n}")
                for n, each in enumerate(_list(provenance[relation], where))
            ]
            edges += [_edge(source, relation, each) for each in kept[relation]]
    edges += [
        NewLink(source, DERIVED, places.document(_text(each, f"provenance.{DERIVED}.{n}")))
        for n, each in enumerate(_list(provenance.get(DERIVED, []), f"provenance.{DERIVED}"))
    ]
    return {**document, "provenance": kept}, edges


def has_links(kind: str, document: dict[str, Json]) -> bool:
    """Tell whether a document has any link."""
    if SUPERSEDES in document:
        return True
    if kind == "data_reference":
        return any(type(value) is dict and "uri" in value for value in document["data"].values())
    return kind == "analysis_header" and not _RELATIONS.isdisjoint(document["provenance"])


def _in_data(
    places: Places, document: dict[str, Json], source: str, edges: list[NewLink]
) -> tuple[dict[str, Json], list[NewLink]]:
    kept = {
        key: _kept(places, value, f"data.{key}")
        for key, value in document["data"].items()
        if isinstance(value, dict) and "uri" in value
    }
    if not kept:
        return document, edges
    edges += [_edge(source, GENERATED, link) for link in kept.values()]
    return {**document, "data": {**document["data"], **kept}}, edges


def _edge(source: str, relation: str, link: dict[str, Json]) -> NewLink:
    return NewLink(source, relation, link["uri"], link.get("digest"), link.get("rows"))


def _kept(places: Places, link: Json, where: str) -> dict[str, Json]:
    parts = {"uri": link} if isinstance(link, str) else link
    if not isinstance(parts, dict) or not isinstance(parts.get("uri"), str):
        raise InvalidInputError(f"{where} must be a link with a 'uri', not {link!r:.80}")
    kept = {**parts, "uri": places.name_of(parts["uri"])}
    if parts.get("digest") is not None:
        kept["digest"] = _digest(_text(parts["digest"], f"{where}.digest"), where)
    if parts.get("rows") is not None and not _is_rows(parts["rows"]):
        raise InvalidInputError(
            f"{where}.rows must be [start, stop] with 0 <= start <= stop, not {parts['rows']!r:.80}"
        )
    return kept


def _digest(text: str, where: str) -> str:
    try:
        return str(Digest.parse(text))
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}.digest: {error.message}") from error


def _is_rows(rows: Any) -> bool:
    if not isinstance(rows, list) or len(rows) != 2:
        return False
    return (
        all(isinstance(each, int) and not isinstance(each, bool) for each in rows) and 0 <= rows[0] <= rows[1]
    )


def _list(value: Json, where: str) -> Iterator[Json]:
    # One link, or one uid, may stand without a list around it.
    if isinstance(value, str | dict):
        return iter([value])
    if not isinstance(value, list):
        raise InvalidInputError(f"{where} must be a list, not {value!r:.80}")
    return iter(value)


def _text(value: Json, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInputError(f"{where} must be a text, not {value!r:.80}")
    return value
