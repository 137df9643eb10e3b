"""Tables in every format, read again by programs that are not ours."""

from __future__ import annotations

import io
import itertools
import json
import math
import tempfile
from pathlib import Path

import h5py
import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from export_sources import Cells, MemoryTable, exported
from holdfast.errors import NotAcceptableError, NotFoundError, OutOfRangeError, UnreadableError
from holdfast.formats.exports.base import TablePart
from holdfast.formats.tables import Table

FIRST = {
    "n": np.array([1, -2, 2**53 + 1]),
    "x": np.array([0.1, np.nan, -1e-300]),
    "ok": np.array([True, False, True]),
    "name": np.array(["a,b", 'q"', None], object),
    "at": np.array(["2026-01-02T03:04:05.678", "NaT", "1969-12-31T23:59:59.999"], "M8[ms]"),
    "small": np.array([1, 2, 3], "u1"),
}
SECOND = {name: values[:2] for name, values in FIRST.items()}
WHOLE = MemoryTable(FIRST)
PARTS = MemoryTable(FIRST, SECOND)
ISO = ["2026-01-02T03:04:05.678", None, "1969-12-31T23:59:59.999"]


def rows_of(table: MemoryTable) -> list[list]:
    """Return the rows as JSON says them."""
    read = table.read()
    columns = []
    for name in read.columns:
        values = read[name].tolist() if name != "at" else (ISO + ISO[:2])[: len(read)]
        columns.append([None if value != value else value for value in values])
    return [list(row) for row in zip(*columns, strict=True)]


@pytest.fixture(params=[WHOLE, PARTS], ids=["one piece", "two pieces"])
def table(request) -> MemoryTable:
    return request.param


def test_csv(table):
    data = exported(table, "csv")
    assert data == exported(table, "txt")
    read = pd.read_csv(io.BytesIO(data))
    assert list(read) == list(FIRST)
    for name in ("n", "ok", "small"):
        assert read[name].tolist() == table.read()[name].tolist()
    np.testing.assert_array_equal(read["x"], table.read()["x"])
    assert read["name"].tolist()[:2] == ["a,b", 'q"']
    lines = data.decode().splitlines()
    assert lines[2] == '-2,,False,"q""",,2'
    assert lines[3].split(",")[3:5] == ["", "1969-12-31T23:59:59.999"]


def test_csv_of_numbers_alone_is_spelled_alike():
    numbers = MemoryTable({"i": np.arange(4), "x": np.array([0.1, -2.0, 1e300, 5e-324])})
    assert exported(numbers, "csv").decode().splitlines()[0] == "i,x"
    read = pd.read_csv(io.BytesIO(exported(numbers, "csv")))
    assert read["x"].tolist() == numbers.read()["x"].tolist()


def test_json(table):
    read = json.loads(exported(table, "json"))
    assert list(read) == list(FIRST)
    assert [list(row) for row in zip(*read.values(), strict=True)] == rows_of(table)


def test_json_sequence(table):
    texts = exported(table, "json-seq").split(b"\x1e")
    assert texts[0] == b""
    assert all(text.endswith(b"\n") for text in texts[1:])
    assert [list(json.loads(text).values()) for text in texts[1:]] == rows_of(table)


def test_arrow_and_parquet(table):
    for name, read in (
        ("arrow", lambda data: pa.ipc.open_file(data).read_all()),
        ("parquet", lambda data: pa.parquet.read_table(pa.BufferReader(data))),
    ):
        found = read(exported(table, name))
        assert found.column_names == list(FIRST)
        for column in ("n", "ok", "small"):
            assert found[column].to_pylist() == table.read()[column].tolist()
            assert str(found[column].type) == {"n": "int64", "ok": "bool", "small": "uint8"}[column]
        assert found["name"].to_pylist() == table.read()["name"].tolist()
        np.testing.assert_array_equal(found["x"].to_numpy(), table.read()["x"])
        assert found["at"].type == pa.timestamp("ms")
        np.testing.assert_array_equal(found["at"].to_numpy(), table.read()["at"])


