"""Arrow columns: as NumPy arrays and back, and with types that every reader of a table knows.

Owns these conversions; reads no files. pyarrow is imported when a function is first called.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast.errors import MissingDependencyError, TooLargeError, UnreadableError

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "MAX_COLUMNS",
    "MAX_ROW_BYTES",
    "from_numpy",
    "import_pyarrow",
    "is_arrow",
    "plain_batches",
    "plain_schema",
    "text_column",
    "to_numpy",
    "unique_names",
]

MAX_COLUMNS = 16_384
"""The widest table that is read: as wide as a sheet of Excel."""

MAX_ROW_BYTES = 1 << 30
"""The largest single row that is spelled out from a dictionary, in bytes."""

_MAX_DEPTH = 32
_DENSE_BYTES = 16 << 20
# A fixed width for each character: text longer than this in all stays an array of str objects.
_MAX_TEXT_BYTES = 64 << 20
_LARGEST_EXACT = 1 << 53


def import_pyarrow() -> Any:
    """Return pyarrow with the modules that tables need.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.ipc
    except ImportError as error:
        raise MissingDependencyError("Arrow data needs pyarrow: pip install 'holdfast[tables]'") from error
    return pyarrow


def is_arrow(column: object) -> bool:
    """Whether a column is one of pyarrow's; imports nothing."""
    return type(column).__module__.partition(".")[0] == "pyarrow"


def unique_names(names: list[str]) -> list[str]:
    """Return the names with a count behind each that was there before: ``a, a`` becomes ``a, a.1``."""
    taken: set[str] = set()
    counts: dict[str, int] = {}
    unique = []
    for base in names:
        name = base
        while name in taken:
            counts[base] = counts.get(base, 0) + 1
            name = f"{base}.{counts[base]}"
        taken.add(name)
        unique.append(name)
    return unique


# -- NumPy -------------------------------------------------------------------------------------------------


def from_numpy(column: np.ndarray) -> pyarrow.Array:
    """Return a column as an Arrow array."""
    pyarrow = import_pyarrow()
    if column.dtype.kind in "UO":
        return pyarrow.array(column.tolist(), type=pyarrow.string())
    if column.dtype.kind == "S":
        return pyarrow.array(column.tolist(), type=pyarrow.binary())
    return pyarrow.array(column.astype(column.dtype.newbyteorder("="), copy=False))


def to_numpy(column: pyarrow.ChunkedArray) -> np.ndarray:
    """Return an Arrow column as an array of one axis.

    Notes
    -----
    Absent numbers are NaN where every number stays exact as a float, else the array holds objects and None.
    Lists are lists, structs are dictionaries, decimals are `decimal.Decimal`.
    """
    types = import_pyarrow().types
    kind = column.type
    if types.is_string(kind) or types.is_large_string(kind):
        return text_column(column.to_pylist())
    if types.is_integer(kind) and column.null_count and not _is_exact(column):
        return _objects(column.to_pylist())
    if types.is_primitive(kind) and not types.is_time(kind) and not types.is_interval(kind):
        return np.ascontiguousarray(column.to_numpy())
    return _objects(column.to_pylist())


def text_column(values: list[str | None]) -> np.ndarray:
    """Return texts as an array; of objects where some are absent, or where padding would take too much.

    Parameters
    ----------
    values : list of str
        The texts, None where one is absent.
    """
    longest = max((len(value) for value in values if value is not None), default=0)
    if None in values or not values or 4 * longest * len(values) > _MAX_TEXT_BYTES:
        return _objects(values)
    return np.array(values, str)


def _objects(values: list[Any]) -> np.ndarray:
    """Return an array of the values themselves; NumPy would make axes of lists of one length."""
    array = np.empty(len(values), object)
    for number, value in enumerate(values):
        array[number] = value
    return array


def _is_exact(column: Any) -> bool:
    """Whether every integer of a column is the same as a float."""
    ends = import_pyarrow().compute.min_max(column).as_py()
    return all(end is None or abs(end) <= _LARGEST_EXACT for end in ends.values())


# -- plain types -------------------------------------------------------------------------------------------


def plain_schema(schema: pyarrow.Schema, what: str) -> pyarrow.Schema:
    """Return a schema with unique names and plain types: no dictionaries, no extensions, no metadata.

    Parameters
    ----------
    schema : pyarrow.Schema
        As the file has it.
    what : str
        What errors call the file.

    Raises
    ------
    UnreadableError
        Too many columns, types nested too deep, or a type whose values take no room in the file.
    """
    pyarrow = import_pyarrow()
    if len(schema) > MAX_COLUMNS:
        raise UnreadableError(f"{what} has {len(schema)} columns; tables of up to {MAX_COLUMNS} are read")
    try:
        fields = [
            pyarrow.field(name, _plain_type(schema.field(number).type, what), schema.field(number).nullable)
            for number, name in enumerate(unique_names(_names(schema)))
        ]
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{what} has a column whose name is not UTF-8") from error
    return pyarrow.schema(fields)


def _names(schema: Any) -> list[str]:
    """Return the names of columns; those that pandas gave an index without name become ``index``."""
    return [
        "index" if name.startswith("__index_level_") and name.endswith("__") else name
        for name in schema.names
    ]


