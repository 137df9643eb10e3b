"""Parquet tables: the contract, every type, row groups and columns alone, and files that ask for too much."""

import json
import struct

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from formats.arrow_tables import flat, rich  # noqa: E402
from holdfast.errors import HoldfastError, TooLargeError, UnreadableError  # noqa: E402
from holdfast.formats.parquet import PARQUET  # noqa: E402
from holdfast.formats.parquetpages import pages, parse_header, sizes  # noqa: E402
from holdfast.formats.source import Source  # noqa: E402
from holdfast.formats.structures import TableStructure  # noqa: E402
from holdfast.formats.tables import Table  # noqa: E402
from holdfast.testing.formats import FormatTests, Sample  # noqa: E402


class TestParquet(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.parquet"
        pq.write_table(flat(), path, row_group_size=5)
        return Sample(PARQUET, path, tables=[({}, Table.from_arrow(flat()))])


def write(tmp_path, table, **options):
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, **options)
    return path


def opened(path):
    return PARQUET.open(Source(path))


def described(path):
    with Source(path) as source:
        return PARQUET.describe(source).root


def plain(table):
    """Spell out the dictionaries, which is all that reading changes."""
    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


def test_every_type_is_read_as_it_was_written(tmp_path):
    path = write(tmp_path, rich(), row_group_size=5)
    with opened(path) as file:
        table = file.table({}).read().to_arrow()
    assert table.combine_chunks().equals(plain(rich()).combine_chunks())
    structure = TableStructure.from_json(described(path).structure)
    assert structure.npartitions == 3
    assert pa.ipc.read_schema(pa.py_buffer(structure.schema_message())) == plain(rich()).schema


def test_rows_of_every_type_are_ready_for_json(tmp_path):
    with opened(write(tmp_path, rich())) as file:
        rows = file.table({}).read().to_rows()
    assert json.loads(json.dumps(rows, allow_nan=False))[0] == {
        "list": [1, 2],
        "struct": {"a": 1, "b": "u"},
        "deep": [{"k": [["x"]]}],
        "color": "red",
        "price": "1.10",
        "when": "2026-11-29T00:00:00.000000",
        "day": "2026-11-29",
        "clock": "01:02:03",
        "raw": "\0\ufffd".replace("\ufffd", "\\xff"),
        "fixed": "abc",
        "large": 2**60 + 1,
        "half": 0.0,
        "nothing": None,
        "map": [["a", 1]],
    }


def test_a_row_group_is_a_partition(tmp_path):
    with opened(write(tmp_path, flat(), row_group_size=5)) as file:
        table = file.table({})
        assert [table.read(["n"], number)["n"].tolist() for number in range(3)] == [
            [0, 1, 2, 3, 4],
            [5, 6, 7, 8, 9],
            [10, 11],
        ]
        assert [len(batch) for batch in table.batches(rows=2)] == [2, 2, 1, 2, 2, 1, 2]


def test_a_column_is_read_without_the_others(tmp_path):
    table = pa.table({"a": np.arange(1000), "b": np.random.default_rng(0).random(1000)})
    path = write(tmp_path, table, use_dictionary=False, compression="none")
    chunk = pq.read_metadata(path).row_group(0).column(1)
    damaged = bytearray(path.read_bytes())
    damaged[chunk.data_page_offset : chunk.data_page_offset + chunk.total_compressed_size] = bytes(
        chunk.total_compressed_size
    )
    path.write_bytes(damaged)
    with opened(path) as file:
        assert file.table({}).read(["a"])["a"].tolist() == list(range(1000))
        with pytest.raises(UnreadableError):
            file.table({}).read(["b"])


@pytest.mark.parametrize(
    "index", [..., 0, -1, slice(3, 9), slice(None, None, -1), slice(10, 1, -3), slice(4, 4)]
)
def test_a_full_column_is_an_array_that_is_sliced_by_row_group(tmp_path, index):
    table = flat()
    with opened(write(tmp_path, table, row_group_size=5)) as file:
        reader = file.table({})
        for name in ["n", "ok", "t"]:
            column = reader.column(name)
            np.testing.assert_array_equal(column.read(index), table[name].to_numpy()[index])
        assert reader.column("gaps") is None
        assert reader.column("name") is None


def test_slabs_of_a_column_read_each_row_group_once(tmp_path):
    table = pa.table({"x": np.arange(3_000_000)})
    with opened(write(tmp_path, table, row_group_size=1 << 20)) as file:
        column = file.table({}).column("x")
        found = np.concatenate(list(column.slabs()))
    np.testing.assert_array_equal(found, np.arange(3_000_000))


