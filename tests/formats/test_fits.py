"""FITS: the contract, values equal to astropy's, and files that lie."""

import gzip
import sys
import tracemalloc
import warnings

import numpy as np
import pytest

from holdfast.errors import HoldfastError, MissingDependencyError, NotFoundError, UnreadableError
from holdfast.formats.fits import FITS
from holdfast.formats.source import Source
from holdfast.formats.tables import Table
from holdfast.testing.formats import FormatTests, Sample, indexes, nodes

fits = pytest.importorskip("astropy.io.fits")

RNG = np.random.default_rng(8)
IMAGE = RNG.integers(-999, 999, (40, 30)).astype(">i4")
SPECTRA = RNG.random((7, 3)).astype("f4")
COLUMNS = [
    fits.Column("id", "J", array=np.arange(7)),
    fits.Column("energy", "D", array=RNG.random(7)),
    fits.Column("name", "8A", array=["Ag", "", "c", "d", "e", "f", "g" * 8]),
    fits.Column("good", "L", array=np.arange(7) % 2 == 0),
    fits.Column("counts", "I", bzero=32768, array=np.arange(7, dtype="u2") + 65000),
    fits.Column("hits", "PJ()", array=np.array([np.arange(n) for n in range(7)], dtype=object)),
]
EVENTS = Table(
    {
        "id": np.arange(7, dtype="i4"),
        "energy": COLUMNS[1].array,
        "name": np.array(["Ag", "", "c", "d", "e", "f", "g" * 8]),
        "good": np.arange(7) % 2 == 0,
        "counts": np.arange(7, dtype="u2") + 65000,
        "hits": np.array([str(list(range(n))) for n in range(7)]),
    }
)
TEXT = Table({"a": np.arange(3, dtype="i2"), "t": np.array(["x", "yy", "zzz"]), "e": np.arange(3) * 1.5})


def text_table():
    columns = [
        fits.Column("a", "I4", array=TEXT["a"]),
        fits.Column("t", "A5", array=TEXT["t"]),
        fits.Column("e", "E12.5", array=TEXT["e"]),
    ]
    return fits.TableHDU.from_columns(columns, name="TEXT")


def save(path, *units):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits.HDUList(list(units)).writeto(path)
    return path


def one_image(path):
    save(path, fits.PrimaryHDU(IMAGE))
    return [({"hdu": "PRIMARY"}, IMAGE)], []


def several_images(path):
    cube = RNG.random((3, 4, 5)).astype(">f8")
    save(
        path,
        fits.PrimaryHDU(),
        fits.ImageHDU(IMAGE, name="SCI"),
        fits.ImageHDU(cube, name="CUBE"),
        fits.ImageHDU(np.arange(10, dtype="u2")),
        fits.CompImageHDU(IMAGE, name="RICE", tile_shape=(8, 16)),
        fits.CompImageHDU(IMAGE, name="GZIP", compression_type="GZIP_2"),
    )
    native = IMAGE.astype("i4")
    arrays = {"SCI": IMAGE, "CUBE": cube, "3": np.arange(10, dtype="u2"), "RICE": native, "GZIP": native}
    return [({"hdu": key}, array) for key, array in arrays.items()], []


def tables(path):
    vectors = [fits.Column("flux", "3E", array=SPECTRA), fits.Column("phase", "C", array=SPECTRA[:, 0] * 1j)]
    save(
        path,
        fits.PrimaryHDU(),
        fits.BinTableHDU.from_columns(COLUMNS, name="EVENTS"),
        text_table(),
        fits.BinTableHDU.from_columns(vectors, name="SPECTRA"),
    )
    arrays = [
        ({"hdu": "SPECTRA", "column": "flux"}, SPECTRA),
        ({"hdu": "SPECTRA", "column": "phase"}, (SPECTRA[:, 0] * 1j).astype("c8")),
    ]
    return arrays, [({"hdu": "EVENTS"}, EVENTS), ({"hdu": "TEXT"}, TEXT)]


class TestFits(FormatTests):
    @pytest.fixture(params=[one_image, several_images, tables])
    def sample(self, request, tmp_path):
        path = tmp_path / "a.fits"
        arrays, found = request.param(path)
        return Sample(FITS, path, arrays=arrays, tables=found)


def describe(path):
    with Source(path) as source:
        return FITS.describe(source).root


