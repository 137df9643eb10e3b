"""Own the merging of metadata: what a file says now, and what people added since it was read last.

>>> merged({"n": 1, "m": 1}, {"n": 1, "m": 1, "note": "mine"}, {"n": 2})
{'n': 2, 'note': 'mine'}
"""

from __future__ import annotations

from holdfast.types import Json

__all__ = ["merged"]


def merged(base: dict[str, Json], mine: dict[str, Json], theirs: dict[str, Json]) -> dict[str, Json]:
    """Return the metadata of a node whose file was read again.

    Parameters
    ----------
    base : dict
        What the file said last time.
    mine : dict
        What the node has: the base and the changes of people.
    theirs : dict
        What the file says now.

    Returns
    -------
    dict
        Fields that people added or changed stay; all others are as in the file. Objects merge by field.
    """
    result: dict[str, Json] = {}
    for key in [*theirs, *(each for each in mine if each not in theirs)]:
        own, old, new = (side.get(key, _ABSENT) for side in (mine, base, theirs))
        value = _merged_value(own, old, new)
        if value is not _ABSENT:
            result[key] = value
    return result


def _merged_value(own: Json, old: Json, new: Json) -> Json:
    if _is_same(own, old):
        return new
    if isinstance(own, dict) and isinstance(new, dict):
        return merged(old if isinstance(old, dict) else {}, own, new)
    if isinstance(own, dict) and isinstance(old, dict) and new is _ABSENT:
        return merged(old, own, {}) or _ABSENT
    return own


_ABSENT = object()


def _is_same(left: object, right: object) -> bool:
    return left is right or (type(left) is type(right) and left == right)
