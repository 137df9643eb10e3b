"""Dimension scales: names of axes, and groups that are xarray data sets.

Owns what NetCDF-4 and HDF5's dimension scales say about a group's data sets.
"""

from __future__ import annotations

from h5py import h5a, h5ds, h5i

from holdfast.formats.base import Described
from holdfast.formats.hdf5.links import Place, hdf5_errors

__all__ = ["PHANTOM", "axis_names", "mark_datasets"]

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


def mark_datasets(node: Described, place: Place) -> None:
    """Give a group and its arrays the specs of an xarray data set, if all its children are arrays with axes.

    Parameters
    ----------
    node : Described
        The group, described with its children.
    place : Place
        The group.
    """
    if not node.children or any(child.family != "array" for child in node.children):
        return
    if not any((child.structure or {}).get("dims") for child in node.children) or not _agree(node.children):
        return
    coordinates = {child.key for child in node.children if (child.structure or {})["dims"] == [child.key]}
    for child in node.children:
        coordinates.update(str(child.metadata.get("coordinates", "")).split())
    for child in node.children:
        structure = child.structure or {}
        structure["dims"] = structure["dims"] or []
        child.specs = ["xarray_coord" if child.key in coordinates else "xarray_data_var"]
        child.metadata = {**child.metadata, "attrs": _attrs(child)}
    node.specs = ["xarray_dataset"]
    node.metadata = {**node.metadata, "attrs": _attrs(node)}


def _attrs(node: Described) -> dict[str, object]:
    return {name: value for name, value in node.metadata.items() if name != "holdfast"}


def _agree(children: list[Described]) -> bool:
    """Whether every axis has a name, and each name one length."""
    lengths: dict[str, int] = {}
    for child in children:
        structure = child.structure or {}
        dims, shape = structure["dims"] or [], structure["shape"]
        if len(dims) != len(shape) or len(set(dims)) != len(dims):
            return False
        if any(lengths.setdefault(name, length) != length for name, length in zip(dims, shape, strict=True)):
            return False
    return True
