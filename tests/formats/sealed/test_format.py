"""Sealed files among the formats: all rows, verified, and nothing of the seal to be seen."""

import numpy as np
import pytest

from holdfast.errors import HashError, NotFoundError
from holdfast.formats.registry import detect, get_format
from holdfast.formats.sealed import Appends, as_rows, prepare, write
from holdfast.formats.sealed.format import SEALED
from holdfast.formats.source import Source


@pytest.fixture
def path(tmp_path):
    return tmp_path / "walk.h5"


def test_sealed_files_are_described_with_the_rows_of_their_log(path):
    write(str(path), "x", prepare(np.arange(12.0).reshape(4, 3)), "os")
    appends = Appends("os")
    appends.append(str(path), "x", as_rows(prepare(np.ones(3)), is_item=True))
    with Source(path) as source:
        assert detect(source) is SEALED
        found = SEALED.describe(source)
    assert [child.key for child in found.root.children] == ["data"]
    assert found.root.children[0].structure["shape"] == [5, 3]
    assert [link.is_present for link in found.root.linked] == [True]
    assert get_format(found.media_type) is SEALED


@pytest.mark.parametrize(
    "value",
    [np.arange(60).reshape(3, 4, 5), ["a", "bbb"], np.float64(2.5), np.zeros(2, [("a", "i1"), ("b", "f8")])],
)
def test_sealed_arrays_are_read_by_slices(path, value):
    SEALED.write(path, value)
    with SEALED.open(Source(path)) as file:
        array = file.array({"dataset": "data"})
        assert array.is_verified
        assert np.array_equal(array.read(), value)
        if array.structure.shape:
            assert np.array_equal(array.read(np.s_[::-1]), np.asarray(value)[::-1])
        with pytest.raises(NotFoundError):
            file.array({"dataset": "_holdfast"})


def test_damage_is_seen(path):
    SEALED.write(path, np.arange(1000.0))
    data = bytearray(path.read_bytes())
    data[-2000] ^= 1
    path.write_bytes(data)
    with Source(path) as source, pytest.raises(HashError):
        SEALED.describe(source)
    path.write_bytes(data[:-40])
    with Source(path) as source:
        assert detect(source) is SEALED
        with pytest.raises(HashError):
            SEALED.describe(source)
