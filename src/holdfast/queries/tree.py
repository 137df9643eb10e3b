"""Own the query tree: its nodes, how they combine, and what each means (the reference matcher).

It does not read or write any notation; ``codec``, ``tiled``, ``language`` and ``mongo`` do.

>>> from holdfast.queries import Key, Not
>>> query = (Key("color") == "red") & ~(Key("n") > 5)
>>> query.matches({"color": "red", "n": 3}), query.matches({"color": "red", "n": 7})
(True, False)
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, cast

from holdfast.errors import InvalidInputError, InvalidTypeError, TooLargeError
from holdfast.queries.fields import Field
from holdfast.queries.values import canonical, check_json
from holdfast.types import Json

__all__ = [
    "MAX_NODES",
    "MAX_QUERY_DEPTH",
    "MAX_TEXT",
    "And",
    "Everything",
    "Not",
    "Or",
    "Query",
    "SearchFunction",
    "Subject",
    "check_text",
    "frozen_value",
    "membership",
    "search_text",
]

MAX_NODES = 1000
"""The most nodes of one query tree."""

MAX_TEXT = 10_000
"""The longest pattern or full text, in characters."""

MAX_QUERY_DEPTH = 64
"""How deep And, Or and Not may nest."""

SearchFunction = Callable[[str, str, bool], bool]
"""Tell whether a pattern is found in a text; the third argument says whether case matters."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Hold what a query may ask of a node beside its metadata.

    Parameters
    ----------
    key : str
        The node's own key in its container.
    family : str
        Its structure family.
    specs : collection of str
        The names of its specs.
    """

    key: str = ""
    family: str = ""
    specs: tuple[str, ...] | frozenset[str] = ()


_NOBODY = Subject()


def search_text(pattern: str, text: str, case_sensitive: bool) -> bool:  # the contract is positional
    """Search with the standard library's regular expressions, which know no time limit.

    Parameters
    ----------
    pattern, text : str
        The expression, unanchored, and the text.
    case_sensitive : bool
        Whether case matters.

    Returns
    -------
    bool
        Whether the pattern is found.

    Raises
    ------
    InvalidInputError
        For a malformed pattern.
    """
    try:
        return re.search(pattern, text, 0 if case_sensitive else re.IGNORECASE) is not None
    except re.error as error:
        raise InvalidInputError(f"the regular expression {pattern!r:.200} is malformed: {error}") from error


class Query(ABC):
    """Be the base of all queries: frozen, hashable, combined with ``&``, ``|`` and ``~``.

    Attributes
    ----------
    size, depth : int
        The number of nodes of the tree, and how deep it nests.
    """

    op: ClassVar[str] = ""
    size: int = 1
    depth: int = 1

    def matches(
        self, metadata: dict[str, Json], subject: Subject = _NOBODY, search: SearchFunction | None = None
    ) -> bool:
        """Tell whether a node with this metadata is found: the meaning every index must have.

        Parameters
        ----------
        metadata : dict
            JSON values.
        subject : Subject, optional
            The node's key, family and specs.
        search : callable, optional
            The engine for regular expressions; the standard library's by default.

        Returns
        -------
        bool
            Whether the query matches.
        """
        return self._test(metadata, subject, search or search_text)

    @abstractmethod
    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        """Tell what `matches` tells."""

    def __and__(self, other: Query) -> Query:
        return And(*_parts(And, self), *_parts(And, other)) if isinstance(other, Query) else NotImplemented

    def __or__(self, other: Query) -> Query:
        return Or(*_parts(Or, self), *_parts(Or, other)) if isinstance(other, Query) else NotImplemented

    def __invert__(self) -> Query:
        return Not(self)

    def __bool__(self) -> bool:
        raise InvalidTypeError(
            "a query is neither true nor false; combine queries with & | ~ and pass them to search()"
        )

    def _identity(self) -> str:
        parts = ((each.name, getattr(self, each.name)) for each in fields(cast(Any, self)))
        return f"{type(self).__name__}({', '.join(f'{name}={_text(value)}' for name, value in parts)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Query) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return self._identity()


def _text(value: object) -> str:
    # repr tells True from 1 and 1 from 1.0, which == does not.
    return value.dotted.__repr__() + ("~" if value.walk else "") if isinstance(value, Field) else repr(value)


def _parts(kind: type[Query], query: Query) -> Iterable[Query]:
    return cast("And | Or", query).queries if type(query) is kind else (query,)


@dataclass(frozen=True, eq=False, repr=False, init=False)
class _Several(Query):
    queries: tuple[Query, ...]

    def __init__(self, *queries: Query) -> None:
        for query in queries:
            _check_query(query)
        object.__setattr__(self, "queries", queries)
        object.__setattr__(self, "size", 1 + sum(query.size for query in queries))
        object.__setattr__(self, "depth", 1 + max((query.depth for query in queries), default=0))
        _check_limits(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.queries


class And(_Several):
    """Match what all of the queries match; without queries, everything.

    Parameters
    ----------
    *queries : Query
        The parts.
    """

    op = "and"

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return all(query._test(metadata, subject, search) for query in self.queries)


class Or(_Several):
    """Match what any of the queries matches; without queries, nothing.

    Parameters
    ----------
    *queries : Query
        The parts.
    """

    op = "or"

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return any(query._test(metadata, subject, search) for query in self.queries)


@dataclass(frozen=True, eq=False, repr=False)
class Not(Query):
    """Match what the query does not match, nodes without the field included.

    Parameters
    ----------
    query : Query
        The query to turn round.
    """

    query: Query
    op: ClassVar[str] = "not"

    def __post_init__(self) -> None:
        _check_query(self.query)
        object.__setattr__(self, "size", 1 + self.query.size)
        object.__setattr__(self, "depth", 1 + self.query.depth)
        _check_limits(self)

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return not self.query._test(metadata, subject, search)


def Everything() -> Query:  # reads as the query that it returns
    """Return the query that matches everything.

    Returns
    -------
    Query
        An `And` of nothing.
    """
    return And()


def _check_query(query: object) -> None:
    if not isinstance(query, Query):
        raise InvalidTypeError(f"{query!r:.80} is not a query; compare a field, as in Key('color') == 'red'")


def _check_limits(query: Query) -> None:
    if query.size > MAX_NODES:
        raise TooLargeError(f"the query has over {MAX_NODES} parts; use In for many values of one field")
    if query.depth > MAX_QUERY_DEPTH:
        raise TooLargeError(
            f"the query nests deeper than {MAX_QUERY_DEPTH} levels; join its parts in one And or Or"
        )


def frozen_value(value: Json, what: str) -> Json:
    """Return a copy of a value for a query to keep, checked; a caller's later changes do not show.

    Parameters
    ----------
    value : JSON
        The value.
    what : str
        What it is, for the message.

    Returns
    -------
    JSON
        The value; scalars as they are.
    """
    check_json(value, what, max_depth=MAX_QUERY_DEPTH)
    return _copy(value)


def _copy(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(each) for each in value]
    return value


def membership(values: Iterable[Json]) -> frozenset[str]:
    """Return the canonical texts of values, to test membership in one step."""
    return frozenset(map(canonical, values))


def check_text(text: object, what: str) -> None:
    """Check a text of a query.

    Parameters
    ----------
    text : object
        What should be text.
    what : str
        What it is, for the message.

    Raises
    ------
    InvalidTypeError
        When it is not text.
    TooLargeError
        When it has over `MAX_TEXT` characters.
    InvalidInputError
        When it holds a NUL or is not valid Unicode.
    """
    if not isinstance(text, str):
        raise InvalidTypeError(f"{what} must be text, not {text!r:.80}")
    if len(text) > MAX_TEXT:
        raise TooLargeError(f"{what} has over {MAX_TEXT} characters; shorten it")
    check_json(text, what)
