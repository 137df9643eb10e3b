"""Arrays in every format, read again by programs that are not ours."""

from __future__ import annotations

import base64
import io
import itertools
import json

import h5py
import numpy as np
import PIL.Image
import pytest
import tifffile

from export_sources import Cells, EndlessArray, MemoryArray, exported, part_of
from holdfast.errors import NotAcceptableError
from holdfast.formats.exports.base import ArrayPart
from holdfast.formats.exports.registry import exports_of

RNG = np.random.default_rng(3)
NUMBERS = [
    "?",
    "i1",
    "u1",
    "<i2",
    ">i2",
    "<u2",
    "<i4",
    ">u4",
    "<i8",
    "<u8",
    "<f2",
    "<f4",
    ">f4",
    "<f8",
    ">f8",
]
SHAPES = [(), (1,), (5,), (4, 6), (2, 3, 4), (2, 1, 3, 2)]


def numbers(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        info = np.iinfo(kind)
        return RNG.integers(info.min, info.max, shape, kind.newbyteorder("="), endpoint=True).astype(kind)
    return (RNG.normal(size=shape) * 100).astype(kind)


ALL_NUMBERS = list(itertools.product(NUMBERS, SHAPES))


def h5_data(value, **attributes):
    with h5py.File(io.BytesIO(exported(value, "h5"))) as file:
        dataset = file["data"]
        assert dict(dataset.attrs) | attributes == dict(dataset.attrs)
        return dataset[()] if dataset.dtype.kind != "O" else dataset.asstr()[()]


@pytest.mark.parametrize(("dtype", "shape"), ALL_NUMBERS)
def test_numbers_are_the_same_in_npy_h5_tiff_json_and_csv(dtype, shape):
    array = numbers(dtype, shape)
    again = np.load(io.BytesIO(exported(array, "npy")))
    assert (again.dtype, again.shape) == (array.dtype, shape)
    np.testing.assert_array_equal(again, array)
    assert exported(array, "bin") == array.tobytes()

    again = h5_data(array)
    # A value alone is in the machine's byte order, in whatever order the file has it.
    assert again.shape == shape
    assert again.dtype == (array.dtype if shape else array.dtype.newbyteorder("="))
    np.testing.assert_array_equal(again, array)

    again = tifffile.imread(io.BytesIO(exported(array, "tiff")))
    np.testing.assert_array_equal(again.reshape(shape), array)

    assert json.loads(exported(array, "json")) == array.tolist()
    if len(shape) <= 2:
        lines = exported(array, "csv").decode().splitlines()
        cells = [[convert(cell, array.dtype) for cell in line.split(",")] for line in lines]
        np.testing.assert_array_equal(np.array(cells, array.dtype).reshape(shape), array)


def convert(cell: str, dtype: np.dtype):
    return {"True": True, "False": False}[cell] if dtype.kind == "b" else dtype.type(cell)


@pytest.mark.parametrize("dtype", ["<c8", ">c16"])
def test_complex_numbers_go_where_they_have_a_form(dtype):
    array = numbers("f8", (3, 4)).astype(dtype) * (1 + 2j)
    np.testing.assert_array_equal(np.load(io.BytesIO(exported(array, "npy"))), array)
    np.testing.assert_array_equal(h5_data(array), array)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(exported(array, "tif"))), array)
    for name in ("json", "csv", "png", "html", "txt"):
        with pytest.raises(
            NotAcceptableError, match=r"complex numbers.*application/x-npy.*image/tiff"
        ) as refused:
            exported(array, name)
        assert "text/csv" not in refused.value.details["possible"]


def test_texts():
    array = np.array([["a,b", 'say "é"'], ["line\nbreak", ""]])
    assert json.loads(exported(array, "json")) == array.tolist()
    assert exported(array, "csv").decode() == '"a,b","say ""é"""\n"line\nbreak",\n'
    assert h5_data(array).tolist() == array.tolist()
    np.testing.assert_array_equal(np.load(io.BytesIO(exported(array, "npy"))), array)
    assert h5_data(np.array("one")) == "one"
    coded = np.array([b"a", b"\xff"])
    assert json.loads(exported(coded, "json")) == ["a", "\\xff"]
    assert h5_data(coded).tolist() == coded.tolist()
    for name in ("png", "tiff"):
        with pytest.raises(NotAcceptableError, match="application/json"):
            exported(array, name)
    page = Cells(exported(np.array(["<script>alert(1)</script>", "&"]), "html").decode())
    assert page.rows == [["<script>alert(1)</script>"], ["&"]]