# Values


SCALED = {
    "unsigned 16": fits.PrimaryHDU(np.array([[0, 1], [32768, 65535]], "u2")),
    "unsigned 32": fits.PrimaryHDU(np.array([0, 1 << 31, (1 << 32) - 1], "u4")),
    "unsigned 64": fits.PrimaryHDU(np.array([0, 1 << 63, (1 << 64) - 1], "u8")),
    "signed bytes": fits.PrimaryHDU(np.array([-128, -1, 0, 127], "i1")),
}


@pytest.mark.parametrize("name", SCALED)
def test_unsigned_integers_and_signed_bytes_are_what_was_saved(tmp_path, name):
    path = save(tmp_path / "a.fits", SCALED[name])
    with FITS.open(Source(path)) as file:
        found = file.array({}).read()
    assert found.dtype == SCALED[name].data.dtype.newbyteorder("=")
    assert np.array_equal(found, SCALED[name].data)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("cards", [{"BSCALE": 0.5, "BZERO": 10.0}, {"BSCALE": 2.0, "BLANK": 3}, {"BLANK": 7}])
def test_scaled_values_are_those_of_astropy(tmp_path, dtype, cards):
    if dtype in ("f4", "f8"):
        cards = {key: value for key, value in cards.items() if key != "BLANK"}
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(np.arange(24).reshape(4, 6).astype(dtype)))
    whole = bytearray(path.read_bytes())
    end = whole.index(b"END" + b" " * 77)
    added = b"".join(f"{key:<8}= {value:>20}".ljust(80).encode() for key, value in cards.items())
    whole[end : end + len(added) + 3] = added + b"END"
    path.write_bytes(whole)
    wanted = fits.getdata(path)
    with FITS.open(Source(path)) as file:
        array = file.array({})
        assert array.structure.dtype == array.read().dtype
        assert array.structure.dtype.newbyteorder("=") == wanted.dtype.newbyteorder("=")
        for index in indexes(2):
            assert np.array_equal(array.read(index), wanted[index], equal_nan=True)


def test_a_blank_of_zero_is_no_value_too(tmp_path):
    header = fits.Header([("BLANK", 0)])
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(np.arange(3, dtype="i2"), header))
    with FITS.open(Source(path)) as file:
        assert np.array_equal(file.array({}).read(), [np.nan, 1, 2], equal_nan=True)


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1", "NOCOMPRESS"])
def test_every_compression_reads_as_astropy_reads_it(tmp_path, kind):
    image = RNG.integers(0, 200, (32, 48)).astype("i2")
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(), fits.CompImageHDU(image, compression_type=kind))
    with FITS.open(Source(path)) as file:
        [child] = describe(path).children
        array = file.array(child.parameters)
        for index in indexes(2):
            assert np.array_equal(array.read(index), image[index])


def test_quantized_floats_read_as_astropy_reads_them(tmp_path):
    image = RNG.normal(1000, 10, (64, 64)).astype("f4")
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(), fits.CompImageHDU(image, name="Q", quantize_level=4))
    with FITS.open(Source(path)) as file:
        found = file.array({"hdu": "Q"}).read((slice(10, 20), slice(None, None, -1)))
    with fits.open(path) as opened:
        assert np.array_equal(found, opened["Q"].data[10:20, ::-1])


def test_a_table_of_many_rows_is_read_in_partitions(tmp_path):
    rows = np.arange(1_000_000)
    unit = fits.BinTableHDU.from_columns(
        [fits.Column("n", "K", array=rows), fits.Column("v", "2D", array=np.stack([rows, -rows], 1))],
        name="T",
    )
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(), unit)
    with FITS.open(Source(path)) as file:
        table = file.table({"hdu": "T"})
        assert table.structure.npartitions == 2
        assert np.array_equal(table.read()["n"], rows)
        assert len(table.read(partition=1)) == 1_000_000 - (16 << 20) // 24
        vectors = file.array({"hdu": "T", "column": "v"})
        assert np.array_equal(vectors.read((slice(900_000, 3, -7), 1)), -rows[900_000:3:-7])


# Descriptions


