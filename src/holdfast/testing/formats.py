"""Own the contract of `holdfast.formats.base.Format` as tests.

>>> class TestMyFormat(FormatTests):
...     @pytest.fixture
...     def sample(self, tmp_path):
...         path = tmp_path / "a.npy"
...         np.save(path, np.arange(6))
...         return Sample(NPY, path, arrays=[({}, np.arange(6))])
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holdfast.errors import ChangedError, HashError, HoldfastError, InvalidInputError, UnreadableError
from holdfast.formats.awkward import AwkwardStructure, buffers_of
from holdfast.formats.base import ArrayReader, Described, Format, OpenFile, TableReader
from holdfast.formats.registry import detect, get_format
from holdfast.formats.source import Source
from holdfast.formats.sparse import SparseStructure
from holdfast.formats.structures import ArrayStructure, TableStructure
from holdfast.formats.tables import Table
from holdfast.hashing import BlockDigests, hash_blocks

__all__ = [
    "FormatTests",
    "Sample",
    "block_digests",
    "compare",
    "describe",
    "indexes",
    "nodes",
    "open_descriptors",
]

INDEXES = [..., 0, -1, slice(None, None, -1), slice(1, None, 2), slice(5, 1, -2), slice(0, 0)]


@dataclass(frozen=True)
class Sample:
    """A file and what is in it.

    Parameters
    ----------
    format : Format
        The format under test.
    path : Path
        The file.
    arrays : list of (parameters, ndarray)
        Every array that must be found.
    tables : list of (parameters, Table)
        Every table that must be found.
    sparse : list of (parameters, ndarray)
        Every sparse array that must be found, with its zeros.
    awkward : list of (parameters, dict of str to bytes)
        Every awkward array that must be found, by its buffers.
    is_text : bool
        A part of a file may be a whole file too, so that only digests tell that something is missing.
    takes_anything : bool
        No content is wrong for this format.
    """

    format: Format
    path: Path
    arrays: list[tuple[dict[str, Any], np.ndarray]] = field(default_factory=list)
    tables: list[tuple[dict[str, Any], Table]] = field(default_factory=list)
    sparse: list[tuple[dict[str, Any], np.ndarray]] = field(default_factory=list)
    awkward: list[tuple[dict[str, Any], dict[str, bytes]]] = field(default_factory=list)
    is_text: bool = False
    takes_anything: bool = False

    @property
    def is_opened(self) -> bool:
        """Whether there is anything in it that is read by opening it."""
        return bool(self.arrays or self.tables or self.sparse or self.awkward)


class FormatTests:
    """Prove a format. A subclass gives the fixture `sample`: a small file of it, written by other means."""

    @pytest.fixture
    def sample(self) -> Sample:
        """Return a file and its content; overridden by each format's test."""
        pytest.fail("the subclass gives the fixture `sample`")

    def test_the_registry_finds_the_format_by_content_and_by_media_type(self, sample: Sample) -> None:
        with Source(sample.path) as source:
            assert detect(source) is sample.format
        assert get_format(sample.format.media_types[0]) is sample.format

    def test_the_description_names_every_array_and_table(self, sample: Sample) -> None:
        found = {_frozen(node.parameters): node for node in nodes(describe(sample))}
        for parameters, array in sample.arrays:
            structure = ArrayStructure.from_json(found[_frozen(parameters)].structure or {})
            assert (structure.shape, structure.dtype) == (array.shape, array.dtype)
        for parameters, dense in sample.sparse:
            sparse = SparseStructure.from_json(found[_frozen(parameters)].structure or {})
            assert (sparse.shape, sparse.dtype) == (dense.shape, dense.dtype)
        for parameters, buffers in sample.awkward:
            awkward = AwkwardStructure.from_json(found[_frozen(parameters)].structure or {})
            assert {buffer.key for buffer in buffers_of(awkward.form)} == set(buffers)
        tables = [node for node in found.values() if node.family == "table"]
        assert [TableStructure.from_json(node.structure or {}).columns for node in tables] == [
            table.columns for _, table in sample.tables
        ]

    def test_arrays_are_read_whole_and_sliced_as_numpy_slices(self, sample: Sample) -> None:
        for reader, array in _array_readers(sample):
            for index in indexes(array.ndim):
                if _fits(index, array.shape):
                    _same(reader.read(index), np.asarray(array[index], array.dtype))

    def test_slabs_follow_each_other_in_c_order(self, sample: Sample) -> None:
        for reader, array in _array_readers(sample):
            assert b"".join(piece.tobytes() for piece in reader.slabs()) == array.tobytes()

    def test_an_extent_is_where_the_bytes_are(self, sample: Sample) -> None:
        for reader, array in _array_readers(sample):
            for index in indexes(array.ndim):
                extent = reader.extent(index) if _fits(index, array.shape) else None
                if extent is not None:
                    data = extent.path.read_bytes()[extent.offset : extent.offset + extent.size]
                    assert data == np.asarray(array[index], array.dtype).tobytes()

    def test_an_index_that_does_not_fit_is_refused(self, sample: Sample) -> None:
        for reader, array in _array_readers(sample):
            too_many: Any = (0,) * (array.ndim + 1)
            for index in [too_many, (..., ...), "x", 1.5, [0], None, slice(None, None, 0)]:
                with pytest.raises(InvalidInputError):
                    reader.read(index)
            if array.ndim:
                with pytest.raises(IndexError):
                    reader.read(array.shape[0])

    def test_tables_are_read_whole_and_by_columns(self, sample: Sample) -> None:
        for reader, table in _table_readers(sample):
            assert reader.read() == table
            assert reader.read(columns=[table.columns[-1]]) == table.select([table.columns[-1]])
            with pytest.raises(KeyError):
                reader.read(columns=["no such column"])
            with pytest.raises(IndexError):
                reader.read(partition=7)

    def test_sparse_arrays_are_read_whole_and_sliced_as_numpy_slices(self, sample: Sample) -> None:
        if sample.sparse:
            with sample.format.open(Source(sample.path)) as opened:
                for parameters, dense in sample.sparse:
                    reader = opened.sparse(parameters)
                    for index in indexes(dense.ndim):
                        if _fits(index, dense.shape):
                            assert np.array_equal(reader.read(index).to_dense(), dense[index])

    def test_a_truncated_file_is_an_error_or_reads_right(self, sample: Sample, tmp_path: Path) -> None:
        whole = sample.path.read_bytes()
        for size in sorted({0, 1, 7, *(len(whole) * part // 8 for part in range(8)), len(whole) - 1}):
            path = tmp_path / f"cut{size}{sample.path.suffix}"
            path.write_bytes(whole[:size])
            try:
                _read_all(sample, path, is_same=not sample.is_text)
            except (UnreadableError, ChangedError):
                continue
            assert size or sample.takes_anything, "an empty file was read as a whole one"

    def test_a_flipped_bit_is_an_error_where_digests_are_known(self, sample: Sample, tmp_path: Path) -> None:
        digests = block_digests(sample.path)
        whole = bytearray(sample.path.read_bytes())
        path = tmp_path / f"flipped{sample.path.suffix}"
        for position in sorted({len(whole) * part // 5 for part in range(5)}):
            whole[position] ^= 4
            path.write_bytes(whole)
            whole[position] ^= 4
            with pytest.raises(HashError, match="damaged"):
                _read_all(sample, path, digests)

    def test_with_digests_everything_still_reads_the_same(self, sample: Sample) -> None:
        _read_all(sample, sample.path, block_digests(sample.path))

    def test_other_content_under_the_suffix_is_an_error(self, sample: Sample, tmp_path: Path) -> None:
        if sample.takes_anything:
            return
        path = tmp_path / f"other{sample.format.suffixes[0]}"
        path.write_bytes(b'"\x00\xff\x01' * 100)
        with pytest.raises(HoldfastError), Source(path) as source:
            assert detect(source) is sample.format
            sample.format.describe(source)

    def test_no_descriptor_is_left_open(self, sample: Sample, tmp_path: Path) -> None:
        _read_all(sample, sample.path)
        before = open_descriptors()
        for _ in range(5):
            _read_all(sample, sample.path)
        path = tmp_path / f"cut{sample.path.suffix}"
        path.write_bytes(sample.path.read_bytes()[: sample.path.stat().st_size // 2])
        for _ in range(5):
            try:
                _read_all(sample, path)
            except HoldfastError:
                continue
        assert open_descriptors() == before

    def test_many_threads_read_one_open_file(self, sample: Sample) -> None:
        def read(opened: OpenFile) -> None:
            for _ in range(5):
                compare(sample, opened)

        if sample.is_opened:
            with sample.format.open(Source(sample.path)) as opened, ThreadPoolExecutor(4) as pool:
                list(pool.map(read, [opened] * 4))

    def test_closing_twice_is_no_error(self, sample: Sample) -> None:
        if sample.is_opened:
            opened = sample.format.open(Source(sample.path))
            opened.close()
            opened.close()


def describe(sample: Sample) -> Described:
    """Return the tree that the format finds in a sample."""
    with Source(sample.path) as source:
        return sample.format.describe(source).root


def nodes(root: Described) -> Iterator[Described]:
    """Yield a node and all below it."""
    yield root
    for child in root.children:
        yield from nodes(child)


def indexes(ndim: int) -> Iterator[Any]:
    """Yield indexes of every kind for an array of some axes."""
    yield from INDEXES if ndim else [..., ()]
    if ndim > 1:
        yield from itertools.product(INDEXES[1:5], repeat=2)
        yield (..., 0)
        yield (slice(None, None, -1),) * ndim
        yield (0,) * ndim


def block_digests(path: Path) -> BlockDigests:
    """Return the digests of a file."""
    with open(path, "rb") as file:
        return hash_blocks(file)


def open_descriptors() -> set[str]:
    """Return what the descriptors of this process stand for."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(str(Path(f"/proc/self/fd/{name}").readlink()))
        except FileNotFoundError:
            continue
    return {target for target in found if target.startswith("/") and not target.startswith("/proc")}


def _array_readers(sample: Sample) -> Iterator[tuple[ArrayReader, np.ndarray]]:
    """Yield every array of a sample as it is read, and as it must be."""
    if sample.arrays:
        with sample.format.open(Source(sample.path)) as opened:
            for parameters, array in sample.arrays:
                yield opened.array(parameters), array


def _table_readers(sample: Sample) -> Iterator[tuple[TableReader, Table]]:
    """Yield every table of a sample as it is read, and as it must be."""
    if sample.tables:
        with sample.format.open(Source(sample.path)) as opened:
            for parameters, table in sample.tables:
                yield opened.table(parameters), table


def _read_all(
    sample: Sample, path: Path, digests: BlockDigests | None = None, *, is_same: bool = True
) -> None:
    """Describe, open, read and compare everything of a file that should be the sample."""
    with Source(path, digests=digests) as source:
        sample.format.describe(source)
        for _ in source.pieces() if digests is not None else ():
            continue
    if sample.is_opened:
        with sample.format.open(Source(path, digests=digests)) as opened:
            compare(sample, opened, is_same=is_same)


def compare(sample: Sample, opened: OpenFile, *, is_same: bool = True) -> None:
    """Read everything of an open file; where `is_same` it must be what the sample says."""
    for parameters, array in sample.arrays:
        found = opened.array(parameters).read()
        if is_same:
            _same(found, array)
    for parameters, table in sample.tables:
        assert opened.table(parameters).read() == table or not is_same
    for parameters, dense in sample.sparse:
        assert np.array_equal(opened.sparse(parameters).read().to_dense(), dense) or not is_same
    for parameters, buffers in sample.awkward:
        read = opened.awkward(parameters).buffers()
        assert {name: buffer.tobytes() for name, buffer in read.items()} == buffers or not is_same


def _same(found: np.ndarray, expected: np.ndarray) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.flags.c_contiguous
    assert found.tobytes() == expected.tobytes()


def _fits(index: Any, shape: tuple[int, ...]) -> bool:
    try:
        np.empty(shape, np.int8)[index]
    except IndexError:
        return False
    return True


def _frozen(parameters: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        sorted((name, value) for name, value in parameters.items() if name not in ("encoding", "separator"))
    )
