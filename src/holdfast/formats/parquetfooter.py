"""The footer of a Parquet file: what it says of itself, checked before a library takes it, and its columns.

Owns which stored column is a part of which column of the table, and how wide its elements are.

References
----------
Apache Parquet, "File format", ``parquet.thrift``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.errors import MissingDependencyError, UnreadableError
from holdfast.formats.arrowcolumns import import_pyarrow, plain_schema
from holdfast.formats.arrowtables import arrow_errors
from holdfast.formats.source import Source, SourceStream

if TYPE_CHECKING:
    import pyarrow

__all__ = ["Footer", "Leaf", "import_parquet"]

_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_MAX_FOOTER_BYTES = 64 << 20
# Bytes of an element as it is decoded.
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A column as it is stored.

    Parameters
    ----------
    path : str
        Its name, with those of what it lies in.
    field : int
        The column of the table that it is a part of.
    width : int, optional
        Bytes of an element in memory; None for text.
    is_nested : bool
        Whether it lies in lists.
    """

    path: str
    field: int
    width: int | None
    is_nested: bool


@dataclass(frozen=True, slots=True)
class Footer:
    """What stands at the end of a file.

    Parameters
    ----------
    metadata : pyarrow.parquet.FileMetaData
        Row groups and the chunks of their columns.
    stored, schema : pyarrow.Schema
        The schema as it is stored, and with plain types.
    leaves : list of Leaf
        The stored columns, in order.
    """

    metadata: Any
    stored: pyarrow.Schema
    schema: pyarrow.Schema
    leaves: list[Leaf]

    @classmethod
    def of(cls, source: Source) -> Footer:
        """Read the footer of a file.

        Raises
        ------
        UnreadableError
            It is none, too large, encrypted or damaged, or has types that are not read.
        """
        _check_end(source)
        stream = SourceStream(source)
        with arrow_errors(source.name, stream):
            opened = import_parquet().ParquetFile(stream)
            stored = opened.schema_arrow
            schema = plain_schema(stored, source.name)
            return cls(opened.metadata, stored, schema, _leaves(opened.metadata, stored, source.name))


def import_parquet() -> Any:
    """Return pyarrow's Parquet library.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    import_pyarrow()
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError("Parquet needs pyarrow: pip install 'holdfast[tables]'") from error
    return pyarrow.parquet


def _check_end(source: Source) -> None:
    """Check the last bytes, so that no library is asked to take a footer of any size."""
    if source.size < 12:
        raise UnreadableError(f"{source.name} is no Parquet file: it has {source.size} bytes")
    length, magic = struct.unpack("<I4s", bytes(source.read(source.size - 8, 8)))
    if magic == _ENCRYPTED:
        raise UnreadableError(f"{source.name} is encrypted; write it again without encryption")
    if magic != _MAGIC or length > source.size - 12:
        raise UnreadableError(f"{source.name} is no whole Parquet file: it does not end as one")
    if length > _MAX_FOOTER_BYTES:
        raise UnreadableError(
            f"{source.name} describes itself in {length} bytes; up to {_MAX_FOOTER_BYTES} are read"
        )


def _leaves(metadata: Any, schema: pyarrow.Schema, what: str) -> list[Leaf]:
    """Return the stored columns, in order, with the column of the table that each is a part of."""
    parts = [(number, part) for number, field in enumerate(schema) for part in _parts(field.type)]
    if len(parts) != len(metadata.schema):
        raise UnreadableError(f"{what} has a schema that does not fit its columns")
    leaves = []
    for number, (field, part) in enumerate(parts):
        stored = metadata.schema.column(number)
        width = _WIDTHS.get(stored.physical_type)
        if stored.physical_type == "FIXED_LEN_BYTE_ARRAY":
            width = stored.length
        if width is not None:
            width = max(width, _width(part))
        leaves.append(Leaf(stored.path, field, width, stored.max_repetition_level > 0))
    return leaves


def _parts(kind: Any) -> list[Any]:
    """Return the types of the stored columns that a type is spread over."""
    if isinstance(kind, import_pyarrow().BaseExtensionType):
        return _parts(kind.storage_type)
    below = [kind.field(number).type for number in range(kind.num_fields)]
    return [part for each in below for part in _parts(each)] if below else [kind]


def _width(kind: Any) -> int:
    """Return the bytes of an element in memory; 0 where they differ."""
    try:
        return -(-int(kind.bit_width) // 8)
    except ValueError:
        return 0
