"""A flipped bit is an error that names the object, never a wrong byte, whoever asks."""

from __future__ import annotations

import os

import numpy as np
import pytest

from conftest_catalog import open_site
from holdfast.catalog import index
from holdfast.errors import HashError, HoldfastError
from holdfast.hashing import Digest

SIZE = 4_000_128
PLACES = [0, 127, 128, 262_143, 262_144, 1_999_999, SIZE - 1]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    top = tmp_path_factory.mktemp("damaged")
    np.save(top / "a.npy", np.arange(500_000.0))
    os.utime(top / "a.npy", (1, 1))
    index(top)
    return top


@pytest.fixture(params=PLACES)
def flipped(request, home):
    """Flip one bit and leave size and times as they were."""
    path = home / "a.npy"
    with path.open("r+b") as file:
        for _ in range(2):
            file.seek(request.param)
            byte = file.read(1)[0]
            file.seek(request.param)
            file.write(bytes([byte ^ 4]))
            file.flush()
            os.utime(path, (1, 1))
            yield home
            return


@pytest.fixture(autouse=True)
def whole_again(home):
    kept = (home / "a.npy").read_bytes()
    yield
    (home / "a.npy").write_bytes(kept)
    os.utime(home / "a.npy", (1, 1))


def asset(connection):
    attributes = connection.get_json("/metadata/a.npy", {"include_data_sources": True})["data"]["attributes"]
    return attributes["data_sources"][0]["assets"][0]


def test_no_client_gets_a_wrong_file(flipped, tmp_path):
    with open_site(flipped) as (_, connection):
        entry = asset(connection)
        with pytest.raises(HashError, match=r"a\.npy"):
            connection.get_bytes(f"/assets/{entry['id']}")
        with pytest.raises(HashError, match=r"a\.npy"):
            connection.fetch_file(
                f"/assets/{entry['id']}",
                tmp_path / "a.npy",
                digest=Digest.parse(entry["digest"]),
                size=entry["size"],
            )
        assert os.listdir(tmp_path) == []


def test_no_client_gets_a_wrong_array(flipped):
    with open_site(flipped) as (_, connection):
        found = np.empty(500_000)
        with pytest.raises(HoldfastError):
            connection.read_into("/array/full/a.npy", found.data)
        with pytest.raises(HoldfastError):
            connection.get_bytes("/array/full/a.npy")


def test_parts_that_are_whole_are_still_given(home):
    path = home / "a.npy"
    with path.open("r+b") as file:
        file.seek(3_000_000)
        byte = file.read(1)[0]
        file.seek(3_000_000)
        file.write(bytes([byte ^ 1]))
    os.utime(path, (1, 1))
    with open_site(home) as (_, connection):
        found = np.empty(1000)
        assert connection.read_into("/array/full/a.npy", found.data, {"slice": "0:1000"}).checked == "stored"
        assert found[999] == 999.0
        with pytest.raises(HashError):
            connection.read_into("/array/full/a.npy", found.data, {"slice": "374900:375900"})