def test_headers_are_metadata_and_one_image_is_an_array_itself(tmp_path):
    unit = fits.PrimaryHDU(IMAGE)
    unit.header["OBJECT"] = ("M 31", "the target")
    unit.header["EXPTIME"] = 12.5
    unit.header["HIERARCH ESO TEL ALT"] = 45
    unit.header["NOTHING"] = None
    for line in ("bias subtracted", "flat fielded"):
        unit.header.add_history(line)
    root = describe(save(tmp_path / "a.fits", unit))
    assert root.family == "array"
    wanted = {"OBJECT": "M 31", "EXPTIME": 12.5, "ESO TEL ALT": 45, "NOTHING": None}
    assert {key: root.metadata[key] for key in wanted} == wanted
    assert root.metadata["HISTORY"] == ["bias subtracted", "flat fielded"]


def test_units_are_named_by_extname_or_number(tmp_path):
    units = [fits.ImageHDU(IMAGE, name=name) for name in ("SCI", "SCI", "A/B", "")]
    root = describe(save(tmp_path / "a.fits", fits.PrimaryHDU(IMAGE), *units))
    assert [child.key for child in root.children] == ["PRIMARY", "SCI", "2", "3", "4"]


def test_a_table_with_arrays_in_cells_is_a_container_of_them_and_the_rest(tmp_path):
    columns = [*COLUMNS[:2], fits.Column("flux", "3E", array=SPECTRA)]
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="T"))
    [unit] = describe(path).children
    assert {child.key: child.family for child in unit.children} == {"flux": "array", "table": "table"}


def test_what_is_not_there_is_named(tmp_path):
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(IMAGE), text_table())
    with FITS.open(Source(path)) as file:
        for parameters, words in [({"hdu": "X"}, "no unit 'X'"), ({"hdu": "TEXT"}, "is no image")]:
            with pytest.raises(NotFoundError, match=words):
                file.array(parameters)
        with pytest.raises(NotFoundError, match="no column 'z'"):
            file.array({"hdu": "TEXT", "column": "z"})
        with pytest.raises(NotFoundError, match="is no table"):
            file.table({"hdu": "PRIMARY"})


def test_random_groups_are_listed_with_the_reason_why_they_are_not_read(tmp_path):
    data = fits.GroupData(np.zeros((2, 3, 4)), bitpix=-32, parnames=["U"], pardata=[np.arange(2.0)])
    root = describe(save(tmp_path / "a.fits", fits.GroupsHDU(data)))
    assert "not read" in root.children[0].metadata["error"]


# Bad files


def test_without_astropy_the_error_names_the_extra(tmp_path, monkeypatch):
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(IMAGE))
    monkeypatch.setitem(sys.modules, "astropy.io.fits", None)
    with (
        Source(path) as source,
        pytest.raises(MissingDependencyError, match=r"pip install 'holdfast\[fits\]'"),
    ):
        FITS.describe(source)


def cards(*given, tail=b""):
    lines = b"".join(f"{key:<8}= {value:>20}".ljust(80).encode() for key, value in given)
    lines += b"END".ljust(80)
    return lines + b" " * (-len(lines) % 2880) + tail


