"""Classic NetCDF files: named dimensions, variables along them, attributes.

Owns CDF-1, CDF-2 and CDF-5 (NetCDF-3); NetCDF-4 files are HDF5 and read as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.formats.base import ArrayReader, Described, Description, Format, OpenFile
from holdfast.formats.datasets import mark_dataset
from holdfast.formats.metadata import Metadata, clean_text
from holdfast.formats.netcdf.header import MAGICS, Header, Variable, read_header
from holdfast.formats.rawarray import RawArray, Segment
from holdfast.formats.registry import get_format
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure
from holdfast.paths import check_name

__all__ = ["NETCDF", "NetcdfFile", "NetcdfFormat"]

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


class NetcdfFormat(Format):
    """Variables of a classic NetCDF file, read in place."""

    name = "netcdf"
    media_types = ("application/x-netcdf",)
    suffixes = (".cdf", ".nc3", ".nc")

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the first four bytes."""
        return head.startswith(MAGICS)

    def describe(self, source: Source) -> Description:
        """Return variables and attributes from the header.

        Raises
        ------
        UnreadableError
            A damaged header, or a file shorter than its header says.
        """
        header = read_header(source)
        root = Described("", "container", _json(header.attributes))
        unlisted = []
        for variable in header.variables.values():
            try:
                check_name(variable.name, "name", reserved=True)
            except InvalidInputError:
                unlisted.append(clean_text(variable.name))
                continue
            root.children.append(_described(variable))
        if unlisted:
            root.metadata.setdefault("holdfast", {})["unlisted"] = unlisted[:100]
        mark_dataset(root)
        return Description(root, self.media_types[0])

    def open(self, source: Source) -> OpenFile:
        """Open the file; NetCDF-4 is opened as HDF5, for other servers name both alike."""
        with source.closed_on_failure():
            if source.head().startswith(_HDF5_MAGIC):
                return get_format("application/x-hdf5").open(source)
            return NetcdfFile(source, read_header(source))


class NetcdfFile(OpenFile):
    """An open classic file.

    Parameters
    ----------
    source : Source
        Its bytes; closed with the file.
    header : Header
        What it holds.
    """

    def __init__(self, source: Source, header: Header) -> None:
        self._source = source
        self._header = header

    def array(self, parameters: Mapping[str, Any]) -> ArrayReader:
        """Return the variable under ``parameters["dataset"]``.

        Raises
        ------
        NotFoundError
            There is no such variable.
        """
        name = str(parameters.get("dataset", ""))
        variable = self._header.variables.get(name)
        if variable is None:
            raise NotFoundError(f"{self._source.name} has no variable {name!r}")
        pitch = self._header.record_bytes if variable.is_record else None
        structure = _structure(variable)
        before = (variable.shape[0] - 1) * (pitch or 0) if variable.is_record else 0
        size = before + variable.row_bytes if structure.size else 0
        begin = variable.begin if size else 0
        return RawArray(structure, [Segment(self._source, begin, size)], pitch=pitch)

    def close(self) -> None:
        """Give the descriptor back."""
        self._source.close()


def _described(variable: Variable) -> Described:
    structure = _structure(variable).to_json()
    parameters = {"dataset": variable.name}
    return Described(variable.name, "array", _json(variable.attributes), structure, parameters=parameters)


def _structure(variable: Variable) -> ArrayStructure:
    return ArrayStructure.build(variable.dtype, variable.shape, dims=variable.dims)


def _json(attributes: Mapping[str, Any]) -> dict[str, Any]:
    collected = Metadata()
    for name, value in attributes.items():
        collected.put((name,), value)
    return collected.to_json()


NETCDF = NetcdfFormat()
