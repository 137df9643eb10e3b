"""Own variable-length strings as HDF5 keeps them: references of 16 bytes and global heap collections.

It does not read files: it takes verified bytes. Empty strings are all-zero references without an object.

>>> refs, heap = encode_strings([b"one", b"", b"three"], 4096)
>>> import numpy as np
>>> decode_strings(np.frombuffer(refs, REFERENCE), lambda start, stop: heap[start - 4096 : stop - 4096])
['one', '', 'three']
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from holdfast.types import Buffer

__all__ = ["REFERENCE", "decode_strings", "encode_strings"]

REFERENCE: np.dtype[Any] = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])
"""One string of ``data``: its length in bytes, the address of its heap collection, its number in it."""

_COLLECTION = struct.Struct("<4sB3xQ")
_OBJECT = struct.Struct("<HHIQ")
_MIN_BYTES = 4096
_FULL_BYTES = 1024 * 1024
_MAX_OBJECTS = 65_000


def encode_strings(texts: Sequence[bytes], heap_offset: int) -> tuple[bytes, bytes]:
    """Return the references and the heap of strings.

    Parameters
    ----------
    texts : sequence of bytes
        UTF-8, without NUL.
    heap_offset : int
        Where the heap will lie in the file, bytes.

    Returns
    -------
    tuple of bytes
        The references, 16 bytes for each string, and the heap collections.
    """
    references = np.zeros(len(texts), REFERENCE)
    heap = bytearray()
    for first, last in _collections(texts):
        chosen = [number for number in range(first, last) if texts[number]]
        references["length"][chosen] = [len(texts[number]) for number in chosen]
        references["heap"][chosen] = heap_offset + len(heap)
        references["index"][chosen] = np.arange(1, len(chosen) + 1)
        heap += _collection([texts[number] for number in chosen])
    return references.tobytes(), bytes(heap)


def _object_bytes(size: int) -> int:
    return _OBJECT.size + -(-size // 8) * 8


def _collections(texts: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Yield ranges of strings that share a collection."""
    first, used, count = 0, 0, 0
    for number, text in enumerate(texts):
        size = _object_bytes(len(text)) if text else 0
        if count and (used + size > _FULL_BYTES or count == _MAX_OBJECTS):
            yield first, number
            first, used, count = number, 0, 0
        used += size
        count += bool(text)
    if count:
        yield first, len(texts)


def _collection(texts: Sequence[bytes]) -> bytes:
    objects = b"".join(
        _OBJECT.pack(number, 1, 0, len(text)) + text.ljust(-(-len(text) // 8) * 8, b"\0")
        for number, text in enumerate(texts, 1)
    )
    used = _COLLECTION.size + len(objects)
    size = max(_MIN_BYTES, used + _OBJECT.size)
    free = _OBJECT.pack(0, 0, 0, size - used)
    return (_COLLECTION.pack(b"GCOL", 1, size) + objects + free).ljust(size, b"\0")


def decode_strings(references: np.ndarray[Any, Any], read: Callable[[int, int], Buffer]) -> list[str]:
    """Return the strings of references.

    Parameters
    ----------
    references : ndarray of REFERENCE, one axis
        Any part of what `encode_strings` gave.
    read : callable
        Takes start and stop in the file and gives verified bytes.

    Returns
    -------
    list of str
        One for each reference.
    """
    addresses = references["heap"][references["heap"] > 0]
    if not len(addresses):
        return [""] * len(references)
    first, last = int(addresses.min()), int(addresses.max())
    heap = read(first, last + _COLLECTION.unpack_from(read(last, last + _COLLECTION.size))[2])
    found = {int(address): _objects(heap, int(address) - first) for address in np.unique(addresses)}
    return [
        str(found[address][index], "utf-8") if length else ""
        for length, address, index in references.tolist()
    ]


def _objects(heap: Buffer, start: int) -> dict[int, Buffer]:
    """Return the objects of the collection that starts at an offset, by number."""
    view = memoryview(heap)
    stop = start + _COLLECTION.unpack_from(heap, start)[2]
    objects: dict[int, Buffer] = {}
    position = start + _COLLECTION.size
    while position + _OBJECT.size <= stop:
        number, _, _, size = _OBJECT.unpack_from(heap, position)
        if not number:
            break
        position += _OBJECT.size
        objects[number] = view[position : position + size]
        position += -(-size // 8) * 8
    return objects
