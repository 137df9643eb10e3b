"""Every numpy index gives what numpy gives, asked for in slices that the wire knows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.catalog.client.indexing import pieces, plan, written
from holdfast.errors import InvalidTypeError, OutOfRangeError
from holdfast.formats.slicing import parse_slice

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)


def answer(array, cut):
    """Do what a server does with the slices on the wire."""
    if not cut.wire:
        return array
    return array[tuple(slice(*map(int, part.split(":"))) for part in cut.wire.split(","))]


def read(array, index):
    cut = plan(index, array.shape)
    got = answer(array, cut)
    assert got.shape == cut.shape
    return got[cut.local]


@given(st.data(), SHAPES)
def test_basic_indexes_give_what_numpy_gives(data, shape):
    array = np.arange(int(np.prod(shape))).reshape(shape)
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True, max_dims=6))
    np.testing.assert_array_equal(read(array, index), array[index])


@given(st.data(), hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=6))
def test_arrays_of_positions_give_what_numpy_gives(data, shape):
    array = np.arange(int(np.prod(shape))).reshape(shape)
    index = data.draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
    np.testing.assert_array_equal(read(array, index), array[index])


@given(st.data(), hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5))
def test_masks_give_what_numpy_gives(data, shape):
    array = np.arange(int(np.prod(shape))).reshape(shape)
    mask = data.draw(hnp.arrays(bool, shape[: data.draw(st.integers(1, len(shape)))]))
    np.testing.assert_array_equal(read(array, mask), array[mask])


def test_mixed_indexes_give_what_numpy_gives():
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    for index in [
        (0, [1, 2], ..., [0, 3]),
        ([1], slice(None, None, -2)),
        (..., [True, False, True, False, True]),
    ]:
        np.testing.assert_array_equal(read(array, index), array[index])


@given(st.data(), SHAPES)
def test_an_index_written_for_a_server_means_what_numpy_means(data, shape):
    array = np.arange(int(np.prod(shape))).reshape(shape)
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=False))
    wire = written(index, shape)
    np.testing.assert_array_equal(array[parse_slice(wire)] if wire else array, array[index])


@pytest.mark.parametrize("index", [None, [0], np.zeros((4, 6), bool)])
def test_an_index_that_no_server_knows_is_not_written(index):
    with pytest.raises(InvalidTypeError):
        written(index, (4, 6))


def test_a_single_element_asks_for_one_element():
    cut = plan((2, -1), (4, 6))
    assert (cut.wire, cut.shape, cut.local) == ("2:3,5:6", (1, 1), (0, 0))


def test_negative_steps_are_asked_for_forwards():
    assert plan(slice(None, None, -2), (6,)).wire == "1:6:2"


def test_the_whole_array_needs_no_slice():
    assert plan(..., (4, 6)).wire == ""
    assert plan((), ()).wire == ""


@pytest.mark.parametrize("index", [4, -5, (0, 0, 0), (..., ...), [[9]], np.zeros(3, bool)])
def test_indexes_outside_the_array_are_an_index_error(index):
    with pytest.raises(OutOfRangeError) as caught:
        plan(index, (4, 6))
    assert isinstance(caught.value, IndexError)


@pytest.mark.parametrize("index", ["a", 1.5, True, [1.5], {}, slice("a", None), slice(None, None, 0)])
def test_what_is_no_index_is_a_type_error(index):
    with pytest.raises(InvalidTypeError):
        plan(index, (4, 6))


@given(st.data(), SHAPES, st.integers(1, 200), st.integers(1, 4))
def test_pieces_lie_one_after_the_other_and_within_the_limit(data, shape, limit, chunk_rows):
    array = np.arange(int(np.prod(shape)), dtype=np.int32).reshape(shape)
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=False, allow_ellipsis=False))
    cut = plan(index, shape)
    whole, got, end = array[cut.slices].tobytes(), b"", 0
    for slices, start, stop in pieces(cut.slices, 4, limit, chunk_rows):
        piece = array[slices].tobytes()
        assert start == end
        assert stop - start == len(piece) <= max(limit, 4)
        got, end = got + piece, stop
    assert got == whole
