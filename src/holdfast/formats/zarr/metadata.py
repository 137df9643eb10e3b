"""Metadata of Zarr arrays and groups, versions 2 and 3, made into one form.

Owns what documents say and how chunks are named; reads no chunk.

References
----------
Zarr storage specification version 2; Zarr core specification version 3.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.zarr.codecs import ByteCodec, byte_codec, is_filter
from holdfast.formats.zarr.types import BYTES, TEXT, fill_value, type_of_v2, type_of_v3

__all__ = ["ArrayMeta", "Chain", "Node", "read_node"]

_MAX_AXES = 64
_MAX_LENGTH = 1 << 62
_V2_FILES = (".zarray", ".zgroup")
_KNOWN_V3 = frozenset(
    {
        "zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value",
        "codecs", "attributes", "storage_transformers", "dimension_names", "consolidated_metadata",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chain:
    """How a chunk becomes bytes, read backwards.

    Parameters
    ----------
    chunks : tuple of int
        Shape of what is encoded as one.
    dtype : numpy.dtype
        Type of an element as stored.
    serial : "bytes", "vlen-utf8", "vlen-bytes" or "shards"
        How elements become bytes.
    order : tuple of int, optional
        The axes in the order in which they are stored; C order when None.
    steps : tuple of ByteCodec
        What was done to the bytes, last step first.
    inner, index : Chain, optional
        Of shards: how a part of one, and its index, are encoded.
    is_index_first : bool
        Of shards: where the index lies.
    """

    chunks: tuple[int, ...]
    dtype: np.dtype
    serial: str = "bytes"
    order: tuple[int, ...] | None = None
    steps: tuple[ByteCodec, ...] = ()
    inner: Chain | None = None
    index: Chain | None = None
    is_index_first: bool = False

    @property
    def nbytes(self) -> int:
        """Size of a chunk in bytes, decoded."""
        return math.prod(self.chunks) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class ArrayMeta:
    """What is known of an array without reading chunks.

    Parameters
    ----------
    shape : tuple of int
        Length along each axis.
    chain : Chain
        How its chunks are encoded.
    fill : object
        Elements that were never written.
    prefix, separator : str
        How chunks are named.
    dims : tuple of str, optional
        Names of the axes.
    """

    shape: tuple[int, ...]
    chain: Chain
    fill: Any
    prefix: str
    separator: str
    dims: tuple[str, ...] | None = None

    def chunk_key(self, numbers: Sequence[int]) -> str:
        """Return the key of a chunk, below that of the array."""
        parts = [*([self.prefix] if self.prefix else []), *map(str, numbers)]
        return self.separator.join(parts) if parts else "0"


@dataclass(slots=True)
class Node:
    """A group, or an array; of the latter `read` gives what its document says."""

    is_array: bool
    attributes: dict[str, Any] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The version of the format."""
        return 3 if self.document.get("zarr_format") == 3 else 2

    def array(self) -> ArrayMeta:
        """Return what the document of an array says.

        Raises
        ------
        UnreadableError
            It says nonsense, or something that is not read.
        """
        try:
            meta = _array_v3(self.document) if self.version == 3 else _array_v2(self.document)
        except (KeyError, TypeError, AttributeError) as error:
            raise UnreadableError(f"its metadata is incomplete: {error!r:.100}") from error
        dims = self.document.get("dimension_names") if self.version == 3 else None
        return _with_dims(meta, dims or self.attributes.get("_ARRAY_DIMENSIONS"))


def read_node(documents: Mapping[str, Mapping[str, Any] | None]) -> Node | None:
    """Return the node that the documents of a directory describe; None when they describe none.

    Parameters
    ----------
    documents : mapping of str to mapping or None
        The content of ``zarr.json``, ``.zarray``, ``.zgroup`` and ``.zattrs``, None where absent.

    Raises
    ------
    UnreadableError
        A version that is not known.
    """
    newest = documents.get("zarr.json")
    if newest is not None:
        if newest.get("zarr_format") != 3 or newest.get("node_type") not in ("array", "group"):
            raise UnreadableError(
                f"zarr.json has format {newest.get('zarr_format')!r:.40} and type "
                f"{newest.get('node_type')!r:.40}; arrays and groups of formats 2 and 3 are read"
            )
        return Node(newest["node_type"] == "array", _object(newest.get("attributes")), newest)
    attributes = _object(documents.get(".zattrs"))
    for name in _V2_FILES:
        document = documents.get(name)
        if document is not None:
            if document.get("zarr_format") != 2:
                raise UnreadableError(f"{name} has format {document.get('zarr_format')!r:.40}, not 2")
            return Node(name == ".zarray", attributes, document)
    return None


