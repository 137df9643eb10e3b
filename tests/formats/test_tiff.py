"""TIFF: every way of storing pages reads as the array that was written, and bad files are errors."""

import contextlib
import json
import struct
import tracemalloc

import imagecodecs
import numpy as np
import pytest
import tifffile

from holdfast.errors import HoldfastError, NotFoundError, UnreadableError
from holdfast.formats.base import Description
from holdfast.formats.libraries import image_library
from holdfast.formats.source import Source
from holdfast.formats.tiff import TIFF
from holdfast.testing.formats import FormatTests, Sample, nodes

RANDOM = np.random.default_rng(5)


def smooth(shape, dtype):
    """Return numbers that compress, all different from zero."""
    ramp = np.arange(1, np.prod(shape) + 1).reshape(shape)
    return (ramp % 251 + 1).astype(dtype)


def described(path) -> Description:
    with Source(path) as source:
        return TIFF.describe(source)


def read(path, part=..., **parameters):
    with TIFF.open(Source(path)) as opened:
        return opened.array(parameters).read(part)


def tiff(path, *pages, tail=b"", order="<", start=8):
    """Write pages as lists of (code, type, count, value), chained; the last leads to `tail` of each."""
    data = bytearray((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start))
    at = start
    for number, (tags, following) in enumerate(pages):
        size = 2 + 12 * len(tags) + 4
        data += struct.pack(f"{order}H", len(tags))
        for code, kind, count, value in tags:
            data += struct.pack(f"{order}HHII", code, kind, count, value)
        at += size
        data += struct.pack(
            f"{order}I", at if following is None and number + 1 < len(pages) else following or 0
        )
    path.write_bytes(bytes(data + tail))
    return path


