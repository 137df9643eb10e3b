"""Dimension scales: the names of axes.

Owns what NetCDF-4 and HDF5's dimension scales say about a data set.
"""

from __future__ import annotations

from h5py import h5a, h5ds, h5i

from holdfast.formats.hdf5.links import Place, hdf5_errors

__all__ = ["PHANTOM", "axis_names"]

PHANTOM = "This is a netCDF dimension but not a netCDF variable"
"""How NetCDF names the scale of a dimension that has no values."""


def axis_names(place: Place) -> tuple[str, ...] | None:
    """Return the names of a data set's axes by its dimension scales; None unless all have one.

    Parameters
    ----------
    place : Place
        The data set.
    """
    with hdf5_errors(place.opened):
        if h5a.exists(place.object, b"DIMENSION_LIST"):
            names = [_scale_name(place, axis) for axis in range(place.object.rank)]
            return None if None in names else tuple(name for name in names if name is not None)
        if _is_scale(place) and place.object.rank == 1:
            return (_last(h5i.get_name(place.object)),)
    return None


def _is_scale(place: Place) -> bool:
    """Whether a data set is a dimension scale."""
    return h5a.exists(place.object, b"CLASS") and bool(h5ds.is_scale(place.object))


def _scale_name(place: Place, axis: int) -> str | None:
    if not h5ds.get_num_scales(place.object, axis):
        return None
    found: list[bytes | None] = []
    h5ds.iterate(place.object, axis, lambda scale: found.append(h5i.get_name(scale)), 0)
    return _last(found[0]) if found else None


def _last(name: bytes | None) -> str:
    return (name or b"").rsplit(b"/", 1)[-1].decode("utf-8", "backslashreplace")
