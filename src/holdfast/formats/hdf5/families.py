"""Groups and data sets of HDF5 that stand for one sparse or awkward array.

Owns which ones do: AnnData's sparse matrices, buffers of Awkward Array, and lists of variable length.

References
----------
AnnData, "On-disk format": ``encoding-type`` ``csr_matrix`` and ``csc_matrix``, and ``h5sparse_format``
before 0.7. Awkward Array, "How to convert to/from HDF5": buffers as data sets of a group with the attributes
``form`` and ``length``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from h5py import h5d

from holdfast.errors import InvalidInputError, NotFoundError, UnreadableError
from holdfast.formats.awkward import AwkwardReader, AwkwardStructure, Buffer, lists_of, too_large
from holdfast.formats.base import ArrayReader, Described
from holdfast.formats.hdf5.arrays import open_array
from holdfast.formats.hdf5.headers import Stored, attributes
from holdfast.formats.hdf5.links import FileSet, Place, hdf5_errors
from holdfast.formats.hdf5.packed import PackedChunks
from holdfast.formats.layouts import open_layout
from holdfast.formats.slicing import Selection
from holdfast.formats.sparse import SparseReader

__all__ = ["list_structure", "mark_family", "open_awkward", "open_sparse"]

_LAYOUTS = {"csr_matrix": "csr", "csc_matrix": "csc", "csr": "csr", "csc": "csc"}
_PARTS = ("data", "indices", "indptr")
_ROWS = 4096


def mark_family(node: Described, files: FileSet, place: Place) -> None:
    """Make one sparse or awkward node of a group that stands for one; its parts are no nodes then.

    Parameters
    ----------
    node : Described
        The group, described with its children.
    files : FileSet
        Where its data sets are opened.
    place : Place
        The group.
    """
    metadata = node.metadata
    try:
        if _layout(metadata):
            _become(node, "sparse", open_sparse(files, place, metadata).structure.to_json())
        elif "form" in metadata and "length" in metadata:
            structure = _Buffers(files, place, metadata).structure
            node.metadata = {
                name: value for name, value in metadata.items() if name not in ("form", "length")
            }
            _become(node, "awkward", structure.to_json())
    except (UnreadableError, NotFoundError, InvalidInputError):
        # It only looks like one: it stays the group that it is.
        return


def _become(node: Described, family: Any, structure: dict[str, Any]) -> None:
    node.family, node.structure, node.specs = family, structure, []
    node.linked = list(
        dict.fromkeys([*node.linked, *(each for child in node.children for each in child.linked)])
    )
    node.children = []


def list_structure(stored: Stored) -> AwkwardStructure | None:
    """Return the structure of a data set of lists of numbers; None for one of another kind."""
    kind = h5py.check_vlen_dtype(stored.dtype)
    if not isinstance(kind, np.dtype) or kind.kind not in "biuf" or stored.inner:
        return None
    if stored.shape is None or len(stored.shape) != 1 or stored.layout == h5d.VIRTUAL:
        # Whether the sources of a virtual one may be opened is looked at where arrays are read.
        return None
    return AwkwardStructure(stored.shape[0], lists_of(kind.name))


def open_sparse(files: FileSet, place: Place, metadata: Mapping[str, Any] | None = None) -> SparseReader:
    """Return the sparse array that a group stands for.

    Raises
    ------
    UnreadableError
        It stands for none, or its parts do not fit each other.
    """
    metadata = attributes(place) if metadata is None else metadata
    layout, shape = _layout(metadata), metadata.get("shape", metadata.get("h5sparse_shape"))
    if layout is None or not isinstance(shape, list) or not all(type(length) is int for length in shape):
        raise UnreadableError(f"{place.opened.name}: this group is no sparse array")
    return open_layout(layout, shape, {name: _array(files, place, name) for name in _PARTS})


def open_awkward(files: FileSet, place: Place) -> AwkwardReader:
    """Return the awkward array that a group or a data set stands for.

    Raises
    ------
    UnreadableError
        It stands for none.
    """
    if isinstance(place.object, h5d.DatasetID):
        structure = list_structure(Stored.of(place))
        if structure is None:
            raise UnreadableError(f"{place.opened.name}: this data set holds no lists of numbers")
        return _Lists(place, structure)
    return _Buffers(files, place, attributes(place))


def _layout(metadata: Mapping[str, Any]) -> str | None:
    return _LAYOUTS.get(str(metadata.get("encoding-type", metadata.get("h5sparse_format"))))


def _array(files: FileSet, place: Place, name: str) -> ArrayReader:
    found = files.find(name, place)
    if not isinstance(found.object, h5d.DatasetID):
        raise UnreadableError(f"{place.opened.name}: {name!r} is no data set")
    return open_array(files, found)


class _Buffers(AwkwardReader):
    """Buffers that are the data sets of a group."""

    def __init__(self, files: FileSet, place: Place, metadata: Mapping[str, Any]) -> None:
        self._files, self._place = files, place
        try:
            form, length = json.loads(str(metadata.get("form"))), int(metadata["length"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UnreadableError(f"{place.opened.name}: this group is no awkward array") from error
        self.structure = AwkwardStructure.from_json({"form": form, "length": length})
        self.is_verified = place.opened.stream is not None

    def buffer(self, buffer: Buffer, most_bytes: int) -> np.ndarray:
        """Read one data set, in the type that the form says."""
        reader = _array(self._files, self._place, buffer.key)
        if reader.structure.size * buffer.dtype.itemsize > most_bytes:
            raise too_large(most_bytes)
        found = reader.read().reshape(-1)
        if not np.can_cast(found.dtype, buffer.dtype, "equiv"):
            raise UnreadableError(
                f"{self._place.opened.name}: the buffer {buffer.key} has the type {found.dtype}, "
                f"but its form says {buffer.dtype}"
            )
        return found.astype(buffer.dtype, copy=False)


class _Lists(AwkwardReader):
    """A data set whose elements are lists of numbers."""

    def __init__(self, place: Place, structure: AwkwardStructure) -> None:
        self.structure = structure
        self.is_verified = place.opened.stream is not None
        self._place = place
        self._read: tuple[np.ndarray, np.ndarray] | None = None

    def buffer(self, buffer: Buffer, most_bytes: int) -> np.ndarray:
        """Return the offsets or the numbers; both are read at once."""
        if self._read is None:
            with hdf5_errors(self._place.opened):
                self._read = self._joined(_numbers_dtype(self.structure), most_bytes)
        return self._read[0 if buffer.key.endswith("-offsets") else 1]

    def _joined(self, dtype: np.dtype, most_bytes: int) -> tuple[np.ndarray, np.ndarray]:
        dataset = h5py.Dataset(self._place.object)
        lengths, numbers, left = [np.zeros(1, "<i8")], [np.empty(0, dtype)], most_bytes
        packed = PackedChunks.of(self._place, dataset.dtype)
        for start in range(0, self.structure.length, _ROWS):
            if packed is not None:
                packed.check(Selection.of(slice(start, start + _ROWS), (self.structure.length,)).axes)
            rows = dataset[start : start + _ROWS]
            lengths.append(np.fromiter(map(len, rows), "<i8", len(rows)))
            numbers.append(np.concatenate([np.asarray(row, dtype) for row in rows]))
            left -= lengths[-1].nbytes + numbers[-1].nbytes
            if left < 0:
                raise too_large(most_bytes)
        return np.cumsum(np.concatenate(lengths)), np.concatenate(numbers)


def _numbers_dtype(structure: AwkwardStructure) -> np.dtype:
    """Return the type of the numbers in lists of numbers."""
    dtype = np.dtype(str(structure.form["content"]["primitive"]))
    return dtype.newbyteorder("<")
