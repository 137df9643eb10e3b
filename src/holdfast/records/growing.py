"""Own what is done before rows are appended: whatever is given becomes rows, and must fit.

It does not append: the sealed format does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from holdfast.errors import InvalidInputError, InvalidTypeError
from holdfast.formats.sealed import SUFFIX, NewRows, SealedView, Values, as_rows
from holdfast.records.adopting import adopt_array
from holdfast.records.foreign import holds_only_data, open_array
from holdfast.records.handle import Record
from holdfast.records.names import kind_of, split
from holdfast.records.values import Content, FileCopy, Tree, as_content

__all__ = ["adopt_for_rows", "check_fits", "in_memory", "rows_of"]


def rows_of(content: Content, *, is_item: bool) -> NewRows:
    """Return content as rows.

    Parameters
    ----------
    content : Content
        One leaf.
    is_item : bool
        It is one item, and gets a first axis; otherwise its first axis counts the rows.

    Returns
    -------
    NewRows
        The rows.

    Raises
    ------
    InvalidTypeError
        For files, and for single values where several rows are needed.
    """
    if isinstance(content, FileCopy):
        raise InvalidTypeError(f"the file {content.path!r} cannot be appended; append arrays, or assign it")
    assert isinstance(content, Values)
    return as_rows(content, is_item=is_item)


def check_fits(path: str, what: str, rows: NewRows) -> None:
    """Refuse rows that do not fit an entry, before any other entry is appended to.

    Parameters
    ----------
    path : str
        The entry, without suffix; one that is not there takes all rows.
    what : str
        The entry, for messages.
    rows : NewRows
        The rows.

    Raises
    ------
    InvalidTypeError
        When type or shape differ.
    """
    if kind_of(path) == "array":
        with open_array(path + SUFFIX, what) as view:
            if isinstance(view, SealedView):
                rows.payload(view.base)


def adopt_for_rows(path: str, what: str) -> None:
    """Adopt an array of other origin so that rows can be appended.

    Parameters
    ----------
    path : str
        The HDF5 file.
    what : str
        The entry, for messages.

    Raises
    ------
    InvalidInputError
        When it holds more than ``data``, which would be lost.
    UnreadableError
        When it cannot be read.
    """
    with open_array(path, what):
        if not holds_only_data(path):
            raise InvalidInputError(
                f"{what} holds attributes or more data sets, which appending would lose; "
                "assign the array itself first, or append to another entry"
            )
    adopt_array(path, what)


def in_memory(record: Record) -> Tree:
    """Return the arrays of a record as a tree of values."""
    return Tree({split(key): as_content(_plain(value)) for key, value in record.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return {key: _plain(inner) for key, inner in value.items()}
    return np.asarray(value)
