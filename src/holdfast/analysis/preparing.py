"""Own what happens to a document before the database is asked: filled, checked, ready to be kept.

>>> from holdfast.analysis.kinds import kind_of
>>> (found,) = prepare(kind_of("analysis_header"), [{"uid": "a", "provenance": {}}])
>>> found.uid, found.filled, str(found)
('a', ('time',), 'analysis_header')
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.analysis.kinds import REFERENCE, Kind
from holdfast.analysis.schemas import check_content, validate
from holdfast.errors import HoldfastError, InvalidInputError
from holdfast.types import Json

__all__ = ["Prepared", "prepare"]


@dataclass(slots=True)
class Prepared:
    """Hold one document on its way into the database.

    Parameters
    ----------
    kind : Kind
        Its kind.
    document : dict
        Its content.
    filled : tuple of str
        The fields that were absent.
    number, total : int
        Which of how many it is, for messages.
    is_orphan : bool
        Whether its parent is not there.
    """

    kind: Kind
    document: dict[str, Json]
    filled: tuple[str, ...]
    number: int
    total: int
    is_orphan: bool = False

    @property
    def uid(self) -> str:
        """Its uid."""
        uid: str = self.document["uid"]
        return uid

    def __str__(self) -> str:
        return _place(self.number, self.total) + self.kind.name


def prepare(kind: Kind, documents: Sequence[Mapping[str, Json]]) -> list[Prepared]:
    """Check documents by themselves, and fill what is absent.

    Parameters
    ----------
    kind : Kind
        Their kind.
    documents : sequence of mapping
        JSON values; they are not changed.

    Returns
    -------
    list of Prepared
        In order.

    Raises
    ------
    InvalidInputError
        For a document that its schema refuses; the message says which one and where.
    """
    total = len(documents)
    return [_prepared(kind, given, number, total) for number, given in enumerate(documents, 1)]


def _prepared(kind: Kind, given: Mapping[str, Json], number: int, total: int) -> Prepared:
    if type(given) is not dict and not isinstance(given, Mapping):
        raise InvalidInputError(f"{_place(number, total)}{kind.name} must be an object, not {given!r:.80}")
    document = dict(given)
    filled: tuple[str, ...] = ()
    if document.get("uid") is None:
        document["uid"], filled = str(uuid.uuid4()), ("uid",)
    if document.get("time") is None:
        document["time"], filled = time.time(), (*filled, "time")
    if kind is REFERENCE and document.get("seq_num", 0) is None:
        del document["seq_num"]
    try:
        check_content(kind.name, document)
        validate(kind.name, document)
    except HoldfastError as error:
        error.message = _place(number, total) + error.message
        raise
    return Prepared(kind, document, filled, number, total)


def _place(number: int, total: int) -> str:
    return f"document {number} of {total}, " if total > 1 else ""
