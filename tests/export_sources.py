"""Arrays, tables and trees in memory, as exports see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import numpy as np

from holdfast.formats.base import ArrayReader, TableReader
from holdfast.formats.exports.base import ArrayPart, TablePart
from holdfast.formats.exports.registry import exports_of
from holdfast.formats.slicing import Selection
from holdfast.formats.structures import ArrayStructure, TableStructure
from holdfast.formats.tables import Table


class MemoryArray(ArrayReader):
    def __init__(self, array: Any, dims: tuple[str, ...] | None = None) -> None:
        self.array = np.asarray(array)
        self.structure = ArrayStructure.build(self.array.dtype, self.array.shape, dims=dims)
        self.largest_read = 0

    def fetch(self, selection: Selection) -> np.ndarray:
        found = np.ascontiguousarray(self.array[selection.index], self.array.dtype)
        self.largest_read = max(self.largest_read, found.nbytes)
        return found


class EndlessArray(ArrayReader):
    """An array of any size whose elements are all the same, and may fail after some bytes."""

    def __init__(self, shape: tuple[int, ...], value: Any, fails_after: int | None = None) -> None:
        self.value = np.asarray(value)
        self.structure = ArrayStructure.build(self.value.dtype, shape)
        self.left = fails_after

    def fetch(self, selection: Selection) -> np.ndarray:
        found = np.full(selection.kept_shape, self.value)
        if self.left is not None:
            self.left -= found.nbytes
            if self.left < 0:
                from holdfast.errors import UnreadableError

                raise UnreadableError("the disk is damaged here")
        return found


class MemoryTable(TableReader):
    """A table in memory, in pieces."""

    def __init__(self, *parts: Mapping[str, Any]) -> None:
        self.parts = [Table(part) for part in parts]
        self.structure = TableStructure(
            self.parts[0].structure().arrow_schema, self.parts[0].columns, len(self.parts)
        )

    def read(self, columns: Sequence[str] | None = None, partition: int | None = None) -> Table:
        wanted = self.parts if partition is None else [self.parts[partition]]
        names = self.structure.columns if columns is None else columns
        return Table({name: np.concatenate([part[name] for part in wanted]) for name in names})


class MemoryNode:
    """A node of a tree in memory; a dict is a container, bytes are a file."""

    def __init__(
        self, key: str, value: Any, metadata: Mapping[str, Any] | None = None, specs: Sequence[str] = ()
    ) -> None:
        self.key, self.value, self.metadata, self.specs = key, value, metadata or {}, specs
        kinds = {dict: "container", list: "container", bytes: "bytes", MemoryTable: "table", str: value}
        self.family = kinds.get(type(value), "array")

    def children(self) -> Iterator[MemoryNode]:
        if isinstance(self.value, dict):
            return iter(MemoryNode(key, value, {"about": key}) for key, value in self.value.items())
        return iter(self.value if isinstance(self.value, list) else ())

    @contextmanager
    def array(self) -> Iterator[ArrayPart]:
        reader = self.value if isinstance(self.value, ArrayReader) else MemoryArray(self.value)
        yield ArrayPart.of(reader, metadata=self.metadata)

    @contextmanager
    def table(self) -> Iterator[TablePart]:
        yield TablePart.of(self.value, metadata=self.metadata)

    def content(self) -> Iterator[bytes] | None:
        return iter((self.value,)) if isinstance(self.value, bytes) else None


def part_of(value: Any) -> Any:
    if isinstance(value, MemoryNode | ArrayPart | TablePart):
        return value
    if isinstance(value, TableReader):
        return TablePart.of(value)
    return ArrayPart.of(value if isinstance(value, ArrayReader) else MemoryArray(value))


def exported(value: Any, name: str) -> bytes:
    """Return all bytes of an export, whose announced size must be true."""
    part = part_of(value)
    family = {ArrayPart: "array", TablePart: "table"}.get(type(part), "container")
    exports = exports_of(family)
    made = exports.export(exports.aliases.get(name, name), part)
    data = b"".join(made.pieces)
    assert made.size in (None, len(data))
    return data


class Cells(HTMLParser):
    """The texts of a page's cells, row by row, and the addresses of its images."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.images: list[str] = []
        self.open = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.open = True
        elif tag == "img":
            self.images.append(dict(attrs)["src"])

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.open = False

    def handle_data(self, data):
        if self.open:
            self.rows[-1][-1] += data
