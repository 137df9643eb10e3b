"""Directories that are one node: listed once, verified by their files, followed as they grow."""

import json
import os
import subprocess
import threading
import time

import numpy as np
import pytest

from holdfast.catalog.checking import check
from holdfast.catalog.indexing import index
from holdfast.catalog.tree import Catalog
from holdfast.catalog.watching import Keeper
from holdfast.database import MEMBER
from holdfast.errors import ChangedError, HashError, MissingFileError
from holdfast.hashing import hash_file, hash_listing

zarr = pytest.importorskip("zarr")

IMAGE = np.arange(600, dtype="i4").reshape(20, 30)


@pytest.fixture
def lab(tmp_path):
    """A directory with a store, made long ago, beside other files."""
    root = tmp_path / "lab"
    root.mkdir()
    group = zarr.open_group(root / "scan.zarr", mode="w")
    group.attrs["sample"] = "Ag"
    group.create_array("deep/image", shape=IMAGE.shape, dtype="i4", chunks=(10, 10), fill_value=7)[:10] = (
        IMAGE[:10]
    )
    group.create_array("line", shape=(5,), dtype="f8", chunks=(2,))[:] = np.arange(5)
    (root / "notes.txt").write_text("hello\n")
    aged(root)
    return root


def aged(root):
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            status = os.stat(path)
            if time.time() - status.st_mtime < 60:
                os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 3600 * 10**9))


def touched(root):
    """Let what was written a moment ago have been written just now, however slow this machine is."""
    for name in ("zarr.json", "c/2", "c/3"):
        path = root / "scan.zarr" / "line" / name
        if path.exists():
            os.utime(path)


def read(catalog, *path):
    with catalog.array(path) as array:
        return array.read()


WANTED = np.where(np.arange(20)[:, None] < 10, IMAGE, 7)


def test_a_store_is_one_node_with_its_groups_and_arrays_below(lab):
    summary = index(lab)
    assert (summary.files, summary.added, summary.errors) == (2, 2, [])
    with Catalog(lab) as catalog:
        assert [row.key for row in catalog.search(()).rows] == ["notes.txt", "scan.zarr"]
        assert catalog.node(("scan.zarr",)).family == "container"
        assert [row.key for row in catalog.search(("scan.zarr",)).rows] == ["deep", "line"]
        assert np.array_equal(read(catalog, "scan.zarr", "deep", "image"), WANTED)
        assert np.array_equal(read(catalog, "scan.zarr", "line"), np.arange(5))
    again = index(lab)
    assert (again.unchanged, again.added, again.updated) == (2, 0, 0)


def test_the_directory_is_the_asset_and_its_digest_is_that_of_what_b3sum_lists(lab):
    index(lab)
    with Catalog(lab) as catalog:
        row = catalog.node(("scan.zarr", "line"))
        [source] = catalog.sources([row])[row.id]
        [asset] = source.assets
        assert (source.mimetype, asset.location, asset.is_directory) == (
            "application/x-zarr",
            "scan.zarr",
            True,
        )
        assert asset.state == "verified"
        files = [path for path in (lab / "scan.zarr").rglob("*") if path.is_file()]
        assert asset.size == sum(path.stat().st_size for path in files)
        listing = [
            (path.relative_to(lab / "scan.zarr").as_posix(), str(hash_file(path)["blake3"])) for path in files
        ]
        assert asset.digest == str(hash_listing(listing))
        assert {entry.name for entry in catalog.manifest(asset)} == {name for name, _ in listing}
        assert all(entry.asset is not None and entry.asset.digest for entry in catalog.manifest(asset))


def test_reading_says_that_it_is_verified_and_a_flipped_bit_in_a_chunk_is_an_error(lab):
    index(lab)
    chunk = lab / "scan.zarr/deep/image/c/0/1"
    status, data = chunk.stat(), bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    os.utime(chunk, ns=(status.st_atime_ns, status.st_mtime_ns))
    with Catalog(lab) as catalog, catalog.array(("scan.zarr", "deep", "image")) as array:
        assert array.is_verified
        assert np.array_equal(array.read((slice(0, 10), slice(0, 10))), IMAGE[:10, :10])
        with pytest.raises(HashError, match=r"scan\.zarr/deep/image/c/0/1"):
            array.read()
    report = check(lab)
    assert [(finding.kind, finding.uri) for finding in report.findings] == [
        ("changed", "scan.zarr/deep/image/c/0/1")
    ]


def test_a_chunk_that_is_gone_is_an_error_and_never_the_fill_value(lab):
    index(lab)
    (lab / "scan.zarr/deep/image/c/0/1").unlink()
    with Catalog(lab) as catalog, pytest.raises(MissingFileError, match=r"c/0/1 is not there .* --prune"):
        read(catalog, "scan.zarr", "deep", "image")
    summary = index(lab)
    assert summary.missing == 1
    with Catalog(lab) as catalog, pytest.raises(MissingFileError):
        read(catalog, "scan.zarr", "deep", "image")
    assert [finding.kind for finding in check(lab).findings] == ["missing"]
    assert index(lab, prune=True).updated == 1
    with Catalog(lab) as catalog:
        assert (read(catalog, "scan.zarr", "deep", "image")[:10, 10:20] == 7).all()
    assert check(lab).ok


def test_a_store_that_grew_is_an_error_until_it_is_indexed_again(lab):
    index(lab)
    line = zarr.open_group(lab / "scan.zarr")["line"]
    line.append(np.array([9.0, 9.0]))
    aged(lab)
    with Catalog(lab) as catalog, pytest.raises(ChangedError, match="index"):
        read(catalog, "scan.zarr", "line")
    assert index(lab).updated == 1
    with Catalog(lab) as catalog:
        assert read(catalog, "scan.zarr", "line").tolist() == [0, 1, 2, 3, 4, 9, 9]
        assert catalog.node(("scan.zarr",)).metadata == '{"sample":"Ag"}'
    assert check(lab).ok


