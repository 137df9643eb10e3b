"""Own the names of metadata fields: how a key is written, and which values it reaches.

It does not compare values; that is what the queries do.

>>> from holdfast.queries import Key
>>> Key("sample.name").field.path, Key("sample", "a.b").field.dotted
(('sample', 'name'), 'sample."a.b"')
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.errors import InvalidInputError, InvalidTypeError
from holdfast.queries.values import MAX_DEPTH
from holdfast.types import Json

__all__ = ["Field", "field_of"]


@dataclass(frozen=True, slots=True)
class Field:
    """Name a field of metadata by the parts of its path.

    Parameters
    ----------
    path : tuple of str
        The keys to follow, outermost first.
    walk : bool, default False
        Also go through lists, as MongoDB does: into their objects, by position, and to their elements.
    """

    path: tuple[str, ...]
    walk: bool = False

    @property
    def dotted(self) -> str:
        """The path as a person writes it, parts with dots in quotes."""
        return ".".join(json.dumps(part) if "." in part or not part else part for part in self.path)

    def reach(self, document: Json) -> Iterator[Json]:
        """Yield the values at the path itself: none where the field is missing.

        Parameters
        ----------
        document : JSON
            The metadata.

        Yields
        ------
        JSON
            One value; with ``walk`` any number of them.
        """
        if self.walk:
            yield from _walk(document, self.path)
            return
        value = document
        for part in self.path:
            if not isinstance(value, dict) or part not in value:
                return
            value = value[part]
        yield value

    def values(self, document: Json) -> Iterator[Json]:
        """Yield what a comparison looks at: as `reach`; with ``walk`` the elements of lists too."""
        for value in self.reach(document):
            yield value
            if self.walk and isinstance(value, list):
                yield from value


def _walk(value: Json, path: Sequence[str]) -> Iterator[Json]:
    if not path:
        yield value
    elif isinstance(value, dict):
        if path[0] in value:
            yield from _walk(value[path[0]], path[1:])
    elif isinstance(value, list):
        if _is_position(path[0]) and int(path[0]) < len(value):
            yield from _walk(value[int(path[0])], path[1:])
        for element in value:
            if isinstance(element, dict):
                yield from _walk(element, path)


def field_of(key: object) -> Field:
    """Return the field that a key names.

    Parameters
    ----------
    key : str, list of str, Key or Field
        Text is split at dots; a list names the parts as they are.

    Returns
    -------
    Field
        The field.

    Raises
    ------
    InvalidTypeError
        For anything else.
    InvalidInputError
        For an empty path, or one of more than 100 parts.
    """
    if isinstance(key, Field):
        return key
    named = getattr(key, "field", None)
    if isinstance(named, Field):
        return named
    if isinstance(key, str):
        return _checked(tuple(key.split(".")))
    if isinstance(key, Sequence) and all(isinstance(part, str) for part in key):
        return _checked(tuple(key))
    raise InvalidTypeError(f"a key is text or a list of texts, not {key!r:.80}")


def _checked(path: tuple[str, ...]) -> Field:
    if not path:
        raise InvalidInputError("a key needs at least one part")
    if len(path) > MAX_DEPTH:
        raise InvalidInputError(f"a key of {len(path)} parts is over the limit of {MAX_DEPTH}")
    for part in path:
        if not part.isascii() and part.encode(errors="replace").decode() != part:
            raise InvalidInputError(f"the key part {part!r:.80} is not valid Unicode text")
    return Field(path)


def _is_position(part: str) -> bool:
    return part.isascii() and part.isdecimal() and len(part) <= 9