def _object(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _with_dims(meta: ArrayMeta, names: Any) -> ArrayMeta:
    """Add the names of axes, if every axis has one."""
    is_named = (
        isinstance(names, list) and len(names) == len(meta.shape) and all(isinstance(n, str) for n in names)
    )
    dims = tuple(names) if is_named else None
    return ArrayMeta(meta.shape, meta.chain, meta.fill, meta.prefix, meta.separator, dims)


def _lengths(value: Any, what: str, least: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > _MAX_AXES:
        raise UnreadableError(f"{str(value)[:80]} is no {what}")
    if not all(type(length) is int and least <= length < _MAX_LENGTH for length in value):
        raise UnreadableError(f"{str(value)[:80]} is no {what}")
    return tuple(value)


def _chunks(value: Any, shape: tuple[int, ...], what: str = "shape of chunks") -> tuple[int, ...]:
    chunks = _lengths(value, what, 1)
    if len(chunks) != len(shape):
        raise UnreadableError(f"chunks of shape {chunks} do not make up an array of shape {shape}")
    return chunks


# -- version 2 ------------------------------------------------------------------------------------------


def _array_v2(document: Mapping[str, Any]) -> ArrayMeta:
    shape = _lengths(document["shape"], "shape", 0)
    chunks = _chunks(document["chunks"], shape)
    filters = [_codec_v2(item) for item in document.get("filters") or []]
    serial, dtype, filters = _objects_v2(document["dtype"], filters)
    compressor = document.get("compressor")
    steps = [*([_codec_v2(compressor)] if compressor is not None else []), *reversed(filters)]
    if document.get("order", "C") not in ("C", "F"):
        raise UnreadableError(f"chunks are stored in C or F order, not {document['order']!r:.40}")
    order = tuple(reversed(range(len(shape)))) if document.get("order") == "F" and len(shape) > 1 else None
    separator = document.get("dimension_separator", ".")
    if separator not in (".", "/"):
        raise UnreadableError(f"chunks are named with . or /, not {separator!r:.40}")
    chain = Chain(chunks, dtype, serial, order, tuple(steps))
    return ArrayMeta(shape, chain, fill_value(document.get("fill_value"), dtype), "", separator)


def _codec_v2(item: Any) -> ByteCodec:
    if not isinstance(item, Mapping) or not isinstance(item.get("id"), str):
        raise UnreadableError(f"{str(item)[:80]} is no codec")
    name = item["id"]
    return ByteCodec(name, item) if name in ("vlen-utf8", "vlen-bytes") else byte_codec(name, item)


def _objects_v2(descr: Any, filters: list[ByteCodec]) -> tuple[str, np.dtype, list[ByteCodec]]:
    """Return how elements are stored: texts are Python objects in version 2, encoded by a filter."""
    if descr != "|O":
        if any(each.name.startswith("vlen") for each in filters):
            raise UnreadableError("only elements of type |O are stored as texts of any length")
        return "bytes", type_of_v2(descr), filters
    if len(filters) != 1 or filters[0].name not in ("vlen-utf8", "vlen-bytes"):
        raise UnreadableError(
            "elements are Python objects, which are never loaded; only those encoded as vlen-utf8 or "
            "vlen-bytes are read"
        )
    return filters[0].name, TEXT if filters[0].name == "vlen-utf8" else BYTES, []


# -- version 3 ------------------------------------------------------------------------------------------


def _array_v3(document: Mapping[str, Any]) -> ArrayMeta:
    _check_known(document)
    shape = _lengths(document["shape"], "shape", 0)
    grid = document["chunk_grid"]
    if grid["name"] != "regular":
        raise UnreadableError(f"the chunk grid {grid['name']!r:.40} is not read; regular ones are")
    chunks = _chunks(grid["configuration"]["chunk_shape"], shape)
    chain = _chain(document["codecs"], chunks, document["data_type"])
    prefix, separator = _key_encoding(document.get("chunk_key_encoding") or {"name": "default"})
    return ArrayMeta(shape, chain, fill_value(document.get("fill_value"), chain.dtype), prefix, separator)


def _check_known(document: Mapping[str, Any]) -> None:
    """Refuse extensions that a reader must understand."""
    if document.get("storage_transformers"):
        raise UnreadableError("storage transformers are not read")
    for name, value in document.items():
        is_free = isinstance(value, Mapping) and value.get("must_understand") is False
        if name not in _KNOWN_V3 and not is_free:
            raise UnreadableError(
                f"its metadata has {name[:60]!r}, which is not known here and must be understood"
            )


def _key_encoding(encoding: Mapping[str, Any]) -> tuple[str, str]:
    name = encoding["name"]
    separator = (encoding.get("configuration") or {}).get("separator", "/" if name == "default" else ".")
    if name not in ("default", "v2") or separator not in (".", "/"):
        raise UnreadableError(f"chunks named by {str(dict(encoding))[:80]} are not read")
    return ("c" if name == "default" else ""), separator


def _chain(codecs: Any, chunks: tuple[int, ...], data_type: Any, depth: int = 0) -> Chain:
    """Read the list of codecs: axes are put in order, elements become bytes, bytes other bytes."""
    if not isinstance(codecs, list) or depth > 8:
        raise UnreadableError(f"{str(codecs)[:80]} is no list of codecs")
    order: tuple[int, ...] | None = None
    steps: list[ByteCodec] = []
    serial: str | None = None
    options: Mapping[str, Any] = {}
    for item in codecs:
        name, configuration = _named(item)
        if name == "transpose" and serial is None:
            order = _transposed(order, configuration, len(chunks))
        elif serial is None and name in ("bytes", "endian", "vlen-utf8", "vlen-bytes", "sharding_indexed"):
            serial, options = name, configuration
        elif serial is None or is_filter(name):
            raise UnreadableError(f"the codec {name[:60]!r} is not read in this place")
        else:
            steps.append(byte_codec(name, configuration))
    if serial is None:
        raise UnreadableError("no codec says how elements become bytes")
    below = tuple(reversed(steps))
    if serial == "sharding_indexed":
        return _shards(options, chunks, data_type, order, below, depth)
    dtype = type_of_v3(data_type, big=options.get("endian") == "big")
    if (dtype in (TEXT, BYTES)) != serial.startswith("vlen"):
        raise UnreadableError(f"elements of type {str(data_type)[:60]} are not stored by {serial}")
    return Chain(chunks, dtype, serial if serial.startswith("vlen") else "bytes", order, below)


def _named(item: Any) -> tuple[str, Mapping[str, Any]]:
    name = item.get("name") if isinstance(item, Mapping) else item
    options = item.get("configuration") or {} if isinstance(item, Mapping) else {}
    if not isinstance(name, str) or not isinstance(options, Mapping):
        raise UnreadableError(f"{str(item)[:80]} is no codec")
    return name, options


def _transposed(before: Sequence[int] | None, options: Mapping[str, Any], rank: int) -> tuple[int, ...]:
    order = options.get("order")
    if order in ("C", "F"):
        order = list(range(rank)) if order == "C" else list(reversed(range(rank)))
    if not isinstance(order, list) or sorted(order) != list(range(rank)):
        raise UnreadableError(f"{str(order)[:80]} is no order of {rank} axes")
    return tuple(order if before is None else [before[axis] for axis in order])


def _shards(
    options: Mapping[str, Any],
    chunks: tuple[int, ...],
    data_type: Any,
    order: tuple[int, ...] | None,
    steps: tuple[ByteCodec, ...],
    depth: int,
) -> Chain:
    if order is not None or steps:
        raise UnreadableError("shards that are transposed or compressed as a whole are not read")
    inner_shape = _chunks(options["chunk_shape"], chunks, "shape of parts of shards")
    if any(length % part for length, part in zip(chunks, inner_shape, strict=True)):
        raise UnreadableError(f"parts of shape {inner_shape} do not make up shards of shape {chunks}")
    inner = _chain(options["codecs"], inner_shape, data_type, depth + 1)
    counts = tuple(length // part for length, part in zip(chunks, inner_shape, strict=True))
    index = _chain(options["index_codecs"], (*counts, 2), "uint64", depth + 1)
    place = options.get("index_location", "end")
    if place not in ("start", "end") or index.serial != "bytes" or index.order is not None:
        raise UnreadableError("the index of its shards is encoded in a way that is not read")
    return Chain(chunks, inner.dtype, "shards", None, (), inner, index, place == "start")
