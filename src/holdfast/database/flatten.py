"""Own the rows of the metadata index: how a JSON document becomes typed values and words.

It makes rows and writes none. The rows are part of the format: a change here is a new schema version.

>>> from holdfast.database.flatten import image
>>> image(1.0), image(True), image("x"), image(None)
((2, 1.0), (1, 1), (3, 'x'), (0, 0))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from holdfast.database.tables import DOCUMENT_PATH
from holdfast.queries.values import BOOL, LIST, NULL, NUMBER, OBJECT, TEXT, canonical, kind_of, strings
from holdfast.queries.words import words
from holdfast.types import Json

__all__ = [
    "CUT",
    "LONG",
    "MARKER",
    "MAX_ELEMENTS",
    "MAX_KEYS",
    "MAX_LEVELS",
    "MAX_TEXT",
    "Flattener",
    "Row",
    "Rows",
    "image",
    "text_of",
]

MARKER = 6
"""The kind of a row that says: below this path not everything of the node is indexed."""

CUT, LONG = 1, 2
"""Flags of paths: somewhere not everything below is indexed; somewhere a text is longer than its row."""

MAX_TEXT = 200
MAX_ELEMENTS = 256
MAX_KEYS = 1000
MAX_LEVELS = 16
_SEPARATOR = " \ue000 "
_LARGEST = 2**63

_ABSENT = object()

Row = tuple[int, int, int | float | str | bytes]
"""Path id, kind and image."""


def image(value: Json) -> tuple[int, int | float | str | bytes]:
    """Return the kind of a value and what stands for it in the index.

    Parameters
    ----------
    value : JSON
        A checked value.

    Returns
    -------
    (int, value)
        Images are equal exactly for equal values (whole numbers beyond 63 bits aside) and sort as the
        values do: null, false, true, numbers, texts, lists, objects.
    """
    kind = kind_of(value)
    if kind == TEXT:
        return kind, value if len(value) <= MAX_TEXT else _long_image(value)
    if kind == NUMBER:
        return kind, _number_image(value)
    if kind == BOOL:
        return kind, int(value)
    return kind, 0 if kind == NULL else _digest(value)


def _long_image(text: str) -> str:
    return text[:MAX_TEXT] + "\U0010ffff" + blake2b(text.encode(), digest_size=12).hexdigest()


def _number_image(number: int | float) -> int | float:
    if isinstance(number, float) or -_LARGEST <= number < _LARGEST:
        return number
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _digest(value: Json) -> bytes:
    return blake2b(canonical(value).encode(), digest_size=12).digest()


@dataclass(slots=True)
class Rows:
    """Hold the rows of one document.

    Parameters
    ----------
    rows : list of (int, int, value)
        Path id, kind and image; may repeat.
    flags : dict of int to int
        New flags of paths.
    """

    rows: list[Row] = field(default_factory=list)
    flags: dict[int, int] = field(default_factory=dict)


class Flattener:
    """Turn documents into rows.

    Parameters
    ----------
    child : callable
        Gives the id of the path below a path id by a key; None is any list element.
    """

    def __init__(self, child: Callable[[int, str | None], int]) -> None:
        self._child = child

    def rows(self, document: dict[str, Json]) -> Rows:
        """Return the rows of a document.

        Parameters
        ----------
        document : dict
            Checked JSON values.

        Returns
        -------
        Rows
            One for each value at any depth, list elements under the path of any element.
        """
        found = Rows()
        if len(document) > MAX_KEYS:
            self._cut(found, DOCUMENT_PATH)
        else:
            for key, value in document.items():
                self._add(found, self._child(DOCUMENT_PATH, key), value, 1)
        return found

    def field_rows(self, document: dict[str, Json], field: tuple[str, ...]) -> Rows:
        """Return the rows at and below one field of one or two steps.

        Parameters
        ----------
        document : dict
            Checked JSON values.
        field : tuple of str
            Its path.

        Returns
        -------
        Rows
            As `rows` gives them; a mark where the field is reached through a list.
        """
        found = Rows()
        path = self._child(DOCUMENT_PATH, field[0])
        value = document.get(field[0], _ABSENT)
        if len(field) > 1:
            path = self._child(path, field[1])
            if isinstance(value, list):
                self._cut(found, path)
                return found
            value = value.get(field[1], _ABSENT) if isinstance(value, dict) else _ABSENT
        if value is not _ABSENT:
            self._add(found, path, value, len(field))
        return found

    def _add(self, found: Rows, path: int, value: Json, level: int) -> None:
        cls = type(value)
        if cls is str:
            if len(value) > MAX_TEXT:
                found.flags[path] = found.flags.get(path, 0) | LONG
                value = _long_image(value)
            found.rows.append((path, TEXT, value))
        elif cls is float or cls is int:
            found.rows.append((path, NUMBER, _number_image(value)))
        elif cls is dict:
            self._add_object(found, path, value, level)
        elif cls is list or cls is tuple:
            self._add_list(found, path, value, level)
        else:
            found.rows.append((path, *image(value)))

    def _add_object(self, found: Rows, path: int, value: dict[str, Json], level: int) -> None:
        found.rows.append((path, OBJECT, _digest(value)))
        if value and (level >= MAX_LEVELS or len(value) > MAX_KEYS):
            self._cut(found, path)
            return
        for key, each in value.items():
            self._add(found, self._child(path, key), each, level + 1)

    def _add_list(self, found: Rows, path: int, value: list[Json], level: int) -> None:
        found.rows.append((path, LIST, _digest(value)))
        if not value:
            return
        element = self._child(path, None)
        if level >= MAX_LEVELS or len(value) > MAX_ELEMENTS:
            self._cut(found, element)
            return
        for each in value:
            self._add(found, element, each, level + 1)

    @staticmethod
    def _cut(found: Rows, path: int) -> None:
        found.rows.append((path, MARKER, 0))
        found.flags[path] = found.flags.get(path, 0) | CUT


def text_of(document: dict[str, Json]) -> str:
    """Return the words of a document as the full-text index takes them.

    Parameters
    ----------
    document : dict
        JSON values.

    Returns
    -------
    str
        Tokens of ``queries.words``, with one separator between two values so that no phrase spans them.
    """
    return _SEPARATOR.join(" ".join(words(text)) for text in strings(document))
