"""The tree of an HDF5 file: groups as containers, data sets as arrays, attributes as metadata.

Owns the walk and what is collected into the file's own metadata; reads single values only.
"""

from __future__ import annotations

import time
from typing import Any

from h5py import h5d, h5g, h5o

from holdfast.errors import HoldfastError, InvalidInputError
from holdfast.formats.base import Described, Description, Linked
from holdfast.formats.datasets import mark_dataset
from holdfast.formats.hdf5.arrays import open_array, read_one, structure_of
from holdfast.formats.hdf5.families import list_structure, mark_family
from holdfast.formats.hdf5.headers import Stored, attributes, text_attribute
from holdfast.formats.hdf5.links import FileSet, Place, hdf5_errors
from holdfast.formats.hdf5.scales import PHANTOM, axis_names
from holdfast.formats.hdf5.sources import find_sources
from holdfast.formats.hdf5.stacks import mark_stack
from holdfast.formats.hdf5.types import convert, enum_names, fitting
from holdfast.formats.metadata import MAX_TEXT_BYTES, Metadata, clean_text
from holdfast.formats.source import Source
from holdfast.paths import check_name

__all__ = ["describe"]

_MAX_NODES = 100_000
# Less than a probe worker's time for a file: a large tree is listed in part rather than not at all.
_MAX_SECONDS = 20.0
_MAX_DEPTH = 64


def describe(source: Source, media_type: str) -> Description:
    """Return everything an HDF5 file holds.

    Parameters
    ----------
    source : Source
        The file.
    media_type : str
        What it is recorded as.

    Raises
    ------
    UnreadableError
        It is truncated, damaged or of another kind.
    """
    files = FileSet(source)
    try:
        walk = _Walk(files)
        root = walk.group("", files.top(files.root), ())
        root.metadata = walk.file_metadata(root.metadata)
        root.linked = list(files.linked.values())
        return Description(root, media_type)
    finally:
        files.close()


class _Walk:
    """One pass over a file."""

    def __init__(self, files: FileSet) -> None:
        self._files = files
        self._collected = Metadata()
        self._left = _MAX_NODES
        self._until = time.monotonic() + _MAX_SECONDS
        self._unlisted: list[str] = []
        self._open_groups: list[tuple[Any, int]] = []
        # The files that the links on the way to the present node lead through.
        self._via: list[Linked] = []

    def file_metadata(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Return the root's attributes and the values collected on the way."""
        collected, ours = self._collected.to_json(), attributes.pop("holdfast", {})
        for name, value in attributes.items():
            collected["@" + name if name in collected else name] = value
        if self._unlisted:
            ours["unlisted"] = self._unlisted[:100]
        for name, value in ours.items():
            below = collected.setdefault("holdfast", {})
            below[name] = [*below[name], *value] if name == "nonfinite" and name in below else value
        return collected

    def group(self, key: str, place: Place, path: tuple[str, ...]) -> Described:
        """Describe a group and all below; a group inside itself is listed without content."""
        node = Described(key, "container", attributes(place), parameters=_parameters(path))
        identity = _identity(place)
        if identity in self._open_groups or len(path) > _MAX_DEPTH:
            node.metadata.setdefault("holdfast", {})["circular"] = True
            return node
        self._open_groups.append(identity)
        with hdf5_errors(place.opened):
            names = list(place.object)
        for name in names:
            child = self._child(place, name, path)
            if child is not None:
                node.children.append(child)
        self._open_groups.pop()
        mark_stack(node)
        mark_dataset(node)
        mark_family(node, self._files, place)
        return node

    def _child(self, parent: Place, name: bytes, path: tuple[str, ...]) -> Described | None:
        """Describe what a link leads to; a name no path can hold is noted and left out."""
        key = name.decode("utf-8", "surrogateescape")
        try:
            check_name(key, "name", reserved=True)
        except InvalidInputError:
            self._unlisted.append("/".join((*path, name.decode("utf-8", "backslashreplace"))))
            return None
        self._left -= 1
        if self._left < 0 or time.monotonic() > self._until:
            self._unlisted.append("/".join((*path, key)))
            return None
        noticed, via = self._files.noticed, len(self._via)
        start = len(noticed)
        node = self._linked_child(parent, name, key, path)
        if node is not None and (via or len(noticed) > start):
            node.linked = list(dict.fromkeys([*self._via[:via], *noticed[start:]]))
        del self._via[via:]
        return node

    def _linked_child(self, parent: Place, name: bytes, key: str, path: tuple[str, ...]) -> Described | None:
        try:
            start = len(self._files.noticed)
            place = self._files.open_link(parent, name)
            self._via += self._files.noticed[start:]
            if isinstance(place.object, h5g.GroupID):
                return self.group(key, place, (*path, key))
            if isinstance(place.object, h5d.DatasetID):
                return None if _is_phantom(place) else self._dataset(key, place, (*path, key))
            return Described(key, "container", attributes(place), parameters=_parameters((*path, key)))
        except HoldfastError as error:
            return _broken(key, (*path, key), error)

    def _dataset(self, key: str, place: Place, path: tuple[str, ...]) -> Described:
        metadata = attributes(place)
        try:
            stored = Stored.of(place)
            if stored.is_elsewhere:
                find_sources(self._files, place)
            dims = axis_names(place)
            lists = None if dims else list_structure(stored)
            if lists is not None:
                return Described(key, "awkward", metadata, lists.to_json(), parameters=_parameters(path))
            structure = structure_of(self._files, place, stored, dims)
        except HoldfastError as error:
            return _broken(key, path, error, metadata)
        names = enum_names(stored.dtype)
        if names is not None:
            metadata.setdefault("holdfast", {})["enum"] = names
        if structure.size == 1 and structure.data_type.itemsize <= MAX_TEXT_BYTES * 4:
            self._collect(place, stored, path)
        return Described(key, "array", metadata, structure.to_json(), parameters=_parameters(path))

    def _collect(self, place: Place, stored: Stored, path: tuple[str, ...]) -> None:
        """Keep the one value of a data set in the file's metadata, unwrapped."""
        try:
            value = _one_value(self._files, place, stored)
        except HoldfastError:
            # Reading the data set says what is wrong.
            return
        if not isinstance(value, str | bytes) or len(clean_text(value)) <= MAX_TEXT_BYTES:
            self._collected.put(path, value)


def _one_value(files: FileSet, place: Place, stored: Stored) -> Any:
    """Read the one value of a data set; of an enumeration, its name."""
    if stored.is_elsewhere:
        return open_array(files, place).read().reshape(-1)[0]
    raw = read_one(place, stored).reshape(-1)
    names = enum_names(stored.dtype)
    if names is not None:
        return next((name for name, number in names.items() if number == raw[0]), int(raw[0]))
    return convert(raw, fitting(raw))[0]


def _parameters(path: tuple[str, ...]) -> dict[str, Any]:
    return {"dataset": "/".join(path)} if path else {}


def _broken(
    key: str, path: tuple[str, ...], error: HoldfastError, metadata: dict[str, Any] | None = None
) -> Described:
    return Described(key, "bytes", {**(metadata or {}), "error": str(error)}, parameters=_parameters(path))


def _is_phantom(place: Place) -> bool:
    """Whether a data set only stands for a NetCDF dimension without values."""
    return text_attribute(place, b"NAME").startswith(PHANTOM)


def _identity(place: Place) -> tuple[Any, Any]:
    with hdf5_errors(place.opened):
        info = h5o.get_info(place.object)
        return place.opened.path, info.addr
