"""Arrays of HDF5 files: raw ones read in place, all others through HDF5 a slab at a time.

Owns reading data sets; finds none.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5r, h5s, h5t, h5z

from holdfast.errors import MissingDependencyError, UnreadableError
from holdfast.formats.base import SLAB_BYTES, ArrayReader
from holdfast.formats.hdf5.headers import Stored
from holdfast.formats.hdf5.links import FileSet, Place, hdf5_errors
from holdfast.formats.hdf5.packed import PackedChunks
from holdfast.formats.hdf5.sources import KnownSources, check_sources
from holdfast.formats.hdf5.types import convert, fitting, has_objects, plain
from holdfast.formats.rawarray import RawArray, Segment
from holdfast.formats.slicing import Axis, Index, Selection, chunked_slabs, slabs
from holdfast.formats.structures import ArrayStructure

__all__ = ["Hdf5Array", "open_array", "read_one", "structure_of"]

_MAX_MEASURED = 1 << 24
# Below this, h5py's quick way with a copy beats its direct one.
_DIRECT_BYTES = 64 << 10


def open_array(files: FileSet, place: Place, dims: tuple[str, ...] | None = None) -> ArrayReader:
    """Return the reader of a data set.

    Parameters
    ----------
    files : FileSet
        Where further files are opened.
    place : Place
        The data set.
    dims : tuple of str, optional
        Names of its axes.

    Raises
    ------
    UnreadableError
        A type that has no equal here, or a damaged file.
    """
    stored = Stored.of(place)
    structure = structure_of(files, place, stored, dims)
    segments = _segments(files, place, stored, structure)
    return Hdf5Array(files, place, structure) if segments is None else RawArray(structure, segments)


def structure_of(
    files: FileSet, place: Place, stored: Stored, dims: tuple[str, ...] | None = None
) -> ArrayStructure:
    """Return type, shape and blocks of a data set; texts of variable length are measured."""
    if stored.shape is None:
        return ArrayStructure.build(plain(stored.dtype), (0,))
    target = _measure(files, place, stored) if has_objects(stored.dtype) else plain(stored.dtype)
    chunks = None if stored.chunks is None else (*stored.chunks, *stored.inner)
    return ArrayStructure.build(target, (*stored.shape, *stored.inner), stored=chunks, dims=dims)


def _measure(files: FileSet, place: Place, stored: Stored) -> np.dtype:
    """Read texts once to find the longest."""
    shape = stored.shape or ()
    if math.prod(shape) > _MAX_MEASURED:
        raise UnreadableError(f"{math.prod(shape)} texts of variable length are more than are read")
    if stored.layout == h5d.VIRTUAL:
        # HDF5 would open whatever the sources name, and take what it does not find for empty texts.
        place = _reopened(files, place)
        check_sources(files, place, Selection.of(..., shape).axes, {})
    if math.prod(shape) == 1:
        return fitting(read_one(place, stored))
    with hdf5_errors(place.opened):
        dataset = h5py.Dataset(place.object)
        found = fitting(np.empty(0, stored.dtype))
        packed = PackedChunks.of(place, stored.dtype)
        for part in slabs(Selection.of(..., shape), 16):
            if packed is not None:
                packed.check(part.axes)
            found = np.promote_types(found, fitting(_raw(dataset, _index(part.axes))))
        return found


def read_one(place: Place, stored: Stored) -> np.ndarray:
    """Read a data set of one element, in the file's own type but for references, which become paths."""
    with hdf5_errors(place.opened):
        raw = np.empty((*(stored.shape or ()), *stored.inner), stored.dtype)
        if (packed := PackedChunks.of(place, stored.dtype)) is not None:
            packed.check(Selection.of(..., stored.shape or ()).axes)
        place.object.read(h5s.ALL, h5s.ALL, raw)
        return raw if h5py.check_ref_dtype(raw.dtype) is None else _named(h5py.Dataset(place.object), raw)


