"""The tree of an HDF5 file: groups as containers, data sets as arrays, attributes as metadata.

Owns the walk and what is collected into the file's own metadata; reads single values only.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5g, h5o

from holdfast.errors import HoldfastError, InvalidInputError
from holdfast.formats.base import Described, Description
from holdfast.formats.hdf5.arrays import Hdf5Array, structure_of
from holdfast.formats.hdf5.links import FileSet, Place, hdf5_errors
from holdfast.formats.hdf5.scales import PHANTOM, axis_names, mark_datasets
from holdfast.formats.hdf5.sources import check_sources, find_sources
from holdfast.formats.hdf5.types import convert, enum_names, fitting
from holdfast.formats.metadata import MAX_TEXT_BYTES, Metadata, clean_text
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure
from holdfast.paths import check_name

__all__ = ["describe"]

_MAX_NODES = 100_000
_MAX_DEPTH = 64
# They say how dimension scales hang together, which specs and dims say already.
_HIDDEN = frozenset(
    {b"CLASS", b"DIMENSION_LIST", b"REFERENCE_LIST", b"_Netcdf4Dimid", b"_Netcdf4Coordinates"}
)


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
        self._unlisted: list[str] = []
        self._open_groups: list[tuple[Any, int]] = []

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
        node = Described(key, "container", _attributes(place), parameters=_parameters(path))
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
        mark_datasets(node, place)
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
        if self._left < 0:
            self._unlisted.append("/".join((*path, key)))
            return None
        with self._files.noticing() as linked:
            node = self._linked_child(parent, name, key, path)
        if node is not None:
            node.linked = list(linked)
        return node

    def _linked_child(self, parent: Place, name: bytes, key: str, path: tuple[str, ...]) -> Described | None:
        try:
            place = self._files.open_link(parent, name)
            if isinstance(place.object, h5g.GroupID):
                return self.group(key, place, (*path, key))
            if isinstance(place.object, h5d.DatasetID):
                return None if _is_phantom(place) else self._dataset(key, place, (*path, key))
            return Described(key, "container", _attributes(place), parameters=_parameters((*path, key)))
        except HoldfastError as error:
            return _broken(key, (*path, key), error)

    def _dataset(self, key: str, place: Place, path: tuple[str, ...]) -> Described:
        metadata = _attributes(place)
        try:
            structure = structure_of(place, axis_names(place))
            find_sources(self._files, place)
        except HoldfastError as error:
            return _broken(key, path, error, metadata)
        names = enum_names(h5py.Dataset(place.object).dtype)
        if names is not None:
            metadata.setdefault("holdfast", {})["enum"] = names
        if structure.size == 1 and structure.data_type.itemsize <= MAX_TEXT_BYTES * 4:
            self._collect(place, structure, path)
        return Described(key, "array", metadata, structure.to_json(), parameters=_parameters(path))

    def _collect(self, place: Place, structure: ArrayStructure, path: tuple[str, ...]) -> None:
        """Keep the one value of a data set in the file's metadata, unwrapped."""
        try:
            value = _one_value(self._files, place, structure)
        except HoldfastError:
            return
        if not isinstance(value, str | bytes) or len(clean_text(value)) <= MAX_TEXT_BYTES:
            self._collected.put(path, value)


def _one_value(files: FileSet, place: Place, structure: ArrayStructure) -> Any:
    if place.object.get_create_plist().get_layout() == h5d.VIRTUAL:
        check_sources(files, place, ())
    if place.object.get_create_plist().get_external_count():
        return Hdf5Array(files, place, structure).read().reshape(-1)[0]
    with hdf5_errors(place.opened):
        dataset = h5py.Dataset(place.object)
        value = dataset[()]
        named = enum_names(dataset.dtype)
        if named is not None:
            found = int(np.asarray(value).reshape(-1)[0])
            return next((name for name, number in named.items() if number == found), found)
        array = np.asarray(value, dtype=dataset.dtype).reshape(-1)
        return convert(array, fitting(array))[0]


def _attributes(place: Place) -> dict[str, Any]:
    """Return the attributes of an object as JSON; one that cannot be read says so."""
    with hdf5_errors(place.opened):
        count = h5a.get_num_attrs(place.object)
        if not count:
            return {}
        names = [h5a.open(place.object, index=n).name for n in range(count)]
    collected = Metadata()
    manager = h5py.AttributeManager(_Holder(place.object))
    for name in names:
        if name in _HIDDEN or (name == b"NAME" and b"CLASS" in names):
            continue
        key = name.decode("utf-8", "backslashreplace")
        try:
            with hdf5_errors(place.opened):
                collected.put((key,), _attribute_value(manager[name]))
        except HoldfastError as error:
            collected.put((key,), f"unreadable: {error}")
    return collected.to_json()


class _Holder:
    """What h5py's attribute manager wants of an object."""

    def __init__(self, identifier: Any) -> None:
        self.id = identifier


def _attribute_value(value: Any) -> Any:
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        converted = convert(value, fitting(value))
        return converted[()] if converted.ndim == 0 else converted
    if isinstance(value, h5py.Reference | h5py.RegionReference):
        return str(value)
    # NeXus writers wrap single values in lists of one.
    return value[0] if isinstance(value, np.ndarray) and value.shape == (1,) else value


def _parameters(path: tuple[str, ...]) -> dict[str, Any]:
    return {"dataset": "/".join(path)} if path else {}


def _broken(
    key: str, path: tuple[str, ...], error: HoldfastError, metadata: dict[str, Any] | None = None
) -> Described:
    return Described(key, "bytes", {**(metadata or {}), "error": str(error)}, parameters=_parameters(path))


def _is_phantom(place: Place) -> bool:
    """Whether a data set only stands for a NetCDF dimension without values."""
    if not h5a.exists(place.object, b"NAME"):
        return False
    with hdf5_errors(place.opened):
        value = h5py.AttributeManager(_Holder(place.object))["NAME"]
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text.startswith(PHANTOM)


def _identity(place: Place) -> tuple[Any, Any]:
    with hdf5_errors(place.opened):
        info = h5o.get_info(place.object)
        return place.opened.path, info.addr
