"""Tables of FITS files: rows fetched piece by piece and decoded by astropy.

Owns which columns make a table, and those that are arrays of their own because a cell holds many values.

References
----------
FITS Standard 4.0, section 7.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from holdfast.errors import NotFoundError, OutOfRangeError, UnreadableError
from holdfast.formats.base import ArrayReader, TableReader
from holdfast.formats.fits.hdus import Hdu, fits_errors, fits_library
from holdfast.formats.metadata import clean_text
from holdfast.formats.slicing import Selection
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure, TableStructure
from holdfast.formats.tables import Table

__all__ = ["ColumnOfArrays", "FitsTable", "Rows", "is_cell"]

_PIECE_BYTES = 16 << 20
_MAX_HEAP_BYTES = 256 << 20
_MAX_COLUMNS = 10_000
# Bytes of an element, by its letter.
_SIZES = {"I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16}


class Rows:
    """The rows of a table unit, decoded some at a time.

    Parameters
    ----------
    source : Source
        The file.
    hdu : Hdu
        The unit.

    Raises
    ------
    UnreadableError
        Its header says nonsense.
    """

    def __init__(self, source: Source, hdu: Hdu) -> None:
        self._source, self._hdu = source, hdu
        with fits_errors(source.name):
            header = hdu.header
            self.row_bytes, self.count = int(header["NAXIS1"]), int(header["NAXIS2"])
            self._fields = int(header["TFIELDS"])
            if not 0 <= self._fields <= _MAX_COLUMNS or (self.count and not self.row_bytes):
                raise UnreadableError(f"{hdu.name}: the table has an impossible header")
            self._is_text = isinstance(hdu.unit, fits_library().TableHDU)
            self._heap_start = int(header.get("THEAP", self.row_bytes * self.count))
            self._heap_bytes = hdu.size - self._heap_start if int(header.get("PCOUNT", 0)) else 0
            # A row of zeros tells the types without reading any.
            blank = self._decoded(bytes(self.row_bytes), 1, b"")
            self.kinds = {name: _converted(blank.field(n))[:0] for n, name in self._named(blank)}

    @property
    def at_once(self) -> int:
        """How many rows are decoded together."""
        return max(_PIECE_BYTES // max(self.row_bytes, 1), 1)

    def read(self, first: int, count: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Return some columns of consecutive rows.

        Parameters
        ----------
        first, count : int
            Which rows.
        names : sequence of str
            Which columns.
        """
        data = bytes(self._source.read(self._hdu.offset + first * self.row_bytes, count * self.row_bytes))
        with fits_errors(self._source.name):
            records = self._decoded(data, count, self._heap())
            numbers = {name: n for n, name in self._named(records)}
            return {name: _converted(self._field(records, numbers[name])) for name in names}

    def _heap(self) -> bytes:
        """Return what cells of variable length point into."""
        if not self._heap_bytes:
            return b""
        if not 0 <= self._heap_bytes <= _MAX_HEAP_BYTES:
            raise UnreadableError(
                f"{self._hdu.name}: the table has {self._heap_bytes} bytes of cells of "
                f"variable length; more than {_MAX_HEAP_BYTES >> 20} MiB are not read; split the table"
            )
        return bytes(self._source.read(self._hdu.offset + self._heap_start, self._heap_bytes))

    def _decoded(self, data: bytes, count: int, heap: bytes) -> Any:
        """Let astropy decode rows as if they were a whole table."""
        fits = fits_library()
        header = self._hdu.header.copy()
        header["NAXIS2"], header["PCOUNT"] = count, len(heap)
        for keyword in ("THEAP", "CHECKSUM", "DATASUM"):
            header.remove(keyword, ignore_missing=True)
        kind = fits.TableHDU if self._is_text else fits.BinTableHDU
        whole = header.tostring().encode("ascii", "replace") + data + heap
        # One empty block more: astropy wants the padding of a file.
        table = kind.fromstring(whole + bytes(-len(whole) % 2880), uint=True, character_as_bytes=False)
        if not self._is_text and table.columns.dtype.itemsize != self.row_bytes:
            raise UnreadableError(
                f"{self._hdu.name}: its columns do not make up the {self.row_bytes} bytes of a row"
            )
        return table.data

    def _field(self, records: Any, number: int) -> Any:
        self._check_cells(records, number)
        return records.field(number)

    def _check_cells(self, records: Any, number: int) -> None:
        """Refuse cells of variable length that lie outside the heap or are more than it in all."""
        code = records.columns[number].format
        letter = getattr(code, "p_format", None)
        if self._is_text or letter is None:
            return
        places = np.asarray(records).view(np.ndarray)[records.dtype.names[number]].reshape(-1, 2)
        counts, offsets = places[:, 0].astype("i8"), places[:, 1].astype("i8")
        size = _SIZES.get(letter, 1)
        counts = -(-counts // 8) if letter == "X" else counts
        ends = offsets + counts * size
        if len(places) and (counts.min() < 0 or offsets.min() < 0 or ends.max() > self._heap_bytes):
            raise UnreadableError(f"{self._hdu.name}: the table has cells outside its data: it is damaged")
        if float(counts.sum()) * size > 4 * _MAX_HEAP_BYTES:
            raise UnreadableError(
                f"{self._hdu.name}: the table has cells that share bytes and are more than "
                f"{4 * _MAX_HEAP_BYTES >> 20} MiB in all: refused"
            )

    def _named(self, records: Any) -> Iterator[tuple[int, str]]:
        """Yield number and unique name of each column that holds anything."""
        seen: set[str] = set()
        for number, column in enumerate(records.columns):
            if records.dtype[number].itemsize == 0:
                continue
            name = clean_text(str(column.name or "")) or f"column {number}"
            name = name if name not in seen else f"{name}.{number}"
            seen.add(name)
            yield number, name


def _converted(values: Any) -> np.ndarray:
    """Return a column as plain NumPy values; lists of variable length as JSON text."""
    array = np.asarray(values)
    if array.dtype.kind == "O":
        return np.array([json.dumps(_plain(value)) for value in array], np.str_)
    if array.dtype.kind == "U":
        return np.char.rstrip(np.asarray(array, np.str_), " \0")
    return array.astype(array.dtype.newbyteorder("="))


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind in "US":
        return "".join(map(str, array.tolist())) if array.ndim else str(array)
    return (
        [None if item != item else item for item in array.tolist()]
        if array.dtype.kind == "f"
        else array.tolist()
    )


def is_cell(kind: np.ndarray) -> bool:
    """Whether a column has one value a row, of a type that tables have."""
    return kind.ndim == 1 and kind.dtype.kind != "c"


class FitsTable(TableReader):
    """The columns of a table that have one value a row.

    Parameters
    ----------
    source : Source
        The file.
    rows : Rows
        The table.
    """

    def __init__(self, source: Source, rows: Rows) -> None:
        self._rows = rows
        self._name = source.name
        self.is_verified = source.is_verified
        self._names = tuple(name for name, kind in rows.kinds.items() if is_cell(kind))
        dtypes = {name: rows.kinds[name].dtype for name in self._names}
        built = TableStructure.from_dtypes(dtypes)
        parts = max(-(-rows.count // rows.at_once), 1)
        self.structure = TableStructure(built.arrow_schema, built.columns, parts)

    def read(self, columns: Sequence[str] | None = None, partition: int | None = None) -> Table:
        """Return columns of the table.

        Raises
        ------
        NotFoundError
            There is no such column.
        OutOfRangeError
            There is no such partition.
        """
        names = self._names if columns is None else tuple(columns)
        for name in names:
            if name not in self._names:
                raise NotFoundError(f"no column {name!r}; there are {', '.join(self._names)}")
        if partition is not None and not 0 <= partition < self.structure.npartitions:
            raise OutOfRangeError(
                f"{self._name} has {self.structure.npartitions} partitions, no number {partition}"
            )
        wanted = range(self.structure.npartitions) if partition is None else [partition]
        parts = [self._part(number, names) for number in wanted]
        return Table({name: _joined([part[name] for part in parts]) for name in names})

    def _part(self, number: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        first = number * self._rows.at_once
        count = min(self._rows.at_once, self._rows.count - first)
        return self._rows.read(first, count, names) if count else {n: self._rows.kinds[n] for n in names}


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class ColumnOfArrays(ArrayReader):
    """A column with an array in each cell: its rows are the first axis.

    Parameters
    ----------
    source : Source
        The file.
    rows : Rows
        The table.
    name : str
        The column.
    """

    def __init__(self, source: Source, rows: Rows, name: str) -> None:
        kind = rows.kinds.get(name)
        if kind is None or is_cell(kind):
            raise NotFoundError(f"{source.name} has no column {name!r} with arrays in its cells")
        self.structure = ArrayStructure.build(kind.dtype, (rows.count, *kind.shape[1:]))
        self.is_verified = source.is_verified
        self._rows, self._name = rows, name

    def fetch(self, selection: Selection) -> np.ndarray:
        """Return the selected elements, decoding no more rows at a time than fit in memory."""
        out = np.empty(selection.kept_shape, self.structure.dtype)
        first, inner = selection.axes[0], selection.index[1:]
        step = max(self._rows.at_once // abs(first.step), 1)
        for at in range(0, first.count if out.size else 0, step):
            part = first.part(at, min(step, first.count - at))
            values = self._rows.read(part.low, part.high - part.low, [self._name])[self._name]
            out[at : at + part.count] = values[:: part.step][(slice(None), *inner)]
        return out
