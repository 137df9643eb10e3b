"""Index arithmetic against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from holdfast.errors import InvalidInputError, OutOfRangeError
from holdfast.formats.slicing import Selection, block_index, format_slice, parse_slice, slabs
from holdfast.formats.structures import whole_chunks

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6)
CASES = SHAPES.flatmap(lambda shape: st.tuples(st.just(shape), hnp.basic_indices(shape, allow_newaxis=False)))


def array_of(shape):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


@given(CASES)
def test_a_selection_takes_what_numpy_takes(case):
    shape, index = case
    array = array_of(shape)
    selection = Selection.of(index, shape)
    expected = array[index]
    assert selection.shape == expected.shape
    assert np.array_equal(array[selection.index].reshape(selection.shape), expected)
    if selection.is_whole:
        assert np.array_equal(expected, array)


@given(CASES)
def test_a_contiguous_run_is_one_in_memory_too(case):
    shape, index = case
    array = array_of(shape)
    run = Selection.of(index, shape).contiguous()
    taken = np.asarray(array[index]).reshape(-1)
    if run is None:
        assert not np.array_equal(taken, np.arange(taken[0], taken[0] + taken.size)) or taken.size == 1
    else:
        assert np.array_equal(array.reshape(-1)[run[0] : run[0] + run[1]], taken)


@given(CASES, st.integers(1, 200))
def test_slabs_make_up_the_selection_in_c_order(case, limit):
    shape, index = case
    array = array_of(shape)
    parts = list(slabs(Selection.of(index, shape), 8, limit))
    assert all(part.size * 8 <= max(limit, 8) for part in parts)
    found = [array[part.index].reshape(-1) for part in parts]
    assert np.array_equal(np.concatenate([np.empty(0, int), *found]), np.asarray(array[index]).reshape(-1))


@given(CASES)
def test_what_is_formatted_is_parsed(case):
    shape, index = case
    index = index if isinstance(index, tuple) else (index,)
    text = format_slice(index)
    again = parse_slice(text) if text else ()
    assert np.array_equal(array_of(shape)[again], array_of(shape)[index])


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("1:3:1,0:5", (slice(1, 3, 1), slice(0, 5))),
        ("::-1", (slice(None, None, -1),)),
        ("...,2", (Ellipsis, 2)),
        ("-1", (-1,)),
        ("", ()),
        ("(1,)", (1,)),
        (" 1 : ", None),
        (":", (slice(None),)),
    ],
)
def test_tiled_texts_are_read(text, index):
    if index is None:
        with pytest.raises(InvalidInputError):
            parse_slice(text)
    else:
        assert parse_slice(text) == index


@pytest.mark.parametrize(
    "text", ["a", "1:2:3:4", "1..2", ",", "1,,2", "0x1", "1e3", "1" * 30, ":" * 5000, "(1", "١:٢"]
)
def test_nonsense_is_refused(text):
    with pytest.raises(InvalidInputError):
        parse_slice(text)


@given(SHAPES, st.integers(1, 1 << 24))
def test_blocks_make_up_the_shape(shape, itemsize):
    chunks = whole_chunks(shape, itemsize)
    assert tuple(map(sum, chunks)) == shape
    last = tuple(len(lengths) - 1 for lengths in chunks)
    assert [part.stop for part in block_index(chunks, last)] == list(shape)
    with pytest.raises(OutOfRangeError):
        block_index(chunks, [n + 1 for n in last])
    with pytest.raises(InvalidInputError):
        block_index(chunks, (*last, 0))


@pytest.mark.parametrize(
    ("shape", "stored", "blocks"),
    [
        ((488, 4362, 4148), (1, 4362, 4148), 488),
        ((10**9,), (1,), 477),
        ((1 << 20, 1 << 20), (1, 1 << 20), 1024),
        ((32768, 1024), None, 16),
    ],
)
def test_blocks_of_large_arrays_are_few_and_follow_the_chunks(shape, stored, blocks):
    chunks = whole_chunks(shape, 8, stored)
    assert len(chunks[0]) == blocks
    assert stored is None or chunks[0][0] % stored[0] == 0
