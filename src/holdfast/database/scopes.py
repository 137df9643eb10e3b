"""Own pieces of SQL with their values, and the scope of a search; ?1 is always the scope's container.

>>> Scope(7).test, Fragment("n.id = ?", (1,)).values
(' = ?1', (1,))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["FALSE", "TRUE", "Fragment", "Scope", "all_of", "any_of", "negated"]


@dataclass(frozen=True, slots=True)
class Fragment:
    """Hold a piece of SQL with the values to bind to it.

    Parameters
    ----------
    text : str
        The SQL, which depends on the shape of a query only.
    values : tuple
        One for each ``?``.
    """

    text: str
    values: tuple[object, ...] = ()


TRUE, FALSE = Fragment("1"), Fragment("0")


@dataclass(frozen=True, slots=True)
class Scope:
    """Say which nodes are looked at: the children of one, or all below it.

    Parameters
    ----------
    parent : int
        The id of the container.
    is_deep : bool
        Whether its whole subtree is meant.
    columns : mapping, optional
        Fields that are columns of ``n`` and not in the index: their names by the fields' paths.
    is_indexed : bool
        Whether the index knows the nodes; else only columns can be asked.
    """

    parent: int
    is_deep: bool = False
    columns: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    is_indexed: bool = True

    @property
    def test(self) -> str:
        """What follows the name of a parent column."""
        return " IN (SELECT id FROM scope)" if self.is_deep else " = ?1"

    @property
    def prefix(self) -> str:
        """What stands before each statement: ?1 is its first parameter even where `test` is not used."""
        if not self.is_deep:
            return "WITH scope(id) AS (VALUES(?1)) "
        return (
            "WITH RECURSIVE scope(id) AS (VALUES(?1) UNION ALL SELECT c.id FROM nodes c "
            "JOIN scope ON c.parent = scope.id WHERE c.children > 0) "
        )


def any_of(parts: list[Fragment]) -> Fragment:
    """Return the condition that any part holds."""
    kept = [part for part in parts if part != FALSE]
    if TRUE in kept:
        return TRUE
    return _joined(kept, " OR ") if kept else FALSE


def all_of(parts: list[Fragment]) -> Fragment:
    """Return the condition that all parts hold."""
    kept = [part for part in parts if part != TRUE]
    if FALSE in kept:
        return FALSE
    return _joined(kept, " AND ") if kept else TRUE


def negated(part: Fragment) -> Fragment:
    """Return the condition that a part does not hold; no part of ours is ever NULL."""
    if part in (TRUE, FALSE):
        return FALSE if part == TRUE else TRUE
    return Fragment(f"NOT {part.text}", part.values)


def _joined(parts: list[Fragment], word: str) -> Fragment:
    if len(parts) == 1:
        return parts[0]
    return Fragment(
        f"({word.join(part.text for part in parts)})", tuple(v for part in parts for v in part.values)
    )
