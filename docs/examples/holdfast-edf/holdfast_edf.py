"""EDF, the ESRF Data Format: images one behind the other, each after a header of text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from holdfast.errors import NotFoundError, UnreadableError
from holdfast.formats.base import ArrayReader, Described, Description, Format, OpenFile
from holdfast.formats.metadata import Metadata
from holdfast.formats.rawarray import RawArray, Segment
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure

__all__ = ["EDF", "EdfFile", "EdfFormat"]

HEADER_BYTES = 512  # a header is padded to a multiple of this
MAX_HEADER_BYTES = 64 << 10
MAX_IMAGES = 10_000
TYPES = {
    "signedbyte": "i1", "unsignedbyte": "u1", "signedshort": "i2", "unsignedshort": "u2",
    "signedinteger": "i4", "unsignedinteger": "u4", "signedlong": "i4", "unsignedlong": "u4",
    "signed64": "i8", "unsigned64": "u8", "float": "f4", "floatvalue": "f4", "double": "f8",
    "doublevalue": "f8",
}  # fmt: skip
ORDERS = {"lowbytefirst": "<", "highbytefirst": ">"}


class EdfFormat(Format):
    """One image as an array, several as a container of arrays."""

    name = "edf"
    media_types = ("application/x-edf",)
    suffixes = (".edf",)

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the header's first line."""
        return re.match(rb"\{\s*[A-Za-z_]\w*\s*=[^;{}]*;", head) is not None

    def describe(self, source: Source) -> Description:
        """Return shape, type and header of every image; no pixel is read."""
        nodes = [
            Described(str(number), "array", header, array.structure.to_json(), parameters={"image": number})
            for number, (header, array) in enumerate(images(source))
        ]
        root = nodes[0] if len(nodes) == 1 else Described("", "container", children=nodes)
        root.key = ""
        return Description(root, self.media_types[0])

    def open(self, source: Source) -> OpenFile:
        """Open the images; the opened file owns the source, also when opening fails."""
        with source.closed_on_failure():
            return EdfFile(source)


class EdfFile(OpenFile):
    """An open EDF file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._arrays = [array for _, array in images(source)]

    def array(self, parameters: Mapping[str, Any]) -> ArrayReader:
        """Return the image that `describe` gave these parameters."""
        number = parameters.get("image")
        if not isinstance(number, int) or not 0 <= number < len(self._arrays):
            raise NotFoundError(f"{self._source.name} has no image {number}; it has {len(self._arrays)}")
        return self._arrays[number]

    def close(self) -> None:
        """Give the descriptor back."""
        self._source.close()


def images(source: Source) -> Iterator[tuple[dict[str, Any], RawArray]]:
    """Yield header and pixels of each image; `RawArray` reads slices in place, checked against digests."""
    at = 0
    for _ in range(MAX_IMAGES):
        header, start = read_header(source, at)
        structure = structure_of(header, source.name)
        collected = Metadata()
        for name, value in header.items():
            collected.put((name,), value)
        yield collected.to_json(), RawArray(structure, [Segment(source, start, structure.nbytes)])
        at = start + max(structure.nbytes, int(header.get("Size", "0")))
        if at >= source.size:
            return
    raise UnreadableError(f"{source.name} has more than {MAX_IMAGES} images")


def read_header(source: Source, at: int) -> tuple[dict[str, str], int]:
    """Return the pairs of a header, and where its image starts."""
    text = b""
    while not text.endswith(b"}\n"):
        start = at + len(text)
        if len(text) >= MAX_HEADER_BYTES or start + HEADER_BYTES > source.size:
            raise UnreadableError(f"{source.name} has no whole EDF header at byte {at}: it is truncated")
        text += bytes(source.read(start, HEADER_BYTES))
    pairs = re.findall(r"([^=;{}]+)=([^;]*);", text.decode("latin-1"))
    return {name.strip(): value.strip() for name, value in pairs}, at + len(text)


def structure_of(header: Mapping[str, str], name: str) -> ArrayStructure:
    """Return type and shape that a header tells; nothing in it is believed before it is checked."""
    kind, order = header.get("DataType", "").lower(), header.get("ByteOrder", "").lower()
    lengths = [header[dim] for dim in ("Dim_3", "Dim_2", "Dim_1") if dim in header]
    if kind not in TYPES or order not in ORDERS or header.get("Compression", "None").lower() != "none":
        raise UnreadableError(f"{name} has pixels of type {kind[:40]!r}, which this format does not read")
    if not all(re.fullmatch("[0-9]{1,9}", length) for length in [*lengths, header.get("Size", "0")]):
        raise UnreadableError(f"{name} has an image of shape {lengths}, which is none")
    return ArrayStructure.build(np.dtype(ORDERS[order] + TYPES[kind]), list(map(int, lengths)))


EDF = EdfFormat()
