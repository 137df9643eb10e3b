"""Own the four kinds of analysis documents: their names, collections and parents.

>>> kind_of("analysis_tail").parent_field
'analysis_header'
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import NotFoundError

__all__ = ["HEADER", "KINDS", "REFERENCE", "STREAM", "TAIL", "Kind", "kind_of"]


@dataclass(frozen=True, slots=True)
class Kind:
    """Describe a kind of document.

    Parameters
    ----------
    name : str
        Its name, and its address on the wire.
    collection : int
        Where the database keeps it.
    parent_field : str or None
        The field that names the document it belongs to.
    parent : str or None
        The kind of that document.
    """

    name: str
    collection: int
    parent_field: str | None = None
    parent: str | None = None

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """The fields that the database keeps in columns."""
        found: dict[str, tuple[str, ...]] = {}
        if self.parent_field is not None:
            found["header"] = (self.parent_field,)
        if self is REFERENCE:
            found["seq_num"] = ("seq_num",)
        return found


HEADER = Kind("analysis_header", -1)
TAIL = Kind("analysis_tail", -2, "analysis_header", "analysis_header")
STREAM = Kind("data_reference_header", -3, "analysis_header", "analysis_header")
REFERENCE = Kind("data_reference", -4, "data_reference_header", "data_reference_header")

KINDS = {kind.name: kind for kind in (HEADER, TAIL, STREAM, REFERENCE)}
"""The kinds by their names."""


def kind_of(name: str) -> Kind:
    """Return a kind by its name.

    Parameters
    ----------
    name : str
        For example ``"analysis_header"``.

    Returns
    -------
    Kind
        The kind.

    Raises
    ------
    NotFoundError
        A KeyError, for any other name.
    """
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise NotFoundError(f"{name!r:.80} is not a valid document type; use one of {', '.join(KINDS)}")
    return kind