def test_times():
    array = np.array(["2026-01-02T03:04:05.678901234", "NaT"], "M8[ns]")
    assert json.loads(exported(array, "json")) == ["2026-01-02T03:04:05.678901234", None]
    assert exported(array, "csv").decode().splitlines() == ["2026-01-02T03:04:05.678901234", "NaT"]
    assert Cells(exported(array, "html").decode()).rows == [["2026-01-02T03:04:05.678901234"], [""]]
    assert (h5_data(array, units="nanoseconds since 1970-01-01") == array.view("i8")).all()
    spans = np.array([5, "NaT"], "m8[ms]")
    assert json.loads(exported(spans, "json")) == [5, None]
    assert h5_data(spans, units="milliseconds")[0] == 5
    assert exported(spans, "csv") == b"5\nNaT\n"
    with pytest.raises(NotAcceptableError, match="times in steps of 1 M"):
        exported(np.array(["2026-01"], "M8[M]"), "h5")


def test_records():
    array = np.array([(1, 2.5, b"x"), (3, np.nan, b"y,z")], dtype=[("a", "<i4"), ("b", "<f8"), ("c", "S3")])
    assert json.loads(exported(array, "json")) == [[1, 2.5, "x"], [3, None, "y,z"]]
    assert exported(array, "csv").decode() == 'a,b,c\n1,2.5,x\n3,nan,"y,z"\n'
    assert exported(array[0], "csv").decode() == "a,b,c\n1,2.5,x\n"
    assert Cells(exported(array, "html").decode()).rows[0] == ["a", "b", "c"]
    assert h5_data(array).tobytes() == array.tobytes()
    assert np.load(io.BytesIO(exported(array, "npy"))).tobytes() == array.tobytes()
    for name in ("png", "tiff"):
        with pytest.raises(NotAcceptableError, match="application/x-hdf5"):
            exported(array, name)
    with pytest.raises(NotAcceptableError, match="no form as CSV"):
        exported(array.reshape(1, 2), "csv")
    nested = np.zeros(2, [("a", "<f8", (2,)), ("t", "M8[s]")])
    with pytest.raises(NotAcceptableError, match="fields are no single"):
        exported(nested, "csv")
    assert json.loads(exported(nested, "json"))[0] == [[0.0, 0.0], "1970-01-01T00:00:00"]
    with pytest.raises(NotAcceptableError, match=r"fields of type datetime64\[s\]"):
        exported(nested, "h5")
    assert json.loads(exported(array.reshape(1, 2), "json")) == [[[1, 2.5, "x"], [3, None, "y,z"]]]


def test_opaque_bytes():
    array = np.array([b"abc", b"\0\1\2"], "V3")
    assert np.load(io.BytesIO(exported(array, "npy"))).tolist() == array.tolist()
    assert h5_data(array).tolist() == array.tolist()
    for name in ("json", "csv", "html", "png", "tiff"):
        with pytest.raises(NotAcceptableError):
            exported(array, name)


def test_numbers_that_are_not_finite():
    array = np.array([[np.nan, np.inf], [-np.inf, 0.0]])
    assert json.loads(exported(array, "json")) == [[None, None], [None, 0.0]]
    assert exported(array, "csv") == b"nan,inf\n-inf,0.0\n"
    for name in ("npy", "h5", "tiff"):
        assert exported(array, name)
    np.testing.assert_array_equal(h5_data(array), array)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(exported(array, "tiff"))), array)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 2)])
def test_arrays_without_elements(shape):
    array = np.zeros(shape)
    assert json.loads(exported(array, "json")) == array.tolist()
    assert h5_data(array).shape == shape
    assert np.load(io.BytesIO(exported(array, "npy"))).shape == shape
    if len(shape) < 3:
        assert exported(array, "csv") == b"\n" * (3 if shape == (3, 0) else 0)
        assert "<table>" in exported(array, "html").decode()
    for name in ("png", "tiff"):
        with pytest.raises(NotAcceptableError, match="no pixels"):
            exported(array, name)


