"""HDF5 files that are sent without being written: all but the elements of arrays is, those are streamed.

Owns the skeleton: libhdf5 lays out groups, attributes and contiguous data sets in a temporary file without
writing the elements, so that their places are holes of a sparse file. What is sent is that file, and in its
holes the elements as they are read. Text and the rows of tables, whose sizes are not known before, are in it.

References
----------
HDF5 file format 3.0; CF conventions 4.4 for the units of times.
"""

from __future__ import annotations

import operator
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

from holdfast.errors import ChangedError, HoldfastError, NotAcceptableError, StorageError
from holdfast.formats.exports.base import ArrayPart, Exported, ExportNode, TablePart
from holdfast.formats.exports.hdf5 import why_not
from holdfast.formats.exports.holes import FilledFile, Hole
from holdfast.formats.exports.npy import raw_bytes
from holdfast.formats.exports.plain import cells, to_json
from holdfast.types import Buffer

__all__ = ["export"]

DATA = "data"
"""The name of the data set of an array on its own."""

_MOST_NODES = 50_000
_MOST_SPOOLED_BYTES = 4 << 30
_CHUNK_ROWS = 1 << 14
_PIECE_BYTES = 1 << 20
_MAX_DEPTH = 200
_DATASET = "xarray_dataset"
_UNITS = {
    "D": "days",
    "h": "hours",
    "m": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
}
_LARGEST_INTEGER = 2**63
# What libhdf5 and netCDF write of dimension scales; a copy of it would contradict the scales made here.
_LIBRARYS_OWN = frozenset(
    {
        "CLASS",
        "NAME",
        "DIMENSION_LABELS",
        "DIMENSION_LIST",
        "REFERENCE_LIST",
        "_Netcdf4Coordinates",
        "_Netcdf4Dimid",
    }
)

Opener = Callable[[], AbstractContextManager[ArrayPart]]


@dataclass(slots=True)
class _Plan:
    """What is being laid out."""

    file: BinaryIO
    holes: list[Hole] = field(default_factory=list)


def export(part: ArrayPart | TablePart | ExportNode) -> Exported:
    """Return an array, a table or a tree as an HDF5 file.

    Parameters
    ----------
    part : ArrayPart, TablePart or ExportNode
        What is exported.

    Raises
    ------
    NotAcceptableError
        For a tree of too many nodes, or too much text and rows of tables; for a type without a form in HDF5.
    StorageError
        There is no room for the temporary file.
    """
    if not isinstance(part, ArrayPart | TablePart):
        _check_tree(part)
    plan = _Plan(tempfile.TemporaryFile())  # noqa: SIM115  # closed by who sends it
    try:
        with h5py.File(plan.file, "w", libver=("v108", "v108")) as file:
            _lay_out(plan, file, part)
    except OSError as error:
        plan.file.close()
        if isinstance(error, HoldfastError):
            raise
        raise StorageError(f"the layout of an HDF5 export cannot be written: {error}") from error
    except BaseException:
        plan.file.close()
        raise
    filled = FilledFile(plan.file, plan.holes)
    return Exported(filled, filled.size)


def _lay_out(plan: _Plan, file: h5py.File, part: ArrayPart | TablePart | ExportNode) -> None:
    if isinstance(part, ArrayPart):
        _put_array(plan, file, DATA, part, lambda: nullcontext(part))
    elif isinstance(part, TablePart):
        _put_table(plan, file, part)
    else:
        _put_group(plan, file, part)


def _check_tree(root: ExportNode) -> None:
    """Refuse a tree that is too large before any of it is laid out."""
    waiting, count = [(root, 0)], 0
    while waiting:
        node, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise NotAcceptableError(f"this tree is deeper than {_MAX_DEPTH} levels; export a part of it")
        for child in node.children():
            count += 1
            if count > _MOST_NODES:
                raise NotAcceptableError(
                    f"this tree has more than {_MOST_NODES} nodes, too many for one HDF5 file; choose "
                    "some with field=, or download it"
                )
            waiting.append((child, depth + 1))


