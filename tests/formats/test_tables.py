"""Tables, and their Arrow schemas as pyarrow reads them."""

import base64

import numpy as np
import pytest

from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.formats.arrowschema import URI_PREFIX, schema_bytes
from holdfast.formats.structures import (
    ArrayStructure,
    DataType,
    StructType,
    TableStructure,
    data_type_from_json,
    data_type_from_numpy,
    structure_from_json,
)
from holdfast.formats.tables import Table

COLUMNS = {
    "i": np.array([1, 2, 3], "i4"),
    "u": np.array([1, 2, 3], "u8"),
    "f": np.array([1.5, np.nan, 3], "f4"),
    "b": np.array([True, False, True]),
    "t": np.array(["2026-11-29", "NaT", "2020-01-01"], "M8[ns]"),
    "d": np.array([1, 2, 3], "m8[ms]"),
    "s": np.array(["é", "", "x" * 300]),
    "o": np.array(["a", None, "b"], object),
    "y": np.array([b"a", b"", b"bc"]),
    "": np.arange(3.0),
    "a much longer column name, with a comma": np.arange(3, dtype="i1"),
}


def test_the_schema_is_what_pyarrow_makes_of_the_same_columns():
    pyarrow = pytest.importorskip("pyarrow")
    pyarrow_ipc = pytest.importorskip("pyarrow.ipc")

    for names in [list(COLUMNS), [], ["i"], *[[name] for name in COLUMNS]]:
        table = Table({name: COLUMNS[name] for name in names})
        found = pyarrow_ipc.read_schema(pyarrow.BufferReader(schema_bytes(table.dtypes)))
        assert found.equals(table.to_arrow().schema)
        assert not found.metadata


def test_a_thousand_columns_make_a_schema_too():
    pyarrow = pytest.importorskip("pyarrow")
    pyarrow_ipc = pytest.importorskip("pyarrow.ipc")

    dtypes = {f"column {n}": np.dtype("f8") for n in range(1000)}
    found = pyarrow_ipc.read_schema(pyarrow.BufferReader(schema_bytes(dtypes)))
    assert found.names == list(dtypes)


def test_a_table_goes_to_arrow_and_pandas_and_back():
    pytest.importorskip("pyarrow")
    table = Table(COLUMNS)
    again = Table.from_ipc(table.to_ipc())
    assert again.columns == table.columns
    for name in ["i", "u", "f", "b", "s", "o", ""]:
        np.testing.assert_array_equal(again[name], table[name])
    frame = table.to_pandas()
    assert list(frame.columns) == list(table.columns)
    assert frame["s"].tolist() == table["s"].tolist()
    with pytest.raises(InvalidInputError):
        Table.from_ipc(b"no arrow")


def test_columns_and_rows_are_chosen():
    table = Table(COLUMNS)
    assert len(table) == len(table[:]) == 3
    assert table.select(["u", "i"]).columns == ("u", "i")
    assert table[1:]["i"].tolist() == [2, 3]
    assert table == Table(COLUMNS)
    assert table != table.select(["i"])
    with pytest.raises(NotFoundError, match="no column 'z'"):
        table["z"]
    with pytest.raises(InvalidInputError):
        Table({"a": np.arange(2), "b": np.arange(3)})
    with pytest.raises(InvalidInputError):
        Table({"a": np.zeros((2, 2))})


def test_rows_are_ready_for_json_and_csv():
    table = Table(COLUMNS).select(["i", "f", "b", "t", "s", "o", "y"])
    assert table.to_rows()[1] == {"i": 2, "f": None, "b": False, "t": None, "s": "", "o": None, "y": ""}
    assert table.select(["i", "s"])[:2].to_csv() == "i,s\n1,é\n2,\n"


@pytest.mark.parametrize(
    "dtype", ["<f8", ">i4", "|b1", "<c16", "<M8[ns]", "<M8[25s]", "<m8[D]", "|S5", "<U3", "|V7", "<f2", "|u1"]
)
def test_element_types_survive_the_wire(dtype):
    data_type = DataType.from_numpy(np.dtype(dtype))
    assert data_type.to_numpy() == np.dtype(dtype)
    assert data_type_from_json(data_type.to_json()) == data_type


