"""Classic NetCDF: the contract, three versions as the NetCDF library writes them, and headers that lie."""

import struct

import numpy as np
import pytest

from holdfast.errors import HashError, HoldfastError, NotFoundError, UnreadableError
from holdfast.formats.netcdf import NETCDF
from holdfast.formats.registry import detect, get_format
from holdfast.formats.source import Source
from holdfast.testing.formats import FormatTests, Sample, block_digests

netCDF4 = pytest.importorskip("netCDF4")

RNG = np.random.default_rng(3)
VERSIONS = {"NETCDF3_CLASSIC": 1, "NETCDF3_64BIT_OFFSET": 2, "NETCDF3_64BIT_DATA": 5}
FIXED = {
    "temperature": (("y", "x"), RNG.random((4, 5))),
    "mask": (("y", "x"), RNG.integers(-9, 9, (4, 5)).astype("i1")),
    "x": (("x",), np.arange(5, dtype="f4")),
    "name": (("x",), np.array([b"a", b"b", b"", b"d", b"e"], "S1")),
    "scalar": ((), np.array(7, "i4")),
}
RECORDS = {
    "time": (("time",), np.arange(6.0)),
    "counts": (("time", "y", "x"), RNG.integers(0, 999, (6, 4, 5)).astype("i2")),
    "flag": (("time", "x"), RNG.integers(0, 2, (6, 5)).astype("i1")),
}
WIDE = {
    "u1": (("x",), np.arange(250, 255, dtype="u1")),
    "u2": (("x",), np.arange(65530, 65535, dtype="u2")),
    "u4": (("x",), np.arange(5, dtype="u4") + 4_000_000_000),
    "i8": (("x",), np.arange(5) - (1 << 62)),
    "u8": (("x",), np.arange(5, dtype="u8") + (1 << 63)),
}


def write(path, version="NETCDF3_CLASSIC", variables=None):
    with netCDF4.Dataset(path, "w", format=version) as file:
        file.set_auto_maskandscale(False)
        for name, length in (("time", None), ("y", 4), ("x", 5)):
            file.createDimension(name, length)
        file.title = "a test"
        file.levels = np.array([1, 2, 3], "i4")
        for name, (dims, values) in (variables or {}).items():
            variable = file.createVariable(name, values.dtype, dims)
            variable.set_auto_maskandscale(False)
            variable[...] = values
            if name == "counts":
                variable.setncatts({"scale_factor": 0.5, "units": "K"})
    return path


def expected(variables):
    return [
        ({"dataset": name}, np.asarray(values, values.dtype.newbyteorder(">")))
        for name, (_, values) in variables.items()
    ]


CASES = {
    **{f"{name} fixed and records": (name, FIXED | RECORDS) for name in list(VERSIONS)[1:]},
    "one record variable that is not padded": (
        "NETCDF3_CLASSIC",
        {"odd": (("time", "x"), RECORDS["flag"][1])},
    ),
    "types of CDF-5": ("NETCDF3_64BIT_DATA", FIXED | WIDE),
}


class TestNetcdf(FormatTests):
    @pytest.fixture(params=CASES)
    def sample(self, request, tmp_path):
        version, variables = CASES[request.param]
        path = write(tmp_path / "a.cdf", version, variables)
        assert path.read_bytes()[3] == VERSIONS[version]
        return Sample(NETCDF, path, arrays=expected(variables))


def describe(path):
    with Source(path) as source:
        return NETCDF.describe(source).root


def test_dimensions_attributes_and_coordinates_are_described(tmp_path):
    root = describe(write(tmp_path / "a.nc", variables=FIXED | RECORDS))
    assert root.metadata["title"] == "a test"
    assert root.metadata["levels"] == [1, 2, 3]
    assert root.specs == ["xarray_dataset"]
    found = {child.key: child for child in root.children}
    assert found["counts"].structure["dims"] == ["time", "y", "x"]
    assert found["counts"].metadata["attrs"] == {"scale_factor": 0.5, "units": "K"}
    assert found["counts"].specs == ["xarray_data_var"]
    assert found["time"].specs == found["x"].specs == ["xarray_coord"]


def test_a_variable_without_records_is_empty(tmp_path):
    empty = {"counts": (("time", "y", "x"), np.zeros((0, 4, 5), "i2"))}
    path = write(tmp_path / "a.nc", variables=empty)
    with NETCDF.open(Source(path)) as file:
        assert file.array({"dataset": "counts"}).read().shape == (0, 4, 5)


def test_a_stream_that_left_the_number_of_records_open_has_those_that_are_there(tmp_path):
    path = write(tmp_path / "a.nc", variables=RECORDS)
    data = bytearray(path.read_bytes())
    data[4:8] = b"\xff" * 4
    path.write_bytes(data)
    with NETCDF.open(Source(path)) as file:
        assert np.array_equal(file.array({"dataset": "counts"}).read(), RECORDS["counts"][1])


