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
from typing import Literal, NamedTuple

import numpy as np

from holdfast.errors import UnreadableError
from holdfast.formats.source import Source

__all__ = ["Tag", "Tags", "TiffHeader", "is_tiff"]

MAX_PAGES = 1 << 20
_MAX_TAGS = 4096

# Size in bytes and NumPy type of a value by its number in the file; a rational is two values.
_TYPES = {
    1: "u1", 2: "S1", 3: "u2", 4: "u4", 5: "u4", 6: "i1", 7: "V1", 8: "i2", 9: "i4", 10: "i4", 11: "f4",
    12: "f8", 13: "u4", 16: "u8", 17: "i8", 18: "u8",
}  # fmt: skip
_SIZES = {kind: int(name[1:]) * (2 if kind in (5, 10) else 1) for kind, name in _TYPES.items()}
# The types of one number that can be read without NumPy: every page of every frame has a dozen of them.
_FORMS = {
    order: {kind: struct.Struct(order + form) for kind, form in ((1, "B"), (3, "H"), (4, "I"), (16, "Q"))}
    for order in "<>"
}


def is_tiff(head: bytes) -> bool:
    """Whether a file begins like a TIFF file."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class Tag(NamedTuple):
    """One tag: type and number of its values, and where they are."""

    code: int
    type: int
    amount: int
    offset: int

    @property
    def size(self) -> int:
        """Size of the values in bytes; 0 for an unknown type."""
        return self.amount * _SIZES.get(self.type, 0)


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
        self._numbers = _FORMS[self.order]

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
        for number, (code, kind, amount, value) in enumerate(self._entry.iter_unpack(data[: count * size])):
            if amount * _SIZES.get(kind, 0) <= inline:
                value = start + number * size + place
            if code not in tags:
                tags[code] = Tag(code, kind, amount, value)
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

    def integer(self, tags: Tags, code: int, default: int) -> int:
        """Return the first value of a tag that holds integers.

        Raises
        ------
        UnreadableError
            They are none.
        """
        tag = tags.get(code)
        if tag is None:
            return default
        form = self._numbers.get(tag.type) if tag.amount == 1 else None
        return self.integers(tags, code)[0] if form is None else self._number(form, tag.offset)

    def integers(self, tags: Tags, code: int) -> list[int]:
        """Return the values of a tag that holds few integers.

        Raises
        ------
        UnreadableError
            They are no integers, or far too many.
        """
        tag = tags[code]
        values = self.offsets(tag) if tag.amount <= _MAX_TAGS else np.empty(0, np.uint64)
        if not len(values):
            raise UnreadableError(f"{self._source.name}: tag {code} has {tag.amount} values")
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
