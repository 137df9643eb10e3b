"""Own the leaves that look at a node as a whole: its words, specs, family and key.

>>> from holdfast.queries import FullText
>>> FullText("silver").matches({"sample": {"note": "Silver behenate"}})
True
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from holdfast.errors import InvalidInputError, InvalidTypeError, TooLargeError
from holdfast.queries.leaves import MAX_VALUES
from holdfast.queries.tree import Query, SearchFunction, Subject, check_text
from holdfast.queries.values import strings
from holdfast.queries.words import contains_phrase, phrases, words
from holdfast.types import Json

__all__ = ["FAMILIES", "FullText", "KeyLookup", "KeysFilter", "SpecsQuery", "StructureFamilyQuery"]

FAMILIES = ("array", "awkward", "bytes", "container", "ragged", "sparse", "table")
"""The structure families of Tiled's protocol."""


@dataclass(frozen=True, eq=False, repr=False)
class FullText(Query):
    """Match where every word occurs in the text values of the metadata, in any case.

    Parameters
    ----------
    text : str
        Blank-separated words; one that holds punctuation, as ``half-cell``, is a phrase inside one value.
    """

    text: str
    op: ClassVar[str] = "fulltext"

    def __post_init__(self) -> None:
        check_text(self.text, "the full text")

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        wanted = phrases(self.text)
        texts = [words(text) for text in strings(metadata)]
        return bool(wanted) and all(any(contains_phrase(text, phrase) for text in texts) for phrase in wanted)


@dataclass(frozen=True, eq=False, repr=False)
class SpecsQuery(Query):
    """Match nodes that carry all of some specs and none of others.

    Parameters
    ----------
    include, exclude : list of str
        Names of specs.
    """

    include: Iterable[str] = ()
    exclude: Iterable[str] = ()
    op: ClassVar[str] = "specs"

    def __post_init__(self) -> None:
        object.__setattr__(self, "include", _names(self.include, "include"))
        object.__setattr__(self, "exclude", _names(self.exclude, "exclude"))

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        specs = set(subject.specs)
        return specs.issuperset(self.include) and specs.isdisjoint(self.exclude)


@dataclass(frozen=True, eq=False, repr=False)
class StructureFamilyQuery(Query):
    """Match nodes of one structure family.

    Parameters
    ----------
    value : str
        ``array``, ``table``, ``container`` …

    Raises
    ------
    InvalidInputError
        For a family that there is not.
    """

    value: str
    op: ClassVar[str] = "structure_family"

    def __post_init__(self) -> None:
        check_text(self.value, "the structure family")
        if self.value not in FAMILIES:
            raise InvalidInputError(
                f"there is no structure family {self.value[:100]!r}; there are {', '.join(FAMILIES)}"
            )
        # An enumeration's member is text too; only its plain text is kept.
        object.__setattr__(self, "value", str.__str__(self.value))

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return subject.family == self.value


@dataclass(frozen=True, eq=False, repr=False)
class KeysFilter(Query):
    """Match the nodes with one of several keys of their own.

    Parameters
    ----------
    keys : list of str
        The keys, each as it stands.
    """

    keys: Iterable[str]
    op: ClassVar[str] = "keys_filter"

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", _names(self.keys, "keys"))

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return subject.key in self.keys


@dataclass(frozen=True, eq=False, repr=False)
class KeyLookup(Query):
    """Match the node with this key of its own.

    Parameters
    ----------
    key : str
        The key as it stands.
    """

    key: str
    op: ClassVar[str] = "lookup"

    def __post_init__(self) -> None:
        check_text(self.key, "the key")

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return subject.key == self.key


def _names(names: Iterable[str], what: str) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise InvalidTypeError(f"{what} must be a list of texts, not {names!r:.80}")
    kept = tuple(names)
    if len(kept) > MAX_VALUES:
        raise TooLargeError(f"{what} has over {MAX_VALUES} names; ask in several parts")
    for name in kept:
        check_text(name, what)
    return kept
