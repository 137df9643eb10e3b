"""Tables over the wire, whole and by column."""

from __future__ import annotations

import json

import pytest

from holdfast.errors import InvalidInputError, NotAcceptableError, NotFoundError, OutOfRangeError
from holdfast.formats.tables import Table

FULL, PART = "/table/full/box/t.csv", "/table/partition/box/t.csv"


def test_arrow_is_the_first_choice(connection):
    table = Table.from_ipc(connection.get_bytes(PART, {"partition": 0}))
    assert table.columns == ("A", "B", "name")
    assert table["A"].tolist() == [1, 2, 3]
    assert Table.from_ipc(connection.get_bytes(FULL)) == table


def test_columns_are_chosen_in_order(connection):
    table = Table.from_ipc(connection.get_bytes(PART, {"partition": 0, "column": ["name", "A"]}))
    assert table.columns == ("name", "A")
    assert Table.from_ipc(connection.get_bytes(FULL, {"field": "B"})).columns == ("B",)


def test_long_lists_of_columns_are_posted(connection):
    for path, params in ((PART, {"partition": 0}), (FULL, None)):
        with connection.open("POST", path, params, body=b'["B", "A"]') as answer:
            assert Table.from_ipc(answer.read()).columns == ("B", "A")


def test_csv_and_json(connection):
    assert connection.get_bytes(FULL, {"format": "csv"}).decode().splitlines()[:2] == ["A,B,name", "1,1.5,x"]
    assert json.loads(connection.get_bytes(FULL, {"format": "json"})) == {
        "A": [1, 2, 3],
        "B": [1.5, 2.5, None],
        "name": ["x", "y", "z"],
    }
    lines = connection.get_bytes(FULL, {"format": "json-seq"}).split(b"\x1e")[1:]
    assert json.loads(lines[2]) == {"A": 3, "B": None, "name": "z"}


def test_what_is_not_there_is_refused(connection):
    with pytest.raises(NotFoundError, match="no column 'Z'"):
        connection.get_bytes(FULL, {"column": "Z"})
    with pytest.raises(OutOfRangeError):
        connection.get_bytes(PART, {"partition": 1})
    with pytest.raises(InvalidInputError, match="partition"):
        connection.get_bytes(PART)
    with pytest.raises(InvalidInputError, match="partition"):
        connection.get_bytes(PART, {"partition": -1})
    with pytest.raises(InvalidInputError, match="family"):
        connection.get_bytes("/table/full/box")
    with pytest.raises(NotAcceptableError, match=r"text/csv"):
        connection.get_bytes(FULL, {"format": "npy"})
    with pytest.raises(InvalidInputError):
        connection.open("POST", FULL, body=b'{"a": 1}')
