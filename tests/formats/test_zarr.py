"""Zarr: the contract for both versions as zarr-python writes them, and stores that lie."""

import gzip
import json
import shutil
import struct
import sys
import tracemalloc
import warnings

import numpy as np
import pytest

from holdfast.errors import (
    ForbiddenError,
    HoldfastError,
    MissingDependencyError,
    NotFoundError,
    UnreadableError,
)
from holdfast.formats.registry import entry_names
from holdfast.formats.source import Source
from holdfast.formats.zarr import ZARR
from holdfast.testing.directories import DirectoryFormatTests, recorded
from holdfast.testing.formats import Sample, nodes

zarr = pytest.importorskip("zarr")
codecs = pytest.importorskip("zarr.codecs")
numcodecs = pytest.importorskip("numcodecs")

RNG = np.random.default_rng(12)
IMAGE = RNG.integers(0, 1000, (20, 31)).astype("i4")
TEXTS = np.array(["Ag", "", "é𝄞", "abcd"])
STRUCTURED = np.array([(1, 2.5, b"xy"), (3, 4.5, b"z")] * 2, [("a", "<i4"), ("b", ">f8"), ("c", "S2")])
CHUNKS = {"chunks": (7, 13)}

PLAIN = {
    "default codecs": (IMAGE, CHUNKS),
    "no codecs": (IMAGE, {**CHUNKS, "compressors": None}),
    "one axis": (np.arange(100.0), {"chunks": (9,)}),
    "scalar": (np.array(3.5), {"chunks": ()}),
    "boolean": (IMAGE > 500, CHUNKS),
    "complex": ((IMAGE[:5, :5] + 1j).astype("c8"), {"chunks": (2, 2)}),
    "times": (np.array(["2026-11-29T23:00", "NaT"], "M8[s]"), {"chunks": (1,)}),
    "bytes": (np.array([b"ab", b"", b"abc"]), {"chunks": (2,)}),
    "text": (TEXTS, {"chunks": (3,)}),
}
V2 = {
    **PLAIN,
    "big-endian": (IMAGE.astype(">i2"), CHUNKS),
    "structured": (STRUCTURED, {"chunks": (3,)}),
    "F order": (IMAGE, {**CHUNKS, "order": "F"}),
    "F order, no codecs": (IMAGE, {**CHUNKS, "order": "F", "compressors": None}),
    "slashes": (IMAGE, {**CHUNKS, "chunk_key_encoding": {"name": "v2", "separator": "/"}}),
    "delta": (IMAGE, {**CHUNKS, "filters": [numcodecs.Delta("<i4")]}),
    "packed bits": (IMAGE > 500, {**CHUNKS, "filters": [numcodecs.PackBits()]}),
    "scaled": (IMAGE, {**CHUNKS, "filters": [numcodecs.FixedScaleOffset(0, 1, "<i4", "<i8")]}),
    **{
        name: (IMAGE, {**CHUNKS, "compressors": getattr(numcodecs, name)()})
        for name in ("Blosc", "Zlib", "GZip", "BZ2", "LZMA", "LZ4", "Zstd", "CRC32", "CRC32C", "Adler32")
    },
    "Fletcher32": (IMAGE, {**CHUNKS, "compressors": numcodecs.Fletcher32()}),
}
V3 = {
    **PLAIN,
    "big-endian": (IMAGE.astype(">i4"), {**CHUNKS, "serializer": codecs.BytesCodec(endian="big")}),
    "shards": (IMAGE, {"chunks": (5, 8), "shards": (10, 16)}),
    "shards, no codecs": (IMAGE, {"chunks": (5, 8), "shards": (10, 16), "compressors": None}),
    "transposed": (
        RNG.random((4, 5, 6)),
        {"chunks": (2, 3, 4), "filters": [codecs.TransposeCodec(order=(1, 2, 0))]},
    ),
    "reversed, no codecs": (
        IMAGE,
        {**CHUNKS, "filters": [codecs.TransposeCodec(order=(1, 0))], "compressors": None},
    ),
    "names as in version 2": (IMAGE, {**CHUNKS, "chunk_key_encoding": {"name": "v2", "separator": "."}}),
    "names with dots": (IMAGE, {**CHUNKS, "chunk_key_encoding": {"name": "default", "separator": "."}}),
    "blosc": (IMAGE, {**CHUNKS, "compressors": codecs.BloscCodec(cname="lz4")}),
    "gzip": (IMAGE, {**CHUNKS, "compressors": codecs.GzipCodec()}),
    "zstd with checksum": (IMAGE, {**CHUNKS, "compressors": [codecs.ZstdCodec(), codecs.Crc32cCodec()]}),
}
CASES = {
    f"{version}: {name}": (version, *case)
    for version, all_ in ((2, V2), (3, V3))
    for name, case in all_.items()
}