def _put_group(plan: _Plan, group: h5py.Group, node: ExportNode) -> None:
    _put_attributes(group, node.metadata)
    for child in node.children():
        _put_node(plan, group, child)
    if _DATASET in node.specs:
        _attach_scales(group)


def _put_node(plan: _Plan, group: h5py.Group, node: ExportNode) -> None:
    name = _link_name(node.key)
    if node.family == "array":
        with node.array() as part:
            if reason := why_not(part.dtype):
                raise NotAcceptableError(
                    f"{node.key!r}: {reason}; choose other nodes with field=, or ask for zip"
                )
            _put_array(plan, group, name, part, node.array)
    elif node.family == "table":
        with node.table() as table:
            _put_table(plan, group.create_group(name), table)
    elif node.family in ("container", "bytes"):
        _put_group(plan, group.create_group(name), node)
    else:
        raise NotAcceptableError(
            f"{node.key!r} of family {node.family} has no form in HDF5; choose other nodes with field=, or "
            "export it alone"
        )


def _put_array(plan: _Plan, group: h5py.Group, name: str, part: ArrayPart, opener: Opener) -> None:
    if part.dtype.kind in "UO":
        dataset = group.create_dataset(name, part.shape, h5py.string_dtype())
        _put_texts(plan, dataset, part)
    else:
        dataset = _hollow(group, name, part)
        if part.nbytes:
            fill = partial(_elements, opener, part.shape, part.dtype)
            plan.holes.append(Hole(dataset.id.get_offset(), part.nbytes, fill))
    _put_attributes(dataset, part.metadata)
    _put_units(dataset, part.dtype)
    for axis, label in enumerate(part.dims or ()):
        dataset.dims[axis].label = label


def _hollow(group: h5py.Group, name: str, part: ArrayPart) -> h5py.Dataset:
    """Make a contiguous data set that has its place in the file, and nothing in it."""
    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_layout(h5d.CONTIGUOUS)
    layout.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5d.FILL_TIME_NEVER)
    links = h5p.create(h5p.LINK_CREATE)
    links.set_char_encoding(h5t.CSET_UTF8)
    space = h5s.create_simple(part.shape) if part.shape else h5s.create(h5s.SCALAR)
    kind = h5t.py_create(_stored(part.dtype), logical=True)
    return h5py.Dataset(h5d.create(group.id, name.encode(), kind, space, layout, links))


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in the file: times are integers, whose unit is an attribute."""
    return np.dtype(f"{dtype.str[0]}i8") if dtype.kind in "Mm" else dtype


def _put_texts(plan: _Plan, dataset: h5py.Dataset, part: ArrayPart) -> None:
    if not part.ndim:
        dataset[()] = cells(part.read().reshape(1))[0]
        return
    row = 0
    for block in part.row_blocks():
        texts = np.empty(block.size, object)
        texts[:] = ["" if text is None else text.replace("\0", "\\0") for text in cells(block.reshape(-1))]
        dataset[row : row + len(block)] = texts.reshape(block.shape)
        row += len(block)
        _check_spooled(plan)


def _put_table(plan: _Plan, group: h5py.Group, part: TablePart) -> None:
    _put_attributes(group, part.metadata)
    columns = {name: _column(group, name, dtype) for name, dtype in _column_types(part).items()}
    for batch in part.batches():
        for name, dataset in columns.items():
            count = len(dataset)
            dataset.resize((count + len(batch),))
            dataset[count:] = _in_file(batch[name], dataset.dtype)
        _check_spooled(plan)


def _column_types(part: TablePart) -> dict[str, np.dtype[Any]]:
    """Return the type of each column that holds it in all batches: a float where integers are absent."""
    types: dict[str, np.dtype[Any]] = {}
    for batch in part.batches():
        for name, dtype in batch.dtypes.items():
            if reason := why_not(dtype):
                raise NotAcceptableError(f"the column {name!r}: {reason}; choose other columns")
            types[name] = _common(types.get(name, dtype), dtype)
    return types


def _common(one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any]:
    if one == other:
        return one
    kinds = {one.kind, other.kind}
    return np.result_type(one, other) if kinds <= set("iuf") or kinds == {"S"} else np.dtype(object)


def _column(group: h5py.Group, name: str, dtype: np.dtype[Any]) -> h5py.Dataset:
    if _link_name(name) in group:
        raise NotAcceptableError(f"two columns would be {_link_name(name)!r} in HDF5; choose one of them")
    kind = h5py.string_dtype() if dtype.kind in "UO" else _stored(dtype)
    dataset = group.create_dataset(_link_name(name), (0,), kind, maxshape=(None,), chunks=(_CHUNK_ROWS,))
    _put_units(dataset, dtype)
    return dataset


def _in_file(values: np.ndarray[Any, Any], stored: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return the values of a column as they are in the file: times as integers, what is no number as text."""
    if stored.kind != "O":
        return values.view(_stored(values.dtype)) if values.dtype.kind in "Mm" else values
    texts = np.empty(len(values), object)
    texts[:] = ["" if text is None else str(text).replace("\0", "\\0") for text in cells(values)]
    return texts