def extension(kind, *given, tail=b""):
    first = cards(("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 0))
    return first + cards(("XTENSION", f"'{kind:<8}'"), *given, tail=tail)


def image(*axes, bits=8):
    named = [(f"NAXIS{n + 1}", length) for n, length in enumerate(axes)]
    return cards(("SIMPLE", "T"), ("BITPIX", bits), ("NAXIS", len(axes)), *named, tail=bytes(2880))


TABLE = [("BITPIX", 8), ("NAXIS", 2), ("PCOUNT", 0), ("GCOUNT", 1)]
HOSTILE = {
    "a terabyte in six kilobytes": image(1 << 40),
    "a product that overflows": image(*[1 << 20] * 9),
    "a negative length": image(-5, 4),
    "an element type that is none": image(5, bits=13),
    "a length that is a word": image("'abc'"),
    "a header without end": b"SIMPLE  =                    T".ljust(80) * 1000,
    "more axes than cards": cards(("SIMPLE", "T"), ("BITPIX", 8), ("NAXIS", 999)),
    "a table of a terabyte": extension(
        "BINTABLE", *TABLE[:2], ("NAXIS1", 1000), ("NAXIS2", 1 << 30), *TABLE[2:], ("TFIELDS", 0)
    ),
    "only the magic": b"SIMPLE  =",
    "nothing": b"",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_header_is_refused_before_memory_is_taken(tmp_path, content):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    tracemalloc.start()
    with Source(path) as source, pytest.raises(UnreadableError, match=r"a\.fits|negative|header"):
        FITS.describe(source)
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("form", "words"),
    [("999999999E", "sound|make up"), ("J", "make up"), ("QQ", "sound|make up"), ("1PJ(9)", "")],
)
def test_columns_that_lie_about_their_rows_are_an_error_of_their_unit(tmp_path, form, words):
    size = [("NAXIS1", 8), ("NAXIS2", 2)]
    content = extension(
        "BINTABLE",
        *TABLE[:2],
        *size,
        *TABLE[2:],
        ("TFIELDS", 1),
        ("TFORM1", f"'{form}'"),
        tail=b"\xff" * 2880,
    )
    (tmp_path / "a.fits").write_bytes(content)
    [unit] = describe(tmp_path / "a.fits").children
    if unit.family == "bytes":
        assert unit.metadata["error"]
        return
    with FITS.open(Source(tmp_path / "a.fits")) as file, pytest.raises(UnreadableError, match="outside"):
        file.table(unit.parameters).read()


def test_cells_that_share_a_large_heap_are_refused(tmp_path):
    cells = np.array([np.zeros(1 << 20, "u1"), *[np.zeros(1, "u1")] * 1999], dtype=object)
    unit = fits.BinTableHDU.from_columns([fits.Column("a", "PB()", array=cells)], name="T")
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(), unit)
    with fits.open(path) as opened:
        start = opened.fileinfo(1)["datLoc"]
    with open(path, "r+b") as raw:
        raw.seek(start)
        raw.write(np.array([[1 << 20, 0]] * 2000, ">i4").tobytes())
    tracemalloc.start()
    with FITS.open(Source(path)) as file, pytest.raises(UnreadableError, match="share bytes"):
        file.table({"hdu": "T"}).read()
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()


def test_a_tile_that_decompresses_to_more_than_it_may_is_refused(tmp_path):
    image = np.zeros((4, 500), "i2")
    path = save(
        tmp_path / "a.fits", fits.PrimaryHDU(), fits.CompImageHDU(image, compression_type="GZIP_1", name="C")
    )
    bomb = gzip.compress(bytes(100 << 20))
    with fits.open(path, disable_image_compression=True) as opened:
        header = opened[1].header
        header["PCOUNT"] = len(bomb)
        start = opened[1].fileinfo()["datLoc"]
    places = np.array([[len(bomb), 0]] * 4, ">i4").tobytes()
    before = path.read_bytes()[: start - len(header.tostring())]
    body = places + bomb
    path.write_bytes(before + header.tostring().encode() + body + bytes(-len(body) % 2880))
    tracemalloc.start()
    with FITS.open(Source(path)) as file, pytest.raises(UnreadableError, match="decompresses to more"):
        file.array({"hdu": "C"})
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("key", "value", "words"), [("ZTILE1", 1 << 40, "tile"), ("ZNAXIS2", 1 << 30, "tiles")]
)
def test_a_compressed_image_that_claims_too_much_is_an_error_of_its_unit(tmp_path, key, value, words):
    unit = fits.CompImageHDU(np.zeros((40, 50), "i2"), name="C")
    path = save(tmp_path / "a.fits", fits.PrimaryHDU(), unit)
    whole = path.read_bytes()
    at = whole.index(key.encode().ljust(8) + b"=")
    path.write_bytes(whole[: at + 10] + str(value).rjust(20).encode() + whole[at + 30 :])
    [child] = describe(path).children
    assert child.family == "bytes" or child.structure["shape"] == [40, 50]
    assert words in child.metadata.get("error", words)


def test_any_single_byte_of_a_header_may_be_wrong_and_the_answer_is_an_error_or_an_array(tmp_path):
    several_images(tmp_path / "a.fits")
    whole = (tmp_path / "a.fits").read_bytes()
    path = tmp_path / "b.fits"
    for position in range(3, 9000, 701):
        data = bytearray(whole)
        data[position] ^= 0x15
        path.write_bytes(data)
        try:
            root = describe(path)
            with FITS.open(Source(path)) as file:
                for node in nodes(root):
                    if node.family == "array":
                        assert file.array(node.parameters).read().nbytes < 1 << 20
        except HoldfastError:
            continue