def test_a_batch_is_a_record_batch_and_small_ones_share_a_row_group():
    many = MemoryTable(*[{"x": np.arange(number * 10, number * 10 + 10)} for number in range(5)])
    with pa.ipc.open_file(exported(many, "arrow")) as file:
        assert file.num_record_batches == 5
    with pa.parquet.ParquetFile(pa.BufferReader(exported(many, "parquet"))) as file:
        assert file.num_row_groups == 1
        assert file.read()["x"].to_pylist() == list(range(50))


def test_large_tables_are_read_batch_by_batch():
    large = MemoryTable({name: np.arange(500_000) for name in "ab"})
    with pa.ipc.open_file(exported(large, "arrow")) as file:
        assert file.num_record_batches == math.ceil(500_000 / 2**17)
        assert file.read_all()["b"].to_numpy().tolist() == list(range(500_000))


def test_hdf5(table):
    part = TablePart.of(table, metadata={"color": "red"})
    with h5py.File(io.BytesIO(exported(part, "h5"))) as file:
        assert file.attrs["color"] == "red"
        assert set(file) == set(FIRST)
        whole = table.read()
        for name in ("n", "ok", "small", "x"):
            np.testing.assert_array_equal(file[name][()], whole[name])
            assert file[name].dtype == whole[name].dtype
        assert file["name"].asstr()[()].tolist() == [text or "" for text in whole["name"]]
        assert (file["at"][()] == whole["at"].view("i8")).all()
        assert file["at"].attrs["units"] == "milliseconds since 1970-01-01"


def test_excel(table):
    sheet = openpyxl.load_workbook(io.BytesIO(exported(table, "xlsx"))).active
    head, *rows = sheet.iter_rows(values_only=True)
    assert list(head) == list(FIRST)
    expected = rows_of(table)
    for row, known in zip(rows, expected, strict=True):
        # Excel keeps 15 digits; what has more is text.
        assert row[0] == (known[0] if known[0] < 10**15 else str(known[0]))
        assert list(row[1:4]) == known[1:4]
        assert type(row[2]) is bool
        if known[4] is None:
            assert row[4] is None
        else:
            assert row[4].isoformat(timespec="milliseconds") == known[4]
        assert row[5] == known[5]
    frame = pd.read_excel(io.BytesIO(exported(table, "xlsx")))
    assert frame["small"].tolist() == table.read()["small"].tolist()


def test_texts_that_excel_has_no_room_for():
    odd = MemoryTable(
        {
            "text": np.array(["", " spaces ", "<&>", "bell\x07", "_x0041_", "é\n2", "\ud800"], object),
            "x": np.array([np.inf, -np.inf, 1e-320, -0.0, 1e300, 0.1, np.nan]),
            "at": np.array(["1850-01-01", "2026-01-01T00:00:00.000001"] + ["NaT"] * 5, "M8[us]"),
        }
    )
    rows = list(openpyxl.load_workbook(io.BytesIO(exported(odd, "xlsx"))).active.values)[1:]
    texts = [row[0] for row in rows]
    assert texts[:3] == [None, " spaces ", "<&>"] or texts[:3] == ["", " spaces ", "<&>"]
    assert texts[3:] in (
        ["bell_x0007_", "_x0041_", "é\n2", "\\ud800"],
        ["bell\x07", "_x0041_", "é\n2", "\\ud800"],
    )
    assert [row[1] for row in rows] == ["inf", "-inf", 1e-320, 0, 1e300, 0.1, None]
    assert [row[2] for row in rows[:2]] == ["1850-01-01T00:00:00.000000", "2026-01-01T00:00:00.000001"]
    formulas = MemoryTable({"=A1": np.array(["=1+1", "#N/A", "+1"])})
    values = list(openpyxl.load_workbook(io.BytesIO(exported(formulas, "xlsx"))).active.rows)
    assert [(cell[0].value, cell[0].data_type) for cell in values] == [
        ("=A1", "s"),
        ("=1+1", "s"),
        ("#N/A", "s"),
        ("+1", "s"),
    ]
    long = MemoryTable({"text": np.array(["x" * 32_768])})
    with pytest.raises(NotAcceptableError, match="32768 characters and a cell of Excel holds 32767"):
        exported(long, "xlsx")


