"""Raw arrays: any slice reads right, verified, and reads little more than it needs."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.errors import ChangedError, HashError, UnreadableError
from holdfast.formats.rawarray import RawArray, Segment
from holdfast.formats.source import Source
from holdfast.formats.structures import ArrayStructure
from holdfast.testing.formats import block_digests

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)
CASES = SHAPES.flatmap(
    lambda shape: st.tuples(st.just(shape), hnp.basic_indices(shape, allow_newaxis=False), st.booleans())
)
SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


class CountingSource(Source):
    """A source that counts what is asked of it."""

    asked = 0

    def read_into(self, target, offset):
        self.asked += len(target)
        super().read_into(target, offset)


@SLOW
@given(CASES)
def test_every_slice_reads_as_numpy_slices_it(tmp_path, case):
    shape, index, is_fortran = case
    array = np.arange(np.prod(shape, dtype=int), dtype=">i4").reshape(shape)
    path = tmp_path / "raw"
    path.write_bytes(b"head" + array.tobytes("F" if is_fortran else "C") + b"tail")
    with Source(path, digests=block_digests(path)) as source:
        raw = RawArray(
            ArrayStructure.from_array(array), [Segment(source, 4, array.nbytes)], is_fortran=is_fortran
        )
        found = raw.read(index)
        assert found.dtype == array.dtype
        assert np.array_equal(found, array[index])
        assert found.shape == np.asarray(array[index]).shape


def huge(tmp_path, shape):
    """Return a source of a sparse file that holds an array of a given shape, mostly zeros."""
    path = tmp_path / "huge"
    with open(path, "wb") as file:
        file.truncate(int(np.prod(shape, dtype=object)) * 8)
    return CountingSource(path)


@pytest.mark.parametrize(
    ("index", "most"),
    [
        ((5, 7, 11), 8),
        ((slice(None, None, 1 << 12), 0, 0), 2 << 10),
        ((0, slice(None), 0), 40 << 20),
        ((slice(3, 5), slice(10, 20), slice(30, 40)), 8 << 20),
        ((slice(2, None, -1), 3), 3 * 8 << 10),
    ],
)
def test_a_slice_of_a_terabyte_reads_little_more_than_it_needs(tmp_path, index, most):
    shape = (1 << 18, 1 << 9, 1 << 10)
    with huge(tmp_path, shape) as source:
        structure = ArrayStructure.build(np.dtype("f8"), shape)
        found = RawArray(structure, [Segment(source, 0, structure.nbytes)]).read(index)
        assert not found.any()
        assert source.asked <= most


def test_blocks_that_are_not_touched_are_not_read(tmp_path):
    array = np.arange(1 << 18)
    path = tmp_path / "raw"
    path.write_bytes(array.tobytes())
    digests = block_digests(path)
    with open(path, "r+b") as file:
        file.seek(600_000)
        file.write(b"\xff")
    with Source(path, digests=digests) as source:
        raw = RawArray(ArrayStructure.from_array(array), [Segment(source, 0, array.nbytes)])
        assert np.array_equal(raw.read(slice(0, 1000)), array[:1000])
        assert np.array_equal(raw.read(slice(200_000, 200_100)), array[200_000:200_100])
        for index in [75_000, slice(60_000, 80_000), ...]:
            with pytest.raises(HashError, match="block 2"):
                raw.read(index)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path):
    path = tmp_path / "raw"
    path.write_bytes(bytes(8000))
    structure = ArrayStructure.build(np.dtype("f8"), (1000,))
    with Source(path) as source:
        raw = RawArray(structure, [Segment(source, 0, 8000)])
        os.truncate(path, 4000)
        with pytest.raises(ChangedError, match="ends at byte 4000"):
            raw.read()
    with Source(path) as source, pytest.raises(UnreadableError, match="truncated"):
        RawArray(structure, [Segment(source, 0, 8000)])
    with Source(path) as source, pytest.raises(UnreadableError, match="less than"):
        RawArray(structure, [Segment(source, 0, 4000)])


class Greedy(CountingSource):
    """A source that refuses to be read in large pieces."""

    def read_into(self, target, offset):
        assert len(target) <= 16 << 20
        super().read_into(target, offset)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "pitch", "index"),
    [((4000, 8192), None, (slice(None), 0)), ((1000,), 1 << 20, slice(None, None, -3))],
)
def test_what_lies_between_rows_is_not_read_at_once(tmp_path, shape, pitch, index):
    size = (shape[0] - 1) * (pitch or 0) + 8 if pitch else int(np.prod(shape)) * 8
    (tmp_path / "raw").touch()
    os.truncate(tmp_path / "raw", size)
    with Greedy(tmp_path / "raw") as source:
        structure = ArrayStructure.build(np.dtype("f8"), shape)
        raw = RawArray(structure, [Segment(source, 0, size)], pitch=pitch)
        assert not raw.read(index).any()
        assert raw.extent() is None or pitch is None


def test_rows_that_lie_apart_are_read_as_one_array(tmp_path):
    rows = np.arange(60, dtype=">i4").reshape(6, 10)
    (tmp_path / "raw").write_bytes(rows.tobytes())
    with Source(tmp_path / "raw") as source:
        structure = ArrayStructure.build(np.dtype(">i4"), (6, 2, 2))
        raw = RawArray(structure, [Segment(source, 8, 5 * 40 + 16)], pitch=40)
        wanted = rows[:, 2:6].reshape(6, 2, 2)
        for index in [..., 0, slice(None, None, -1), (slice(1, 5, 2), -1), (..., slice(None, None, -1))]:
            assert np.array_equal(raw.read(index), wanted[index])
        assert raw.extent() is None