def write(path, version, array, options, name=""):
    with warnings.catch_warnings():
        # zarr-python warns that some types are not in the specification of version 3 yet.
        warnings.simplefilter("ignore")
        if name:
            group = zarr.open_group(path, mode="a", zarr_format=version)
            made = group.create_array(name, shape=array.shape, dtype=array.dtype, **options)
        else:
            made = zarr.create_array(
                path, shape=array.shape, dtype=array.dtype, zarr_format=version, **options
            )
        made[...] = array
    return path


def entry_of(path):
    return next(path / name for name in entry_names() if (path / name).exists())


def describe(path):
    with Source(entry_of(path)) as source:
        return ZARR.describe(source).root


def read(path, key="", index=...):
    with ZARR.open(Source(entry_of(path))) as file:
        return file.array({"dataset": key} if key else {}).read(index)


CONTRACT = ["2: F order, no codecs", "2: structured", "3: no codecs", "3: shards", "3: zstd with checksum"]


class TestZarr(DirectoryFormatTests):
    @pytest.fixture(params=CONTRACT)
    def sample(self, request, tmp_path):
        version, array, options = CASES[request.param]
        path = write(tmp_path / "a.zarr", version, array, options)
        return Sample(ZARR, entry_of(path), arrays=[({}, array)])


@pytest.mark.parametrize("case", CASES)
def test_what_zarr_python_wrote_is_read_whole_sliced_and_in_pieces(tmp_path, case):
    version, array, options = CASES[case]
    path = write(tmp_path / "a.zarr", version, array, options)
    with ZARR.open(Source(entry_of(path))) as file:
        reader = file.array({})
        for index in [..., (slice(None, None, -2),) * array.ndim, (-1,) * array.ndim]:
            found = reader.read(index)
            assert found.dtype == array.dtype
            assert found.tobytes() == np.asarray(array[index], array.dtype).tobytes()
        assert b"".join(piece.tobytes() for piece in reader.slabs()) == array.tobytes()


class TestZarrGroup(DirectoryFormatTests):
    @pytest.fixture(params=[2, 3])
    def sample(self, request, tmp_path):
        path = tmp_path / "a.zarr"
        write(path, request.param, IMAGE, CHUNKS, "image")
        write(path, request.param, np.arange(5), {"chunks": (2,)}, "deep/er/numbers")
        zarr.consolidate_metadata(path, zarr_format=request.param)
        arrays = [({"dataset": "image"}, IMAGE), ({"dataset": "deep/er/numbers"}, np.arange(5))]
        return Sample(ZARR, entry_of(path), arrays=arrays)


pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata")


@pytest.mark.parametrize("version", [2, 3])
def test_texts_of_any_length_become_as_wide_as_the_longest(tmp_path, version):
    path = tmp_path / "a.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = zarr.create_array(path, shape=(7,), dtype=str, chunks=(3,), zarr_format=version)
        made[:4] = TEXTS.astype(object)
    found = read(path)
    assert found.dtype == "<U4"
    assert found.tolist() == [*TEXTS, "", "", ""]
    assert read(path, index=slice(2, None, -1)).tolist() == ["é𝄞", "", "Ag"]


@pytest.mark.parametrize("version", [2, 3])
def test_attributes_names_of_axes_and_coordinates_are_described(tmp_path, version):
    path = tmp_path / "a.zarr"
    zarr.open_group(path, mode="w", zarr_format=version).attrs["title"] = "a test"
    for name, dims, array in [("t", ["y", "x"], IMAGE[:3, :4]), ("x", ["x"], np.arange(4.0))]:
        write(path, version, array, {"dimension_names": dims} if version == 3 else {}, name)
        made = zarr.open_group(path)[name]
        made.attrs["units"] = "K"
        if version == 2:
            # As xarray names axes there.
            made.attrs["_ARRAY_DIMENSIONS"] = dims
    root = describe(path)
    found = {child.key: child for child in root.children}
    assert root.specs == ["xarray_dataset"]
    assert root.metadata["title"] == "a test"
    assert found["t"].structure["dims"] == ["y", "x"]
    assert found["t"].metadata["units"] == "K"
    assert found["x"].specs == ["xarray_coord"]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("fill", [0, 7.5, np.nan, -np.inf])
