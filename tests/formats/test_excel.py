"""Excel workbooks: the contract, what becomes a column, and workbooks that ask for too much."""

import datetime as dt
import io
import zipfile

import numpy as np
import pytest

openpyxl = pytest.importorskip("openpyxl")

from holdfast.errors import NotFoundError, UnreadableError  # noqa: E402
from holdfast.formats.cells import MAX_CELLS  # noqa: E402
from holdfast.formats.excel import EXCEL  # noqa: E402
from holdfast.formats.registry import detect  # noqa: E402
from holdfast.formats.source import Source  # noqa: E402
from holdfast.formats.tables import Table  # noqa: E402
from holdfast.testing.formats import FormatTests, Sample  # noqa: E402

# Cells have no time zone.
NOON, OLD = dt.datetime.fromisoformat("2026-11-29T12:30"), dt.datetime.fromisoformat("1999-01-01")
ROWS = [
    ["n", "x", "ok", "name", "at"],
    [1, 1.5, True, "a,b", NOON],
    [-2, None, False, "é", None],
    [3, 1e300, True, "two\nlines", OLD],
]
TABLE = Table(
    {
        "n": np.array([1, -2, 3]),
        "x": np.array([1.5, np.nan, 1e300]),
        "ok": np.array([True, False, True]),
        "name": np.array(["a,b", "é", "two\nlines"]),
        "at": np.array(["2026-11-29T12:30", "NaT", "1999-01-01"], "M8[us]"),
    }
)


def write(path, sheets, **properties):
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for name, value in properties.items():
        setattr(workbook.properties, name, value)
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    workbook.save(path)
    return path


class TestExcel(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = write(tmp_path / "a.xlsx", {"first": ROWS, "second": [["a"], [1]]})
        tables = [({"sheet": "first"}, TABLE), ({"sheet": "second"}, Table({"a": np.array([1])}))]
        return Sample(EXCEL, path, tables=tables)


def described(path):
    with Source(path) as source:
        return EXCEL.describe(source).root


def column(tmp_path, values):
    path = write(tmp_path / "a.xlsx", {"s": [["c", "row"], *([value, 0] for value in values)]})
    with EXCEL.open(Source(path)) as file:
        return file.table({"sheet": "s"}).read()["c"]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2], "i8", [1, 2]),
        ([1, None, "#N/A"], "f8", [1, np.nan, np.nan]),
        ([1, 2.5], "f8", [1, 2.5]),
        ([10**30, 1], "f8", [1e30, 1]),
        ([True, False], "?", [True, False]),
        ([True, None], "O", ["True", None]),
        ([1, "a"], "U1", ["1", "a"]),
        ([None, None], "f8", [np.nan, np.nan]),
        (["a", None], "O", ["a", None]),
        ([dt.timedelta(hours=30), None], "m8[us]", [np.timedelta64(30, "h"), np.timedelta64("NaT")]),
        ([dt.date(2020, 2, 29)], "M8[us]", [np.datetime64("2020-02-29")]),
        ([dt.time(1, 2), "x"], "U8", ["01:02:00", "x"]),
    ],
)
def test_cells_of_one_kind_make_a_column_of_that_kind(tmp_path, values, dtype, expected):
    found = column(tmp_path, values)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, np.array(expected, dtype))


def test_one_long_text_does_not_pad_the_others(tmp_path):
    found = column(tmp_path, ["x" * 30_000, *["y"] * 1000])
    assert found.dtype == object
    assert found[1000] == "y"


def test_a_table_begins_where_its_first_cell_is(tmp_path):
    rows = [
        [],
        [None, None],
        [None, "a", None, "a", " "],
        [None, 1, None, 3, 4],
        [],
        [None, 5, None, 6, 7],
        [],
    ]
    path = write(tmp_path / "a.xlsx", {"s": rows, "empty": [], "head": [["x"]]})
    with EXCEL.open(Source(path)) as file:
        table = file.table({"sheet": "s"}).read()
        assert table.columns == ("a", "a.1", "column 4")
        np.testing.assert_array_equal(table["a"], [1, np.nan, 5])
        assert file.table({"sheet": "empty"}).read().columns == ()
        assert len(file.table({"sheet": "head"}).read()) == 0
        with pytest.raises(NotFoundError):
            file.table({"sheet": "none"})


def test_formulas_have_the_values_that_were_saved_with_them(tmp_path):
    path = write(tmp_path / "a.xlsx", {"s": [["a"], ["=1+1"]]})
    replace(path, "xl/worksheets/sheet1.xml", b"<v></v>", b"<v>2</v>")
    replace(path, "xl/worksheets/sheet1.xml", b"<v />", b"<v>2</v>")
    with EXCEL.open(Source(path)) as file:
        assert file.table({"sheet": "s"}).read()["a"].tolist() == [2]