def test_too_much_for_excel_is_refused_before_a_byte():
    class Long(MemoryTable):
        """A million rows and one more, in pieces that repeat."""

        def __init__(self) -> None:
            super().__init__({"x": np.zeros(1024, "u1")})

        def batches(self, columns=None, partition=None, rows=1 << 16):
            return itertools.chain(
                itertools.repeat(self.parts[0], 1023), [Table({"x": np.zeros(self.last, "u1")})]
            )

        last = 1024

    with pytest.raises(NotAcceptableError, match=r"more than 1048575 rows.*ask for csv or parquet"):
        exported(Long(), "xlsx")
    many = MemoryTable({str(number): np.zeros(40_000, "u1") for number in range(100)})
    with pytest.raises(NotAcceptableError, match=r"more than 30000 rows.*of 100 columns"):
        exported(many, "xlsx")
    wide = TablePart(WHOLE, [str(number) for number in range(16_385)])
    with pytest.raises(NotAcceptableError, match=r"16385 columns are too many for Excel.*text/csv"):
        exported(wide, "xlsx")


def test_a_workbook_that_fails_leaves_no_temporary_file(tmp_path, monkeypatch):
    class Failing(MemoryTable):
        read_once = False

        def batches(self, columns=None, partition=None, rows=1 << 16):
            yield self.parts[0]
            if columns and len(columns) == 2 and Failing.read_once:
                raise UnreadableError("the disk is damaged here")
            Failing.read_once = True
            yield self.parts[0]

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    broken = Failing({"x": np.zeros(3), "y": np.zeros(3)})
    with pytest.raises(UnreadableError):
        exported(broken, "xlsx")
    assert list(Path(tmp_path).iterdir()) == []


def test_pages():
    odd = MemoryTable({"<b>": np.array(["<script>", "&amp;"]), "x": np.array([1.5, np.nan])})
    assert Cells(exported(odd, "html").decode()).rows == [["<b>", "x"], ["<script>", "1.5"], ["&amp;", ""]]
    long = MemoryTable({"x": np.zeros(1_000_001)})
    with pytest.raises(NotAcceptableError, match="more than the 1000000 cells"):
        exported(long, "html")


@pytest.mark.parametrize("name", ["csv", "json", "json-seq", "arrow", "parquet", "xlsx", "h5", "html", "txt"])
def test_a_table_without_rows(name):
    empty = MemoryTable({name: values[:0] for name, values in FIRST.items()})
    data = exported(empty, name)
    assert b"small" in data or name in ("json-seq", "xlsx")


def test_columns_are_chosen_in_order():
    part = TablePart.of(PARTS, ["small", "n"])
    assert exported(part, "csv").decode().splitlines()[0] == "small,n"
    assert list(json.loads(exported(part, "json"))) == ["small", "n"]
    assert pa.ipc.open_file(exported(part, "arrow")).read_all().column_names == ["small", "n"]
    assert exported(TablePart.of(PARTS, ["n", "small", "n"]), "csv").decode().splitlines()[0] == "n,small"
    one = TablePart.of(PARTS, ["n"], 1)
    assert json.loads(exported(one, "json")) == {"n": [1, -2]}
    with pytest.raises(NotFoundError, match="no column 'z'"):
        TablePart.of(PARTS, ["z"])
    with pytest.raises(OutOfRangeError, match="no partition 2"):
        TablePart.of(PARTS, None, 2)


def test_columns_without_a_form_as_text_are_named():
    odd = MemoryTable({"x": np.zeros(2), "z": np.zeros(2, "c16")})
    for name in ("csv", "json", "json-seq", "xlsx", "html"):
        with pytest.raises(NotAcceptableError, match="column 'z' of type complex128"):
            exported(odd, name)
    with h5py.File(io.BytesIO(exported(odd, "h5"))) as file:
        assert file["z"].dtype == "c16"


def test_odd_names_of_columns_have_a_place_in_hdf5():
    names = ["a/b", ".", "", "n\0"]
    odd = MemoryTable({name: np.arange(2) for name in names})
    with h5py.File(io.BytesIO(exported(odd, "h5"))) as file:
        assert sorted(file) == sorted(["a%2Fb", "%2E", "%", "n%00"])
    with pytest.raises(NotAcceptableError, match=r"two columns would be 'a%2Fb'"):
        exported(MemoryTable({"a/b": np.arange(2), "a%2Fb": np.arange(2)}), "h5")
