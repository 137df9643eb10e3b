"""Structures: what shape and type an array or a table has, as Tiled's wire spells it.

Owns the values and their JSON; reads no files.

>>> import numpy as np
>>> ArrayStructure.from_array(np.zeros((2, 3))).to_json()["shape"]
[2, 3]
"""

from __future__ import annotations

import base64
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from holdfast.errors import InvalidInputError
from holdfast.formats.arrowschema import URI_PREFIX, schema_uri

__all__ = [
    "ArrayStructure",
    "DataType",
    "Family",
    "Field",
    "StructType",
    "Structure",
    "TableStructure",
    "container_json",
    "data_type_from_json",
    "data_type_from_numpy",
    "packed",
    "structure_from_json",
    "whole_chunks",
]

Family = Literal["array", "table", "container", "sparse", "awkward", "bytes"]
Endianness = Literal["big", "little", "not_applicable"]

_ENDIANNESS: dict[str, Endianness] = {
    ">": "big",
    "<": "little",
    "=": "little" if sys.byteorder == "little" else "big",
    "|": "not_applicable",
}
_BYTE_ORDERS = {"big": ">", "little": "<", "not_applicable": "|"}
_KINDS = frozenset("biufcmMSUVO")

# A block is what a client fetches at once: large enough to fill a connection, small enough for memory.
_BLOCK_BYTES = 16 << 20
_MAX_BLOCKS_PER_AXIS = 1024


