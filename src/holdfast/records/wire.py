"""Own how values travel between our client and our server: one header, then the bytes of each leaf.

It does not know HTTP. Leaves are arrays, strings and files, so that a whole tree is one upload and becomes
one assignment.

>>> import numpy as np
>>> head, bodies = compose([((), prepare(np.arange(3)))])
>>> [(key, values.shape) for key, (values, name) in parse(b"".join([head, *bodies[0]()]))]
[((), (3,))]
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from holdfast.errors import InvalidInputError
from holdfast.formats.sealed import Values, prepare
from holdfast.formats.sealed.datatypes import STRING_DTYPE, dtype_of
from holdfast.formats.sealed.selection import bytes_of
from holdfast.records.names import split, writable
from holdfast.records.values import Content, FileCopy, Tree
from holdfast.types import Buffer, Json

__all__ = ["MEDIA_TYPE", "as_tree", "compose", "parse", "size_of"]

MEDIA_TYPE = "application/vnd.holdfast.values"
_MAGIC = b"HFVALS1\n"
_MAX_HEADER_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
Leaf = tuple[tuple[str, ...], Content]
Body = Callable[[], Iterable[Buffer]]
NamedLeaf = tuple[tuple[str, ...], tuple[Values, str]]


def compose(leaves: Iterable[Leaf]) -> tuple[bytes, list[Body]]:
    """Return the header of leaves and the bytes that follow it.

    Parameters
    ----------
    leaves : iterable of (key, content)
        Arrays, strings and files.

    Returns
    -------
    tuple of bytes, list of callable
        The header, and for each leaf what gives its bytes in pieces, as often as it is called.
    """
    described: list[Json] = []
    bodies: list[Body] = []
    for key, content in leaves:
        if isinstance(content, FileCopy):
            size = os.path.getsize(content.path)
            described.append({"key": key, "file": os.path.basename(content.path), "nbytes": size})
            bodies.append(partial(_file_pieces, content.path))
        else:
            assert isinstance(content, Values)
            described.append(
                {
                    "key": key,
                    "dtype": content.description,
                    "shape": content.shape,
                    "give": content.give,
                    "loose": content.is_loose,
                    "nbytes": _size(content),
                }
            )
            bodies.append(partial(_body, content))
    raw = json.dumps(described).encode()
    return _MAGIC + struct.pack("<I", len(raw)) + raw, bodies


def size_of(head: bytes) -> int:
    """Return the size of header and leaves together, bytes."""
    leaves: list[dict[str, int]] = json.loads(head[len(_MAGIC) + 4 :])
    return len(head) + sum(leaf["nbytes"] for leaf in leaves)


def _file_pieces(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def _size(values: Values) -> int:
    if values.dtype is None:
        return sum(4 + len(text) for text in values.texts or ())
    return values.dtype.itemsize * int(np.prod(values.shape, dtype=object))


def _body(values: Values) -> Iterator[Buffer]:
    if values.texts is None:
        for piece in values.pieces():
            yield bytes_of(piece)
        return
    yield np.array([len(text) for text in values.texts], "<u4").tobytes()
    yield b"".join(values.texts)


def parse(raw: Buffer) -> list[NamedLeaf]:
    """Return the leaves of an upload.

    Parameters
    ----------
    raw : bytes-like
        Header and bytes; arrays are views of it. Files come as their bytes would: as arrays of bytes.

    Returns
    -------
    list of (key, (values, name))
        The leaves; a file as `Values` of ``uint8`` whose ``give`` is ``file``, with its name.

    Raises
    ------
    InvalidInputError
        When it is not what `compose` gives.
    """
    view = memoryview(raw)
    if bytes(view[: len(_MAGIC)]) != _MAGIC or len(view) < len(_MAGIC) + 4:
        raise InvalidInputError(
            f"the body is not {MEDIA_TYPE}; send npy or JSON, or use holdfast.Record(URL)"
        )
    start = len(_MAGIC) + 4
    (length,) = struct.unpack_from("<I", view, len(_MAGIC))
    try:
        described = json.loads(bytes(view[start : start + min(length, _MAX_HEADER_BYTES)]))
        leaves: list[NamedLeaf] = []
        position = start + length
        for leaf in described:
            body = view[position : position + leaf["nbytes"]]
            leaves.append((_key(leaf["key"]), (_values(leaf, body), str(leaf.get("file", "")))))
            position += leaf["nbytes"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(f"the body is damaged: {error}; send it again") from error
    if position != len(view):
        raise InvalidInputError(
            f"the body has {len(view)} bytes and its header says {position}; send it again"
        )
    return leaves


def _key(parts: list[str]) -> tuple[str, ...]:
    return writable(split("/".join(parts))) if parts else ()


def _values(leaf: dict[str, Any], body: memoryview) -> Values:
    shape = tuple(int(size) for size in leaf.get("shape", ()))
    if "file" in leaf:
        return Values((len(body),), np.dtype("u1"), np.frombuffer(body, "u1"), give="file")
    if leaf["dtype"] == STRING_DTYPE:
        count = int(np.prod(shape, dtype=object))
        lengths = np.frombuffer(body, "<u4", count)
        ends = (np.cumsum(lengths, dtype=np.int64) + 4 * count).tolist()
        texts = [bytes(body[end - int(size) : end]) for end, size in zip(ends, lengths, strict=True)]
        checked = prepare(np.array([text.decode() for text in texts], object)) if texts else None
        return Values(shape, None, texts=checked.texts if checked else [], give=str(leaf["give"]))
    dtype = dtype_of(leaf["dtype"])
    array = np.frombuffer(body, dtype).reshape(shape) if len(body) else np.empty(shape, dtype)
    checked = prepare(array)
    return Values(shape, dtype, checked.array, give=str(leaf["give"]), is_loose=bool(leaf["loose"]))


def as_tree(leaves: list[Leaf]) -> Content:
    """Return leaves as the content that they make together: one value, or a tree."""
    if len(leaves) == 1 and not leaves[0][0]:
        return leaves[0][1]
    return Tree(dict(leaves))
