"""Arrow schemas of flat tables, encoded without an Arrow library.

Owns the few bytes of the Arrow IPC schema message that a table's structure carries; encodes no rows.

>>> schema_uri({"x": np.dtype("f8")})[:44]
'data:application/vnd.apache.arrow.file;base6'
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["URI_PREFIX", "schema_bytes", "schema_uri"]

URI_PREFIX = "data:application/vnd.apache.arrow.file;base64,"

# Numbers of the union members and enumerations in Arrow's Schema.fbs and Message.fbs.
_METADATA_V5 = 4
_HEADER_SCHEMA = 1
_INT, _FLOAT, _BINARY, _UTF8, _BOOL, _TIMESTAMP, _FIXED_BINARY, _DURATION = 2, 3, 4, 5, 6, 10, 15, 18
_TIME_UNITS = {"s": 0, "ms": 1, "us": 2, "ns": 3}
_FLOAT_PRECISION = {2: 0, 4: 1, 8: 2}

Child = Callable[["_Writer"], int]
Cell = tuple[str, int] | Child | None


def schema_uri(dtypes: Mapping[str, np.dtype]) -> str:
    """Return the schema of columns as the ``data:`` URI of Tiled's table structure.

    Parameters
    ----------
    dtypes : mapping of str to numpy.dtype
        Column names and types, in order.

    References
    ----------
    Arrow columnar format, "Encapsulated message format"; ``tiled.structures.table``.
    """
    return URI_PREFIX + base64.b64encode(schema_bytes(dtypes)).decode("ascii")


def schema_bytes(dtypes: Mapping[str, np.dtype]) -> bytes:
    """Return the encapsulated Arrow schema message, as ``pyarrow.Schema.serialize`` does.

    Parameters
    ----------
    dtypes : mapping of str to numpy.dtype
        Column names and types, in order.
    """
    fields = [_field(name, dtype) for name, dtype in dtypes.items()]
    schema = _table(None, _vector(fields))
    message = _table(("<h", _METADATA_V5), ("<B", _HEADER_SCHEMA), schema, ("<q", 0))
    writer = _Writer()
    writer.data += bytes(4)
    writer.point(0, message(writer))
    writer.align(8)
    return struct.pack("<iI", -1, len(writer.data)) + bytes(writer.data)


def _field(name: str, dtype: np.dtype) -> Child:
    number, body = _type(dtype)
    return _table(_string(name), ("<B", 1), ("<B", number), body, None, _vector([]))


def _type(dtype: np.dtype) -> tuple[int, Child]:
    """Return the member number and table of the Arrow type that holds a NumPy type."""
    if dtype.kind in "iu":
        return _INT, _table(("<i", dtype.itemsize * 8), ("<B", int(dtype.kind == "i")))
    if dtype.kind == "f" and dtype.itemsize in _FLOAT_PRECISION:
        return _FLOAT, _table(("<h", _FLOAT_PRECISION[dtype.itemsize]))
    if dtype.kind == "b":
        return _BOOL, _table()
    if dtype.kind in "mM":
        unit = ("<h", _TIME_UNITS.get(np.datetime_data(dtype)[0], 3))
        return (_TIMESTAMP, _table(unit)) if dtype.kind == "M" else (_DURATION, _table(unit))
    if dtype.kind == "S":
        return _BINARY, _table()
    if dtype.kind in "UO":
        return _UTF8, _table()
    return _FIXED_BINARY, _table(("<i", dtype.itemsize))


class _Writer:
    """A FlatBuffer written front to back: what a table points to stands behind it."""

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def point(self, at: int, target: int) -> None:
        struct.pack_into("<I", self.data, at, target - at)


def _table(*cells: Cell) -> Child:
    def write(writer: _Writer) -> int:
        layout, size = _layout(cells)
        writer.align(8)
        vtable = len(writer.data)
        entries = [4 + 2 * len(cells), size, *(offset or 0 for offset in layout)]
        writer.data += struct.pack(f"<{len(entries)}H", *entries)
        writer.align(8)
        start = len(writer.data)
        writer.data += bytes(size)
        struct.pack_into("<i", writer.data, start, start - vtable)
        for cell, offset in zip(cells, layout, strict=True):
            _fill(writer, cell, start + (offset or 0))
        return start

    return write


def _layout(cells: tuple[Cell, ...]) -> tuple[list[int | None], int]:
    """Place the cells of a table behind its vtable offset, each at a multiple of its own size."""
    offsets: list[int | None] = []
    size = 4
    for cell in cells:
        width = struct.calcsize(cell[0]) if isinstance(cell, tuple) else 4
        size += -size % width
        offsets.append(None if cell is None else size)
        size += 0 if cell is None else width
    return offsets, size


def _fill(writer: _Writer, cell: Cell, at: int) -> None:
    if isinstance(cell, tuple):
        struct.pack_into(cell[0], writer.data, at, cell[1])
    elif cell is not None:
        writer.point(at, cell(writer))


def _string(text: str) -> Child:
    def write(writer: _Writer) -> int:
        writer.align(4)
        start = len(writer.data)
        encoded = text.encode()
        writer.data += struct.pack("<I", len(encoded)) + encoded + b"\0"
        return start

    return write


def _vector(children: list[Child]) -> Child:
    def write(writer: _Writer) -> int:
        writer.align(4)
        start = len(writer.data)
        writer.data += struct.pack("<I", len(children)) + bytes(4 * len(children))
        for number, child in enumerate(children):
            at = start + 4 + 4 * number
            writer.point(at, child(writer))
        return start

    return write