@dataclass(frozen=True, slots=True)
class DataType:
    """One plain element type.

    Parameters
    ----------
    endianness : "big", "little" or "not_applicable"
        Byte order.
    kind : str
        NumPy's one-letter kind: ``b i u f c m M S U V``.
    itemsize : int
        Size of an element in bytes.
    dt_units : str, optional
        Unit of a time type, such as ``"[ns]"``.
    """

    endianness: Endianness
    kind: str
    itemsize: int
    dt_units: str | None = None

    @classmethod
    def from_numpy(cls, dtype: np.dtype) -> DataType:
        """Describe a NumPy type without fields."""
        units = None
        if dtype.kind in "mM":
            unit, count = np.datetime_data(dtype)
            units = f"[{count if count > 1 else ''}{unit}]"
        return cls(_ENDIANNESS[dtype.byteorder], dtype.kind, dtype.itemsize, units)

    def to_numpy(self) -> np.dtype:
        """Return the NumPy type."""
        size = self.itemsize // 4 if self.kind == "U" else self.itemsize
        return np.dtype(f"{_BYTE_ORDERS[self.endianness]}{self.kind}{size}{self.dt_units or ''}")

    def to_json(self) -> dict[str, Any]:
        """Return the wire form."""
        return {
            "endianness": self.endianness,
            "kind": self.kind,
            "itemsize": self.itemsize,
            "dt_units": self.dt_units,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DataType:
        """Read the wire form.

        Raises
        ------
        InvalidInputError
            Unknown kind or byte order, negative or oversized items.
        """
        endianness, kind, itemsize = value.get("endianness"), value.get("kind"), value.get("itemsize")
        if endianness not in _BYTE_ORDERS or kind not in _KINDS:
            raise InvalidInputError(f"no data type has kind {kind!r} and byte order {endianness!r}")
        if not isinstance(itemsize, int) or not 0 <= itemsize < 1 << 31:
            raise InvalidInputError(f"no data type has elements of {itemsize!r} bytes")
        return cls(endianness, kind, itemsize, value.get("dt_units"))


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structured type; `shape` is that of a sub-array, or None."""

    name: str
    data_type: DataType | StructType
    shape: tuple[int, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the wire form."""
        shape = None if self.shape is None else list(self.shape)
        return {"name": self.name, "dtype": self.data_type.to_json(), "shape": shape}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Field:
        """Read the wire form."""
        shape = value.get("shape")
        return cls(
            value["name"], data_type_from_json(value["dtype"]), None if shape is None else tuple(shape)
        )


@dataclass(frozen=True, slots=True)
class StructType:
    """A structured element type, packed: fields lie one behind the other without gaps."""

    itemsize: int
    fields: tuple[Field, ...]

    @classmethod
    def from_numpy(cls, dtype: np.dtype) -> StructType:
        """Describe a NumPy type with fields; gaps between them are left out (see `packed`)."""
        fields = []
        for name in dtype.names or ():
            part = dtype[name]
            shape = part.shape or None
            fields.append(Field(name, data_type_from_numpy(part.base), shape))
        return cls(packed(dtype).itemsize, tuple(fields))

    def to_numpy(self) -> np.dtype:
        """Return the NumPy type."""
        return np.dtype(
            [(field.name, field.data_type.to_numpy(), field.shape or ()) for field in self.fields]
        )

    def to_json(self) -> dict[str, Any]:
        """Return the wire form."""
        return {"itemsize": self.itemsize, "fields": [field.to_json() for field in self.fields]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StructType:
        """Read the wire form."""
        return cls(value["itemsize"], tuple(Field.from_json(field) for field in value["fields"]))


def data_type_from_numpy(dtype: np.dtype) -> DataType | StructType:
    """Describe any NumPy type."""
    return StructType.from_numpy(dtype) if dtype.names is not None else DataType.from_numpy(dtype)


def data_type_from_json(value: Mapping[str, Any]) -> DataType | StructType:
    """Read the wire form of any type."""
    return StructType.from_json(value) if "fields" in value else DataType.from_json(value)


def packed(dtype: np.dtype) -> np.dtype:
    """Return a type with the same fields and no gaps between them."""
    if dtype.names is None:
        return dtype
    return np.dtype([(name, packed(dtype[name].base), dtype[name].shape) for name in dtype.names])


@dataclass(frozen=True, slots=True)
class ArrayStructure:
    """Shape, type and blocks of an array.

    Parameters
    ----------
    data_type : DataType or StructType
        Type of an element.
    shape : tuple of int
        Length along each axis.
    chunks : tuple of tuple of int
        Lengths of the blocks along each axis.
    dims : tuple of str, optional
        Names of the axes.
    resizable : bool
        Whether the array may grow.
    """

    data_type: DataType | StructType
    shape: tuple[int, ...]
    chunks: tuple[tuple[int, ...], ...]
    dims: tuple[str, ...] | None = None
    resizable: bool = False

    @classmethod
    def build(
        cls,
        dtype: np.dtype,
        shape: Sequence[int],
        *,
        stored: Sequence[int] | None = None,
        dims: tuple[str, ...] | None = None,
    ) -> ArrayStructure:
        """Describe an array by type and shape, with blocks that respect those it is stored in.

        Parameters
        ----------
        dtype : numpy.dtype
            Type of an element.
        shape : sequence of int
            Length along each axis.
        stored : sequence of int, optional
            Shape of a stored chunk.
        dims : tuple of str, optional
            Names of the axes.
        """
        shape = tuple(int(length) for length in shape)
        chunks = whole_chunks(shape, packed(dtype).itemsize, stored)
        return cls(data_type_from_numpy(dtype), shape, chunks, dims)

    @classmethod
    def from_array(cls, array: np.ndarray) -> ArrayStructure:
        """Describe an array in memory."""
        return cls.build(array.dtype, array.shape)

    @property
    def dtype(self) -> np.dtype:
        """Type of an element, as NumPy has it."""
        return self.data_type.to_numpy()

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of all elements in bytes."""
        return self.size * self.data_type.itemsize

    def to_json(self) -> dict[str, Any]:
        """Return the wire form."""
        return {
            "data_type": self.data_type.to_json(),
            "chunks": [list(lengths) for lengths in self.chunks],
            "shape": list(self.shape),
            "dims": None if self.dims is None else list(self.dims),
            "resizable": self.resizable,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ArrayStructure:
        """Read the wire form.

        Raises
        ------
        InvalidInputError
            Blocks that do not make up the shape, or an impossible type.
        """
        shape = tuple(int(length) for length in value["shape"])
        chunks = tuple(tuple(int(length) for length in lengths) for lengths in value["chunks"])
        if any(length < 0 for length in shape) or tuple(map(sum, chunks)) != shape:
            raise InvalidInputError(f"blocks {chunks} do not make up the shape {shape}")
        dims = value.get("dims")
        data_type = data_type_from_json(value["data_type"])
        return cls(
            data_type, shape, chunks, None if dims is None else tuple(dims), bool(value.get("resizable"))
        )


def whole_chunks(
    shape: tuple[int, ...], itemsize: int, stored: Sequence[int] | None = None
) -> tuple[tuple[int, ...], ...]:
    """Return block lengths along each axis: about 16 MiB a block, multiples of the stored chunks.

    Parameters
    ----------
    shape : tuple of int
        Length along each axis.
    itemsize : int
        Size of an element in bytes.
    stored : sequence of int, optional
        Shape of a stored chunk.
    """
    block = _block_shape(shape, max(itemsize, 1), [max(1, step) for step in stored or [1] * len(shape)])
    return tuple(
        (0,) if length == 0 else (*([step] * (length // step)), *([length % step] if length % step else []))
        for length, step in zip(shape, block, strict=True)
    )


def _block_shape(shape: tuple[int, ...], itemsize: int, stored: list[int]) -> list[int]:
    """Grow a stored chunk from the last axis on, while a block stays small and axes have few blocks."""
    block = [min(step, length) if length else 1 for step, length in zip(stored, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        rest = math.prod(block) // block[axis] * itemsize
        fitting = max(_BLOCK_BYTES // max(rest * block[axis], 1), 1)
        fewest = math.ceil(shape[axis] / (block[axis] * _MAX_BLOCKS_PER_AXIS))
        block[axis] = min(block[axis] * max(fitting, fewest, 1), max(shape[axis], 1))
    return block


@dataclass(frozen=True, slots=True)
class TableStructure:
    """Columns of a table and their types.

    Parameters
    ----------
    arrow_schema : str
        Arrow schema as a ``data:`` URI.
    columns : tuple of str
        Names, in order.
    npartitions : int
        Number of pieces that can be read alone.
    resizable : bool
        Whether rows may be added.
    """

    arrow_schema: str
    columns: tuple[str, ...]
    npartitions: int = 1
    resizable: bool = False

    @classmethod
    def from_dtypes(cls, dtypes: Mapping[str, np.dtype]) -> TableStructure:
        """Describe a table by the NumPy types of its columns."""
        return cls(schema_uri(dtypes), tuple(dtypes))

    @classmethod
    def from_schema(cls, message: bytes, columns: Sequence[str], npartitions: int = 1) -> TableStructure:
        """Describe a table by its encapsulated Arrow schema message."""
        uri = URI_PREFIX + base64.b64encode(message).decode("ascii")
        return cls(uri, tuple(columns), npartitions)

    def to_json(self) -> dict[str, Any]:
        """Return the wire form."""
        return {
            "arrow_schema": self.arrow_schema,
            "npartitions": self.npartitions,
            "columns": list(self.columns),
            "resizable": self.resizable,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TableStructure:
        """Read the wire form."""
        return cls(
            value["arrow_schema"], tuple(value["columns"]), value["npartitions"], bool(value.get("resizable"))
        )

    def schema_message(self) -> bytes:
        """Return the encapsulated Arrow schema message inside `arrow_schema`.

        Raises
        ------
        InvalidInputError
            The URI is not one.
        """
        if not self.arrow_schema.startswith(URI_PREFIX):
            raise InvalidInputError(f"an Arrow schema starts with {URI_PREFIX!r}")
        return base64.b64decode(self.arrow_schema[len(URI_PREFIX) :])


Structure = ArrayStructure | TableStructure


def structure_from_json(family: str, value: Mapping[str, Any] | None) -> Structure | None:
    """Read the structure of a node of a family; containers and plain bytes have none."""
    if value is None or family not in ("array", "table"):
        return None
    return ArrayStructure.from_json(value) if family == "array" else TableStructure.from_json(value)


def container_json(count: int) -> dict[str, Any]:
    """Return a container's structure in the wire form, `count` children not inlined."""
    return {"contents": None, "count": count}
