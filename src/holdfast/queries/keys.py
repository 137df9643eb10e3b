"""Own the key: the name of a field that makes queries with Python's operators.

>>> from holdfast.queries import Key
>>> Key("n") > 5
Comparison(operator='gt', key='n', value=5)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from holdfast.queries.fields import Field, field_of
from holdfast.queries.leaves import Comparison, Eq, NotEq

__all__ = ["Key"]


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Key:
    """Name a field and compare it with Python's operators.

    Parameters
    ----------
    *parts : str or list of str
        One text, split at dots; or the parts of the path as they are.

    Examples
    --------
    >>> Key("a.b") == 1
    Eq(key='a.b', value=1)
    >>> Key("a", "b.c") != "x"
    NotEq(key='a."b.c"', value='x')
    """

    field: Field = field(repr=False)

    def __init__(self, *parts: str | list[str] | Key | Field) -> None:
        object.__setattr__(self, "field", field_of(parts[0] if len(parts) == 1 else list(parts)))

    @property
    def path(self) -> tuple[str, ...]:
        """The parts of the path."""
        return self.field.path

    @property
    def dotted(self) -> str:
        """The path as a person writes it."""
        return self.field.dotted

    def __eq__(self, value: object) -> Eq:  # type: ignore[override]  # a comparison makes a query
        return Eq(self.field, value)

    def __ne__(self, value: object) -> NotEq:  # type: ignore[override]  # a comparison makes a query
        return NotEq(self.field, value)

    def __lt__(self, value: Any) -> Comparison:
        return Comparison("lt", self.field, value)

    def __le__(self, value: Any) -> Comparison:
        return Comparison("le", self.field, value)

    def __gt__(self, value: Any) -> Comparison:
        return Comparison("gt", self.field, value)

    def __ge__(self, value: Any) -> Comparison:
        return Comparison("ge", self.field, value)

    def __hash__(self) -> int:
        return hash(self.field)

    def __repr__(self) -> str:
        return f"Key({self.dotted!r})"
