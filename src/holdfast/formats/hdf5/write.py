"""Writing HDF5 files.

Owns turning a tree of arrays into one file, published in one step.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from holdfast.errors import InvalidTypeError
from holdfast.files import open_atomic
from holdfast.types import PathLike

__all__ = ["write_tree"]


def write_tree(path: PathLike, tree: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Write groups and data sets as a new file.

    Parameters
    ----------
    path : path-like
        The new file.
    tree : mapping of str to array or mapping
        Data sets, and groups of them.
    attributes : mapping
        Attributes of the root group.

    Raises
    ------
    InvalidTypeError
        A value that HDF5 cannot hold.
    """
    with open_atomic(path) as out, io.FileIO(os.dup(out.fd), "r+") as raw, h5py.File(raw, "w") as file:
        _put_attributes(file, attributes)
        _put(file, tree)


def _put(group: h5py.Group, tree: Mapping[str, Any]) -> None:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            _put(group.create_group(name), value)
            continue
        array = np.asarray(value)
        text = h5py.string_dtype() if array.dtype.kind == "U" else None
        try:
            group.create_dataset(name, data=array.astype(object) if text else array, dtype=text)
        except (TypeError, ValueError) as error:
            raise InvalidTypeError(f"{name!r} cannot be kept in HDF5: {error}") from error


def _put_attributes(group: h5py.Group, attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():
        try:
            group.attrs[name] = value
        except TypeError as error:
            raise InvalidTypeError(f"the attribute {name!r} cannot be kept in HDF5: {error}") from error
