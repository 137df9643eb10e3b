"""Sparse arrays over the wire: whole, sliced, by block, as every format for tables."""

from __future__ import annotations

import json

import pytest

from catalog_arrays import MATRIX
from holdfast.errors import InvalidInputError, NotAcceptableError, OutOfRangeError
from holdfast.formats.sparse import Coo, SparseStructure
from holdfast.formats.tables import Table

FULL, BLOCK = "/array/full/uneven/matrix.npz", "/array/block/uneven/matrix.npz"


def test_the_node_says_how_it_is_read(connection):
    item = connection.get_json("/metadata/uneven/matrix.npz")["data"]
    assert item["attributes"]["structure_family"] == "sparse"
    structure = item["attributes"]["structure"]
    assert (structure["layout"], structure["shape"], structure["chunks"]) == ("COO", [4, 3], [[4], [3]])
    assert structure["coord_data_type"]["kind"] == "i"
    assert SparseStructure.from_json(structure).dtype == MATRIX.dtype
    root = connection.address
    assert item["links"]["full"] == f"{root}{FULL}"
    assert item["links"]["block"] == f"{root}{BLOCK}?block={{0}},{{1}}"


@pytest.mark.parametrize(
    ("wire", "index"),
    [("", ...), ("1:,::-1", (slice(1, None), slice(None, None, -1))), ("2", 2), ("...,0", (..., 0))],
)
def test_arrow_holds_coordinates_counted_from_the_slice(connection, wire, index):
    table = Table.from_ipc(connection.get_bytes(FULL, {"slice": wire} if wire else {}))
    assert table.columns[-1] == "data"
    assert Coo.from_table(table, MATRIX[index].shape).to_dense().tolist() == MATRIX[index].tolist()


def test_a_block_and_a_slice_of_it(connection):
    table = Table.from_ipc(connection.get_bytes(BLOCK, {"block": "0,0", "slice": "2:,:"}))
    assert Coo.from_table(table, (2, 3)).to_dense().tolist() == MATRIX[2:].tolist()
    with pytest.raises(OutOfRangeError):
        connection.get_bytes(BLOCK, {"block": "1,0"})


def test_other_formats_for_tables_and_what_is_none(connection):
    assert connection.get_bytes(FULL, {"format": "csv"}).decode().splitlines()[:2] == [
        "dim0,dim1,data",
        "0,2,1.5",
    ]
    assert json.loads(connection.get_bytes(FULL, {"format": "json"}))["data"] == [1.5, 2.5, 4.0]
    with pytest.raises(NotAcceptableError, match="csv"):
        connection.get_bytes(FULL, {"format": "application/x-nope"})


def test_what_does_not_fit_is_refused(connection):
    with pytest.raises(OutOfRangeError):
        connection.get_bytes(FULL, {"slice": "9"})
    with pytest.raises(InvalidInputError, match="expected_shape"):
        connection.get_bytes(FULL, {"expected_shape": "7,7"})
    with pytest.raises(InvalidInputError, match="family sparse, not table"):
        connection.get_bytes("/table/full/uneven/matrix.npz")
