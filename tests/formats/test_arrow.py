"""Arrow files and streams: the contract, every type, batches alone, and files that ask for too much."""

import struct

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
ipc = pytest.importorskip("pyarrow.ipc")
feather = pytest.importorskip("pyarrow.feather")

from formats.arrow_tables import flat, rich  # noqa: E402
from formats.test_parquet import peak, plain  # noqa: E402
from holdfast.errors import HoldfastError, TooLargeError, UnreadableError  # noqa: E402
from holdfast.formats.arrow import ARROW  # noqa: E402
from holdfast.formats.arrowmessages import RECORDS, messages, parse_message  # noqa: E402
from holdfast.formats.registry import detect  # noqa: E402
from holdfast.formats.source import Source  # noqa: E402
from holdfast.formats.structures import TableStructure  # noqa: E402
from holdfast.formats.tables import Table  # noqa: E402
from holdfast.testing.formats import FormatTests, Sample  # noqa: E402


def write(path, table, *, is_stream=False, rows=5, **options):
    make = ipc.new_stream if is_stream else ipc.new_file
    with make(str(path), table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


class TestArrowFile(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = write(tmp_path / "a.arrow", flat())
        return Sample(ARROW, path, tables=[({}, Table.from_arrow(flat()))])


class TestArrowStream(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = write(tmp_path / "a.arrows", flat(), is_stream=True, compression="zstd")
        return Sample(ARROW, path, tables=[({}, Table.from_arrow(flat()))])


class TestFeather(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.feather"
        feather.write_feather(flat(), str(path), compression="lz4")
        return Sample(ARROW, path, tables=[({}, Table.from_arrow(flat()))])


def opened(path):
    return ARROW.open(Source(path))


def described(path):
    with Source(path) as source:
        return ARROW.describe(source)


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_every_type_is_read_as_it_was_written(tmp_path, is_stream, compression):
    path = write(tmp_path / "a.arrow", rich(), is_stream=is_stream, compression=compression)
    with opened(path) as file:
        table = file.table({})
        assert table.read().to_arrow().combine_chunks().equals(plain(rich()).combine_chunks())
        assert table.read(partition=1).to_arrow().equals(plain(rich()).slice(5, 5))
        assert table.read(["price", "list"]).columns == ("price", "list")
        with pytest.raises(IndexError):
            table.read(partition=3)
    description = described(path)
    structure = TableStructure.from_json(description.root.structure)
    assert structure.npartitions == 3
    assert pa.ipc.read_schema(pa.py_buffer(structure.schema_message())) == plain(rich()).schema
    assert description.media_type == ARROW.media_types[is_stream]
    assert description.root.metadata["file"] == {"rows": 12, "batches": 3}


def test_views_and_extensions_are_read_as_their_plain_form(tmp_path):
    table = pa.table(
        {
            "view": pa.array(["a", "b" * 40], pa.string_view()),
            "bytes": pa.array([b"a", b"b" * 40], pa.binary_view()),
            "uuid": pa.array([b"0" * 16, b"1" * 16], pa.uuid()),
        }
    )
    with opened(write(tmp_path / "a.arrow", table)) as file:
        assert file.table({}).read().to_arrow().schema.types == [pa.string(), pa.binary(), pa.binary(16)]
        assert file.table({}).read()["uuid"].tolist() == [b"0" * 16, b"1" * 16]


def test_dictionaries_that_change_between_batches_give_each_its_values(tmp_path):
    parts = [pa.table({"c": pa.array(words).dictionary_encode()}) for words in (["a", "b"], ["c", "a"])]
    with ipc.new_stream(str(tmp_path / "a.arrows"), parts[0].schema) as writer:
        for part in parts:
            writer.write_table(part)
    with opened(tmp_path / "a.arrows") as file:
        assert file.table({}).read()["c"].tolist() == ["a", "b", "c", "a"]
        assert file.table({}).read(partition=1)["c"].tolist() == ["c", "a"]


@pytest.mark.parametrize("index", [..., 0, -1, slice(3, 9), slice(None, None, -1), slice(10, 1, -3)])
def test_a_full_column_is_an_array_that_is_sliced_by_batch(tmp_path, index):
    with opened(write(tmp_path / "a.arrow", flat())) as file:
        for name in ["n", "ok", "t"]:
            column = file.table({}).column(name)
            np.testing.assert_array_equal(column.read(index), flat()[name].to_numpy()[index])
        assert file.table({}).column("gaps") is None


def test_thousands_of_batches_become_fewer_partitions(tmp_path):
    table = pa.table({"n": np.arange(5000)})
    with opened(write(tmp_path / "a.arrow", table, rows=1)) as file:
        reader = file.table({})
        assert reader.structure.npartitions == 2500
        assert reader.read(partition=7)["n"].tolist() == [14, 15]
        assert reader.column("n").read(slice(4990, None)).tolist() == list(range(4990, 5000))


def test_a_stream_without_the_mark_of_its_end_is_read(tmp_path):
    path = write(tmp_path / "a.arrows", flat(), is_stream=True)
    path.write_bytes(path.read_bytes()[:-8])
    with opened(path) as file:
        assert len(file.table({}).read()) == 12


def test_tables_without_rows_are_tables(tmp_path):
    for is_stream in (True, False):
        with opened(write(tmp_path / "a.arrow", flat()[:0], is_stream=is_stream)) as file:
            assert file.table({}).read().to_arrow().schema == flat().schema


# Files that ask for too much


def claiming(path, number, size):
    """Let every buffer of a compressed batch claim a size."""
    data = bytearray(path.read_bytes())
    with Source(path) as source:
        batch = [message for message in messages(source, 0, source.size) if message.kind == RECORDS][number]
    for at, length in batch.buffers:
        if length >= 8:
            struct.pack_into("<q", data, batch.offset + batch.head + at, size)
    path.write_bytes(data)


def test_a_batch_that_claims_a_terabyte_is_refused_before_it_is_unpacked(tmp_path):
    path = write(tmp_path / "a.arrows", flat(), is_stream=True, compression="zstd")
    claiming(path, 0, 1 << 40)
    assert path.stat().st_size < 8000
    with opened(path) as file, pytest.raises(TooLargeError, match="a batch of"):
        file.table({}).read()


def test_a_dictionary_that_stands_for_gigabytes_comes_in_pieces(tmp_path):
    column = pa.DictionaryArray.from_arrays(np.zeros(8000, "i4"), pa.array(["x" * 1_000_000]))
    path = write(tmp_path / "a.arrow", pa.table({"s": column}), rows=8000, compression="zstd")
    assert path.stat().st_size < 10_000
    with opened(path) as file:
        batches = file.table({}).batches()
        assert peak(lambda: [next(batches) for _ in range(2)]) < 400 << 20


def test_views_that_share_their_bytes_come_in_pieces(tmp_path):
    text = b"x" * 1_000_000
    view = struct.pack("<i4sii", len(text), text[:4], 0, 0) * 4000
    column = pa.Array.from_buffers(pa.string_view(), 4000, [None, pa.py_buffer(view), pa.py_buffer(text)])
    path = write(tmp_path / "a.arrow", pa.table({"s": column}), rows=4000)
    with opened(path) as file:
        batches = file.table({}).batches()
        assert peak(lambda: [next(batches) for _ in range(2)]) < 400 << 20


@pytest.mark.parametrize("kind", [pa.null(), pa.list_(pa.int8(), 0), pa.struct([])])
def test_rows_that_take_no_room_are_not_believed_without_end(tmp_path, kind):
    batch = (
        pa.table({"a": pa.nulls(3, kind)})
        if kind != pa.struct([])
        else pa.table({"a": pa.array([{}] * 3, kind)})
    )
    path = write(tmp_path / "a.arrows", batch, is_stream=True)
    with opened(path) as file:
        assert len(file.table({}).read()) == 3
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<q", 3), struct.pack("<q", 1 << 50)))
    assert path.read_bytes() != data
    with pytest.raises(HoldfastError), opened(path) as file:
        file.table({}).read()


def test_run_end_encoding_and_unions_are_refused_by_name(tmp_path):
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([3], pa.int32()), pa.array([1]))
    union = pa.UnionArray.from_sparse(pa.array([0, 0, 0], pa.int8()), [pa.array([1, 2, 3])])
    for column in (runs, union):
        with pytest.raises(UnreadableError, match="not read"):
            described(write(tmp_path / "a.arrow", pa.table({"a": column})))


def test_too_many_columns_and_too_deep_types_are_refused(tmp_path):
    wide = pa.table({f"c{n}": pa.array([], pa.int8()) for n in range(17_000)})
    with pytest.raises(UnreadableError, match="17000 columns"):
        described(write(tmp_path / "a.arrow", wide))
    kind = pa.int8()
    for _ in range(40):
        kind = pa.list_(kind)
    with pytest.raises(UnreadableError):
        described(write(tmp_path / "a.arrow", pa.table({"a": pa.array([], kind)})))


def test_offsets_outside_of_their_text_are_an_error_and_no_crash(tmp_path):
    good = pa.array(["abc", "def"])
    path = write(tmp_path / "a.arrow", pa.table({"s": good}))
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<iii", 0, 3, 6), struct.pack("<iii", 0, 3, 1 << 30)))
    assert path.read_bytes() != data
    with opened(path) as file, pytest.raises(UnreadableError, match="cannot be read"):
        file.table({}).read()


@pytest.mark.parametrize(
    "content",
    [
        b"FEA1" + bytes(100),
        b"ARROW1\0\0" + bytes(100),
        b"ARROW1\0\0" + bytes(4) + struct.pack("<i", 1 << 30) + b"ARROW1",
        b"\xff\xff\xff\xff" + struct.pack("<I", 1 << 31) + bytes(64),
        b"\xff\xff\xff\xff" + struct.pack("<I", 16) + b"\xff" * 64,
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\xff\0\0\0\0",
    ],
)
def test_what_only_begins_like_arrow_is_refused(tmp_path, content):
    path = tmp_path / "a.arrow"
    path.write_bytes(content)
    with Source(path) as source:
        assert detect(source) is ARROW
        with pytest.raises(UnreadableError):
            ARROW.describe(source)


def test_messages_that_point_outside_are_refused(tmp_path):
    path = write(tmp_path / "a.arrows", flat(), is_stream=True)
    with Source(path) as source:
        message = list(messages(source, 0, source.size))[1]
        data = bytes(source.read(message.offset + 8, message.head - 8))
    assert parse_message(data, message.offset, message.head) == message
    for at in range(len(data)):
        for value in (0, 127, 255):
            changed = data[:at] + bytes([value]) + data[at + 1 :]
            try:
                found = parse_message(changed, 0, 8)
            except (ValueError, struct.error):
                continue
            assert found.body >= 0
            assert found.rows >= 0