def test_the_refusal_of_five_axes_says_which_slices_are_pictures():
    array = np.zeros((2, 3, 4, 5, 6))
    with pytest.raises(
        NotAcceptableError, match=r"slice of two axes, such as slice=0,0,0,:,:, or ask for .*tiff"
    ):
        exported(array, "png")
    with pytest.raises(NotAcceptableError, match="5 axes has no form as CSV; slice it"):
        exported(array, "csv")
    with pytest.raises(NotAcceptableError, match="5 axes has no form as HTML"):
        exported(array, "html")
    with pytest.raises(NotAcceptableError) as refused:
        exported(array, "png")
    for media_type in exports_of("array").media_types:
        if media_type in refused.value.details["possible"]:
            assert exported(array, media_type)
        else:
            with pytest.raises(NotAcceptableError):
                exported(array, media_type)


def test_steps_and_integers_of_a_slice_count_in_every_format():
    array = np.arange(3 * 40 * 50, dtype="<i4").reshape(3, 40, 50)
    part = ArrayPart.of(MemoryArray(array), (1, slice(30, None, -3), slice(2, 20, 2)))
    expected = array[1, 30::-3, 2:20:2]
    assert part.shape == expected.shape
    np.testing.assert_array_equal(part[2:5, 1].read(), expected[2:5, 1])
    np.testing.assert_array_equal(part[::-2].read(), expected[::-2])
    assert json.loads(exported(part, "json")) == expected.tolist()
    np.testing.assert_array_equal(np.load(io.BytesIO(exported(part, "npy"))), expected)
    np.testing.assert_array_equal(h5_data(part), expected)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(exported(part, "tiff"))), expected)
    assert exported(part, "csv").decode().splitlines()[0] == ",".join(map(str, expected[0]))


@pytest.mark.parametrize(
    "shape", [(3, 100_001), (1_100_001,), (1100, 101), (2, 3, 40_003), (1, 1, 1_100_000)]
)
def test_long_rows_and_long_columns_are_written_in_pieces(shape):
    array = np.arange(np.prod(shape), dtype="<i8").reshape(shape)
    source = MemoryArray(array)
    exports = exports_of("array")
    pieces = list(exports.export("application/json", part_of(source)).pieces)
    assert json.loads(b"".join(pieces)) == array.tolist()
    assert max(map(len, pieces)) < 2**20
    assert source.largest_read <= 8 << 20
    if len(shape) < 3:
        pieces = list(exports.export("text/csv", part_of(source)).pieces)
        lines = b"".join(pieces).splitlines()
        assert len(lines) == shape[0]
        assert list(map(int, b",".join(lines).split(b","))) == array.reshape(-1).tolist()
        assert max(map(len, pieces)) < 2**20


def test_a_size_limit_of_text_and_pictures_names_the_remedy():
    huge = EndlessArray((1 << 16, 1 << 16), np.float32(1))
    for name in ("json", "csv", "png", "html"):
        with pytest.raises(NotAcceptableError, match=r"slice it.*application/x-npy"):
            exported(huge, name)
    with pytest.raises(NotAcceptableError, match="too many for a page"):
        exported(EndlessArray((2_000_000, 2), np.float32(1)), "html")


# -- pictures ------------------------------------------------------------------------------------------


def image(value) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(exported(value, "png"))) as opened:
        opened.load()
        return np.asarray(opened)


