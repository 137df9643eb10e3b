"""Own the order of hits: sort keys, the cursor of a page, and sorting by several fields.

Values sort as null, false, true, numbers, texts, lists, objects; nodes without the field come last in both
directions; equals keep the order of their ids, turned round when the last key is descending.

>>> order_of([("a.b", -1)]).keys
((('a', 'b'), True),)
>>> read_cursor(write_cursor(order_of([]), 7), order_of([]))
7
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import total_ordering
from hashlib import blake2b

from holdfast.errors import InvalidInputError
from holdfast.queries import field_of
from holdfast.types import Json

__all__ = ["Image", "Order", "in_order", "order_of", "position", "read_cursor", "write_cursor"]

Image = tuple[int, int | float | str | bytes]
_MAX_KEYS = 10


@dataclass(frozen=True, slots=True)
class Order:
    """Hold an order of nodes.

    Parameters
    ----------
    keys : tuple of (path, bool)
        Fields by the parts of their paths, and whether they descend.
    is_descending : bool
        Whether equals, and all nodes without keys, go from new to old.
    """

    keys: tuple[tuple[tuple[str, ...], bool], ...] = ()
    is_descending: bool = False

    @property
    def mark(self) -> str:
        """A short text that tells this order from others."""
        return blake2b(repr((self.keys, self.is_descending)).encode(), digest_size=4).hexdigest()


def order_of(sort: Iterable[tuple[object, int]]) -> Order:
    """Read sort keys.

    Parameters
    ----------
    sort : iterable of (key, int)
        Keys as `field_of` takes them, with 1 or -1; the empty key is the order of creation.

    Returns
    -------
    Order
        The order.

    Raises
    ------
    InvalidInputError
        For a direction other than 1 and -1, or more than ten keys.
    """
    keys: list[tuple[tuple[str, ...], bool]] = []
    is_descending = False
    for key, direction in sort:
        if direction not in (1, -1) or isinstance(direction, bool):
            raise InvalidInputError(
                f"the direction of sort key {key!r:.80} must be 1 or -1, not {direction!r:.40}"
            )
        is_descending = direction == -1
        if key == "":
            break
        keys.append((field_of(key).path, is_descending))
    if len(keys) > _MAX_KEYS:
        raise InvalidInputError(f"a search can be sorted by at most {_MAX_KEYS} keys")
    return Order(tuple(keys), is_descending)


def write_cursor(order: Order, place: Json) -> str:
    """Return the cursor of the page after a place.

    Parameters
    ----------
    order : Order
        The order of the search.
    place : JSON
        Where the page ended.

    Returns
    -------
    str
        Letters, digits, ``-`` and ``_``.
    """
    text = json.dumps([order.mark, place], ensure_ascii=False, separators=(",", ":"), default=_bytes_as_json)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _bytes_as_json(value: bytes) -> Json:
    return {"hex": value.hex()}


def read_cursor(cursor: str, order: Order) -> Json:
    """Return the place that a cursor says.

    Parameters
    ----------
    cursor : str
        What `write_cursor` gave.
    order : Order
        The order of the search now.

    Returns
    -------
    JSON
        The place.

    Raises
    ------
    InvalidInputError
        For a cursor that is damaged, or of a search in another order.
    """
    try:
        text = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        mark, place = json.loads(text, object_hook=lambda each: bytes.fromhex(each["hex"]))
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise InvalidInputError(f"the cursor {cursor!r:.80} is damaged; start again without it") from error
    if mark != order.mark:
        raise InvalidInputError("the cursor belongs to a search in another order; start again without it")
    return place


@total_ordering
@dataclass(frozen=True, slots=True)
class _Turned:
    image: Image

    def __lt__(self, other: _Turned) -> bool:
        return other.image < self.image


def in_order(order: Order, images: Sequence[Mapping[int, Image]], nodes: Sequence[int]) -> list[int]:
    """Return nodes in order: one stable sort for each key, the last key first.

    Parameters
    ----------
    order : Order
        The order.
    images : sequence of mapping
        For each key the images of the nodes that have the field.
    nodes : sequence of int
        Ids, ascending.

    Returns
    -------
    list of int
        The ids, in order.
    """
    ordered = list(reversed(nodes)) if order.is_descending else list(nodes)
    for (_, is_descending), known in reversed(list(zip(order.keys, images, strict=True))):
        present = [node for node in ordered if node in known]
        missing = [node for node in ordered if node not in known]
        ordered = sorted(present, key=known.__getitem__, reverse=is_descending) + missing
    return ordered


def position(order: Order, images: Sequence[Mapping[int, Image]], node: int) -> tuple[object, ...]:
    """Return what orders a node among others: greater comes later.

    Parameters
    ----------
    order : Order
        The order.
    images : sequence of mapping
        For each key the images of the nodes that have the field.
    node : int
        The id.

    Returns
    -------
    tuple
        To be compared with those of other nodes.
    """
    parts: list[object] = []
    for (_, is_descending), known in zip(order.keys, images, strict=True):
        image = known.get(node)
        parts.append((1,) if image is None else (0, _Turned(image) if is_descending else image))
    return (*parts, -node if order.is_descending else node)
