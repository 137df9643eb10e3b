"""Headers of classic NetCDF files: dimensions, attributes, and where each variable lies.

Owns the header of CDF-1, CDF-2 (64-bit offsets) and CDF-5 (64-bit data); reads no variables.

References
----------
NetCDF User's Guide, "NetCDF Classic Format Specification"; PnetCDF, "CDF-5 File Format Specification".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.source import Source

__all__ = ["MAGICS", "Header", "Variable", "read_header"]

MAGICS = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
"""What classic files start with."""

_MAX_HEADER_BYTES = 8 << 20
_FIRST_PIECE = 16 << 10
_MAX_AXES = 64
_CHAR = 2
_TYPES = {1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8"}
_CDF5_TYPES = {7: "u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8"}
_DIMENSIONS, _VARIABLES, _ATTRIBUTES = 10, 11, 12

Item = TypeVar("Item")


@dataclass(slots=True)
class Variable:
    """A variable as the header describes it.

    Parameters
    ----------
    name : str
        Its name.
    dims : tuple of str
        Names of its axes.
    shape : tuple of int
        Lengths of its axes; of a record variable the first is the number of records.
    dtype : numpy.dtype
        Type of an element.
    attributes : dict
        As read.
    begin : int
        Where its bytes, or those of its first record, start.
    is_record : bool
        Whether its first axis is the one that grows.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    attributes: dict[str, Any]
    begin: int
    is_record: bool = False

    @property
    def row_bytes(self) -> int:
        """Size in bytes of the variable, of a record variable in one record."""
        return math.prod(self.shape[1:] if self.is_record else self.shape) * self.dtype.itemsize


@dataclass(slots=True)
class Header:
    """What a header says.

    Parameters
    ----------
    attributes : dict
        Attributes of the file.
    variables : dict of str to Variable
        The variables by name.
    record_bytes : int
        From the start of one record to that of the next.
    """

    attributes: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    record_bytes: int = 0


def read_header(source: Source) -> Header:
    """Read the header of a classic file; nothing in it is believed before it is checked.

    Parameters
    ----------
    source : Source
        The file.

    Raises
    ------
    UnreadableError
        The header is damaged, or claims more than the file holds.
    """
    cursor = _Cursor(source)
    records = cursor.records()
    dimensions = cursor.items(_DIMENSIONS, lambda: (cursor.text(), cursor.count()))
    header = Header(cursor.attributes())
    for variable in cursor.items(_VARIABLES, lambda: _variable(cursor, dimensions)):
        if variable.name in header.variables:
            raise cursor.damaged(f"two variables are named {variable.name!r}")
        header.variables[variable.name] = variable
    growing = [each for each in header.variables.values() if each.is_record]
    header.record_bytes = _record_bytes(growing)
    _set_length(growing, records, header.record_bytes, source)
    for variable in header.variables.values():
        _check(variable, header.record_bytes, source)
    return header


def _variable(cursor: _Cursor, dimensions: list[tuple[str, int]]) -> Variable:
    name = cursor.text()
    rank = cursor.count()
    if rank > _MAX_AXES:
        raise cursor.damaged(f"{name!r} has {rank} axes")
    numbers = [cursor.count() for _ in range(rank)]
    if any(number >= len(dimensions) for number in numbers):
        raise cursor.damaged(f"{name!r} lies along a dimension that is not there")
    attributes = cursor.attributes()
    dtype = cursor.dtype()
    cursor.count()  # the size, which overflows in large files and follows from the shape
    dims = [dimensions[number] for number in numbers]
    if any(not length for _, length in dims[1:]):
        raise cursor.damaged(f"{name!r} has the growing dimension where it may not be")
    return Variable(
        name,
        tuple(dim for dim, _ in dims),
        tuple(length for _, length in dims),
        dtype,
        attributes,
        cursor.offset(),
        is_record=bool(dims) and not dims[0][1],
    )


