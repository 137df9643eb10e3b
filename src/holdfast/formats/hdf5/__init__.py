"""HDF5, NeXus and NetCDF-4 files: trees of groups and data sets.

Owns the format; how links, types, arrays and trees are read stands in the modules beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.errors import InvalidTypeError
from holdfast.formats.base import Description, Format, OpenFile
from holdfast.formats.hdf5.file import Hdf5File
from holdfast.formats.hdf5.links import find_signature
from holdfast.formats.hdf5.tree import describe
from holdfast.formats.hdf5.write import write_tree
from holdfast.formats.source import Source
from holdfast.types import PathLike

__all__ = ["HDF5", "Hdf5Format"]


class Hdf5Format(Format):
    """A tree of arrays in an HDF5 file, with attributes as metadata."""

    name = "hdf5"
    media_types = ("application/x-hdf5", "application/x-nexus")
    suffixes = (
        ".h5",
        ".hdf5",
        ".hdf",
        ".he5",
        ".nxs",
        ".nx5",
        ".nxspe",
        ".nexus",
        ".nc",
        ".nc4",
        ".cxi",
        ".h5ad",
    )

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the signature, also behind a user block."""
        return find_signature(source) is not None

    def describe(self, source: Source) -> Description:
        """Return the tree of groups and data sets with their attributes.

        Raises
        ------
        UnreadableError
            The file is truncated, damaged, or HDF4.
        """
        return describe(source, self.media_types[0])

    def open(self, source: Source) -> OpenFile:
        """Open the file read-only and without locks; SWMR where it is flagged."""
        with source.closed_on_failure():
            return Hdf5File(source)

    def write(self, path: PathLike, value: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Write a tree of arrays in one step.

        Parameters
        ----------
        path : path-like
            The new file.
        value : mapping of str to array or mapping
            Groups and data sets.
        metadata : mapping, optional
            Attributes of the root group.

        Raises
        ------
        InvalidTypeError
            Something in the tree is neither.
        """
        if not isinstance(value, Mapping):
            raise InvalidTypeError(f"{path}: a mapping of arrays is needed, not {type(value).__name__}")
        write_tree(path, value, metadata or {})


HDF5 = Hdf5Format()