def test_what_was_never_written_is_the_fill_value(tmp_path, version, fill):
    path = tmp_path / "a.zarr"
    made = zarr.create_array(
        path, shape=(200, 3), chunks=(2, 2), dtype="f8", zarr_format=version, fill_value=fill
    )
    made[1, 1] = 3
    wanted = np.full((200, 3), fill)
    wanted[1, 1] = 3
    assert np.array_equal(read(path), wanted, equal_nan=True)
    assert np.array_equal(read(path, index=(slice(None, None, -3), 1)), wanted[::-3, 1], equal_nan=True)


def test_absent_parts_of_a_shard_are_the_fill_value(tmp_path):
    made = zarr.create_array(
        tmp_path / "a.zarr", shape=(8, 8), chunks=(2, 2), shards=(8, 8), dtype="i4", fill_value=-1
    )
    made[5, 5] = 3
    found = read(tmp_path / "a.zarr")
    assert found[5, 5] == 3
    assert (found == -1).sum() == 63


def test_an_array_that_grew_is_seen_without_opening_it_anew(tmp_path):
    made = zarr.create_array(tmp_path / "a.zarr", shape=(3,), chunks=(2,), dtype="i4")
    made[:] = [1, 2, 3]
    with ZARR.open(Source(entry_of(tmp_path / "a.zarr"))) as file:
        assert file.array({}).read().tolist() == [1, 2, 3]
        made.append(np.array([4, 5], "i4"))
        assert file.array({}).read().tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("compressors", [None, "auto"])
def test_a_slice_of_a_terabyte_without_chunks_stays_small(tmp_path, compressors):
    shape = (1 << 18, 1 << 20)
    zarr.create_array(
        tmp_path / "a.zarr", shape=shape, chunks=shape, dtype="u4", fill_value=9, compressors=compressors
    )
    root = describe(tmp_path / "a.zarr")
    assert root.structure["shape"] == list(shape)
    tracemalloc.start()
    assert (
        read(tmp_path / "a.zarr", index=(slice(0, 1 << 18, 1 << 10), slice(5, 25))).tolist()
        == [[9] * 20] * 256
    )
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_slice_of_many_tiny_absent_chunks_lists_directories_once(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(1 << 20, 1 << 20), chunks=(1, 1), dtype="u1", fill_value=9)
    assert read(tmp_path / "a.zarr", index=(slice(0, 100), slice(0, 100))).sum() == 9 * 10000


def test_a_chunk_larger_than_memory_allows_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, shape=(1 << 31,), chunks=(1 << 31,), dtype="u1", compressors=codecs.GzipCodec())
    (path / "c").mkdir()
    (path / "c" / "0").write_bytes(gzip.compress(bytes(1000)))
    with pytest.raises(UnreadableError, match="over 512 MiB"):
        read(path, index=0)


# Damage


def damaged(tmp_path, version=3, **options):
    path = write(tmp_path / "a.zarr", version, IMAGE, {**CHUNKS, **options})
    return path, path / ("c/0/0" if version == 3 else "0.0")


