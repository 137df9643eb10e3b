"""Array data over the wire is what NumPy has."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog_arrays import ARRAYS
from holdfast.errors import InvalidInputError, NotAcceptableError, OutOfRangeError

CUBE = "/array/full/box/a.h5/cube"


def octets(connection, path, dtype, **params):
    return np.frombuffer(connection.get_bytes(path, params), dtype)


@pytest.mark.parametrize("name", ARRAYS)
def test_bytes_of_every_type_are_numpys(connection, name):
    value = ARRAYS[name]
    assert connection.get_bytes(f"/array/full/box/a.h5/{name}") == value.tobytes()


@pytest.mark.parametrize("name", [*ARRAYS, "record", "text"])
def test_npy_opens_in_numpy(connection, name):
    loaded = np.load(io.BytesIO(connection.get_bytes(f"/array/full/box/a.h5/{name}", {"format": "npy"})))
    if name in ARRAYS:
        assert loaded.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(loaded, ARRAYS[name])


PART = st.one_of(
    st.integers(-3, 2),
    st.slices(5),
    st.just(Ellipsis),
)


def written(part):
    if part is Ellipsis:
        return "..."
    if isinstance(part, int):
        return str(part)
    bounds = ["" if each is None else str(each) for each in (part.start, part.stop, part.step)]
    return ":".join(bounds)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.lists(PART, max_size=3))
def test_every_slice_is_numpys(local, parts):
    if parts.count(Ellipsis) > 1:
        parts = [part for part in parts if part is not Ellipsis]
    text, cube = ",".join(map(written, parts)), ARRAYS["cube"]
    try:
        expected = cube[tuple(parts)]
    except IndexError:
        with pytest.raises(OutOfRangeError):
            local.get_bytes(CUBE, {"slice": text})
        return
    shape = ",".join(map(str, expected.shape)) or "scalar"
    answer = local.get_bytes(CUBE, {"slice": text, "expected_shape": shape})
    assert answer == expected.tobytes()


def test_a_block_and_a_slice_of_it(connection):
    whole = np.arange(400_000.0).reshape(400, 1000)
    structure = connection.get_json("/metadata/box/a.h5/zipped")["data"]["attributes"]["structure"]
    rows, columns = structure["chunks"]
    first = whole[: rows[0], : columns[0]]
    path = "/array/block/box/a.h5/zipped"
    assert connection.get_bytes(path, {"block": "0,0"}) == first.tobytes()
    part = connection.get_bytes(path, {"block": "0,0", "slice": "3:1:-1,::7"})
    assert part == first[3:1:-1, ::7].tobytes()
    assert connection.get_bytes("/array/block/box/a.h5/scalar", {"block": ""}) == ARRAYS["scalar"].tobytes()


@pytest.mark.parametrize("block", ["0", "0,0,0", "99,0", "-1,0", "a,b", "0,"])
def test_a_block_that_is_not_there_is_refused(connection, block):
    with pytest.raises((InvalidInputError, OutOfRangeError)):
        connection.get_bytes("/array/block/box/a.h5/zipped", {"block": block})


@pytest.mark.parametrize(
    "text", ["1:2:0", "x", "0,0,0,0", "...,...", "1:2:3:4", "1e3", "0" * 5000, "99999999999999999999"]
)
def test_a_malformed_slice_is_refused(connection, text):
    with pytest.raises(InvalidInputError):
        connection.get_bytes(CUBE, {"slice": text})


@pytest.mark.parametrize("text", ["3", "-4", "0,4", "0,0,5"])
def test_an_index_out_of_range_is_refused_as_numpy_does(connection, text):
    with pytest.raises(OutOfRangeError):
        connection.get_bytes(CUBE, {"slice": text})


@pytest.mark.parametrize("shape", ["3,4", "3,4,6", "scalar", "x", "", "-1"])
def test_another_shape_than_expected_is_refused(connection, shape):
    with pytest.raises(InvalidInputError, match="expected_shape"):
        connection.get_bytes(CUBE, {"expected_shape": shape})


def test_json_is_nested_lists(connection):
    def fetched(name, **params):
        return json.loads(connection.get_bytes(f"/array/full/box/a.h5/{name}", {"format": "json", **params}))

    assert fetched("cube") == ARRAYS["cube"].tolist()
    assert fetched("cube", slice="::-1,1") == ARRAYS["cube"][::-1, 1].tolist()
    assert fetched("scalar") == 2.5
    assert fetched("empty") == []
    assert fetched("bool") == [True, False, True]
    with pytest.raises(NotAcceptableError, match="complex numbers have no form as text"):
        fetched("complex")
    assert fetched("bytes") == ["a", "bcd"]
    assert fetched("text") == ["x", "yé"]
    assert fetched("record") == [[1, 2.5], [3, None]]


def test_long_arrays_are_written_in_parts(connection):
    whole = np.load(
        io.BytesIO(connection.get_bytes("/asset/bytes/box/large.npy", asset_of(connection, "box/large.npy")))
    )
    assert json.loads(connection.get_bytes("/array/full/box/large.npy", {"format": "json"})) == whole.tolist()
    lines = connection.get_bytes("/array/full/box/large.npy", {"format": "csv"}).decode().splitlines()
    assert len(lines) == 500
    assert [float(cell) for cell in lines[499].split(",")] == whole[499].tolist()


def asset_of(connection, path):
    attributes = connection.get_json(f"/metadata/{path}", {"include_data_sources": True})["data"][
        "attributes"
    ]
    return {"id": attributes["data_sources"][0]["assets"][0]["id"]}


def test_csv_has_rows_and_columns(connection):
    def fetched(name, **params):
        return connection.get_bytes(f"/array/full/box/a.h5/{name}", {"format": "csv", **params}).decode()

    assert fetched("big_i4") == "0,1,2\n3,4,5\n"
    assert fetched("u1") == "0\n1\n2\n3\n4\n"
    assert fetched("scalar") == "2.5\n"
    assert fetched("record") == "a,b\n1,2.5\n3,nan\n"
    assert fetched("cube", slice="0") == "0,1,2,3,4\n5,6,7,8,9\n10,11,12,13,14\n15,16,17,18,19\n"


def test_a_format_that_is_not_possible_names_those_that_are(connection):
    for params in ({"format": "xlsx"}, {"format": "png"}):
        with pytest.raises(NotAcceptableError, match="application/x-npy"):
            connection.get_bytes(CUBE, params)
    with pytest.raises(NotAcceptableError, match="no form as CSV"):
        connection.get_bytes(CUBE, {"format": "csv"})
    with pytest.raises(NotAcceptableError, match="image/tiff"):
        connection.get_bytes(CUBE, headers={"accept": "image/png"})


def test_a_filename_is_offered_and_can_be_chosen(connection):
    with connection.open("GET", CUBE, {"format": "npy"}) as answer:
        assert answer.headers.get("content-disposition") == 'attachment; filename="cube.npy"'
    with connection.open("GET", CUBE, {"format": "npy", "filename": 'a"b/c.npy'}) as answer:
        assert answer.headers.get("content-disposition").startswith('attachment; filename="c.npy"')


def test_what_is_no_array_is_refused(connection):
    for path in ("box", "box/t.csv", "box/sub/n.json"):
        with pytest.raises(InvalidInputError, match="family"):
            connection.get_bytes(f"/array/full/{path}")


def test_a_column_of_a_table_is_an_array(connection):
    assert octets(connection, "/array/full/box/t.csv/A", "<i8").tolist() == [1, 2, 3]


def test_large_contiguous_arrays_are_checked_against_the_recorded_digests(connection, served):
    expected = np.load(served / "box" / "large.npy")
    found = np.empty_like(expected)
    assert connection.read_into("/array/full/box/large.npy", found.data).checked == "stored"
    np.testing.assert_array_equal(found, expected)
    part = np.empty((300, 1000))
    arrival = connection.read_into("/array/full/box/large.npy", part.data, {"slice": "77:377"})
    assert (arrival.checked, arrival.size_bytes) == ("stored", 2_400_000)
    np.testing.assert_array_equal(part, expected[77:377])


def test_decoded_arrays_are_checked_on_their_way(connection):
    found = np.empty((400, 1000))
    assert connection.read_into("/array/full/box/a.h5/zipped", found.data).checked in {"sent", "stored"}
    np.testing.assert_array_equal(found, np.arange(400_000.0).reshape(400, 1000))


def test_small_arrays_say_what_they_were_checked_against(connection):
    found = np.empty((10, 10))
    assert connection.read_into("/array/full/box/small.npy", found.data).checked == "stored"
    assert found[9, 9] == 99.0
