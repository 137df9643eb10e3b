"""TIFF files: one page, a stack of pages of one shape, or pages of several.

Owns which arrays a file holds; headers are read by `ifd` and `layout`, pixels by `reading`.

References
----------
TIFF 6.0; tifffile, which unpacks what is packed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from holdfast.errors import NotFoundError, UnreadableError
from holdfast.formats.base import ArrayReader, Described, Description, Format, OpenFile
from holdfast.formats.rawarray import RawArray, Segment
from holdfast.formats.sequences import SequenceArray
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure
from holdfast.formats.tiff.ifd import Tags, TiffHeader, is_tiff
from holdfast.formats.tiff.layout import Page, read_page
from holdfast.formats.tiff.reading import Decoder, page_reader
from holdfast.formats.tiff.said import Note, metadata_of

__all__ = ["TIFF", "TiffFormat", "TiffImage"]

_MAX_CHILDREN = 4096


class TiffFormat(Format):
    """Pages of one shape are one array, pages first; others are a container of pages."""

    name = "tiff"
    media_types = ("image/tiff",)
    suffixes = (".tif", ".tiff")
    is_frame = True

    def sniff(self, head: bytes, source: Source) -> bool:
        """Tell by the magic bytes."""
        return is_tiff(head)

    def describe(self, source: Source) -> Description:
        """Return shape and type of all pages, and the tags of each that is an array of its own.

        Raises
        ------
        UnreadableError
            Headers that are damaged, that lead in a circle, or that claim what the file does not hold.
        """
        content = _Content.of(source)
        root = content.described()
        if root.family == "array":
            root.metadata = metadata_of(content.header, content.tags[0])
        for child, tags in zip(root.children, content.tags, strict=False):
            child.metadata = metadata_of(content.header, tags)
        return Description(root, self.media_types[0])

    def outline(self, source: Source) -> Description:
        """Return shape and type of all pages."""
        return Description(_Content.of(source).described(), self.media_types[0])

    def open(self, source: Source) -> OpenFile:
        """Open the pages."""
        with source.closed_on_failure():
            return TiffImage(source, _Content.of(source))


@dataclass(frozen=True, slots=True)
class _Content:
    """What a file holds.

    Parameters
    ----------
    header : TiffHeader
        Reads tags.
    pages : list of Page
        Its pages.
    tags : list of dict
        Their tags.
    leading : tuple of int, optional
        Shape in front of that of a page, if all pages are one array.
    """

    header: TiffHeader
    pages: list[Page]
    tags: list[Tags]
    leading: tuple[int, ...] | None

    @classmethod
    def of(cls, source: Source) -> _Content:
        header = TiffHeader(source)
        tags = list(header.pages())
        pages = [read_page(header, source.name, source.size, offset, each) for offset, each in tags]
        note = Note.of(header, tags[0][1])
        pages = _with_hidden(pages, note, source)
        first = pages[0]
        is_stack = all((page.shape, page.dtype) == (first.shape, first.dtype) for page in pages[1:])
        leading = note.leading(len(pages), first.shape) if is_stack else None
        return cls(header, pages, [each for _, each in tags], leading)

    def described(self) -> Described:
        if self.leading is not None:
            return Described("", "array", {}, self.structure(self.leading).to_json())
        root = Described("", "container")
        for number, page in enumerate(self.pages[:_MAX_CHILDREN]):
            structure = ArrayStructure.build(page.dtype, page.shape).to_json()
            root.children.append(Described(str(number), "array", {}, structure, parameters={"page": number}))
        if len(self.pages) > _MAX_CHILDREN:
            root.metadata = {"holdfast": {"left_out": len(self.pages) - _MAX_CHILDREN}}
        return root

    def structure(self, leading: tuple[int, ...]) -> ArrayStructure:
        """Return the structure of all pages as one array."""
        page = self.pages[0]
        stored = (*(1 for _ in leading), *page.shape) if leading else None
        return ArrayStructure.build(page.dtype, (*leading, *page.shape), stored=stored)


def _with_hidden(pages: list[Page], note: Note, source: Source) -> list[Page]:
    """Add the pages without headers: ImageJ writes large stacks behind the first page, and says how many."""
    page = pages[0]
    count = note.images(page.shape) if len(pages) == 1 and page.run is not None else 1
    if count <= 1 or page.run is None:
        return pages
    if page.run + count * page.nbytes > source.size:
        raise UnreadableError(f"{source.name} claims {count} images and is truncated")
    shift, start = np.array([page.nbytes, 0]), page.run
    return [
        replace(page, segments=page.segments + shift * number, run=start + page.nbytes * number)
        for number in range(count)
    ]


class TiffImage(OpenFile):
    """An open TIFF file."""

    def __init__(self, source: Source, content: _Content) -> None:
        self._source, self._content = source, content
        self._decoder = Decoder(source)

    def array(self, parameters: Mapping[str, Any]) -> ArrayReader:
        """Return the array of all pages, or that of ``parameters["page"]``.

        Raises
        ------
        NotFoundError
            There is no such page, or the pages are no single array.
        """
        number, content = parameters.get("page"), self._content
        if number is None and content.leading is not None:
            return self._stack(content.leading)
        if not isinstance(number, int) or not 0 <= number < len(content.pages):
            raise NotFoundError(f"{self._source.name} has {len(content.pages)} pages and no array {number!r}")
        return self._page(number)

    def _page(self, number: int) -> ArrayReader:
        return page_reader(self._content.pages[number], self._source, self._decoder)

    def _stack(self, leading: tuple[int, ...]) -> ArrayReader:
        if not leading:
            return self._page(0)
        structure, run = self._content.structure(leading), _run(self._content.pages)
        if run is not None:
            return RawArray(structure, [Segment(self._source, run, structure.nbytes)])

        def pages(numbers: Sequence[int]) -> Iterator[nullcontext[ArrayReader]]:
            """Give the reader of each page."""
            return (nullcontext(self._page(number)) for number in numbers)

        return SequenceArray(structure, pages, leading=len(leading), is_verified=self._source.is_verified)

    def close(self) -> None:
        """Give everything back; a second time does nothing."""
        self._decoder.close()
        self._source.close()


def _run(pages: Sequence[Page]) -> int | None:
    """Return where the pages start, if all lie one behind the other as they are read."""
    first = pages[0].run
    if first is None or any(page.run != first + n * page.nbytes for n, page in enumerate(pages)):
        return None
    return first


TIFF = TiffFormat()
