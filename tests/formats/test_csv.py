"""The CSV format: the contract, types, encodings, and rows that do not fit."""

import numpy as np
import pytest

from holdfast.errors import InvalidTypeError, UnreadableError
from holdfast.formats.csv import CSV
from holdfast.formats.source import Source
from holdfast.formats.tables import Table
from holdfast.testing.formats import FormatTests, Sample

TABLE = Table(
    {
        "n": np.array([1, -2, 3]),
        "x": np.array([1.5, np.nan, 1e300]),
        "ok": np.array([True, False, True]),
        "name": np.array(["a,b", 'say "hi"', "two\nlines é"]),
    }
)


class TestCsv(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.csv"
        path.write_bytes(
            b'n,x,ok,name\n1,1.5,true,"a,b"\n-2,,FALSE,"say ""hi"""\n3,1e300,True,"two\nlines \xc3\xa9"\n'
        )
        return Sample(CSV, path, tables=[({}, TABLE)], is_text=True)


def read(tmp_path, content, name="a.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    with Source(path) as source:
        description = CSV.describe(source)
    with CSV.open(Source(path)) as opened:
        table = opened.table({}).read()
    assert description.root.structure == table.structure().to_json()
    return table


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"a,b\n1,2\n", {"a": [1], "b": [2]}),
        (b"a;b\n1;2,5\n", {"a": [1], "b": ["2,5"]}),
        (b"a\tb\n1\t2\n", {"a": [1], "b": [2]}),
        (b"a,b\r\n1,x\r\n\r\n2,y\r\n", {"a": [1, 2], "b": ["x", "y"]}),
        (b"a,a,,\n1,2,3,4\n", {"a": [1], "a.1": [2], "column 2": [3], "column 3": [4]}),
        (b"a,b\n", {"a": [], "b": []}),
        (b"a\n1_000\n", {"a": ["1_000"]}),
        (b"a\n99999999999999999999\n", {"a": [1e20]}),
        (b"\xef\xbb\xbfa\n1\n", {"a": [1]}),
        ("µ\n1\n".encode("utf-16"), {"µ": [1]}),
        (b"\xb5\n1\n", {"µ": [1]}),
        (b"a\nnan\ninf\n", {"a": [np.nan, np.inf]}),
    ],
)
def test_columns_and_types_are_found(tmp_path, content, columns):
    table = read(tmp_path, content)
    assert table.columns == tuple(columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(table[name], values)


def test_a_type_that_changes_after_many_rows_is_found(tmp_path):
    rows = ["a,b,c"] + [f"{n},{n},{n}" for n in range(70_000)] + ["0.5,x,1"]
    table = read(tmp_path, "\n".join(rows).encode())
    assert [table[name].dtype.kind for name in table] == ["f", "U", "i"]
    assert table["a"][-1] == 0.5
    assert table["b"][-1] == "x"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"a,b\n1,2\n3\n", "row 3"),
        (b"a,b\n1,2,3\n", "3 cells in row 2"),
        (b'a,b\n1,"2\n', "broken row"),
        (b'a,b\n1,"2"x\n', "broken row"),
        (b"a,b\n1," + b"x" * 200_000 + b"\n", "broken row"),
    ],
)
def test_rows_that_do_not_fit_are_an_error_that_says_where(tmp_path, content, message):
    with pytest.raises(UnreadableError, match=message):
        read(tmp_path, content)


def test_what_is_written_is_read(tmp_path):
    CSV.write(tmp_path / "b.csv", TABLE)
    with CSV.open(Source(tmp_path / "b.csv")) as opened:
        found = opened.table({}).read()
    assert found.select(["n", "x", "name"]) == TABLE.select(["n", "x", "name"])
    with pytest.raises(InvalidTypeError):
        CSV.write(tmp_path / "c.csv", [1, 2])


def test_numbers_are_text_as_they_stand_where_a_later_cell_is_text(tmp_path):
    content = b"a,b\n" + b"007,1\n" * 70_000 + b"x,2.5\n"
    table = read(tmp_path, content)
    assert table["a"][0] == "007"
    assert table["a"][-1] == "x"
    assert table["b"].dtype == "f8"
    with CSV.open(Source(tmp_path / "a.csv")) as opened:
        reader = opened.table({})
        assert opened.table({}) is reader
        batches = list(reader.batches(["b", "a"], rows=50_000))
        assert [len(batch) for batch in batches] == [50_000, 20_001]
        assert [batch["b"].dtype for batch in batches] == ["f8", "f8"]
        assert batches[0]["a"][0] == "007"
        assert Table.joined(batches) == table.select(["b", "a"])
        assert reader.structure.columns == ("a", "b")


def test_a_table_without_rows_is_one_empty_batch(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"a,b\n\n")
    with CSV.open(Source(tmp_path / "a.csv")) as opened:
        (batch,) = opened.table({}).batches(["b"])
        assert (batch.columns, len(batch)) == (("b",), 0)


def test_one_long_cell_does_not_pad_the_short_ones(tmp_path):
    content = b"a,b\n" + b"x,1\n" * 30_000 + b"y" * 100_000 + b",2\n"
    table = read(tmp_path, content)
    assert table["a"].nbytes < 1 << 20
    assert len(table["a"][-1]) == 100_000