def test_netcdf_4_is_read_as_hdf5_whatever_a_server_called_it(tmp_path):
    path = write(tmp_path / "a.nc", "NETCDF4", {"x": FIXED["x"]})
    with Source(path) as source:
        assert detect(source).name == "hdf5"
    with get_format("application/x-netcdf").open(Source(path)) as file:
        assert np.array_equal(file.array({"dataset": "x"}).read(), FIXED["x"][1])


def test_an_unknown_variable_is_named(tmp_path):
    path = write(tmp_path / "a.nc", variables=FIXED)
    with NETCDF.open(Source(path)) as file, pytest.raises(NotFoundError, match="no variable 'nope'"):
        file.array({"dataset": "nope"})


def test_names_that_no_path_can_hold_are_noted(tmp_path):
    path = write(tmp_path / "a.nc", variables={"x": FIXED["x"], "name": FIXED["name"]})
    path.write_bytes(path.read_bytes().replace(b"\x00\x00\x00\x04name", b"\x00\x00\x00\x04../a"))
    root = describe(path)
    assert [child.key for child in root.children] == ["x"]
    assert root.metadata["holdfast"]["unlisted"] == ["../a"]


def test_a_flipped_bit_in_a_record_is_an_error_where_digests_are_known(tmp_path):
    path = write(tmp_path / "a.nc", variables=RECORDS)
    digests = block_digests(path)
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes(data)
    with pytest.raises(HashError), NETCDF.open(Source(path, digests=digests)) as file:
        file.array({"dataset": "counts"}).read((-1, 0))


def text(name):
    return struct.pack(">I", len(name)) + name + bytes(-len(name) % 4)


def made(dims=((b"x", 4),), variables=(), version=1, records=0, tail=b""):
    """A CDF-1 or CDF-2 header; a variable is (name, dimension numbers, type, begin)."""
    out = b"CDF" + bytes([version]) + struct.pack(">I", records)
    out += struct.pack(">II", 10, len(dims)) + b"".join(text(n) + struct.pack(">I", size) for n, size in dims)
    out += bytes(8)
    out += struct.pack(">II", 11, len(variables)) if variables else bytes(8)
    for name, numbers, kind, begin in variables:
        out += text(name) + struct.pack(f">I{len(numbers)}I", len(numbers), *numbers) + bytes(8)
        out += struct.pack(">IIQ" if version == 2 else ">III", kind, 0, begin)
    return out + tail


HOSTILE = {
    "a terabyte in a kilobyte": made(
        ((b"x", 1 << 31), (b"y", 512)), [(b"a", (0, 1), 6, 200)], tail=bytes(900)
    ),
    "a product that overflows": made(((b"x", 0xFFFFFFFF),), [(b"a", (0,) * 9, 6, 200)], tail=bytes(900)),
    "a trillion records": made(((b"t", 0),), [(b"a", (0,), 6, 100)], records=0xFFFFFFFE, tail=bytes(900)),
    "data before the end of nothing": made(variables=[(b"a", (0,), 6, 1 << 60)], version=2),
    "an element type that is none": made(variables=[(b"a", (0,), 99, 100)], tail=bytes(99)),
    "a type of CDF-5 in CDF-1": made(variables=[(b"a", (0,), 11, 100)], tail=bytes(99)),
    "a dimension that is not there": made(variables=[(b"a", (7,), 6, 100)], tail=bytes(99)),
    "more axes than any array": made(variables=[(b"a", (0,) * 65, 6, 100)], tail=bytes(99)),
    "a growing axis inside": made(((b"x", 4), (b"t", 0)), [(b"a", (0, 1), 6, 100)], tail=bytes(99)),
    "two variables of one name": made(variables=[(b"a", (0,), 4, 100)] * 2, tail=bytes(99)),
    "a list without its tag": b"CDF\x01" + bytes(4) + struct.pack(">II", 0, 9) + bytes(99),
    "two billion dimensions": b"CDF\x01" + bytes(4) + struct.pack(">II", 10, 1 << 31) + bytes(99),
    "a name of four gigabytes": b"CDF\x01" + bytes(4) + struct.pack(">III", 10, 1, 0xFFFFFFFF) + bytes(99),
    "a name that is not UTF-8": made(((b"\xff\xfe", 4),)),
    "a negative number in CDF-5": b"CDF\x05" + bytes(8) + struct.pack(">IQ", 10, 1 << 63) + bytes(99),
    "only the magic": b"CDF\x01",
    "nothing": b"",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_header_is_refused_before_memory_is_taken(tmp_path, content):
    path = tmp_path / "a.nc"
    path.write_bytes(content)
    with Source(path) as source, pytest.raises(UnreadableError, match=r"a\.nc"):
        NETCDF.describe(source)


def test_any_single_byte_may_be_wrong_and_the_answer_is_an_error_or_an_array(tmp_path):
    whole = write(tmp_path / "a.nc", variables=FIXED | RECORDS).read_bytes()
    path = tmp_path / "b.nc"
    for position in range(0, 900, 29):
        data = bytearray(whole)
        data[position] ^= 0x55
        path.write_bytes(data)
        try:
            root = describe(path)
            with NETCDF.open(Source(path)) as file:
                for child in root.children:
                    assert file.array(child.parameters).read().nbytes <= len(whole)
        except HoldfastError:
            continue
