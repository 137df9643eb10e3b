"""What the headers of HDF5 objects say: attributes, and how a data set is stored.

Owns reading them once, with as few calls as HDF5 allows; reads no data sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d

from holdfast.errors import HoldfastError, UnreadableError
from holdfast.formats.hdf5.links import Place, hdf5_errors
from holdfast.formats.hdf5.types import convert, fitting
from holdfast.formats.metadata import Metadata, clean_text

__all__ = ["Stored", "attributes", "text_attribute"]

# They say how dimension scales hang together, which specs and dims say already.
_HIDDEN = frozenset(
    {
        b"CLASS",
        b"DIMENSION_LIST",
        b"REFERENCE_LIST",
        b"_Netcdf4Dimid",
        b"_Netcdf4Coordinates",
        b"_NCProperties",
    }
)


@dataclass(frozen=True, slots=True)
class Stored:
    """How a data set is stored.

    Parameters
    ----------
    dtype : numpy.dtype
        Type of an element as h5py gives it, without the axes of an array type.
    inner : tuple of int
        The axes of an array type.
    shape : tuple of int, optional
        Shape without these; None for a data set without space.
    layout : int
        HDF5's number of the layout.
    chunks : tuple of int, optional
        Shape of a chunk.
    is_external : bool
        Whether the bytes are in other files.
    """

    dtype: np.dtype
    inner: tuple[int, ...]
    shape: tuple[int, ...] | None
    layout: int
    chunks: tuple[int, ...] | None
    is_external: bool

    @classmethod
    def of(cls, place: Place) -> Stored:
        """Read the header of a data set.

        Raises
        ------
        UnreadableError
            It is damaged, or its type has no equal in NumPy.
        """
        with hdf5_errors(place.opened):
            dataset = place.object
            if place.opened.is_swmr:
                dataset.refresh()
            dtype, inner = dataset.dtype, ()
            if dtype.subdtype is not None:
                dtype, inner = dtype.subdtype
            created = dataset.get_create_plist()
            layout = created.get_layout()
            chunks = created.get_chunk() if layout == h5d.CHUNKED else None
            is_external = layout == h5d.CONTIGUOUS and created.get_external_count() > 0
            _check_lists(place, dtype)
            return cls(dtype, inner, dataset.shape, layout, chunks, is_external)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the data lies in other data sets or files."""
        return self.is_external or self.layout == h5d.VIRTUAL


def _check_lists(place: Place, dtype: np.dtype) -> None:
    """Refuse lists of numbers of another byte order: h5py 3.16 gives their bytes without turning them."""
    kind = h5py.check_vlen_dtype(dtype)
    if isinstance(kind, np.dtype) and not kind.isnative:
        raise UnreadableError(
            f"{place.opened.name}: lists of {kind} have another byte order than this machine, which h5py "
            "reads wrongly; write them in this machine's order"
        )


def attributes(place: Place) -> dict[str, Any]:
    """Return the attributes of an object as JSON; one that cannot be read says so.

    Parameters
    ----------
    place : Place
        A group, data set or named type.
    """
    with hdf5_errors(place.opened):
        count = h5a.get_num_attrs(place.object)
        if not count:
            return {}
        found = [h5a.open(place.object, index=n) for n in range(count)]
        names = [each.name for each in found]
    collected = Metadata()
    for name, attribute in zip(names, found, strict=True):
        if name in _HIDDEN or (name == b"NAME" and b"CLASS" in names):
            continue
        key = name.decode("utf-8", "backslashreplace")
        try:
            with hdf5_errors(place.opened):
                collected.put((key,), _value(attribute))
        except HoldfastError as error:
            collected.put((key,), f"unreadable: {error}")
    return collected.to_json()


def text_attribute(place: Place, name: bytes) -> str:
    """Return an attribute as text; empty when there is none."""
    with hdf5_errors(place.opened):
        value = _value(h5a.open(place.object, name)) if h5a.exists(place.object, name) else ""
    return clean_text(value) if isinstance(value, bytes | str) else ""


def _value(attribute: h5a.AttrID) -> Any:
    """Read an attribute; lists of one are unwrapped, as NeXus writers wrap single values."""
    shape, dtype = attribute.shape, attribute.dtype
    if shape is None:
        return None
    if dtype.subdtype is not None:
        dtype, inner = dtype.subdtype
        shape = (*shape, *inner)
    raw = np.empty(shape, dtype)
    attribute.read(raw)
    value = convert(raw, fitting(raw)) if dtype.hasobject else raw
    return value.reshape(-1)[0] if value.size == 1 and value.ndim < 2 else value