def test_names_with_dots_names_given_twice_and_an_index_of_pandas_are_columns(tmp_path):
    table = pa.Table.from_arrays(
        [pa.array([n]) for n in range(5)], ["a", "a.b", "x", "x", "__index_level_0__"]
    )
    with opened(write(tmp_path, table)) as file:
        reader = file.table({})
        assert reader.structure.columns == ("a", "a.b", "x", "x.1", "index")
        for number, name in enumerate(reader.structure.columns):
            assert reader.read([name])[name].tolist() == [number]
        assert reader.read(["x.1", "a"]).columns == ("x.1", "a")


def test_what_a_file_says_of_itself_is_metadata(tmp_path):
    pandas = pytest.importorskip("pandas")
    table = pa.Table.from_pandas(pandas.DataFrame({"e": [1.0]}))
    unit = table.schema.field(0).with_metadata({"unit": "eV"})
    schema = pa.schema([unit], {**table.schema.metadata, b"title": b"a scan", b"blob": b"\xff" * 10})
    metadata = described(write(tmp_path, table.cast(schema))).metadata
    assert metadata["file"]["rows"] == 1
    assert metadata["pandas"]["columns"][0]["name"] == "e"
    assert metadata["title"] == "a scan"
    assert metadata["columns"] == {"e": {"unit": "eV"}}
    assert "ARROW:schema" not in metadata


def test_a_table_without_rows_and_one_without_columns_are_tables(tmp_path):
    with opened(write(tmp_path, flat()[:0])) as file:
        assert file.table({}).read().to_arrow().schema == flat().schema
        assert file.table({}).column("n").read().shape == (0,)
    with opened(write(tmp_path, flat().select([]))) as file:
        assert file.table({}).read().columns == ()


def test_metadata_as_large_as_a_file_is_bounded(tmp_path):
    schema = flat().schema.with_metadata({f"k{n}": "x" * 5000 for n in range(300)} | {"deep": "[" * 9000})
    metadata = described(write(tmp_path, flat().cast(schema))).metadata
    assert len(json.dumps(metadata)) < 600_000
    assert metadata["holdfast"]["left_out"] > 100


# Files that ask for too much


# What was allocated from a pool may outlive the test, so the pools stay too.
POOLS = []


def peak(act):
    """Return how much memory Arrow took at most while something was done, in bytes."""
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    POOLS.append(pool)
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        act()
    finally:
        pa.set_memory_pool(before)
    return pool.max_memory()


def test_a_dictionary_that_stands_for_gigabytes_comes_in_pieces(tmp_path):
    value = pa.array(["x" * 1_000_000, "y"])
    column = pa.DictionaryArray.from_arrays(np.arange(8000, dtype="i4") % 2, value)
    nested = pa.ListArray.from_arrays(np.arange(0, 8001, 2, dtype="i4"), column)
    for each in [column, nested]:
        path = write(
            tmp_path, pa.table({"s": each}), dictionary_pagesize_limit=1 << 21, write_statistics=False
        )
        assert path.stat().st_size < 200_000
        with opened(path) as file:
            batches = file.table({}).batches()
            assert peak(lambda batches=batches: [next(batches) for _ in range(2)]) < 400 << 20


@pytest.mark.slow
def test_texts_that_share_their_beginnings_come_in_pieces(tmp_path):
    table = pa.table({"s": pa.array(["x" * 300_000]).take(pa.array([0] * 1000))})
    path = write(
        tmp_path,
        table,
        use_dictionary=False,
        column_encoding="DELTA_BYTE_ARRAY",
        data_page_size=1 << 22,
        write_statistics=False,
    )
    assert path.stat().st_size < 100_000
    with opened(path) as file:
        lengths = []
        assert peak(lambda: lengths.extend(map(len, file.table({}).batches()))) < 320 << 20
    assert sum(lengths) == 1000
    assert len(lengths) > 1


def test_runs_of_one_value_come_in_pieces(tmp_path):
    table = pa.table({f"c{n}": np.zeros(1 << 20, "i8") for n in range(4)})
    path = write(tmp_path, table)
    assert path.stat().st_size < 20_000
    with opened(path) as file:
        assert peak(lambda: next(file.table({}).batches())) < 64 << 20


def varint(number):
    out = bytearray()
    number = number << 1
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def header(unpacked, compressed, values=1):
    """Return the header of a plain data page in Thrift's compact protocol."""
    inner = b"\x15" + varint(values) + b"\x15\x00\x15\x06\x15\x06\x00"
    return b"\x15\x00\x15" + varint(unpacked) + b"\x15" + varint(compressed) + b"\x2c" + inner + b"\x00"