class TestStack(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path, array = tmp_path / "a.tif", smooth((3, 6, 5), "<u2")
        tifffile.imwrite(path, array, photometric="minisblack")
        return Sample(TIFF, path, arrays=[({}, array)])


class TestTiledAndCompressed(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path, array = tmp_path / "a.tiff", smooth((2, 40, 37), "<i4")
        tifffile.imwrite(
            path, array, photometric="minisblack", tile=(16, 16), compression="zlib", predictor=True
        )
        return Sample(TIFF, path, arrays=[({}, array)])


class TestPagesOfSeveralShapes(FormatTests):
    @pytest.fixture
    def sample(self, tmp_path):
        path = tmp_path / "a.tif"
        arrays = [smooth((4, 5), "<f4"), smooth((3, 2, 3), "u1"), smooth((4, 5), "<u2")]
        with tifffile.TiffWriter(path) as file:
            for array, photometric in zip(arrays, ["minisblack", "rgb", "minisblack"], strict=True):
                file.write(array, photometric=photometric, contiguous=False)
        return Sample(TIFF, path, arrays=[({"page": n}, array) for n, array in enumerate(arrays)])


WAYS = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "strips": {"rowsperstrip": 7},
    "tiles": {"tile": (16, 32)},
    "deflate": {"compression": "zlib"},
    "lzw strips": {"compression": "lzw", "rowsperstrip": 5},
    "zstd tiles": {"compression": "zstd", "tile": (32, 16)},
    "packbits": {"compression": "packbits"},
    "lzma": {"compression": "lzma"},
    "predictor": {"compression": "zlib", "predictor": True, "byteorder": ">"},
    "png": {"compression": "png", "tile": (16, 16)},
    "png strips": {"compression": "png", "rowsperstrip": 7},
    "jpeg 2000": {"compression": "jpeg2000", "compressionargs": {"reversible": True, "level": 0}},
}
PARTS = [
    ..., 0, (slice(None), -1), (slice(3, 40, 7), slice(50, 2, -11)),
    (slice(None, None, -1), slice(None, None, 3)), (33, 17), (slice(16, 32), slice(0, 16)),
    (slice(5, 5), ...),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_every_way_of_storing_a_page_reads_as_what_was_written(tmp_path, way, dtype):
    array = smooth((45, 61), dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", **WAYS[way])
    for part in PARTS:
        found = read(tmp_path / "a.tif", part)
        assert found.shape == array[part].shape
        assert np.array_equal(found, array[part])


@pytest.mark.parametrize("dtype", ["i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "c16"])
@pytest.mark.parametrize("way", ["plain", "big-endian", "deflate", "tiles"])
def test_every_type_reads_as_what_was_written(tmp_path, dtype, way):
    array = smooth((18, 20), dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", **WAYS[way])
    assert np.array_equal(read(tmp_path / "a.tif"), array)
    assert read(tmp_path / "a.tif").dtype.newbyteorder("<") == array.dtype


@pytest.mark.parametrize("bits", [1, 4, 10, 12])
def test_packed_bits_are_unpacked(tmp_path, bits):
    array = smooth((9, 16), "u1" if bits < 9 else "u2") % (1 << bits)
    array = array.astype(bool) if bits == 1 else array
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", bitspersample=bits)
    assert np.array_equal(read(tmp_path / "a.tif"), array)


@pytest.mark.parametrize(
    "way", [{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"compression": "lzw", "rowsperstrip": 3}]
)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colours_are_an_axis_where_the_file_has_them(tmp_path, planar, way):
    array = smooth((20, 18, 3), "u1") if planar == "contig" else smooth((3, 20, 18), "u1")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", planarconfig=planar, **way)
    assert np.array_equal(read(tmp_path / "a.tif"), array)
    assert np.array_equal(
        read(tmp_path / "a.tif", (slice(1, 3), -1, slice(None, None, -1))), array[1:3, -1, ::-1]
    )


def test_jpeg_inside_decodes_as_tifffile_decodes_it(tmp_path):
    array = smooth((64, 64, 3), "u1")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", compression="jpeg", tile=(32, 32))
    expected = tifffile.imread(tmp_path / "a.tif")
    assert np.array_equal(read(tmp_path / "a.tif"), expected)
    assert np.array_equal(read(tmp_path / "a.tif", (slice(40, 50), 3)), expected[40:50, 3])


@pytest.mark.parametrize("way", [{}, {"compression": "zlib"}, {"imagej": True}])
def test_axes_that_the_program_wrote_down_are_axes(tmp_path, way):
    array = smooth((2, 3, 7, 8), "<u2")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", **way)
    assert described(tmp_path / "a.tif").root.structure["shape"] == [2, 3, 7, 8]
    for part in [
        ...,
        1,
        (slice(None), 2),
        (-1, slice(None, None, -2), 3),
        (slice(None, None, -1), 1, slice(2, 5)),
    ]:
        assert np.array_equal(read(tmp_path / "a.tif", part), array[part])


def test_images_behind_the_only_header_are_pages(tmp_path):
    array = smooth((5, 7, 8), "<u2")
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", metadata={}, contiguous=True)
    page = smooth((7, 8), ">u2")
    tifffile.imwrite(tmp_path / "b.tif", page, imagej=True, metadata={"images": 4})
    tifffile.tiffcomment(tmp_path / "b.tif", "ImageJ=1.11a\nimages=4\nslices=4\n")
    with open(tmp_path / "b.tif", "rb") as file:
        start = tifffile.TiffFile(file).pages[0].dataoffsets[0]
    data = (tmp_path / "b.tif").read_bytes()
    stack = np.stack([page + n for n in range(4)]).astype(">u2")
    (tmp_path / "b.tif").write_bytes(data[:start] + stack.tobytes())
    if start + page.nbytes < len(data):
        pytest.skip("the description went behind the pixels")
    assert np.array_equal(read(tmp_path / "b.tif"), stack)


def test_a_page_is_read_alone_and_a_strip_too(tmp_path):
    array = RANDOM.integers(0, 255, (50, 256, 256), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", compression="zlib", rowsperstrip=16)
    offsets = []

    class Watched(Source):
        def read_into(self, target, offset):
            offsets.append((offset, len(target)))
            super().read_into(target, offset)

    with TIFF.open(Watched(tmp_path / "a.tif")) as opened:
        reader = opened.array({})
        reader.read((0, 0, 0))
        offsets.clear()
        assert np.array_equal(reader.read((30, slice(100, 104))), array[30, 100:104])
    large = [size for _, size in offsets if size > 2048]
    assert len(large) == 1
    assert sum(size for _, size in offsets) < 3 * 16 * 256


def test_a_large_packed_page_streams_without_being_unpacked_twice(tmp_path):
    array = np.zeros((4096, 8192), np.uint8)
    array[::100] = 7
    tifffile.imwrite(
        tmp_path / "a.tif", array, photometric="minisblack", compression="zlib", rowsperstrip=4096
    )
    with TIFF.open(Source(tmp_path / "a.tif")) as opened:
        reader = opened.array({})
        calls = []
        inner = reader._decoder.decode
        reader._decoder.decode = lambda page, number: calls.append(number) or inner(page, number)
        assert b"".join(piece.tobytes() for piece in reader.slabs()) == array.tobytes()
    assert calls == [0]


def test_tags_are_metadata(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", smooth((2, 3), "u1"), software="detector 7", resolution=(300, 150),
        description="Ag ä".encode(),
        extratags=[(65000, "d", 1, 12.5, True), (65010, "s", 0, "Temperature:293", True)],
    )  # fmt: skip
    found = described(tmp_path / "a.tif").root.metadata
    assert (found["Software"], found["ImageWidth"], found["XResolution"]) == ("detector 7", 3, 300)
    assert found["ImageDescription"] == "Ag ä"
    assert (found["Tag65000"], found["Tag65010"]) == (12.5, "Temperature:293")
    assert "StripOffsets" not in json.dumps(found)
    tifffile.imwrite(tmp_path / "j.tif", smooth((2, 3), "u1"), imagej=True, metadata={"unit": "um"})
    assert described(tmp_path / "j.tif").root.metadata["ImageJ"]["unit"] == "um"


def test_an_endless_description_is_cut(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", smooth((2, 3), "u1"), description="x" * 3_000_000)
    assert len(json.dumps(described(tmp_path / "a.tif").root.metadata)) < 100_000


PAGE = [(256, 4, 1, 4), (257, 4, 1, 3), (258, 3, 1, 8), (273, 4, 1, 8), (277, 3, 1, 1), (279, 4, 1, 12)]


def changed(**values):
    codes = {"width": 256, "length": 257, "bits": 258, "compression": 259, "offset": 273, "samples": 277,
             "rows": 278, "size": 279, "form": 339}  # fmt: skip
    tags = {code: (kind, count, value) for code, kind, count, value in PAGE}
    for name, value in values.items():
        kind, count, _ = tags.get(codes[name], (4, 1, 0))
        tags[codes[name]] = (kind, count, value)
    return [(code, *rest) for code, rest in sorted(tags.items())]


def test_the_hand_made_page_is_a_right_one(tmp_path):
    path = tiff(tmp_path / "a.tif", (changed(), None), tail=bytes(100))
    assert read(path).shape == (3, 4)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"width": 1 << 20, "length": 1 << 20}, "claims"),
        ({"width": 1 << 31, "length": 1 << 31, "compression": 8}, "at most"),
        ({"width": 1 << 20, "length": 1 << 20, "compression": 8, "rows": 1}, "damaged"),
        ({"compression": 8, "size": 1 << 20}, "truncated"),
        ({"compression": 8, "size": 1 << 30}, "packed bytes"),
        ({"compression": 8, "offset": 0}, "truncated"),
        ({"width": 0}, "length 0"),
        ({"bits": 77}, "77 bits"),
        ({"bits": 16, "form": 99}, "format 99"),
        ({"samples": 0}, "0 samples"),
        ({"offset": 1 << 31}, "not in the file"),
        ({"compression": 34887}, "not supported"),
    ],
)
def test_what_a_small_file_claims_is_not_believed(tmp_path, tags, message):
    path = tiff(tmp_path / "a.tif", (changed(**tags), None), tail=bytes(800))
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableError, match=message):
            described(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_offsets_that_lead_in_a_circle_are_an_error(tmp_path):
    path = tiff(tmp_path / "a.tif", (changed(), None), (changed(), 8), tail=bytes(100))
    with pytest.raises(UnreadableError, match="leads back"):
        described(path)


def test_a_page_that_is_not_there_is_an_error_not_left_out(tmp_path):
    path = tiff(tmp_path / "a.tif", (changed(), 1 << 30), tail=bytes(100))
    with pytest.raises(UnreadableError, match="headers lead to"):
        described(path)


def test_a_strip_that_unpacks_to_more_than_its_page_is_cut_or_refused(tmp_path):
    import zlib

    bomb = zlib.compress(bytes(200 << 20), 9)
    tags = changed(compression=8, size=len(bomb), offset=8 + 2 + 12 * 7 + 4)
    path = tiff(tmp_path / "a.tif", (tags, None), tail=bomb)
    tracemalloc.start()
    try:
        with contextlib.suppress(UnreadableError):
            assert read(path).nbytes == 12
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packing", [7, 34712, 34933, 50001, 50002])
def test_a_picture_in_a_tile_that_is_larger_than_the_tile_is_refused_before_it_is_decoded(tmp_path, packing):
    encode = {7: "jpeg", 34712: "jpeg2k", 34933: "png", 50001: "webp", 50002: "jpegxl"}[packing]
    samples = 3 if packing == 50001 else 1
    bomb = getattr(imagecodecs, f"{encode}_encode")(np.zeros((3000, 3000, samples), np.uint8).squeeze())
    start = 8 + 2 + 12 * (8 if samples > 1 else 7) + 4
    tags = changed(width=16, length=16, compression=packing, size=len(bomb), offset=start, samples=samples)
    if samples > 1:
        tags = sorted([*tags, (262, 3, 1, 2)])
    path = tiff(tmp_path / "a.tif", (tags, None), tail=bomb)
    assert described(path).root.structure["shape"] == ([16, 16, 3] if samples > 1 else [16, 16])
    image_library("tifffile")
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableError):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < (4 << 20) + len(bomb)
    finally:
        tracemalloc.stop()


def test_a_damaged_strip_is_an_error(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, smooth((64, 64), "u2"), photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match="cannot be decoded"):
        read(path)


def test_every_single_flipped_byte_reads_or_is_an_error(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, smooth((2, 9, 9), "u1"), photometric="minisblack", compression="zlib", metadata=None
    )
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        data = bytearray(whole)
        data[at] ^= 0xA5
        path.write_bytes(data)
        try:
            with TIFF.open(Source(path)) as opened:
                for node in nodes(described(path).root):
                    if node.family == "array" and np.prod(node.structure["shape"]) < 1 << 24:
                        opened.array(node.parameters).read()
        except HoldfastError:
            continue


def test_a_page_that_is_not_there_is_not_found(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", smooth((2, 3), "u1"))
    with pytest.raises(NotFoundError):
        read(tmp_path / "a.tif", page=7)