def test_a_new_chunk_without_a_new_shape_is_seen_too(lab):
    index(lab)
    zarr.open_group(lab / "scan.zarr")["deep/image"][10:] = IMAGE[10:]
    aged(lab)
    with Catalog(lab) as catalog, pytest.raises(ChangedError, match="new since the store was indexed"):
        read(catalog, "scan.zarr", "deep", "image")
    assert check(lab).findings[0].kind == "extra"
    assert index(lab).updated == 1
    with Catalog(lab) as catalog:
        assert np.array_equal(read(catalog, "scan.zarr", "deep", "image"), IMAGE)


def test_a_store_that_is_being_written_is_read_unverified_as_it_is_now(lab):
    group = zarr.open_group(lab / "scan.zarr")
    group["line"].append(np.array([5.0]))
    touched(lab)
    index(lab)
    with Catalog(lab) as catalog:
        row = catalog.node(("scan.zarr", "line"))
        assert catalog.sources([row])[row.id][0].assets[0].state == "growing"
        with catalog.array(("scan.zarr", "line")) as array:
            assert not array.is_verified
            assert array.read().tolist() == [0, 1, 2, 3, 4, 5]
        group["line"].append(np.array([6.0]))
        touched(lab)
        assert json.loads(catalog.current(row).structure)["shape"] == [7]
        assert read(catalog, "scan.zarr", "line").tolist() == [0, 1, 2, 3, 4, 5, 6]
    aged(lab)
    index(lab)
    with Catalog(lab) as catalog:
        row = catalog.node(("scan.zarr", "line"))
        assert catalog.sources([row])[row.id][0].assets[0].state == "verified"


def test_a_directory_that_becomes_a_store_and_is_one_no_more(lab):
    index(lab)
    (lab / "scan.zarr/zarr.json").rename(lab / "kept.json")
    aged(lab)
    index(lab, prune=True)
    with Catalog(lab) as catalog:
        # What it held are stores of their own now, or plain directories.
        assert catalog.node(("scan.zarr", "line")).family == "array"
        assert np.array_equal(read(catalog, "scan.zarr", "line"), np.arange(5))
    (lab / "kept.json").rename(lab / "scan.zarr/zarr.json")
    index(lab, prune=True)
    with Catalog(lab) as catalog:
        assert catalog.node(("scan.zarr",)).metadata == '{"sample":"Ag"}'
        assert np.array_equal(read(catalog, "scan.zarr", "deep", "image"), WANTED)


def test_links_that_leave_the_directory_are_errors_and_no_members(lab, tmp_path):
    (tmp_path / "outside").write_bytes(bytes(400))
    (lab / "scan.zarr/deep/image/c/1").mkdir()
    (lab / "scan.zarr/deep/image/c/1/0").symlink_to(tmp_path / "outside")
    summary = index(lab)
    assert "leads outside" in summary.errors[0][1]
    with Catalog(lab) as catalog:
        assert catalog.node(("scan.zarr",)).family == "container"
        with pytest.raises(PermissionError, match="outside the store"):
            read(catalog, "scan.zarr", "deep", "image")
        assert all(
            MEMBER == "member" and "outside" not in each.location for each in catalog.database.assets.each()
        )


def test_a_damaged_store_is_listed_with_the_reason(lab):
    (lab / "scan.zarr/zarr.json").write_text("{")
    summary = index(lab)
    assert "scan.zarr" in summary.errors[0][0]
    assert "no JSON" in summary.errors[0][1]
    with Catalog(lab) as catalog:
        assert catalog.node(("scan.zarr",)).family == "bytes"


def test_a_moved_directory_is_read_where_it_is_now(lab, tmp_path):
    index(lab)
    subprocess.run(["cp", "-r", lab, tmp_path / "copy"], check=True)
    with Catalog(tmp_path / "copy") as catalog:
        assert np.array_equal(read(catalog, "scan.zarr", "deep", "image"), WANTED)


def test_a_served_store_shows_its_arrays(lab):
    index(lab / "scan.zarr")
    with Catalog(lab / "scan.zarr") as catalog:
        assert [row.key for row in catalog.search(()).rows] == ["deep", "line"]
        assert np.array_equal(read(catalog, "line"), np.arange(5))


def test_a_served_store_is_followed_while_it_grows_and_digested_when_it_rests(lab):
    with Catalog(lab, create=True) as catalog:
        keeper = Keeper(catalog, watch_s=0.1)
        keeper.start()
        assert keeper.wait(60)
        group = zarr.open_group(lab / "scan.zarr")
        for number in range(3):
            group["line"].append(np.array([float(number)]))
        until(lambda: json.loads(catalog.node(("scan.zarr", "line")).structure)["shape"] == [8])
        until(lambda: catalog.database.assets.by_location("scan.zarr").state == "verified")
        assert read(catalog, "scan.zarr", "line").tolist() == [0, 1, 2, 3, 4, 0, 1, 2]
        keeper.stop()
    assert check(lab).ok


def test_without_watching_a_fresh_store_is_digested_when_it_rests(lab):
    zarr.open_group(lab / "scan.zarr")["line"].append(np.array([1.0]))
    with Catalog(lab, create=True) as catalog:
        keeper = Keeper(catalog)
        keeper.start()
        until(lambda: catalog.count(()) == 2)
        until(lambda: catalog.database.assets.by_location("scan.zarr").state == "verified")
        keeper.stop()


def until(condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.02)
