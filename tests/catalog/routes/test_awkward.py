"""Awkward arrays over the wire: buffers by name, by GET and POST, and the whole array in other forms."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pyarrow.ipc
import pyarrow.parquet
import pytest

from catalog_arrays import HITS
from holdfast.errors import InvalidInputError, NotAcceptableError

BUFFERS, FULL = "/awkward/buffers/uneven/events.h5/hits", "/awkward/full/uneven/events.h5/hits"


def unzipped(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_node_says_how_it_is_read(connection):
    item = connection.get_json("/metadata/uneven/events.h5/hits")["data"]
    assert item["attributes"]["structure_family"] == "awkward"
    assert item["attributes"]["metadata"] == {"color": "red"}
    structure = item["attributes"]["structure"]
    assert (structure["length"], structure["form"]["class"]) == (2, "RecordArray")
    assert item["links"]["buffers"] == f"{connection.address}{BUFFERS}"
    assert item["links"]["full"] == f"{connection.address}{FULL}"


def test_all_buffers_come_when_none_is_named(connection):
    found = unzipped(connection.get_bytes(BUFFERS))
    assert set(found) == {"node1-offsets", "node2-data", "node3-offsets", "node4-data"}
    assert np.frombuffer(found["node2-data"], "<i8").tolist() == [1, 2]
    assert unzipped(connection.get_bytes(FULL)) == found


def test_named_buffers_come_by_get_and_by_post(connection):
    expected = {"node1-offsets", "node2-data"}
    assert set(unzipped(connection.get_bytes(BUFFERS, {"form_key": ["node1", "node2"]}))) == expected
    with connection.open("POST", BUFFERS, body=b'["node1", "node2"]') as answer:
        assert set(unzipped(answer.read())) == expected
    with connection.open("POST", BUFFERS, body=b"[]") as answer:
        assert unzipped(answer.read()) == {}


def test_other_forms_of_the_whole_array(connection):
    assert json.loads(connection.get_bytes(FULL, {"format": "json"})) == HITS
    arrow = pyarrow.ipc.open_file(connection.get_bytes(FULL, {"format": "arrow"})).read_all()
    assert arrow.to_pylist() == HITS
    parquet = pyarrow.parquet.read_table(io.BytesIO(connection.get_bytes(FULL, {"format": "parquet"})))
    assert parquet.to_pylist() == HITS


def test_what_is_none_is_refused(connection):
    with pytest.raises(NotAcceptableError, match="zip"):
        connection.get_bytes(FULL, {"format": "csv"})
    with pytest.raises(InvalidInputError, match="family array, not awkward"):
        connection.get_bytes("/awkward/full/box/small.npy")
    with pytest.raises(InvalidInputError):
        connection.open("POST", BUFFERS, body=b'{"a": 1}')