def _raw(dataset: h5py.Dataset, index: tuple[slice, ...]) -> np.ndarray:
    """Read a slice in the file's own type; references come as the paths they lead to."""
    value = dataset[index]
    return _named(dataset, value if isinstance(value, np.ndarray) else np.array(value, dataset.dtype))


def _segments(
    files: FileSet, place: Place, stored: Stored, structure: ArrayStructure
) -> list[Segment] | None:
    """Return where the bytes of a data set lie, if they are its elements as they stand."""
    if stored.layout != h5d.CONTIGUOUS or not structure.nbytes:
        return None
    with hdf5_errors(place.opened):
        if not _is_raw(place.object.get_type(), structure.dtype):
            return None
        if stored.is_external:
            return _external(files, place, place.object.get_create_plist(), structure.nbytes)
        offset = place.object.get_offset()
    return None if offset is None else [Segment(place.opened.source, offset, structure.nbytes)]


def _is_raw(stored: h5t.TypeID, dtype: np.dtype) -> bool:
    """Whether elements lie in the file exactly as NumPy has them."""
    if dtype.kind in "UmM":
        return False
    if stored.get_class() == h5t.ARRAY:
        stored = stored.get_super()
    if dtype.kind == "S":
        return bool(stored.get_class() == h5t.STRING and stored.get_size() == dtype.itemsize)
    if stored.get_class() == h5t.ENUM and dtype.kind in "iu":
        stored = stored.get_super()
    return bool(stored.get_size() == dtype.itemsize and h5t.py_create(dtype).equal(stored))


def _external(files: FileSet, place: Place, created: Any, size: int) -> list[Segment]:
    """Return the runs of raw files that hold a data set."""
    segments = []
    for number in range(created.get_external_count()):
        name, offset, length = created.get_external(number)
        path = files.locate(place.opened, os.fsdecode(name), "storage")
        source = files.raw(place.opened, path)
        length = min(length, size)
        segments.append(Segment(source, offset, length))
        size -= length
    return segments