def test_what_the_workbook_says_of_itself_is_metadata(tmp_path):
    root = described(write(tmp_path / "a.xlsx", {"s": ROWS}, title="Beam time", creator="A. Nybody"))
    assert root.metadata["title"] == "Beam time"
    assert root.metadata["creator"] == "A. Nybody"
    assert root.metadata["created"].startswith("20")
    assert [(child.key, child.metadata) for child in root.children] == [("s", {"rows": 3})]


def test_a_sheet_whose_name_is_no_key_is_noted(tmp_path):
    root = described(write(tmp_path / "a.xlsx", {"s": ROWS, "..": ROWS}))
    assert [child.key for child in root.children] == ["s"]
    assert root.metadata["holdfast"]["unlisted"] == [".."]


# Workbooks that ask for too much


def replace(path, member, old, new):
    """Change bytes in a member of an archive."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[member] = parts[member].replace(old, new) if isinstance(old, bytes) else new
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def test_a_sheet_that_says_it_is_smaller_is_read_whole(tmp_path):
    path = write(tmp_path / "a.xlsx", {"s": ROWS})
    replace(path, "xl/worksheets/sheet1.xml", b'ref="A1:E4"', b'ref="A1"')
    with EXCEL.open(Source(path)) as file:
        assert file.table({"sheet": "s"}).read() == TABLE


def test_two_cells_in_the_corners_of_the_largest_sheet_take_no_memory(tmp_path):
    path = write(tmp_path / "a.xlsx", {"s": ROWS})
    cell = b'<row r="1048576"><c r="XFD1048576"><v>2</v></c></row></sheetData>'
    replace(path, "xl/worksheets/sheet1.xml", b"</sheetData>", cell)
    assert path.stat().st_size < 6000
    (sheet,) = described(path).children
    assert str(MAX_CELLS) in sheet.metadata["error"]


@pytest.mark.parametrize("row", [b"99999999999999", b"2000000"])
def test_a_row_far_behind_the_last_is_refused(tmp_path, row):
    path = write(tmp_path / "a.xlsx", {"s": ROWS})
    cell = b'<row r="%s"><c><v>2</v></c></row></sheetData>' % row
    replace(path, "xl/worksheets/sheet1.xml", b"</sheetData>", cell)
    (sheet,) = described(path).children
    assert str(MAX_CELLS) in sheet.metadata["error"]


@pytest.mark.parametrize(
    ("member", "filling", "count"),
    [
        ("xl/worksheets/sheet1.xml", b" " * (1 << 20), 130),
        ("xl/worksheets/sheet1.xml", b"<a/>" * (1 << 18), 60),
        ("xl/styles.xml", b" " * (1 << 20), 9),
        ("docProps/core.xml", b" " * (1 << 20), 9),
    ],
)
def test_a_member_that_unpacks_to_much_is_refused_before_it_is_parsed(tmp_path, member, filling, count):
    path = write(tmp_path / "a.xlsx", {"s": ROWS})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            with archive.open(name, "w") as out:
                out.write(data)
                for _ in range(count if name == member else 0):
                    out.write(filling)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(UnreadableError, match=r"unpacks|cells"):
        described(path)


def test_a_member_never_unpacks_to_more_than_it_says(tmp_path):
    path = write(tmp_path / "a.xlsx", {"s": ROWS})
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("xl/worksheets/sheet1.xml")
    data = bytearray(path.read_bytes())
    at = data.rindex(b"xl/worksheets/sheet1.xml") - 46
    assert int.from_bytes(data[at + 24 : at + 28], "little") == info.file_size
    data[at + 24 : at + 28] = (100).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(UnreadableError):
        described(path)


def test_entities_that_multiply_are_refused(tmp_path):
    path = write(tmp_path / "a.xlsx", {"s": ROWS})
    entities = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 9))
    bomb = b'<!DOCTYPE x [<!ENTITY e0 "' + b"x" * 1000 + b'">' + entities + b"]>"
    for member in ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml", "docProps/core.xml"]:
        write(path, {"s": [["a"], ["b"]]})
        with zipfile.ZipFile(path) as archive:
            whole = archive.read(member)
        head, mark, rest = whole.rpartition(b"?>")
        replace(path, member, None, head + mark + bomb + rest.replace(b"</", b"&e8;</", 1))
        try:
            children = described(path).children
        except UnreadableError:
            children = []
        assert all("error" in child.metadata or child.metadata["rows"] <= 1 for child in children)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no whole ZIP"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "encrypted"),
        (b"PK\x03\x04" + bytes(600), "no whole ZIP"),
        (b"PK\x05\x06" + bytes(18), "cannot be read"),
        (b"PK\x05\x06" + b"\xff" * 18, "no whole ZIP"),
    ],
)
def test_what_is_no_workbook_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "a.xlsx"
    path.write_bytes(content)
    with Source(path) as source:
        assert detect(source) is EXCEL
        with pytest.raises(UnreadableError, match=message):
            EXCEL.describe(source)


def test_an_archive_of_other_things_is_no_workbook(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", "hello")
    path = tmp_path / "a.zip"
    path.write_bytes(stream.getvalue())
    with Source(path) as source:
        assert detect(source) is not EXCEL
