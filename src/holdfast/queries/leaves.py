"""Own the leaves of the query tree: one class for each thing that can be asked of a node.

>>> from holdfast.queries import Contains, In, Like
>>> In("n", [1, 2]).matches({"n": 2.0}), Contains("t", 1).matches({"t": [True]})
(True, False)
"""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from holdfast.errors import InvalidInputError, InvalidTypeError, TooLargeError
from holdfast.queries.fields import field_of
from holdfast.queries.likes import like_pattern
from holdfast.queries.tree import Query, SearchFunction, Subject, check_text, frozen_value, membership
from holdfast.queries.values import canonical, equal, kind_of
from holdfast.types import Json

__all__ = [
    "MAX_VALUES",
    "OPERATORS",
    "Comparison",
    "Contains",
    "Eq",
    "In",
    "KeyPresent",
    "Like",
    "NotEq",
    "NotIn",
    "Regex",
]

MAX_VALUES = 100_000
"""The most values of In, NotIn and KeysFilter."""

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operators.lt,
    "le": operators.le,
    "gt": operators.gt,
    "ge": operators.ge,
}
"""The operators of `Comparison` by their names on the wire."""


@dataclass(frozen=True, eq=False, repr=False)
class _OfField(Query):
    """Be a leaf that looks at one field."""

    key: Any  # what `field_of` takes; a Field once made

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", field_of(self.key))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False, repr=False)
class Eq(_OfField):
    """Match a field that equals a value; a missing field equals nothing, not even null.

    Parameters
    ----------
    key : str, list of str or Key
        The field.
    value : JSON
        Any value; 1 equals 1.0, True does not equal 1.
    """

    value: Json
    op: ClassVar[str] = "eq"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("value", frozen_value(self.value, f"the value for {self.key.dotted}"))

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return any(equal(value, self.value) for value in self.key.values(metadata))


class NotEq(Eq):
    """Match a field that is there and does not equal a value; see `Eq`."""

    op = "noteq"

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        values = list(self.key.values(metadata))
        return bool(values) and not any(equal(value, self.value) for value in values)


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Query):
    """Match a number that compares with a number, or a text with a text (by code points).

    Parameters
    ----------
    operator : {"lt", "le", "gt", "ge"}
        The comparison.
    key : str, list of str or Key
        The field.
    value : int, float or str
        The bound.
    """

    operator: str
    key: Any  # what `field_of` takes; a Field once made
    value: int | float | str
    op: ClassVar[str] = "comparison"

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise InvalidInputError(
                f"unknown operator {self.operator!r:.40}; use one of {', '.join(OPERATORS)}"
            )
        object.__setattr__(self, "key", field_of(self.key))
        frozen_value(self.value, f"the bound for {self.key.dotted}")
        if isinstance(self.value, bool) or not isinstance(self.value, int | float | str):
            raise InvalidTypeError(
                f"{self.key.dotted} can be compared with a number or a text, not with {self.value!r:.80}"
            )

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        compare, kind = OPERATORS[self.operator], kind_of(self.value)
        return any(
            kind_of(value) == kind and compare(value, self.value) for value in self.key.values(metadata)
        )


@dataclass(frozen=True, eq=False, repr=False)
class In(_OfField):
    """Match a field that equals one of several values.

    Parameters
    ----------
    key : str, list of str or Key
        The field.
    values : iterable of JSON
        At most 100,000; none match nothing.
    """

    values: Any  # an iterable of JSON values; a tuple once made
    op: ClassVar[str] = "in"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.values, str) or not isinstance(self.values, Iterable):
            raise InvalidTypeError(
                f"the values for {self.key.dotted} must be a list, not {self.values!r:.80}"
            )
        values = tuple(frozen_value(list(self.values), f"the values for {self.key.dotted}"))
        self._set("values", values)
        if len(values) > MAX_VALUES:
            raise TooLargeError(f"over {MAX_VALUES} values for {self.key.dotted}; ask in several parts")

    @cached_property
    def _members(self) -> frozenset[str]:
        return membership(self.values)

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return any(canonical(value) in self._members for value in self.key.values(metadata))


class NotIn(In):
    """Match a field that is there and equals none of several values; see `In`."""

    op = "notin"

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        values = list(self.key.values(metadata))
        return bool(values) and not any(canonical(value) in self._members for value in values)


@dataclass(frozen=True, eq=False, repr=False)
class Contains(_OfField):
    """Match a list that has a value as an element, or a text that has it as a part (case matters).

    Parameters
    ----------
    key : str, list of str or Key
        The field.
    value : JSON
        The element or the part.
    """

    value: Json
    op: ClassVar[str] = "contains"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("value", frozen_value(self.value, f"the value for {self.key.dotted}"))

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return any(self._is_in(value) for value in self.key.reach(metadata))

    def _is_in(self, value: Json) -> bool:
        if isinstance(value, str):
            return isinstance(self.value, str) and self.value in value
        return isinstance(value, list) and any(equal(element, self.value) for element in value)


@dataclass(frozen=True, eq=False, repr=False)
class _Pattern(_OfField):
    pattern: str
    case_sensitive: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_text(self.pattern, f"the pattern for {self.key.dotted}")
        if not isinstance(self.case_sensitive, bool):
            raise InvalidTypeError(f"case_sensitive must be true or false, not {self.case_sensitive!r:.40}")


class Like(_Pattern):
    r"""Match a whole text with ``%`` for any characters and ``_`` for one; ``\`` makes them plain.

    Parameters
    ----------
    key : str, list of str or Key
        The field.
    pattern : str
        For example ``"Ni%"``.
    case_sensitive : bool, default True
        Whether case matters.
    """

    op = "like"

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        pattern = like_pattern(self.pattern, self.case_sensitive)
        return any(
            isinstance(value, str) and pattern.fullmatch(value) is not None
            for value in self.key.values(metadata)
        )


class Regex(_Pattern):
    """Match a text in which a regular expression is found anywhere.

    Parameters
    ----------
    key : str, list of str or Key
        The field.
    pattern : str
        The expression; anchor it with ``^`` and ``$``.
    case_sensitive : bool, default True
        Whether case matters.
    """

    op = "regex"

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return any(
            isinstance(value, str) and search(self.pattern, value, self.case_sensitive)
            for value in self.key.values(metadata)
        )


@dataclass(frozen=True, eq=False, repr=False)
class KeyPresent(_OfField):
    """Match where a field exists, null included.

    Parameters
    ----------
    key : str, list of str or Key
        The field.
    exists : bool, default True
        False to match where it does not exist.
    """

    exists: bool = True
    op: ClassVar[str] = "keypresent"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.exists, bool):
            raise InvalidTypeError(f"exists must be true or false, not {self.exists!r:.40}")

    def _test(self, metadata: dict[str, Json], subject: Subject, search: SearchFunction) -> bool:
        return any(True for _ in self.key.reach(metadata)) is self.exists
