"""NetCDF, FITS and Zarr that were cut, flipped or made up: what is there, or an error of ours, in time."""

from __future__ import annotations

import io
import json
import os
import time
import warnings
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.test_damaged_files import EDITS, LONGEST_S, edited, read_everything
from fuzz.test_text_parsers import JSON_VALUES
from holdfast.errors import HoldfastError, UnreadableError
from holdfast.formats.registry import entry_names
from holdfast.formats.zarr.codecs import byte_codec
from holdfast.formats.zarr.types import fill_value, type_of_v2, type_of_v3

# Many small cases, or servers that work for a while: minutes in all.
pytestmark = pytest.mark.slow

netCDF4 = pytest.importorskip("netCDF4")
zarr = pytest.importorskip("zarr")
fits = pytest.importorskip("astropy.io.fits")
numcodecs = pytest.importorskip("numcodecs")

EXAMPLES = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
IMAGE = np.arange(60, dtype="i2").reshape(6, 10)


def netcdf(version):
    file = netCDF4.Dataset("made", "w", format=version, memory=1024)
    for name, length in (("time", None), ("x", 3)):
        file.createDimension(name, length)
    file.title = "fuzz"
    file.createVariable("time", "f8", ("time",))[:] = np.arange(4)
    file.createVariable("values", "i2", ("time", "x"))[:] = 1
    return bytes(file.close())


def fits_file():
    out = io.BytesIO()
    columns = [
        fits.Column("a", "J", array=np.arange(3)),
        fits.Column("b", "PJ()", array=np.array([np.arange(n) for n in range(3)], dtype=object)),
    ]
    units = [fits.PrimaryHDU(), fits.CompImageHDU(IMAGE), fits.BinTableHDU.from_columns(columns)]
    fits.HDUList(units).writeto(out)
    return out.getvalue()


WHOLE = {
    "classic.nc": netcdf("NETCDF3_CLASSIC"),
    "wide.nc": netcdf("NETCDF3_64BIT_DATA"),
    "many.fits": fits_file(),
}


@pytest.mark.parametrize("name", WHOLE)
def test_damaged_files_are_read_or_refused_in_time(tmp_path, name):
    @EXAMPLES
    @given(EDITS)
    def check(edits: list[tuple[int, int, bytes]]) -> None:
        (tmp_path / name).write_bytes(edited(WHOLE[name], edits))
        started = time.perf_counter()
        with suppress(HoldfastError):
            read_everything(tmp_path / name)
        assert time.perf_counter() - started < LONGEST_S

    (tmp_path / name).write_bytes(WHOLE[name])
    read_everything(tmp_path / name)
    check()


def store(path, version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"shards": (6, 10), "chunks": (3, 5)} if version == 3 else {"chunks": (3, 5)}
        made = zarr.create_array(path, shape=IMAGE.shape, dtype="i2", zarr_format=version, **options)
        made[...] = IMAGE
    return next(path / name for name in entry_names() if (path / name).exists())


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_document_may_say_anything(tmp_path, version):
    entry = store(tmp_path / "a.zarr", version)
    document = json.loads(entry.read_text())

    @EXAMPLES
    @given(st.dictionaries(st.sampled_from(sorted(document)), JSON_VALUES, min_size=1, max_size=3))
    def check(changes: dict[str, object]) -> None:
        entry.write_text(json.dumps({**document, **changes}))
        with suppress(HoldfastError):
            read_everything(entry)

    read_everything(entry)
    check()


@pytest.mark.parametrize("version", [2, 3])
def test_a_damaged_zarr_chunk_is_read_or_refused(tmp_path, version):
    entry = store(tmp_path / "a.zarr", version)
    chunk = next(p for p in (tmp_path / "a.zarr").rglob("*0") if p.is_file())
    whole = chunk.read_bytes()

    @EXAMPLES
    @given(EDITS)
    def check(edits: list[tuple[int, int, bytes]]) -> None:
        chunk.write_bytes(edited(whole, edits))
        with suppress(HoldfastError):
            read_everything(entry)

    check()


@pytest.mark.parametrize(
    "name",
    [
        "gzip",
        "zlib",
        "bz2",
        "lzma",
        "blosc",
        "zstd",
        "lz4",
        "crc32c",
        "crc32",
        "adler32",
        "fletcher32",
        "packbits",
    ],
)
def test_codecs_answer_any_bytes_with_few_bytes_or_an_error(name):
    encoded = (
        [numcodecs.registry.get_codec({"id": name}).encode(os.urandom(50) + bytes(500))]
        if name != "packbits"
        else [b"\3" * 9]
    )

    @EXAMPLES
    @given(st.binary(max_size=200) | st.builds(edited, st.just(bytes(encoded[0])), EDITS))
    def check(data: bytes) -> None:
        with suppress(UnreadableError):
            found = byte_codec(name, {}).decode(data, 1000)
            assert len(found) <= max(1000, 8 * len(data))

    check()


def test_types_and_fill_values_are_values_or_refused():
    @settings(EXAMPLES, max_examples=100)
    @given(JSON_VALUES, JSON_VALUES)
    def check(data_type: object, fill: object) -> None:
        for read in (type_of_v2, type_of_v3):
            with suppress(UnreadableError):
                dtype = read(data_type)
                assert not dtype.hasobject
        for dtype in ("i1", "u8", "f4", "c8", "b1", "S3", "U2", "M8[s]", "V4"):
            with suppress(UnreadableError):
                np.full(2, fill_value(fill, np.dtype(dtype)), dtype)

    check()