@pytest.mark.parametrize("dtype", NUMBERS[1:])
def test_png_is_scaled_between_two_percentiles(dtype):
    array = numbers(dtype, (37, 53))
    low, high = np.percentile(array.astype("f8"), (1, 99))
    expected = np.rint(np.clip((array.astype("f8") - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(image(array), expected)


def test_png_of_odd_values():
    assert image(np.array([[True, False]])).tolist() == [[255, 0]]
    assert image(np.array([[np.nan, 0.0, 10.0, np.inf, -np.inf]])).tolist()[0][0] == 0
    assert image(np.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]
    assert image(np.full((2, 2), np.nan)).tolist() == [[0, 0], [0, 0]]
    assert image(np.array([[-1.7e308, 1.7e308]])).tolist() == [[0, 255]]
    dark = np.zeros((100, 100))
    dark[50, 50] = 9.0
    assert image(dark)[50, 50] == 255
    assert image(np.float64(3)).shape == (1, 1)
    assert image(np.arange(5.0)).shape == (1, 5)
    assert image(np.arange(20.0).reshape(1, 1, 4, 5)).shape == (4, 5)


@pytest.mark.parametrize("colors", [3, 4])
def test_colors_of_uint8_are_kept(colors):
    array = numbers("u1", (40, 50, colors))
    np.testing.assert_array_equal(image(array), array)
    np.testing.assert_array_equal(image(array[None]), array)
    opened = PIL.Image.open(io.BytesIO(exported(array, "tiff")))
    np.testing.assert_array_equal(np.asarray(opened), array)


def test_a_large_picture_is_scaled_by_a_sample():
    array = np.arange(1100 * 1000, dtype="<f4").reshape(1100, 1000)
    found = image(array).astype(float)
    assert found.shape == array.shape
    low, high = np.percentile(array, (1, 99))
    expected = np.clip((array - low) / (high - low), 0, 1) * 255
    assert np.abs(found - expected).max() <= 2


def test_a_page_shows_a_picture_or_the_values():
    array = numbers("<f4", (40, 50))
    page = Cells(exported(array, "html").decode())
    assert page.rows == []
    data = base64.b64decode(page.images[0].removeprefix("data:image/png;base64,"), validate=True)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(io.BytesIO(data))), image(array))
    small = numbers("<f8", (3, 4))
    assert [
        [float(cell) for cell in row] for row in Cells(exported(small, "html").decode()).rows
    ] == small.tolist()
    assert Cells(exported(np.int8(-4), "html").decode()).rows == [["-4"]]


# -- TIFF ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(2, 3, 4, 5), (5, 3, 7), (40, 50, 3), (3, 40, 50, 4), (300, 1000), (7, 300, 301)]
)
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<f4"])
def test_tiff_pages_and_strips(shape, dtype):
    array = numbers(dtype, shape)
    data = exported(array, "tiff")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        is_colored = dtype in ("u1", "<u2", ">u2") and len(shape) > 2 and shape[-1] in (3, 4)
        assert len(file.pages) == np.prod(shape[: -3 if is_colored else -2], dtype=int)
        again = file.asarray()
        assert again.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(again.reshape(shape), array)


def test_tiff_opens_in_pillow_too():
    array = numbers("<u2", (3, 20, 30))
    opened = PIL.Image.open(io.BytesIO(exported(array, "tiff")))
    assert opened.n_frames == 3
    for number in range(3):
        opened.seek(number)
        np.testing.assert_array_equal(np.asarray(opened), array[number])


def test_a_tiff_over_four_gib_is_a_big_one():
    exports = exports_of("array")
    made = exports.export("image/tiff", part_of(EndlessArray((3, 30_000, 30_000), np.uint16(7))))
    assert made.size > 2**32
    head = next(made.pieces)
    assert head[:4] == b"II\x2b\0"
    assert bytes(next(made.pieces)[:4]) == b"\7\0\7\0"
    made.pieces.close()
    too_many = EndlessArray((2_000_000, 2, 2), np.uint8(0))
    with pytest.raises(NotAcceptableError, match="pages of TIFF; slice it"):
        exported(too_many, "tiff")


def test_an_error_while_a_piece_is_made_is_not_swallowed():
    from holdfast.errors import UnreadableError

    for name in ("bin", "npy", "json", "csv", "h5", "tiff", "txt"):
        exports = exports_of("array")
        source = EndlessArray((4096, 1024), 1.5, fails_after=20 << 20)
        made = exports.export(exports.aliases[name], part_of(source))
        sent = []
        with pytest.raises(UnreadableError, match="damaged"):
            sent.extend(map(len, made.pieces))
        assert sum(sent) > 1 << 20
        assert made.size is None or sum(sent) < made.size