def test_structured_types_survive_the_wire_packed():
    dtype = np.dtype([("a", "<i4"), ("b", [("c", ">f8"), ("d", "S3", (2, 2))])], align=True)
    data_type = data_type_from_numpy(dtype)
    assert isinstance(data_type, StructType)
    assert data_type.itemsize == 4 + 8 + 12 == data_type.to_numpy().itemsize
    assert data_type_from_json(data_type.to_json()) == data_type


@pytest.mark.parametrize(
    "change",
    [
        {"chunks": [[1]]},
        {"shape": [-1], "chunks": [[-1]]},
        {"data_type": {"endianness": "little", "kind": "x", "itemsize": 8}},
        {"data_type": {"endianness": "middle", "kind": "f", "itemsize": 8}},
        {"data_type": {"endianness": "little", "kind": "f", "itemsize": "8"}},
    ],
)
def test_structures_that_contradict_themselves_are_refused(change):
    value = ArrayStructure.from_array(np.zeros(3)).to_json()
    assert structure_from_json("array", value).to_json() == value
    with pytest.raises(InvalidInputError):
        structure_from_json("array", {**value, **change})


def test_table_structures_survive_the_wire():
    structure = Table(COLUMNS).structure()
    assert TableStructure.from_json(structure.to_json()) == structure
    assert base64.b64decode(structure.arrow_schema[len(URI_PREFIX) :]) == structure.schema_message()
    assert structure_from_json("container", None) is None
    with pytest.raises(InvalidInputError):
        TableStructure("http://x", ()).schema_message()


def arrow_table():
    pyarrow = pytest.importorskip("pyarrow")
    return Table.from_arrow(
        pyarrow.table(
            {"n": [1, None, 3], "list": [[1], None, []], "s": ["a", "b", None], "big": [2**60, None, 1]}
        )
    )


def test_arrow_columns_stay_as_they_are_and_become_arrays_when_looked_at():
    table = arrow_table()
    np.testing.assert_array_equal(table["n"], [1, np.nan, 3])
    assert table["list"].tolist() == [[1], None, []]
    assert table["s"].tolist() == ["a", "b", None]
    assert table["big"].tolist() == [2**60, None, 1]
    assert table.to_arrow().equals(arrow_table().to_arrow())
    assert table.select(["s", "n"])[1:].to_arrow().to_pylist() == [{"s": "b", "n": None}, {"s": None, "n": 3}]
    assert table.nbytes > 0
    assert table.structure().columns == ("n", "list", "s", "big")


def test_tables_are_joined_as_arrow_or_as_arrays():
    table = arrow_table()
    whole = Table.joined([table, table[:0], table[:1]])
    assert whole.to_arrow().column("list").to_pylist() == [[1], None, [], [1]]
    mixed = Table.joined([table.select(["n"]), Table({"n": np.array([7.5])})])
    np.testing.assert_array_equal(mixed["n"], [1, np.nan, 3, 7.5])
    assert Table.joined([table]) is table


def test_long_text_is_not_padded():
    pyarrow = pytest.importorskip("pyarrow")
    column = pyarrow.chunked_array([["x" * 1_000_000, *["y"] * 100]])
    assert Table({"s": column})["s"].dtype == object


def test_times_are_text_in_rows_and_in_csv():
    table = Table({"t": np.array(["2026-11-29T12:00", "NaT"], "M8[m]"), "d": np.array([90, 1], "m8[s]")})
    assert table.to_rows()[0]["t"] == "2026-11-29T12:00"
    assert table.to_rows()[1]["t"] is None
    assert table.to_csv().splitlines()[1].startswith("2026-11-29T12:00,")


def test_a_time_zone_stays_in_a_data_frame():
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    column = pyarrow.array([0, None], pyarrow.timestamp("s", "Europe/Berlin"))
    frame = Table.from_arrow(pyarrow.table({"t": column, "n": [1, 2]})).to_pandas()
    assert str(frame["t"].iloc[0]) == "1970-01-01 01:00:00+01:00"
    assert frame["n"].tolist() == [1, 2]
