"""Arrays, tables and trees as HDF5.

Owns what has a form in HDF5; `skeleton` writes it, and is loaded when it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from holdfast.formats.exports.base import (
    ArrayExport,
    ArrayPart,
    ContainerExport,
    Export,
    Exported,
    ExportNode,
    TableExport,
    TablePart,
)

__all__ = [
    "ARRAY",
    "CONTAINER",
    "TABLE",
    "Hdf5ArrayExport",
    "Hdf5ContainerExport",
    "Hdf5TableExport",
    "why_not",
]

_TIME_UNITS = frozenset({"D", "h", "m", "s", "ms", "us", "ns"})


class _Hdf5(Export[Any]):
    """What the three share."""

    media_types = ("application/x-hdf5", "application/hdf5")
    suffixes = ("h5", "hdf5")

    def export(self, part: Any) -> Exported:
        """Return an HDF5 file.

        Raises
        ------
        NotAcceptableError
            For a tree with more nodes, or more text and rows of tables, than can be prepared.
        """
        exported: Exported = import_module("holdfast.formats.exports.skeleton").export(part)
        return exported


class Hdf5ArrayExport(_Hdf5, ArrayExport):
    """The data set ``data`` with the metadata as its attributes."""

    def refusal(self, part: ArrayPart) -> str | None:
        """Refuse types that HDF5 has not."""
        return why_not(part.dtype)


class Hdf5TableExport(_Hdf5, TableExport):
    """A data set for each column, the metadata as attributes of the root."""

    def refusal(self, part: TablePart) -> str | None:
        """Refuse nothing by its names."""
        return None


class Hdf5ContainerExport(_Hdf5, ContainerExport):
    """Groups, data sets and tables (groups of columns) with their metadata as attributes.

    Notes
    -----
    A file that is neither an array nor a table is a group of its metadata; take ZIP for its content.
    """

    def refusal(self, part: ExportNode) -> str | None:
        """Refuse nothing that can be told before the tree is walked."""
        return None


def why_not(dtype: np.dtype[Any]) -> str | None:
    """Return why a type has no form in HDF5; None when it has."""
    if dtype.names is not None:
        parts = [dtype[name].base for name in dtype.names]
        odd = next(
            (part for part in parts if why_not(part) or (part.names is None and part.kind in "UMmO")), None
        )
        return (
            None if odd is None else f"records with fields of type {odd} have no form in HDF5; choose a field"
        )
    if dtype.kind in "Mm":
        unit, count = np.datetime_data(dtype)
        return (
            None
            if unit in _TIME_UNITS and count == 1
            else f"times in steps of {count} {unit} have no form in HDF5"
        )
    return f"elements of type {dtype} have no form in HDF5" if dtype.itemsize == 0 else None


ARRAY, TABLE, CONTAINER = Hdf5ArrayExport(), Hdf5TableExport(), Hdf5ContainerExport()
