"""What of an array is a picture, and its values as 8-bit brightness.

Owns the rule of what is seen: which axes are rows, columns and colours, and which values are black and white.

>>> scaled(np.array([0.0, 5.0, 10.0, np.nan]), Levels(0.0, 10.0)).tolist()
[0, 128, 255, 0]
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from holdfast.formats.exports.base import ArrayPart

__all__ = ["Levels", "as_picture", "levels", "scaled", "why_no_picture"]

_COLORS = (3, 4)
_PLANE, _COLORED = 2, 3
_SAMPLE_ITEMS = 1 << 20
_PERCENTILES = (1.0, 99.0)


class Levels(NamedTuple):
    """The values that are black and white."""

    low: float
    high: float


def why_no_picture(part: ArrayPart) -> str | None:
    """Return why an array is no picture, and what to do; None when it is one."""
    kind = part.dtype.kind
    if part.dtype.names is not None or kind not in "biuf":
        what = "complex numbers" if kind == "c" else f"elements of type {part.dtype}"
        return f"{what} have no brightness"
    if not part.size:
        return f"an array of shape {part.shape} has no pixels"
    if as_picture(part) is None:
        first = ",".join(["0"] * (part.ndim - _PLANE) + [":", ":"])
        return (
            f"an array of shape {part.shape} is no picture; take one with a slice of two axes, "
            f"such as slice={first}"
        )
    return None


def as_picture(part: ArrayPart) -> ArrayPart | None:
    """Return an array as rows and columns, of uint8 also as colours; None if it has more axes than that.

    Parameters
    ----------
    part : ArrayPart
        Axes of length 1 before the last two count for nothing; a third axis of 3 or 4 uint8 is colour; one
        axis is a row.
    """
    shape = part.shape
    is_colored = part.dtype == np.uint8 and len(shape) >= _COLORED and shape[-1] in _COLORS
    kept = _COLORED if is_colored and math.prod(shape[:-_COLORED]) == 1 else _PLANE
    if math.prod(shape[:-kept]) != 1:
        return None
    return part[(0,) * max(len(shape) - kept, 0)]


def levels(picture: ArrayPart) -> Levels:
    """Return the 1st and 99th percentile of the finite values of a picture without colours.

    Notes
    -----
    Of more than 1,048,576 pixels only rows in even steps are looked at. Where the two are equal, as in an
    image that is dark but for a few spots, the least and the greatest value are taken.
    """
    step = math.ceil(picture.size / _SAMPLE_ITEMS)
    sample = picture
    if step > 1:
        rows = min(step, picture.shape[0])
        sample = picture[(slice(None, None, rows), slice(None, None, math.ceil(step / rows)))[: picture.ndim]]
    values = sample.read().astype(np.float64, copy=False).reshape(-1)
    values = values[np.isfinite(values)]
    if not values.size:
        return Levels(0.0, 1.0)
    # Half of it, and then twice, is the same to the last bit and never infinite.
    low, high = (2 * float(level) for level in np.percentile(values / 2, _PERCENTILES))
    if low == high:
        low, high = float(values.min()), float(values.max())
    return Levels(low, high)


def scaled(values: np.ndarray[Any, Any], shown: Levels) -> np.ndarray[Any, Any]:
    """Return brightness: 0 at and below the low level, 255 at and above the high one, what is no number 0."""
    span = shown.high - shown.low
    if not span > 0:
        return np.where(values > shown.high, 255, 0).astype(np.uint8)
    if math.isinf(span):
        return scaled(values / 2, Levels(shown.low / 2, shown.high / 2))
    with np.errstate(invalid="ignore", over="ignore"):
        part = (values.astype(np.float64) - shown.low) / span
        bright = np.clip(np.nan_to_num(part, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    return np.rint(bright * 255).astype(np.uint8)
