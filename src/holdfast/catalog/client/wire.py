"""The door for what servers say of nodes: whatever passes it has the shape that the client relies on.

>>> check({"id": "a", "attributes": {"ancestors": []}}, "a node")["id"]
'a'
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.errors import ServerError
from holdfast.types import Json

__all__ = ["check", "path_of"]


class _Asset(msgspec.Struct):
    id: int
    data_uri: str | None = None
    location: str | None = None
    is_directory: bool = False
    size: int | None = None
    digest: str | None = None
    state: str | None = None
    modified: int | None = None
    parameter: str | None = None
    num: int | None = None
    link: str | None = None


class _Source(msgspec.Struct):
    structure_family: str
    structure: dict[str, Any] | None = None
    mimetype: str | None = None
    parameters: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None
    assets: list[_Asset] | None = None


class _Spec(msgspec.Struct):
    name: str
    version: str | None = None


class _Attributes(msgspec.Struct):
    ancestors: list[str]
    structure_family: str | None = None
    specs: list[_Spec] | None = None
    metadata: dict[str, Any] | None = None
    structure: dict[str, Any] | None = None
    data_sources: list[_Source] | None = None


class _Description(msgspec.Struct):
    id: str
    attributes: _Attributes


def check(item: Json, what: str) -> dict[str, Json]:
    """Return a description of a node as it came, if it is one.

    Parameters
    ----------
    item : JSON
        What the server said.
    what : str
        For the message.

    Returns
    -------
    dict
        The same object.

    Raises
    ------
    ServerError
        When it is no description of a node; the part is named.
    """
    try:
        msgspec.convert(item, _Description)
    except msgspec.ValidationError as error:
        raise ServerError(f"the server describes {what} in a way that cannot be read: {error}") from error
    described: dict[str, Json] = item
    return described


def path_of(item: Json) -> tuple[str, ...]:
    """Return the keys from the root to a node, as its description says."""
    attributes = item["attributes"]
    return *(key for key in attributes["ancestors"] if key), item["id"]
