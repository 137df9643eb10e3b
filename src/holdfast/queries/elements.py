"""Own the leaves that look at lists and types, as MongoDB does.

>>> from holdfast.queries.elements import Size
>>> Size("a", 2).matches({"a": [1, 2]})
True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from holdfast.errors import InvalidInputError
from holdfast.queries.fields import field_of
from holdfast.queries.tree import Query, SearchFunction, Subject
from holdfast.queries.values import BOOL, LIST, NULL, NUMBER, OBJECT, TEXT, kind_of
from holdfast.types import Json

__all__ = ["TYPES", "ElementMatch", "Size", "TypeIs"]

TYPES: dict[str, int] = {
    "null": NULL,
    "bool": BOOL,
    "number": NUMBER,
    "int": NUMBER,
    "long": NUMBER,
    "double": NUMBER,
    "string": TEXT,
    "array": LIST,
    "object": OBJECT,
}
"""The names of types, and the kinds of values that they are among."""

_INT = 2**31


def _is_of(value: Json, name: str) -> bool:
    if kind_of(value) != TYPES[name]:
        return False
    tests: dict[str, Callable[[Json], bool]] = {
        "int": lambda number: isinstance(number, int) and -_INT <= number < _INT,
        "long": lambda number: isinstance(number, int) and not -_INT <= number < _INT,
        "double": lambda number: isinstance(number, float),
    }
    return tests[name](value) if name in tests else True


@dataclass(frozen=True, eq=False, repr=False)
class Size(Query):
    """Match a list of a length.

    Parameters
    ----------
    key : str, list of str or Key
        The field.
    length : int
        How many elements it has.
    """

    key: Any
    length: int
    op: ClassVar[str] = "size"

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", field_of(self.key))

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return any(
            isinstance(value, list) and len(value) == self.length for value in self.key.reach(metadata)
        )


@dataclass(frozen=True, eq=False, repr=False)
class TypeIs(Query):
    """Match a field of one of several types.

    Parameters
    ----------
    key : str, list of str or Key
        The field.
    names : tuple of str
        Some of `TYPES`.
    """

    key: Any
    names: tuple[str, ...]
    op: ClassVar[str] = "type"

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", field_of(self.key))
        object.__setattr__(self, "names", tuple(self.names))
        if not set(self.names) <= set(TYPES):
            raise InvalidInputError(f"unknown type among {self.names}; known are {', '.join(TYPES)}")

    @property
    def kinds(self) -> frozenset[int]:
        """The kinds of values that the types are among."""
        return frozenset(TYPES[name] for name in self.names)

    @property
    def is_whole(self) -> bool:
        """Whether the types are kinds as a whole."""
        return not {"int", "long", "double"}.intersection(self.names)

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return any(_is_of(value, name) for value in self.key.values(metadata) for name in self.names)


@dataclass(frozen=True, eq=False, repr=False)
class ElementMatch(Query):
    """Match a list of which one element matches a query by itself.

    Parameters
    ----------
    key : str, list of str or Key
        The field.
    query : Query
        What the element, an object, must match.
    is_value : bool, default False
        Let the query see the element as the field ``""`` instead, whatever it is.
    """

    key: Any
    query: Query
    is_value: bool = False
    op: ClassVar[str] = "element"

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", field_of(self.key))
        object.__setattr__(self, "size", 1 + self.query.size)
        object.__setattr__(self, "depth", 1 + self.query.depth)

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        lists = (value for value in self.key.reach(metadata) if isinstance(value, list))
        return any(self._is_met(element, subject, search) for value in lists for element in value)

    def _is_met(self, element: Json, subject: Subject, search: SearchFunction) -> bool:
        if self.is_value:
            return self.query._test({"": element}, subject, search)
        return isinstance(element, dict) and self.query._test(element, subject, search)
