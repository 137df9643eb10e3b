"""Groups of arrays along common axes: the specs by which clients make xarray data sets of them.

Owns the rule; what names the axes is the format's.

>>> time = Described("t", "array", structure={"dims": ["t"], "shape": [3]})
>>> value = Described("v", "array", structure={"dims": ["t"], "shape": [3]})
>>> group = Described("", "container", children=[time, value])
>>> mark_dataset(group); group.specs, time.specs, value.specs
(['xarray_dataset'], ['xarray_coord'], ['xarray_data_var'])
"""

from __future__ import annotations

from holdfast.formats.base import Described

__all__ = ["mark_dataset"]


def mark_dataset(node: Described) -> None:
    """Give a group and its arrays the specs of an xarray data set, if all its children are arrays with axes.

    Parameters
    ----------
    node : Described
        The group, described with its children.
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