def _plain_type(kind: Any, what: str, depth: int = 0) -> Any:
    pyarrow = import_pyarrow()
    types = pyarrow.types
    if depth > _MAX_DEPTH:
        raise UnreadableError(f"{what} has a column nested more than {_MAX_DEPTH} deep")
    if isinstance(kind, pyarrow.BaseExtensionType):
        return _plain_type(kind.storage_type, what, depth + 1)
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type, what, depth + 1)
    if types.is_nested(kind):
        return _plain_nested(kind, what, depth + 1)
    if types.is_run_end_encoded(kind):
        raise _unknown(kind, what)
    # Views are laid out for computing; every other reader knows the plain form.
    if types.is_string_view(kind):
        return pyarrow.string()
    return pyarrow.binary() if types.is_binary_view(kind) else kind


def _plain_nested(kind: Any, what: str, depth: int) -> Any:
    pyarrow = import_pyarrow()
    types = pyarrow.types

    def plain(field: Any) -> Any:
        return field.with_type(_plain_type(field.type, what, depth)).remove_metadata()

    if types.is_struct(kind):
        return pyarrow.struct([plain(kind.field(number)) for number in range(kind.num_fields)])
    if types.is_map(kind):
        return pyarrow.map_(plain(kind.key_field), plain(kind.item_field))
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(plain(kind.value_field), kind.list_size)
    if types.is_large_list(kind):
        return pyarrow.large_list(plain(kind.value_field))
    if types.is_list(kind):
        return pyarrow.list_(plain(kind.value_field))
    raise _unknown(kind, what)


def _unknown(kind: Any, what: str) -> UnreadableError:
    return UnreadableError(f"{what} has a column of type {str(kind)[:60]}, which is not read")


def plain_batches(
    batch: pyarrow.RecordBatch, schema: pyarrow.Schema, what: str
) -> Iterator[pyarrow.RecordBatch]:
    """Check a batch and yield its rows with the types of a plain schema, in pieces of about 16 MiB.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        As the file has it.
    schema : pyarrow.Schema
        What `plain_schema` made of the same columns.
    what : str
        What errors call the file.

    Raises
    ------
    UnreadableError
        Its offsets or its text are damaged.
    TooLargeError
        A single row is too large.
    """
    batch.validate(full=True)
    yield from _cut(batch, schema, what)


def _cut(batch: Any, schema: Any, what: str) -> Iterator[Any]:
    """Halve a batch until what its dictionaries stand for fits into memory."""
    size = sum(_dense_bytes(column) for column in batch.columns)
    if size > _DENSE_BYTES and len(batch) > 1:
        half = len(batch) // 2
        yield from _cut(batch.slice(0, half), schema, what)
        yield from _cut(batch.slice(half), schema, what)
        return
    if size > MAX_ROW_BYTES:
        raise TooLargeError(f"{what} has a row of {size} bytes; rows of up to {MAX_ROW_BYTES} are read")
    columns = [_cast(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
    yield import_pyarrow().RecordBatch.from_arrays(columns, schema=schema)


def _cast(column: Any, kind: Any) -> Any:
    pyarrow = import_pyarrow()
    if column.type == kind:
        return column
    if isinstance(column, pyarrow.ExtensionArray):
        return _cast(column.storage, kind)
    if isinstance(column, pyarrow.DictionaryArray):
        return _cast(column.dictionary_decode(), kind)
    if pyarrow.types.is_nested(column.type):
        # A slice of lists keeps all that lies below, and would cast all of it.
        column = column.take(pyarrow.array(np.arange(len(column))))
    return column.cast(kind)


def _dense_bytes(column: Any) -> int:
    """Return how large the parts of a column are that its dictionaries and views stand for."""
    pyarrow = import_pyarrow()
    types = pyarrow.types
    if isinstance(column, pyarrow.ExtensionArray):
        return _dense_bytes(column.storage)
    if isinstance(column, pyarrow.DictionaryArray):
        return _spelled_bytes(column)
    if types.is_string_view(column.type) or types.is_binary_view(column.type):
        # A view is its length and three numbers more.
        views = np.frombuffer(column.buffers()[1], np.int32).reshape(-1, 4)
        return int(views[column.offset : column.offset + len(column), 0].sum(dtype=np.int64))
    if types.is_map(column.type):
        start, stop = column.offsets[0].as_py(), column.offsets[-1].as_py()
        return sum(_dense_bytes(part.slice(start, stop - start)) for part in (column.keys, column.items))
    if types.is_struct(column.type):
        return sum(map(_dense_bytes, column.flatten()))
    return _dense_bytes(column.flatten()) if types.is_nested(column.type) else 0


def _spelled_bytes(column: Any) -> int:
    """Return the size of a dictionary column with its values in place of their numbers."""
    pyarrow = import_pyarrow()
    values = column.dictionary
    if not _has_lengths(values.type):
        return int(len(column) * max(values.nbytes // max(len(values), 1), 1))
    lengths = pyarrow.compute.binary_length(values).cast(pyarrow.int64()).take(column.indices)
    return int(pyarrow.compute.sum(lengths).as_py() or 0) + 4 * len(column)


def _has_lengths(kind: Any) -> bool:
    types = import_pyarrow().types
    return any(
        check(kind)
        for check in (types.is_binary, types.is_string, types.is_large_binary, types.is_large_string)
    )
