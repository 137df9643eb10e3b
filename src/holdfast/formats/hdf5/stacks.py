"""Stacks: the numbered data sets of a detector's master file as one array.

Owns which data sets are parts of one; they are read where they are.

Notes
-----
An Eiger's master file links ``data_000001``, ``data_000002`` … in a group, each to a file of some hundred
frames. Where all are of one type and shape but for their number of frames, and the group has no ``data`` of
its own, this is one array of all frames. Links at the end whose files were never written are left out; with
one missing in between there is no stack, for frames would have other numbers.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.errors import NotFoundError
from holdfast.formats.base import Described
from holdfast.formats.structures import ArrayStructure

__all__ = ["STACK", "mark_stack", "members_of"]

STACK = "data"
"""The key of the array that stands for all parts."""

_PART = re.compile("data_([0-9]{6})")
_MAX_PARTS = 10_000


def mark_stack(group: Described) -> None:
    """Add the array of all parts to a group that has them.

    Parameters
    ----------
    group : Described
        The group, with its children.
    """
    parts = _parts(group)
    structures = [ArrayStructure.from_json(part.structure or {}) for part in parts]
    if not structures or not structures[0].shape:
        return
    first = structures[0]
    if any((each.shape[1:], each.dtype) != (first.shape[1:], first.dtype) for each in structures):
        return
    members = {part.key: each.shape[0] for part, each in zip(parts, structures, strict=True)}
    shape = (sum(members.values()), *first.shape[1:])
    structure = ArrayStructure.build(first.dtype, shape, stored=(1, *first.shape[1:]))
    where = f"{group.parameters['dataset']}/{STACK}" if group.parameters else STACK
    node = Described(
        STACK, "array", {}, structure.to_json(), parameters={"dataset": where, "members": members}
    )
    node.linked = list(dict.fromkeys(each for part in parts for each in part.linked))
    group.children.append(node)


def _parts(group: Described) -> list[Described]:
    """Return the parts of a stack in order; none if a number is missing in between."""
    named = sorted(
        (child for child in group.children if _PART.fullmatch(child.key)), key=lambda each: each.key
    )
    if not 1 < len(named) <= _MAX_PARTS or any(child.key == STACK for child in group.children):
        return []
    present = [part for part in named if part.family == "array"]
    if present != named[: len(present)]:
        return []
    numbers = [int(part.key[-6:]) for part in present]
    return present if all(after == before + 1 for before, after in itertools.pairwise(numbers)) else []


def members_of(parameters: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[int]] | None:
    """Return paths and lengths of the parts of a stack; None for any other array.

    Raises
    ------
    NotFoundError
        The parameters name no parts that there can be.
    """
    members = parameters.get("members")
    if members is None:
        return None
    if not isinstance(members, dict) or not all(type(length) is int for length in members.values()):
        raise NotFoundError(f"{members!r:.80} are no parts of a data set")
    above = str(parameters.get("dataset", "")).rpartition("/")[0]
    return [f"{above}/{name}" if above else name for name in members], list(members.values())
