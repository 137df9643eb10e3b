"""The pages of a Parquet column chunk: how large they say they are, before anything is unpacked.

Owns the headers of pages and what memory they may ask for; pyarrow decodes the pages themselves.

References
----------
Apache Parquet, ``parquet.thrift``, PageHeader; Apache Thrift, compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from holdfast.errors import UnreadableError
from holdfast.formats.source import Source

__all__ = ["MAX_PAGE_BYTES", "Page", "PageSizes", "pages", "parse_header", "sizes"]

MAX_PAGE_BYTES = 256 << 20
"""The largest page that is unpacked; writers make pages of about 1 MiB."""

_WINDOWS_BYTES = (256, 8 << 10, 1 << 20)
_MAX_DEPTH = 8
_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
_DELTA_TEXT = 7


@dataclass(frozen=True, slots=True)
class Page:
    """What the header of a page says.

    Parameters
    ----------
    is_dictionary : bool
        It holds the dictionary of its chunk.
    compressed, unpacked : int
        Size in the file and in memory, in bytes.
    values : int
        Number of values, absent ones counted.
    encoding : int
        Number of the encoding in ``parquet.thrift``.
    """

    is_dictionary: bool
    compressed: int
    unpacked: int
    values: int
    encoding: int


@dataclass(frozen=True, slots=True)
class PageSizes:
    """What the pages of a chunk are in all.

    Parameters
    ----------
    unpacked : int
        Size of all pages in memory, in bytes.
    largest : int
        Size of the largest one.
    values : int
        Number of values.
    has_dictionary : bool
        There is a page of values that others name by number.
    is_delta : bool
        Texts begin as those before them, so that a small page may stand for much text.
    """

    unpacked: int
    largest: int
    values: int
    has_dictionary: bool
    is_delta: bool


def sizes(source: Source, start: int, stop: int, values: int) -> PageSizes:
    """Add up the pages of a chunk.

    Parameters
    ----------
    source : Source
        The file.
    start, stop : int
        Where the chunk lies.
    values : int
        How many values the footer says it has.

    Raises
    ------
    UnreadableError
        A damaged header, or a page that is larger than any writer makes.
    """
    unpacked = largest = seen = 0
    has_dictionary = is_delta = False
    for page in pages(source, start, stop):
        unpacked += page.unpacked
        largest = max(largest, page.unpacked)
        has_dictionary |= page.is_dictionary
        is_delta |= page.encoding == _DELTA_TEXT
        seen += 0 if page.is_dictionary else page.values
        if seen >= values:
            break
    return PageSizes(unpacked, largest, max(seen, values), has_dictionary, is_delta)


def pages(source: Source, start: int, stop: int) -> Iterator[Page]:
    """Yield what the headers of a chunk's pages say, one after the other.

    Parameters
    ----------
    source : Source
        The file.
    start, stop : int
        Where the chunk lies.

    Raises
    ------
    UnreadableError
        As `sizes`.
    """
    stop = min(stop, source.size)
    while start < stop:
        page, length = _page(source, start, stop)
        if page.unpacked > MAX_PAGE_BYTES:
            raise UnreadableError(
                f"{source.name} has a page of {page.unpacked} bytes; pages of up to {MAX_PAGE_BYTES} are read"
            )
        start += length + page.compressed
        if start > stop:
            raise UnreadableError(f"{source.name} is no whole file: a page ends behind its column")
        yield page


def _page(source: Source, start: int, stop: int) -> tuple[Page, int]:
    """Read a header, most of which are short."""
    for window in _WINDOWS_BYTES:
        data = bytes(source.read(start, min(window, stop - start)))
        try:
            return parse_header(data)
        except IndexError:
            if len(data) < window:
                break
        except ValueError as error:
            raise UnreadableError(f"{source.name} has a damaged page at byte {start}: {error}") from error
    raise UnreadableError(f"{source.name} has a damaged page at byte {start}")


def parse_header(data: bytes) -> tuple[Page, int]:
    """Read the header of a page.

    Parameters
    ----------
    data : bytes
        The header and any bytes behind it.

    Returns
    -------
    page : Page
        What it says.
    length : int
        Its length in bytes.

    Raises
    ------
    IndexError
        It goes on behind the data.
    ValueError
        It is no such header.
    """
    reader = _Compact(data)
    header = reader.struct()
    kind = header.get(1)
    unpacked, compressed = _count(header.get(2)), _count(header.get(3))
    # Where the header of each kind stands.
    inner = header.get(5 if kind == _DATA else 7 if kind == _DICTIONARY else 8) or {}
    if not isinstance(inner, dict):
        raise ValueError("it says nothing of its values")  # noqa: TRY004  # it is data that is wrong
    values, encoding = inner.get(1, 0), inner.get(4 if kind == _DATA_V2 else 2, 0)
    return Page(kind == _DICTIONARY, compressed, unpacked, _count(values), _count(encoding)), reader.at


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("a number is missing")
    return value


class _Compact:
    """A reader of Thrift's compact protocol: structs as dictionaries by field number, without their text."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deep")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self._integer()
            # A boolean is its own type.
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind in (7, 8):
            return self._pass(8 if kind == 7 else self._unsigned())
        if kind in (9, 10):
            return self._items(depth)
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"no field is of type {kind}")

    def _items(self, depth: int) -> None:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._unsigned()
        if depth > _MAX_DEPTH or count > len(self._data):
            raise ValueError("it has an impossible list")
        for _ in range(count):
            self._value(head & 15, depth + 1)

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _pass(self, size: int) -> None:
        if size > len(self._data) - self.at:
            raise IndexError
        self.at += size

    def _unsigned(self) -> int:
        value = shift = 0
        while shift < 64:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("it has an impossible number")

    def _integer(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