def _record_bytes(growing: list[Variable]) -> int:
    """Return the size of a record: its variables padded to 4 bytes each, a single one as it is."""
    if len(growing) == 1:
        return growing[0].row_bytes
    return sum(-(-each.row_bytes // 4) * 4 for each in growing)


def _set_length(growing: list[Variable], records: int | None, record_bytes: int, source: Source) -> None:
    """Give record variables their length; that of a file still being streamed follows from its size."""
    if records is None:
        first = min((each.begin for each in growing), default=0)
        records = max(source.size - first, 0) // record_bytes if record_bytes else 0
    for each in growing:
        each.shape = (records, *each.shape[1:])


def _check(variable: Variable, record_bytes: int, source: Source) -> None:
    if not math.prod(variable.shape):
        return
    before = (variable.shape[0] - 1) * record_bytes if variable.is_record else 0
    end = variable.begin + before + variable.row_bytes
    if end > source.size:
        raise UnreadableError(
            f"{source.name} has {source.size} bytes, its variable {variable.name!r} ends at byte {end}: the "
            "file is truncated; copy it again"
        )


class _Cursor:
    """A position in a header, which is read in growing pieces."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._data = b""
        self._at = 0
        magic = self.take(4)
        if magic not in MAGICS:
            raise UnreadableError(f"{source.name} is no classic NetCDF file; it starts with {magic!r}")
        self._version = magic[3]
        self._wide = 8 if self._version == 5 else 4

    def damaged(self, why: str) -> UnreadableError:
        return UnreadableError(f"{self._source.name} has a damaged NetCDF header: {why}; copy the file again")

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        end = self._at + size
        if end > min(self._source.size, _MAX_HEADER_BYTES):
            raise UnreadableError(
                f"{self._source.name} has {self._source.size} bytes, its NetCDF header needs {end}: the file "
                "is truncated or damaged; copy it again"
            )
        if end > len(self._data):
            wanted = min(max(end, 4 * len(self._data), _FIRST_PIECE), self._source.size)
            self._data = bytes(self._source.read(0, wanted))
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def _int(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def count(self) -> int:
        """Return a number that is not negative: 4 bytes, or 8 in CDF-5."""
        value = self._int(self._wide)
        if value >> (8 * self._wide - 1) and self._wide == 8:
            raise self.damaged("a number is negative")
        return value

    def records(self) -> int | None:
        """Return the number of records; None where the writer left it open."""
        value = self._int(self._wide)
        return None if value == (1 << 8 * self._wide) - 1 else value

    def offset(self) -> int:
        """Return a position in the file: 4 bytes in CDF-1, else 8."""
        return self._int(4 if self._version == 1 else 8)

    def text(self) -> str:
        """Return a name."""
        data = self._padded(self.count())
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.damaged(f"the name {data[:40]!r} is not UTF-8") from error

    def _padded(self, size: int) -> bytes:
        data = self.take(size)
        self.take(-size % 4)
        return data

    def items(self, tag: int, read: Callable[[], Item]) -> list[Item]:
        """Return the elements of a list, which may be absent."""
        found, count = self._int(4), self.count()
        if found not in (tag, 0) or (not found and count):
            raise self.damaged(f"a list has the tag {found} instead of {tag}")
        return [read() for _ in range(count)]

    def attributes(self) -> dict[str, Any]:
        """Return attributes by name."""
        return dict(self.items(_ATTRIBUTES, self._attribute))

    def _attribute(self) -> tuple[str, Any]:
        name, number = self.text(), self._int(4)
        dtype = self._known_type(number)
        data = self._padded(self.count() * dtype.itemsize)
        if number == _CHAR:
            return name, data
        values = np.frombuffer(data, dtype)
        return name, values[0] if values.size == 1 else values

    def dtype(self) -> np.dtype:
        """Return the type that the next number stands for."""
        return self._known_type(self._int(4))

    def _known_type(self, number: int) -> np.dtype:
        known = _TYPES if self._version < 5 else _TYPES | _CDF5_TYPES
        if number not in known:
            raise self.damaged(f"no element type has the number {number}")
        return np.dtype(known[number])
