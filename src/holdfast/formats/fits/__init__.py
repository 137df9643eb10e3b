"""FITS files: images, compressed images and tables, with their headers as metadata.

Owns the format; units are found, images and tables read in the modules beside.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from holdfast.errors import HoldfastError, InvalidInputError, NotFoundError
from holdfast.formats.base import ArrayReader, Described, Description, Format, OpenFile, TableReader
from holdfast.formats.fits.hdus import Hdu, Hdus, header_json
from holdfast.formats.fits.images import image_structure, open_image
from holdfast.formats.fits.tables import ColumnOfArrays, FitsTable, Rows, is_cell
from holdfast.formats.source import Source
from holdfast.paths import check_name

__all__ = ["FITS", "FitsFile", "FitsFormat"]

_MAGIC = b"SIMPLE  ="
_TABLE = "table"


class FitsFormat(Format):
    """Images and tables of a FITS file, read through astropy."""

    name = "fits"
    media_types = ("application/fits", "image/fits")
    suffixes = (".fits", ".fit", ".fts")
    is_frame = True

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the first keyword."""
        return head.startswith(_MAGIC)

    def describe(self, source: Source) -> Description:
        """Return the units with their headers; a file of one image is an array itself.

        Raises
        ------
        UnreadableError
            A header is damaged, or claims more than the file holds.
        MissingDependencyError
            astropy is not installed.
        """
        hdus = Hdus(source)
        try:
            return Description(_root(source, hdus.all), self.media_types[0])
        finally:
            hdus.close()

    def open(self, source: Source) -> OpenFile:
        """Open the file."""
        with source.closed_on_failure():
            return FitsFile(source, Hdus(source))


class FitsFile(OpenFile):
    """An open FITS file.

    Parameters
    ----------
    source : Source
        Its bytes; closed with the file.
    hdus : Hdus
        What it holds.
    """

    def __init__(self, source: Source, hdus: Hdus) -> None:
        self._source = source
        self._hdus = hdus
        self._rows: dict[str, Rows] = {}
        self._arrays: dict[tuple[str, str], ArrayReader] = {}
        self._lock = threading.Lock()

    def array(self, parameters: Mapping[str, Any]) -> ArrayReader:
        """Return the image of the unit ``hdu`` of `parameters`, or the ``column`` of its table.

        Raises
        ------
        NotFoundError
            There is no such image or column.
        """
        hdu, column = self._unit(parameters), str(parameters.get("column", ""))
        if hdu.kind not in ("image", "compressed") and not column:
            raise NotFoundError(f"{self._source.name}: {hdu.key} is no image")
        rows = self._rows_of(hdu) if column else None
        with self._lock:
            if (hdu.key, column) not in self._arrays:
                self._arrays[hdu.key, column] = (
                    open_image(self._source, hdu)
                    if rows is None
                    else ColumnOfArrays(self._source, rows, column)
                )
            return self._arrays[hdu.key, column]

    def table(self, parameters: Mapping[str, Any]) -> TableReader:
        """Return the table of the unit ``parameters["hdu"]``.

        Raises
        ------
        NotFoundError
            There is no such table.
        """
        return FitsTable(self._source, self._rows_of(self._unit(parameters)))

    def _unit(self, parameters: Mapping[str, Any]) -> Hdu:
        key = str(parameters.get("hdu", "PRIMARY"))
        found = self._hdus.find(key)
        if found is None:
            raise NotFoundError(f"{self._source.name} has no unit {key!r}")
        return found

    def _rows_of(self, hdu: Hdu) -> Rows:
        if hdu.kind != "table":
            raise NotFoundError(f"{self._source.name}: {hdu.key} is no table")
        with self._lock:
            if hdu.key not in self._rows:
                self._rows[hdu.key] = Rows(self._source, hdu)
            return self._rows[hdu.key]

    def close(self) -> None:
        """Give the descriptor back; a second time does nothing."""
        self._hdus.close()
        self._source.close()


def _root(source: Source, hdus: list[Hdu]) -> Described:
    """Describe a file: its one image, or a container of its units under the header of the first."""
    first, *further = hdus
    if first.kind == "image" and not further:
        structure = image_structure(first).to_json()
        return Described("", "array", header_json(first.header), structure, parameters={"hdu": first.key})
    root = Described("", "container", header_json(first.header))
    root.children = [_described(source, each, each.key) for each in hdus if each.kind != "empty"]
    return root


def _described(source: Source, hdu: Hdu, key: str) -> Described:
    """Describe a unit; one that cannot be read says why and leaves the others as they are."""
    metadata, parameters = header_json(hdu.header), {"hdu": hdu.key}
    try:
        if hdu.kind in ("image", "compressed"):
            return Described(key, "array", metadata, image_structure(hdu).to_json(), parameters=parameters)
        if hdu.kind == "table":
            return _table(source, hdu, key, metadata)
        error = "random groups and foreign extensions are not read"
    except HoldfastError as failure:
        error = str(failure)
    return Described(key, "bytes", {**metadata, "error": error}, parameters=parameters)


def _table(source: Source, hdu: Hdu, key: str, metadata: dict[str, Any]) -> Described:
    """Describe a table; one that has arrays in cells is a container of these and of the table of the rest."""
    rows = Rows(source, hdu)
    structure = FitsTable(source, rows).structure.to_json()
    table = Described(key, "table", metadata, structure, parameters={"hdu": hdu.key})
    arrays = [name for name, kind in rows.kinds.items() if not is_cell(kind) and _is_name(name)]
    if not arrays:
        return table
    node = Described(key, "container", metadata, parameters={"hdu": hdu.key})
    for name in arrays:
        parameters = {"hdu": hdu.key, "column": name}
        array = ColumnOfArrays(source, rows, name).structure.to_json()
        node.children.append(Described(name, "array", {}, array, parameters=parameters))
    if structure["columns"]:
        table.key = _TABLE if _TABLE not in arrays else f"{_TABLE} {hdu.key}"
        table.metadata = {}
        node.children.append(table)
    return node


def _is_name(name: str) -> bool:
    try:
        check_name(name, "name", reserved=True)
    except InvalidInputError:
        return False
    return True


FITS = FitsFormat()
