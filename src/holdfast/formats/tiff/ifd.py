"""The headers of a TIFF file: its pages and their tags, nothing believed before it is checked.

Owns reading tags; decodes no pixels and gives tags no meaning (see `layout`).

Notes
-----
Classic and BigTIFF, both byte orders. Every offset is checked against the size of the file, and no page is
visited twice, so that reading ends whatever a file says.

References
----------
TIFF 6.0, Adobe 1992; the BigTIFF design, 2004.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.source import Source

__all__ = ["Tag", "Tags", "TiffHeader", "is_tiff"]

MAX_PAGES = 1 << 20
_MAX_TAGS = 4096

# Size in bytes and NumPy type of a value by its number in the file.
_TYPES = {
    1: "u1", 2: "S1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "V1", 8: "i2", 9: "i4", 10: "i4", 11: "f4",
    12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8",
}  # fmt: skip
_RATIONALS = (5, 10)


def is_tiff(head: bytes) -> bool:
    """Whether a file begins like a TIFF file."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag: type and number of its values, and where they are."""

    code: int
    type: int
    count: int
    offset: int

    @property
    def size(self) -> int:
        """Size of the values in bytes; 0 for an unknown type."""
        kind = _TYPES.get(self.type)
        return self.count * int(kind[1:]) * (2 if self.type in _RATIONALS else 1) if kind else 0


Tags = dict[int, Tag]


class TiffHeader:
    """A TIFF file as far as its headers go.

    Parameters
    ----------
    source : Source
        The file.

    Raises
    ------
    UnreadableError
        It is none, or its headers are damaged.

    Attributes
    ----------
    order : "<" or ">"
        Byte order of everything in it.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._head = source.head()
        if not is_tiff(self._head) or len(self._head) < 8:
            raise UnreadableError(f"{source.name} is no TIFF file")
        self.order: Literal["<", ">"] = "<" if self._head[:1] == b"I" else ">"
        self._is_big = b"+" in self._head[2:4]
        if self._is_big and self._bytes(4, 4) != struct.pack(f"{self.order}HH", 8, 0):
            raise UnreadableError(f"{source.name} is a BigTIFF file with an unknown size of offsets")
        self._count = struct.Struct(self.order + ("Q" if self._is_big else "H"))
        self._offset = struct.Struct(self.order + ("Q" if self._is_big else "I"))
        self._entry = struct.Struct(self.order + ("HHQQ" if self._is_big else "HHII"))

    def pages(self) -> Iterator[tuple[int, Tags]]:
        """Yield where each page's header is, and its tags.

        Raises
        ------
        UnreadableError
            An offset leads outside the file or back to an earlier page.
        """
        offset = self._number(self._offset, 8 if self._is_big else 4)
        seen: set[int] = set()
        while offset:
            if offset in seen:
                raise UnreadableError(
                    f"{self._source.name} is damaged: page {len(seen)} leads back to another"
                )
            if len(seen) == MAX_PAGES:
                raise UnreadableError(f"{self._source.name} has more than {MAX_PAGES} pages")
            seen.add(offset)
            tags, following = self.tags(offset)
            yield offset, tags
            offset = following
        if not seen:
            raise UnreadableError(f"{self._source.name} has no pages")

    def tags(self, offset: int) -> tuple[Tags, int]:
        """Return the tags of a header, and where the next one is; 0 after the last.

        Raises
        ------
        UnreadableError
            It does not fit the file.
        """
        count = self._number(self._count, offset)
        if not 0 < count <= _MAX_TAGS:
            raise UnreadableError(f"{self._source.name} is damaged: a page with {count} tags")
        size, start = self._entry.size, offset + self._count.size
        data = self._bytes(start, count * size + self._offset.size)
        tags: Tags = {}
        # Values that fit into the entry stand there, in place of the offset.
        inline, place = self._offset.size, size - self._offset.size
        for number in range(count):
            code, kind, amount, value = self._entry.unpack_from(data, number * size)
            tag = Tag(code, kind, amount, value)
            if tag.size <= inline:
                tag = Tag(code, kind, amount, start + number * size + place)
            tags.setdefault(code, tag)
        return tags, int(self._offset.unpack_from(data, count * size)[0])

    def values(self, tag: Tag) -> np.ndarray:
        """Return the values of a tag, those of rationals as numerators and denominators in turn.

        Raises
        ------
        UnreadableError
            They do not lie in the file, or are of an unknown type.
        """
        kind = _TYPES.get(tag.type)
        if kind is None:
            raise UnreadableError(f"{self._source.name}: tag {tag.code} has the unknown type {tag.type}")
        return np.frombuffer(self._bytes(tag.offset, tag.size), self.order + kind)

    def integers(self, tags: Tags, code: int, default: int | None = None) -> list[int]:
        """Return the values of a tag that holds few integers.

        Raises
        ------
        UnreadableError
            They are no integers, or far too many.
        """
        tag = tags.get(code)
        if tag is None:
            return [] if default is None else [default]
        values = self.offsets(tag) if tag.count <= _MAX_TAGS else np.empty(0, np.uint64)
        if not len(values):
            raise UnreadableError(f"{self._source.name}: tag {code} has {tag.count} values")
        found: list[int] = values.tolist()
        return found

    def offsets(self, tag: Tag) -> np.ndarray:
        """Return the values of a tag that holds integers.

        Raises
        ------
        UnreadableError
            They are none.
        """
        values = self.values(tag)
        if values.dtype.kind not in "ui":
            raise UnreadableError(f"{self._source.name}: tag {tag.code} holds no integers")
        return values

    def text(self, tags: Tags, code: int, limit: int) -> str:
        """Return the start of a tag's text; empty when there is none."""
        tag = tags.get(code)
        if tag is None or tag.type not in (1, 2, 7):
            return ""
        data = bytes(self._bytes(tag.offset, min(tag.size, limit)))
        return data.split(b"\0", 1)[0].decode("utf-8", "replace")

    def _number(self, form: struct.Struct, offset: int) -> int:
        return int(form.unpack(self._bytes(offset, form.size))[0])

    def _bytes(self, offset: int, size: int) -> bytes | memoryview:
        """Return bytes of the file; those at its start were read already."""
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        if offset + size > self._source.size:
            raise UnreadableError(
                f"{self._source.name} has {self._source.size} bytes; its headers lead to byte {offset + size}"
            )
        return self._source.read(offset, size)
