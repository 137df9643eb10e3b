"""Own the fitting of new rows to those that are there: type, shape, and their bytes in a frame.

It does not write. Rows that do not fit are refused here, and nothing has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast.errors import InvalidTypeError
from holdfast.formats.sealed.base import Base
from holdfast.formats.sealed.selection import bytes_of
from holdfast.formats.sealed.values import Values
from holdfast.types import Buffer

__all__ = ["NewRows", "as_rows"]


@dataclass(frozen=True, slots=True)
class NewRows:
    """Hold rows to append: values whose first axis counts the rows."""

    values: Values

    @property
    def count(self) -> int:
        """How many rows."""
        return self.values.shape[0]

    def payload(self, base: Base) -> Buffer:
        """Return the rows as they stand in a frame of an entry.

        Parameters
        ----------
        base : Base
            What is there; its type and row shape rule.

        Returns
        -------
        bytes-like
            The payload.

        Raises
        ------
        InvalidTypeError
            When type or shape differ.
        """
        shape, what = base.facts.shape, base.what
        if not shape:
            raise InvalidTypeError(
                f"{what} is a single value and takes no rows; write an array with a first axis"
            )
        if self.values.shape[1:] != shape[1:]:
            raise InvalidTypeError(
                f"{what} has rows of shape {shape[1:]}, not {self.values.shape[1:]}; its rows are unchanged"
            )
        if base.is_text:
            return self._texts(what)
        if self.values.dtype is None:
            raise InvalidTypeError(
                f"{what} has rows of type {base.dtype}, not strings; its rows are unchanged"
            )
        return bytes_of(self._cast(base.dtype, what))

    def _texts(self, what: str) -> bytes:
        texts = self.values.texts
        if texts is None:
            raise InvalidTypeError(
                f"{what} has rows of strings, not {self.values.dtype}; its rows are unchanged"
            )
        return np.array([len(text) for text in texts], "<u4").tobytes() + b"".join(texts)

    def _cast(self, dtype: np.dtype[Any], what: str) -> np.ndarray[Any, Any]:
        array = np.concatenate(list(self.values.pieces())) if self.values.array is None else self.values.array
        if array.dtype == dtype:
            return array
        fits = np.can_cast(array.dtype, dtype, "equiv") or (
            array.dtype.kind == dtype.kind == "S" and array.dtype.itemsize <= dtype.itemsize
        )
        if fits:
            return array.astype(dtype)
        cast = _exact_cast(array, dtype) if self.values.is_loose else None
        if cast is None:
            raise InvalidTypeError(
                f"{what} has rows of type {dtype}, not {array.dtype}; its rows are unchanged: "
                "convert with astype()"
            )
        return cast


def _exact_cast(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any] | None:
    """Return Python numbers in the type of the rows, None if a value would change."""
    ranks = "biufc"
    if dtype.kind not in ranks or (array.dtype.kind == "b") != (dtype.kind == "b"):
        return None
    if ranks.index(array.dtype.kind) > ranks.index(dtype.kind) and not (
        array.dtype.kind in "iu" and dtype.kind in "iu"
    ):
        return None
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    if array.dtype.kind in "fc":
        return cast  # a Python float takes the precision of the rows, as it does in numpy
    return cast if np.array_equal(cast.astype(array.dtype), array) else None


def as_rows(values: Values, *, is_item: bool) -> NewRows:
    """Return values as rows.

    Parameters
    ----------
    values : Values
        What the user gave.
    is_item : bool
        It is one item, and gets a first axis of length 1; otherwise its first axis counts the rows.

    Returns
    -------
    NewRows
        The rows.

    Raises
    ------
    InvalidTypeError
        When a single value is given where several rows are needed.
    """
    if not is_item:
        if not values.shape:
            raise InvalidTypeError("a single value has no rows to extend with; append() it, or give a list")
        return NewRows(values)
    array = None if values.array is None else values.array[np.newaxis]
    slabs = values.slabs
    if slabs is not None:
        array = np.concatenate(list(slabs()))[np.newaxis]
    give = "" if values.dtype is not None else {"str": "U"}.get(values.give, values.give)
    return NewRows(
        Values((1, *values.shape), values.dtype, array, values.texts, give=give, is_loose=values.is_loose)
    )
