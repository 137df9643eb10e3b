"""Columns of tables as arrays: sliced by partition, or read whole where their type depends on the values."""

import numpy as np
import pytest

from holdfast.catalog.leases import ColumnArray
from holdfast.errors import TooLargeError, UnreadableError
from holdfast.formats.base import TableReader
from holdfast.formats.columns import SlicedColumn
from holdfast.formats.tables import Table


class Parts(TableReader):
    """A table in memory of some partitions, which counts how often each was read."""

    def __init__(self, *parts, name="x"):
        self.parts = [Table({name: np.asarray(part)}) for part in parts]
        self.structure = self.parts[0].structure()
        self.asked = []

    def read(self, columns=None, partition=None):
        parts = self.parts if partition is None else [self.parts[partition]]
        return Table.joined([part.select(columns) for part in parts])

    def batches(self, columns=None, partition=None, rows=3):
        for number in range(len(self.parts)) if partition is None else [partition]:
            self.asked.append(number)
            for start in range(0, max(len(self.parts[number]), 1), rows):
                yield self.parts[number].select(columns)[start : start + rows]


NUMBERS = np.arange(23)


def sliced(*lengths):
    table = Parts(*np.split(NUMBERS, np.cumsum(lengths)[:-1]))
    return table, SlicedColumn(table, "x", np.dtype("i8"), lengths)


@pytest.mark.parametrize("lengths", [(23,), (7, 9, 7), (1, 0, 22), (10, 13, 0)])
def test_every_slice_is_that_of_numpy(lengths):
    _, column = sliced(*lengths)
    for index in [
        ...,
        0,
        22,
        -1,
        slice(3, 9),
        slice(None, None, -1),
        slice(20, 2, -7),
        slice(5, 5),
        slice(6, 8),
    ]:
        np.testing.assert_array_equal(column.read(index), NUMBERS[index])
    assert b"".join(part.tobytes() for part in column.slabs()) == NUMBERS.tobytes()


def test_a_slice_reads_only_the_partitions_that_it_touches():
    table, column = sliced(7, 9, 7)
    column.read(slice(17, 19))
    assert table.asked == [2]
    column.read(slice(8, 20))
    assert table.asked == [2, 1, 2]


def test_slices_in_order_read_each_partition_once():
    table, column = sliced(7, 9, 7)
    for start in range(0, 23, 2):
        np.testing.assert_array_equal(column.read(slice(start, start + 2)), NUMBERS[start : start + 2])
    assert table.asked == [0, 1, 2]


def test_a_partition_with_fewer_rows_than_were_told_is_an_error_and_the_next_slice_begins_anew():
    table = Parts(NUMBERS[:7], NUMBERS[7:])
    column = SlicedColumn(table, "x", np.dtype("i8"), (7, 20))
    for _ in range(2):
        with pytest.raises(UnreadableError, match="fewer rows"):
            column.read(slice(20, 26))
    np.testing.assert_array_equal(column.read(slice(0, 23)), NUMBERS)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([["a", "bcd"], ["e"]], np.array(["a", "bcd", "e"])),
        ([np.array(["a", None], object)], np.array(["a", ""])),
        ([np.array([b"a\xff"], object)], np.array(["a\\xff"])),
        ([np.array([], object)], np.array([], str)),
        ([[1.5], [np.nan]], np.array([1.5, np.nan])),
    ],
)
def test_a_column_that_is_read_whole_has_one_type(parts, expected):
    found = ColumnArray(Parts(*parts), "x")
    np.testing.assert_array_equal(found.read(), expected)
    assert found.structure.dtype.kind == expected.dtype.kind


def test_large_integers_stay_exact_where_some_are_absent():
    pyarrow = pytest.importorskip("pyarrow")
    table = Parts([0])
    table.parts = [
        Table.from_arrow(pyarrow.table({"x": pyarrow.array(values, pyarrow.int64())}))
        for values in ([2**60 + 1, 2], [None, 3])
    ]
    assert ColumnArray(table, "x").read().tolist() == [str(2**60 + 1), "2", "", "3"]


def test_text_that_one_long_value_would_pad_without_end_is_refused():
    column = np.array(["x" * 1_000_000, *["y"] * 1000], object)
    with pytest.raises(TooLargeError, match="column 'x'"):
        ColumnArray(Parts(column), "x")