BOMB = bytes(16 << 20)
BOMBS = {
    "GZip": lambda: gzip.compress(BOMB),
    "Zlib": lambda: __import__("zlib").compress(BOMB),
    "BZ2": lambda: __import__("bz2").compress(BOMB),
    "LZMA": lambda: __import__("lzma").compress(BOMB, preset=0),
    "LZ4": lambda: numcodecs.LZ4().encode(BOMB),
    "Zstd": lambda: numcodecs.Zstd().encode(BOMB),
    "Blosc": lambda: numcodecs.Blosc().encode(BOMB),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_decompression_bomb_is_refused_in_bounded_memory(tmp_path, name):
    path, chunk = damaged(tmp_path, 2, compressors=getattr(numcodecs, name)())
    chunk.write_bytes(bytes(BOMBS[name]()))
    tracemalloc.start()
    with pytest.raises(UnreadableError, match=r"a\.zarr/0\.0 is damaged"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def zstd_frame(blocks, *, with_size=False):
    """Return a frame of blocks that each repeat one byte 128 KiB times; without its size where not asked."""
    block = (128 << 10) << 3 | 1 << 1
    body = b"".join(struct.pack("<I", block | (n == blocks - 1))[:3] + b"\0" for n in range(blocks))
    return struct.pack("<IBB", 0xFD2FB528, 0, 0x50) + body


def test_a_zstd_frame_that_hides_its_size_is_measured_by_its_blocks(tmp_path):
    path, chunk = damaged(tmp_path, 2, compressors=numcodecs.Zstd())
    chunk.write_bytes(zstd_frame(100_000))
    with pytest.raises(UnreadableError, match="would become 13107200000 bytes"):
        read(path)


def test_a_zstd_frame_without_its_size_is_read(tmp_path):
    path = tmp_path / "a.zarr"
    zarr.create_array(
        path,
        shape=(2 << 17,),
        chunks=(2 << 17,),
        dtype="u1",
        zarr_format=2,
        compressors=numcodecs.Zstd(),
        fill_value=1,
    )
    (path / "0").write_bytes(zstd_frame(2))
    assert not read(path).any()


@pytest.mark.parametrize("content", [b"", b"\0", bytes(363), b"\xff" * 3000])
@pytest.mark.parametrize("options", [{}, {"compressors": None}, {"chunks": (5, 8), "shards": (10, 16)}])
def test_a_damaged_chunk_is_never_zeros(tmp_path, content, options):
    path, chunk = damaged(tmp_path, **options)
    chunk.write_bytes(content)
    with pytest.raises(UnreadableError, match=r"a\.zarr/c/0/0 is damaged"):
        read(path)


def test_a_part_of_a_shard_outside_it_is_an_error(tmp_path):
    path = write(tmp_path / "a.zarr", 3, IMAGE, {"chunks": (5, 8), "shards": (20, 32)})
    chunk = path / "c/0/0"
    data = bytearray(chunk.read_bytes())
    google = pytest.importorskip("google_crc32c")
    data[-260:-252] = struct.pack("<Q", 1 << 40)
    data[-4:] = struct.pack("<I", google.value(bytes(data[-260:-4])))
    chunk.write_bytes(data)
    with pytest.raises(UnreadableError, match=r"part \(0, 0\) ends at byte"):
        read(path)


def test_a_link_that_leaves_the_store_is_refused(tmp_path):
    path, chunk = damaged(tmp_path)
    shutil.move(chunk, tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ForbiddenError, match="leads outside the store"):
        read(path)
    write(tmp_path / "group.zarr", 3, IMAGE, CHUNKS, "a")
    (tmp_path / "group.zarr" / "b").symlink_to(path)
    found = {child.key: child for child in describe(tmp_path / "group.zarr").children}
    assert "leads outside the store" in found["b"].metadata["error"]


def test_a_link_inside_the_store_is_followed(tmp_path):
    path, chunk = damaged(tmp_path)
    shutil.move(chunk, path / "c" / "0" / "kept")
    chunk.symlink_to("kept")
    assert np.array_equal(read(path), IMAGE)


def test_a_chunk_that_is_new_since_the_digests_were_taken_is_not_passed_off_as_verified(tmp_path):
    path = tmp_path / "a.zarr"
    made = zarr.create_array(path, shape=(4,), chunks=(2,), dtype="i4")
    made[:2] = 1
    find = recorded(path, path)
    made[2:] = 5
    with ZARR.open(Source(entry_of(path), find_digests=find)) as file:
        assert file.array({}).read(slice(0, 2)).tolist() == [1, 1]
        with pytest.raises(HoldfastError, match="new since the store was indexed"):
            file.array({}).read()


def test_without_numcodecs_the_error_names_the_extra(tmp_path, monkeypatch):
    path, _ = damaged(tmp_path)
    monkeypatch.setitem(sys.modules, "numcodecs", None)
    assert describe(path).structure["shape"] == [20, 31]
    with pytest.raises(MissingDependencyError, match=r"pip install 'holdfast\[zarr\]'"):
        read(path)


# Documents that lie


def changed(tmp_path, version, **changes):
    path = write(tmp_path / "a.zarr", version, IMAGE, CHUNKS)
    document = json.loads(entry_of(path).read_text())
    document.update(changes)
    entry_of(path).write_text(
        json.dumps({name: value for name, value in document.items() if value is not ...})
    )
    return path


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
SHARDS = {"chunk_shape": [2, 2], "codecs": [BYTES], "index_codecs": [BYTES]}
HOSTILE = {
    "pickled objects": (2, {"dtype": "|O", "filters": [{"id": "pickle"}]}, "pickle.*runs code"),
    "objects as JSON": (2, {"dtype": "|O", "filters": [{"id": "json2"}]}, "is not read"),
    "objects without filter": (2, {"dtype": "|O", "filters": None}, "never loaded"),
    "objects in a field": (2, {"dtype": [["a", "|O"]]}, "no element type"),
    "objects made by a filter": (2, {"filters": [{"id": "astype", "encode_dtype": "O"}]}, "objects"),
    "a pickle codec in version 3": (3, {"codecs": [BYTES, {"name": "numcodecs.pickle"}]}, "runs code"),
    "a negative length": (3, {"shape": [-1, 5]}, "is no shape"),
    "a length that is true": (2, {"shape": [True, 5]}, "is no shape"),
    "a length of words": (2, {"shape": "many"}, "is no shape"),
    "too many axes": (3, {"shape": [1] * 65}, "is no shape"),
    "chunks of no size": (2, {"chunks": [0, 5]}, "is no shape of chunks"),
    "chunks of other axes": (2, {"chunks": [5]}, "make up"),
    "another grid": (3, {"chunk_grid": {"name": "rectilinear", "configuration": {}}}, "grid"),
    "elements of gigabytes": (2, {"dtype": "|S999999999"}, "too large"),
    "elements that run code": (2, {"dtype": "O8=__import__('os')"}, "no element type"),
    "nested fields": (2, {"dtype": json.loads("[" * 40 + '["a","<i4"]' + "]" * 40)}, "spelled"),
    "a type that is none": (3, {"data_type": "float17"}, "not read"),
    "a type of lists": (3, {"data_type": [1]}, "element type"),
    "a fill value that is none": (3, {"fill_value": "lots"}, "no fill value"),
    "a fill value that overflows": (2, {"fill_value": 1 << 70}, "no fill value"),
    "a codec that is none": (3, {"codecs": [BYTES, {"name": "rot13"}]}, "those that are"),
    "no serializer": (3, {"codecs": [{"name": "gzip", "configuration": {}}]}, "no codec says|not read"),
    "codecs that are none": (3, {"codecs": 5}, "list of codecs"),
    "parts that do not fit": (
        3,
        {"codecs": [{"name": "sharding_indexed", "configuration": SHARDS}]},
        "do not make up",
    ),
    "an extension to be understood": (3, {"secret": {"must_understand": True}}, "must be understood"),
    "storage transformers": (3, {"storage_transformers": [{"name": "x"}]}, "transformers"),
    "a version of the future": (3, {"zarr_format": 4}, "format 4"),
    "a part missing": (3, {"codecs": ...}, "incomplete"),
    "an order that is none": (2, {"order": "Z"}, "order"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_refused_with_the_reason(tmp_path, name):
    version, changes, words = HOSTILE[name]
    path = changed(tmp_path, version, **changes)
    for attempt in (describe, read):
        with pytest.raises(UnreadableError, match=words) as raised:
            attempt(path)
        assert "a.zarr" in str(raised.value) or "zarr.json" in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b"{}", b"\xff\xfe{}"])
def test_a_document_that_is_none_is_refused(tmp_path, content):
    path = write(tmp_path / "a.zarr", 3, IMAGE, CHUNKS)
    entry_of(path).write_bytes(content)
    with pytest.raises(UnreadableError):
        describe(path)


def test_an_array_that_cannot_be_read_leaves_the_others_as_they_are(tmp_path):
    path = tmp_path / "a.zarr"
    for name in ("good", "bad"):
        write(path, 3, IMAGE, CHUNKS, name)
    (path / "bad" / "zarr.json").write_text("{")
    (path / "nothing").mkdir()
    found = {child.key: child for child in describe(path).children}
    assert {key: child.family for key, child in found.items()} == {"bad": "bytes", "good": "array"}
    assert "no JSON" in found["bad"].metadata["error"]
    with ZARR.open(Source(entry_of(path))) as file:
        for key in ("nothing", "none", "../a"):
            with pytest.raises((NotFoundError, HoldfastError)):
                file.array({"dataset": key})


def test_a_file_with_the_suffix_is_not_taken_for_what_lies_beside_it(tmp_path):
    write(tmp_path, 3, IMAGE, CHUNKS)
    (tmp_path / "a.zarr").write_bytes(b"PK\x03\x04")
    for attempt in (ZARR.describe, ZARR.open):
        with (
            Source(tmp_path / "a.zarr") as source,
            pytest.raises(UnreadableError, match="is a file, and a Zarr"),
        ):
            attempt(source)


def test_groups_in_groups_end_somewhere(tmp_path):
    path = tmp_path / "a.zarr"
    zarr.open_group(path, mode="w")
    (path / "loop").symlink_to(path)
    root = describe(path)
    assert sum(1 for _ in nodes(root)) < 100


@pytest.mark.parametrize("version", [2, 3])
def test_any_single_byte_of_a_document_may_be_wrong_and_the_answer_is_an_error_or_an_array(tmp_path, version):
    path = write(tmp_path / "a.zarr", version, IMAGE, CHUNKS)
    whole = entry_of(path).read_bytes()
    for position in range(0, len(whole), 11):
        data = bytearray(whole)
        data[position] ^= 0x11
        entry_of(path).write_bytes(data)
        try:
            describe(path)
            read(path, index=(slice(0, 3), slice(0, 3)))
        except HoldfastError:
            continue
