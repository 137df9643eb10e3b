"""Own the store's notation of queries: keywords that must equal fields.

>>> from holdfast.queries import from_keywords
>>> from_keywords(color="red").matches({"color": "red"})
True
"""

from __future__ import annotations

from holdfast.queries.leaves import Eq
from holdfast.queries.tree import And, Query
from holdfast.types import Json

__all__ = ["from_keywords"]


def from_keywords(**fields: Json) -> Query:
    """Return the query that every field equals its value.

    Parameters
    ----------
    **fields : JSON
        Whole names, not split at dots, and their values.

    Returns
    -------
    Query
        The `And` of one `Eq` for each.
    """
    return And(*(Eq([name], value) for name, value in fields.items()))
