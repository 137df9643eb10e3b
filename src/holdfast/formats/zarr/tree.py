"""The tree of a Zarr store: groups as containers, arrays, attributes as metadata.

Owns the walk; reads documents only, and texts of any length where an array has them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from holdfast.errors import HoldfastError, InvalidInputError, UnreadableError
from holdfast.formats.base import Described
from holdfast.formats.datasets import mark_dataset
from holdfast.formats.metadata import Metadata, clean_text
from holdfast.formats.zarr.arrays import structure_of
from holdfast.formats.zarr.metadata import ArrayMeta, Node, read_node
from holdfast.formats.zarr.store import Store
from holdfast.paths import check_name

__all__ = ["DOCUMENTS", "array_meta", "describe", "node_at"]

DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
"""The files that describe a node."""

_MAX_NODES = 100_000
_MAX_SECONDS = 20.0
_MAX_DEPTH = 32
_HIDDEN = frozenset({"_ARRAY_DIMENSIONS"})


def node_at(store: Store, key: str) -> Node | None:
    """Return the node of a directory; None when it is none.

    Parameters
    ----------
    store : Store
        The store.
    key : str
        Path of the directory in it; empty for the store itself.
    """
    prefix = f"{key}/" if key else ""
    newest = store.json(f"{prefix}zarr.json")
    if newest is not None:
        return read_node({"zarr.json": newest})
    return read_node({name: store.json(f"{prefix}{name}") for name in DOCUMENTS[1:]})


def array_meta(store: Store, key: str, node: Node) -> ArrayMeta:
    """Return what the document of an array says; errors name the array."""
    try:
        return node.array()
    except UnreadableError as error:
        raise UnreadableError(f"{store.name}{'/' + key if key else ''}: {error}") from error


def describe(store: Store) -> Described:
    """Return everything a store holds.

    Raises
    ------
    UnreadableError
        Its own document is damaged; what is below says so itself.
    """
    root = node_at(store, "")
    if root is None:
        raise UnreadableError(f"{store.name} has no Zarr metadata; restore zarr.json, or .zgroup or .zarray")
    return _Walk(store).node("", "", root)


class _Walk:
    """One pass over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._left = _MAX_NODES
        self._until = time.monotonic() + _MAX_SECONDS

    def node(self, name: str, key: str, node: Node) -> Described:
        """Describe an array, or a group and all below it."""
        parameters = {"dataset": key} if key else {}
        metadata = _json(node.attributes)
        if node.is_array:
            structure = structure_of(self._store, key, array_meta(self._store, key, node)).to_json()
            return Described(name, "array", metadata, structure, parameters=parameters)
        described = Described(name, "container", metadata, parameters=parameters)
        unlisted: list[str] = []
        for below in self._directories(key, unlisted):
            child = self._child(below, f"{key}/{below}" if key else below)
            if child is not None:
                described.children.append(child)
        if unlisted:
            described.metadata.setdefault("holdfast", {})["unlisted"] = unlisted[:100]
        mark_dataset(described)
        return described

    def _directories(self, key: str, unlisted: list[str]) -> Iterator[str]:
        """Yield the directories in a group by name; what no path can hold is noted."""
        with os.scandir(self._store.path(key) if key else self._store.root) as entries:
            names = sorted(
                entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()
            )
        for name in names:
            self._left -= 1
            is_late = self._left < 0 or time.monotonic() > self._until or key.count("/") >= _MAX_DEPTH
            try:
                check_name(name, "name", reserved=True)
            except InvalidInputError:
                is_late = True
            if is_late:
                unlisted.append(clean_text(name))
            else:
                yield name

    def _child(self, name: str, key: str) -> Described | None:
        try:
            self._store.check_inside(self._store.path(key), key)
            node = node_at(self._store, key)
            return None if node is None else self.node(name, key, node)
        except (HoldfastError, OSError) as error:
            return Described(name, "bytes", {"error": _message(error)}, parameters={"dataset": key})


def _message(error: Exception) -> str:
    return str(error) if isinstance(error, HoldfastError) else f"it cannot be listed: {error}"


def _json(attributes: dict[str, Any]) -> dict[str, Any]:
    collected = Metadata()
    for name, value in attributes.items():
        if name not in _HIDDEN:
            collected.put((name,), value)
    return collected.to_json()