class Hdf5Array(ArrayReader):
    """A data set that HDF5 decodes: chunked, compressed, compact, virtual or converted.

    Parameters
    ----------
    files : FileSet
        Where sources of virtual data sets are found.
    place : Place
        The data set.
    structure : ArrayStructure
        What `structure_of` returned.
    """

    def __init__(self, files: FileSet, place: Place, structure: ArrayStructure) -> None:
        self.structure = structure
        self._files = files
        self._sources: KnownSources = {}
        with hdf5_errors(place.opened):
            created = place.object.get_create_plist()
            self._is_virtual = created.get_layout() == h5d.VIRTUAL
            self._packed = PackedChunks.of(place, structure.dtype)
            is_plain = structure.dtype.kind in "iufc" and _is_raw(place.object.get_type(), structure.dtype)
        self._place = _reopened(files, place) if self._is_virtual else place
        self._dataset = h5py.Dataset(self._place.object)
        self.is_verified = self._place.opened.stream is not None
        dtype = structure.dtype
        self._is_direct = self._dataset.dtype == dtype and self._dataset.ndim > 0 and dtype.kind not in "mM"
        self._is_ours = self._packed is not None and is_plain and self._packed.is_ours and self._is_direct
        self._filters = [created.get_filter(n) for n in range(created.get_nfilters())]

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements."""
        out = np.empty(selection.kept_shape, self.structure.dtype)
        if out.size:
            self._check(selection)
            with hdf5_errors(self._place.opened):
                self._read(selection, out)
        return out

    def read_into(self, selection: Selection, out: np.ndarray) -> None:
        """Fill an array of shape `selection.kept_shape`, whole rows of chunks at a time."""
        if not out.size:
            return
        self._check(selection)
        flat = out.reshape(-1)
        done = 0
        for part in self._parts(selection):
            with hdf5_errors(self._place.opened):
                self._read(part, flat[done : done + part.size].reshape(part.kept_shape))
            done += part.size

    def slabs(self, index: Index = ...) -> Iterator[np.ndarray]:
        """Yield a slice in consecutive flat pieces of C order."""
        for part in self._parts(Selection.of(index, self.structure.shape)):
            yield self.fetch(part).reshape(-1)

    def _read(self, selection: Selection, out: np.ndarray) -> None:
        dataset, rank = self._dataset, len(self._dataset.shape or ())
        if self._packed is not None:
            if self._is_ours and self._packed.read(selection.axes, out):
                return
            self._packed.check(selection.axes[:rank])
        index = _index(selection.axes[:rank])
        flips = tuple(slice(None, None, -1 if axis.step < 0 else 1) for axis in selection.axes[:rank])
        is_flipped = any(axis.step < 0 for axis in selection.axes[:rank])
        if self._is_direct and not is_flipped and out.flags.c_contiguous and out.nbytes > _DIRECT_BYTES:
            # The type as h5py gives it carries the encoding of texts, which HDF5 does not convert.
            dataset.read_direct(out.view(dataset.dtype), index)
            return
        raw = _raw(dataset, index)
        inner = tuple(axis.as_slice() for axis in selection.axes[rank:])
        out[...] = convert(raw, self.structure.dtype)[(*flips, *inner)]

    def _parts(self, selection: Selection) -> Iterator[Selection]:
        return chunked_slabs(selection, self.structure.dtype.itemsize, self._dataset.chunks, SLAB_BYTES)

    def _check(self, selection: Selection) -> None:
        """Refuse before reading what HDF5 would answer with fill values or an obscure error."""
        for number, _, _, name in self._filters:
            if not _has_filter(number):
                raise MissingDependencyError(
                    f"{self._place.opened.name}: {self._dataset.name} is compressed by filter {number} "
                    f"({name.decode('utf-8', 'replace')}){_remedy()}"
                )
        if self._is_virtual:
            check_sources(self._files, self._place, selection.axes, self._sources)


def _reopened(files: FileSet, place: Place) -> Place:
    """Return the same data set in its file as opened by HDF5 itself."""
    opened = files.by_path(place.opened)
    if opened is place.opened:
        return place
    with hdf5_errors(opened):
        name = h5py.h5i.get_name(place.object)
        return Place(opened, h5d.open(opened.file, name))


def _has_filter(number: int) -> bool:
    """Whether HDF5 can decode a filter, with the plug-ins of hdf5plugin if it is installed."""
    if not h5z.filter_avail(number):
        try:
            import hdf5plugin  # noqa: F401  # importing it registers its filters
        except ImportError:
            return False
    return bool(h5z.filter_avail(number))


def _remedy() -> str:
    """Return how a filter that is not there is had: by hdf5plugin, or if that lacks it by its own plug-in."""
    if importlib.util.find_spec("hdf5plugin") is None:
        return ": pip install 'holdfast[hdf5]'"
    return ", which hdf5plugin does not bring; put its plug-in where HDF5_PLUGIN_PATH says"


def _index(axes: Sequence[Axis]) -> tuple[slice, ...]:
    """Return the same elements as slices with positive steps."""
    return tuple(slice(axis.low, axis.high, abs(axis.step)) for axis in axes)


def _named(dataset: h5py.Dataset, raw: np.ndarray) -> np.ndarray:
    """Put the paths that references lead to in place of the references."""
    if raw.dtype.kind != "O" or h5py.check_ref_dtype(raw.dtype) is None:
        return raw
    names = [_target(dataset, value) for value in raw.reshape(-1)]
    out = np.empty(len(names), object)
    out[:] = names
    return out.reshape(raw.shape)


def _target(dataset: h5py.Dataset, value: Any) -> str:
    try:
        return (h5r.get_name(value, dataset.id) or b"").decode("utf-8", "backslashreplace") if value else ""
    except (RuntimeError, ValueError):
        return ""