def test_headers_of_pages_are_read_to_their_end():
    page, length = parse_header(header(5000, 300, 7) + b"more")
    assert (page.unpacked, page.compressed, page.values, page.is_dictionary) == (5000, 300, 7, False)
    assert length == len(header(5000, 300, 7))
    for cut in range(length):
        with pytest.raises((IndexError, ValueError)):
            parse_header(header(5000, 300, 7)[:cut])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x1c" * 200,
        b"\xff" * 200,
        b"\x19\xff\xff\xff\xff\x0f",
        header(1 << 31, 10),
        header(9, 1 << 40),
    ],
)
def test_damaged_headers_of_pages_are_refused(tmp_path, data):
    path = tmp_path / "pages"
    path.write_bytes(data + b"\xff" * 50)
    with Source(path) as source, pytest.raises(UnreadableError):
        list(pages(source, 0, source.size))


def test_pages_agree_with_what_the_footer_says(tmp_path):
    path = write(tmp_path, flat(), compression="zstd", data_page_version="2.0")
    group = pq.read_metadata(path).row_group(0)
    with Source(path) as source:
        for number in range(group.num_columns):
            chunk = group.column(number)
            start = min(filter(None, [chunk.dictionary_page_offset, chunk.data_page_offset]))
            found = sizes(source, start, start + chunk.total_compressed_size, chunk.num_values)
            assert found.values == chunk.num_values == 12
            assert found.unpacked <= chunk.total_uncompressed_size


def test_a_page_that_claims_gigabytes_is_refused_before_it_is_unpacked(tmp_path):
    path = write(tmp_path, pa.table({"s": ["x" * 10_000]}), use_dictionary=False, compression="zstd")
    chunk = pq.read_metadata(path).row_group(0).column(0)
    start, stop = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    data = path.read_bytes()
    false = header(1 << 30, 10)
    path.write_bytes(data[:start] + (false + data[start + len(false) :])[: stop - start] + data[stop:])
    with opened(path) as file, pytest.raises(UnreadableError, match="page of 1073741824 bytes"):
        file.table({}).read()


def test_a_row_group_of_lists_that_stands_for_gigabytes_is_refused(tmp_path):
    path = write(tmp_path, pa.table({"l": [[1, 2, 3]] * 5000}), use_dictionary=False)
    chunk = pq.read_metadata(path).row_group(0).column(0)
    data = bytearray(path.read_bytes())
    false = header(1000, chunk.total_compressed_size - 50, 1 << 28)
    data[chunk.data_page_offset : chunk.data_page_offset + len(false)] = false
    path.write_bytes(data)
    with opened(path) as file, pytest.raises(TooLargeError, match="row group"):
        file.table({}).read()


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (struct.pack("<I4s", 1 << 31, b"PAR1"), "does not end as one"),
        (struct.pack("<I4s", 40, b"PARE"), "encrypted"),
        (struct.pack("<I4s", 40, b"XXXX"), "does not end as one"),
        (b"", "does not end as one"),
    ],
)
def test_files_that_do_not_end_as_parquet_are_refused(tmp_path, end, message):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + bytes(200) + end)
    with pytest.raises(UnreadableError, match=message):
        described(path)


def test_a_footer_without_end_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    with open(path, "wb") as file:
        file.truncate(100 << 20)
        file.seek(0)
        file.write(b"PAR1")
        file.seek(-8, 2)
        file.write(struct.pack("<I4s", 90 << 20, b"PAR1"))
    with pytest.raises(UnreadableError, match="describes itself"):
        described(path)


def test_too_many_columns_and_too_deep_types_are_refused(tmp_path):
    wide = pa.table({f"c{n}": pa.array([], pa.int8()) for n in range(17_000)})
    with pytest.raises(UnreadableError, match="17000 columns"):
        described(write(tmp_path, wide))
    kind = pa.int8()
    for _ in range(40):
        kind = pa.list_(kind)
    with pytest.raises(UnreadableError, match="deep"):
        described(write(tmp_path, pa.table({"a": pa.array([], kind)})))


def test_text_that_is_no_text_is_an_error(tmp_path):
    path = write(tmp_path, pa.table({"s": pa.array([b"\xff\xfe"])}))
    raw = pq.read_table(path)
    assert raw.column(0).to_pylist() == [b"\xff\xfe"]
    forged = pa.table({"s": pa.StringArray.from_buffers(1, *raw.column(0).chunk(0).buffers()[1:])})
    with opened(write(tmp_path, forged)) as file, pytest.raises(HoldfastError, match="cannot be read"):
        file.table({}).read()
