"""Own what a query of a store asks: keyword equality as Python compares, and the query tree of every face.

It says what matches; how the matches are found quickly is `holdfast.database.store`'s business.

>>> condition_of(None, {"n": 1}).accepts("k", {"n": True})
True
>>> condition_of({"n": 1}, {}).accepts("k", {"n": True})
False
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from holdfast.queries import Query, Subject, from_keywords
from holdfast.store.value import decoded
from holdfast.types import Json

__all__ = ["Condition", "Found", "condition_of"]

Found: TypeAlias = tuple[str, dict[str, Json]]
"""A key and its metadata."""

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Condition:
    """Say which metadata is asked for.

    Parameters
    ----------
    where : Query or None
        A query tree.
    equal : dict
        Fields and the values they must equal as Python compares; a missing field equals nothing.
    prefix : str
        What is put before the keys that a tree asks about.
    """

    where: Query | None = None
    equal: dict[str, Any] = field(default_factory=dict)
    prefix: str = ""

    @property
    def is_empty(self) -> bool:
        """True when everything matches."""
        return self.where is None and not self.equal

    def below(self, prefix: str) -> Condition:
        """Return the condition for keys that were shortened by a prefix, as it is asked of the whole keys."""
        return Condition(self.where, self.equal, prefix + self.prefix)

    def matching(self, pairs: Iterable[tuple[str, str]]) -> Iterator[Found]:
        """Return those pairs of a key and its metadata, as JSON text, that fulfil the condition.

        Parameters
        ----------
        pairs : iterable of tuple of (str, str)
            All that may.

        Yields
        ------
        tuple of (str, dict)
            Key and metadata.
        """
        if self.where is None and len(self.equal) == 1:
            return _with_one_field(pairs, *self.equal.items())
        found = ((key, decoded(text)) for key, text in pairs)
        return found if self.is_empty else (pair for pair in found if self.accepts(*pair))

    def accepts(self, key: str, metadata: dict[str, Json]) -> bool:
        """Tell whether metadata fulfils the condition.

        Parameters
        ----------
        key : str
            The key, for queries that ask about it.
        metadata : dict
            The metadata.

        Returns
        -------
        bool
            True when it does.
        """
        for name, value in self.equal.items():
            found = metadata.get(name, _ABSENT)
            if found is _ABSENT or found != value:
                return False
        return self.where is None or self.where.matches(metadata, Subject(key=self.prefix + key))


def _with_one_field(pairs: Iterable[tuple[str, str]], asked: tuple[str, Any]) -> Iterator[Found]:
    """Yield what `Condition.matching` yields for the commonest question, in half the time."""
    name, value = asked
    for key, text in pairs:
        metadata = decoded(text)
        if name in metadata and not metadata[name] != value:  # noqa: SIM202 - as in `accepts`, `==` may differ
            yield key, metadata


def condition_of(where: object, equal: Mapping[str, Any]) -> Condition:
    """Return the condition that the arguments of `Store.query` make.

    Parameters
    ----------
    where : Query, mapping or object
        A query tree, or fields and their values; None for nothing. Anything else is the value of a field that
        happens to be named ``where``.
    equal : mapping
        The keyword arguments.

    Returns
    -------
    Condition
        The condition.

    Raises
    ------
    InvalidQueryError
        For values that cannot be asked for.
    """
    if where is None or isinstance(where, Query):
        return Condition(where, dict(equal))
    if isinstance(where, Mapping):
        return Condition(from_keywords(**where), dict(equal))
    return Condition(None, {**equal, "where": where})