def _check_spooled(plan: _Plan) -> None:
    spooled = os.fstat(plan.file.fileno()).st_blocks * 512
    if spooled > _MOST_SPOOLED_BYTES:
        raise NotAcceptableError(
            f"the texts and tables of this export are over {_MOST_SPOOLED_BYTES} bytes, too many for one "
            "HDF5 file; choose some, or ask for csv, arrow, parquet or zip"
        )


def _put_units(dataset: h5py.Dataset, dtype: np.dtype[Any]) -> None:
    if dtype.kind in "Mm":
        unit = _UNITS[np.datetime_data(dtype)[0]]
        dataset.attrs["units"] = f"{unit} since 1970-01-01" if dtype.kind == "M" else unit


def _put_attributes(thing: h5py.Group | h5py.Dataset, metadata: Mapping[str, Any]) -> None:
    """Write metadata: numbers, texts and even lists of them as they are, anything else as JSON text."""
    for name, value in metadata.items():
        if name in _LIBRARYS_OWN:
            continue
        thing.attrs[_link_name(name, "")] = _attribute(value)


def _attribute(value: Any) -> Any:
    if isinstance(value, str) and "\0" not in value:
        return _utf8(value)
    if isinstance(value, bool | float) or (
        isinstance(value, int) and -_LARGEST_INTEGER <= value < _LARGEST_INTEGER
    ):
        return value
    if isinstance(value, list) and value:
        kinds = {type(each) for each in value}
        if kinds <= {bool} or kinds <= {int, float}:
            array = np.array(value)
            if array.dtype.kind in "bif":
                return array
        if kinds == {str} and not any("\0" in each for each in value):
            return np.array(list(map(_utf8, value)), object)
    return to_json(value).decode()


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _attach_scales(group: h5py.Group) -> None:
    """Make the coordinates of a data set what netCDF readers find them by."""
    arrays = {name: item for name, item in group.items() if isinstance(item, h5py.Dataset)}
    for dataset in arrays.values():
        for axis, dimension in enumerate(dataset.dims):
            scale = arrays.get(dimension.label)
            if scale is None or scale.shape != (dataset.shape[axis],):
                continue
            if not scale.is_scale:
                scale.make_scale(dimension.label)
            if scale != dataset:
                dataset.dims[axis].attach_scale(scale)


def _link_name(name: str, slash: str = "%2F") -> str:
    """Return a name that HDF5 takes."""
    plain = _utf8(name).replace("\0", "%00")
    if slash:
        plain = plain.replace("/", slash)
    return {"": "%", ".": "%2E"}.get(plain, plain)


def _elements(opener: Opener, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[Buffer]:
    """Give the elements of an array as it was laid out; rows that were added since are left out."""
    with opener() as part:
        is_grown = len(part.shape) == len(shape) and all(map(operator.ge, part.shape, shape))
        if part.dtype != dtype or not is_grown:
            raise ChangedError("an array changed its type or shrank while it was exported; ask again")
        yield from map(raw_bytes, part[tuple(slice(0, length) for length in shape)].slabs())
