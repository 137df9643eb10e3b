"""Directories that are one node come home whole, each of their files verified."""

import os

import numpy as np
import pytest

from holdfast.catalog import check, download, from_catalog, index
from holdfast.catalog.client.session import Session
from holdfast.catalog.tree import Catalog
from holdfast.errors import BulkError, HashError

zarr = pytest.importorskip("zarr")

LINE = np.arange(100_000.0)


@pytest.fixture
def lab(tmp_path):
    root = tmp_path / "lab"
    root.mkdir()
    group = zarr.open_group(root / "scan.zarr", mode="w")
    # One chunk is larger than a block of digests.
    group.create_array("big", shape=LINE.shape, dtype="f8", chunks=(50_000,), compressors=None)[:] = LINE
    group.create_array("deep/small", shape=(4,), dtype="i4", chunks=(2,))[:] = 1
    (root / "notes.txt").write_text("hello\n")
    for directory, _, names in os.walk(root):
        for name in names:
            os.utime(os.path.join(directory, name), (1e9, 1e9))
    index(root)
    return root


def files_of(directory):
    return {
        path.relative_to(directory).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.is_file() and ".holdfast" not in path.parts
    }


def asset_of(directory):
    with Catalog(directory) as catalog:
        row = catalog.node(("scan.zarr",))
        return catalog.sources([row])[row.id][0].assets[0]


@pytest.mark.parametrize("chosen", [None, "scan.zarr", "scan.zarr/big"])
def test_a_store_comes_home_whole_and_is_verified_there(lab, tmp_path, chosen):
    client = from_catalog(lab)
    report = download(client if chosen is None else client[chosen], tmp_path / "stuff")
    assert report.ok
    # Nothing had to be digested on arrival: every file was compared with what was recorded.
    assert report.notes == []
    wanted = {name: each for name, each in files_of(lab).items() if chosen is None or name != "notes.txt"}
    assert files_of(tmp_path / "stuff" / "data") == wanted
    home = from_catalog(tmp_path / "stuff")
    assert np.array_equal(home["scan.zarr/big"][...], LINE)
    assert check(tmp_path / "stuff").ok
    assert asset_of(tmp_path / "stuff").digest == asset_of(lab).digest


def test_a_second_download_brings_only_what_changed_and_keeps_what_it_has(lab, tmp_path):
    download(from_catalog(lab), tmp_path / "stuff")
    before = {path: path.stat().st_ino for path in (tmp_path / "stuff" / "data").rglob("c/*")}
    download(from_catalog(lab)["notes.txt"], tmp_path / "stuff")
    assert check(tmp_path / "stuff").ok
    assert np.array_equal(from_catalog(tmp_path / "stuff")["scan.zarr/big"][...], LINE)
    download(from_catalog(lab), tmp_path / "stuff")
    assert {path: path.stat().st_ino for path in (tmp_path / "stuff" / "data").rglob("c/*")} == before


def test_a_flipped_bit_at_the_source_does_not_come_home(lab, tmp_path):
    chunk = lab / "scan.zarr/big/c/1"
    data = bytearray(chunk.read_bytes())
    data[300_000] ^= 1
    chunk.write_bytes(data)
    os.utime(chunk, (1e9, 1e9))
    with pytest.raises(BulkError) as raised:
        download(from_catalog(lab), tmp_path / "stuff")
    assert any(isinstance(error, HashError) for error in raised.value.exceptions)
    assert not (tmp_path / "stuff").exists()


def test_the_client_exports_the_files_of_a_store(lab, tmp_path):
    written = from_catalog(lab)["scan.zarr"].raw_export(tmp_path / "out")
    assert len(written) == sum(name.startswith("scan.zarr/") for name in files_of(lab))
    assert np.array_equal(zarr.open_group(tmp_path / "out", mode="r")["big"][:], LINE)


def test_the_manifest_is_tileds_and_says_what_is_known_of_each_file(lab):
    session: Session = from_catalog(lab).session
    answer = session.get("asset/manifest", ("scan.zarr", "big"), [("id", str(asset_of(lab).id))])
    assert set(answer["manifest"]) == set(answer["members"])
    assert answer["members"]["big/c/1"]["size"] == 400_000
    assert answer["members"]["big/c/1"]["digest"].startswith("blake3:")
