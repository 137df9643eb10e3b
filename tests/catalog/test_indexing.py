"""Indexing: what becomes a node, what happens when files change, and bad files."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from holdfast.catalog import index
from holdfast.catalog.indexing import index_catalog
from holdfast.catalog.rounds import Options
from holdfast.catalog.tree import Catalog
from holdfast.errors import BulkError, ForbiddenError, InvalidInputError, NotFoundError
from holdfast.events import ProgressEnd, ProgressStart, ProgressStep, bus
from holdfast.formats.workers import ProbePool
from holdfast.hashing import hash_file
from holdfast.queries import Key
from trap_plugin import trap_plugin

LONG_AGO = 1_700_000_000


def rest(directory):
    """Make every file of a directory one that was not changed lately."""
    for path in Path(directory).rglob("*"):
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)


@pytest.fixture
def directory(tmp_path):
    top = tmp_path / "served"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "empty").mkdir()
    np.save(top / "a.npy", np.arange(6).reshape(2, 3))
    (top / "sub" / "t.csv").write_text("x,name\n1,Ag\n2,Au\n")
    (top / "sub" / "notes.txt").write_text("hello")
    (top / "sub" / "m.json").write_text('{"sample": {"name": "AgBehenate"}, "n": 7}')
    (top / "sub" / "deep" / "picture.ico").write_bytes(b"\0\0\1\0\1\0")
    with h5py.File(top / "sub" / "run.h5", "w") as file:
        file["entry/sample/name"] = np.array([b"AgBehenate"])
        file["entry/data"] = np.arange(5.0)
        file["entry/data"].attrs["units"] = "mm"
    rest(top)
    return top


def tree(catalog, path=()):
    """Return families by path."""
    found = {}
    for row in catalog.search(path).rows:
        below = (*path, row.key)
        found["/".join(below)] = row.family
        found.update(tree(catalog, below))
    return found


def own(catalog, *path):
    row = catalog.node(path)
    [source] = catalog.sources([row])[row.id]
    return source, source.assets[0]


def metadata(catalog, *path):
    return json.loads(catalog.node(path).metadata)


def test_directories_files_and_what_is_in_them_become_nodes(directory):
    summary = index(directory)
    assert (summary.files, summary.directories, summary.added, summary.errors) == (6, 4, 6, [])
    with Catalog(directory) as catalog:
        assert tree(catalog) == {
            "a.npy": "array",
            "empty": "container",
            "sub": "container",
            "sub/m.json": "bytes",
            "sub/notes.txt": "bytes",
            "sub/run.h5": "container",
            "sub/run.h5/entry": "container",
            "sub/run.h5/entry/data": "array",
            "sub/run.h5/entry/sample": "container",
            "sub/run.h5/entry/sample/name": "array",
            "sub/t.csv": "table",
            "sub/deep": "container",
            "sub/deep/picture.ico": "bytes",
        }
        assert metadata(catalog, "sub", "m.json") == {"sample": {"name": "AgBehenate"}, "n": 7}
        assert metadata(catalog, "sub", "run.h5", "entry", "data") == {"units": "mm"}
        hits = catalog.search((), Key("entry.sample.name") == "AgBehenate", deep=True)
        assert [row.key for row in hits.rows] == ["run.h5"]
        assert own(catalog, "sub", "deep", "picture.ico")[0].mimetype == "image/vnd.microsoft.icon"
        assert own(catalog, "sub")[1][1:3] == ("sub", True)
        assert own(catalog)[1][1:3] == (".", True)


def test_every_file_is_recorded_with_place_size_time_and_digest(directory):
    index(directory)
    with Catalog(directory) as catalog:
        for path in directory.rglob("*"):
            if path.is_file() and ".holdfast" not in path.parts:
                location = path.relative_to(directory).as_posix()
                asset = catalog.database.assets.by_location(location)
                assert asset.size == path.stat().st_size
                assert asset.mtime_ns == path.stat().st_mtime_ns
                assert (asset.state, asset.digest) == ("verified", str(hash_file(path)["blake3"]))
        source, asset = own(catalog, "sub", "run.h5", "entry", "data")
        assert (asset.location, json.loads(source.parameters)) == ("sub/run.h5", {"dataset": "entry/data"})


def test_indexing_again_reads_only_what_changed(directory):
    index(directory)
    os.chmod(directory / "a.npy", 0)
    (directory / "sub" / "t.csv").write_text("x,name,more\n1,Ag,2\n")
    (directory / "new.txt").write_text("new")
    summary = index(directory)
    assert (summary.added, summary.updated, summary.unchanged, summary.errors) == (1, 1, 5, [])
    with Catalog(directory) as catalog:
        assert json.loads(catalog.node(("sub", "t.csv")).structure)["columns"] == ["x", "name", "more"]
        assert catalog.node(("new.txt",)).family == "bytes"


def test_what_was_added_to_metadata_since_is_kept(directory):
    index(directory)
    with Catalog(directory) as catalog, catalog.database.transaction() as tx:
        row = catalog.node(("sub", "m.json"))
        tx.nodes.update(row.id, metadata={**json.loads(row.metadata), "remark": "mine", "n": 8})
    (directory / "sub" / "m.json").write_text('{"sample": {"name": "Ag"}, "n": 7}')
    index(directory)
    with Catalog(directory) as catalog:
        assert metadata(catalog, "sub", "m.json") == {"sample": {"name": "Ag"}, "n": 8, "remark": "mine"}


def test_vanished_files_are_marked_and_removed_only_when_asked(directory):
    index(directory)
    (directory / "a.npy").unlink()
    for path in (directory / "sub" / "deep").iterdir():
        path.unlink()
    (directory / "sub" / "deep").rmdir()
    summary = index(directory)
    assert (summary.missing, summary.pruned) == (3, 0)
    with Catalog(directory) as catalog:
        assert own(catalog, "a.npy")[1].state == "missing"
        assert own(catalog, "sub", "deep", "picture.ico")[1].state == "missing"
    np.save(directory / "a.npy", np.arange(4))
    assert index(directory).missing == 2
    with Catalog(directory) as catalog:
        assert json.loads(catalog.node(("a.npy",)).structure)["shape"] == [4]
    assert index(directory, prune=True).pruned == 2
    with Catalog(directory) as catalog:
        assert "sub/deep" not in tree(catalog)
        assert "a.npy" in tree(catalog)
        with pytest.raises(NotFoundError):
            catalog.database.assets.by_location("sub/deep/picture.ico")


def test_a_file_that_becomes_a_directory_and_back_is_followed(directory):
    index(directory)
    (directory / "a.npy").unlink()
    (directory / "a.npy").mkdir()
    (directory / "a.npy" / "inner.txt").write_text("x")
    index(directory)
    with Catalog(directory) as catalog:
        assert {key: kind for key, kind in tree(catalog).items() if key.startswith("a.npy")} == {
            "a.npy": "container",
            "a.npy/inner.txt": "bytes",
        }
    (directory / "a.npy" / "inner.txt").unlink()
    (directory / "a.npy").rmdir()
    np.save(directory / "a.npy", np.arange(4))
    index(directory)
    with Catalog(directory) as catalog:
        assert catalog.node(("a.npy",)).family == "array"
        assert own(catalog, "a.npy")[1].is_directory is False


def test_bad_files_are_nodes_with_an_error_and_stop_nobody(directory):
    (directory / "ragged.csv").write_text("a,b\n1\n")
    (directory / "zero.h5").write_bytes(b"")
    (directory / "hdf4.hdf").write_bytes(b"\x0e\x03\x13\x01" + bytes(50))
    whole = (directory / "sub" / "run.h5").read_bytes()
    (directory / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (directory / "lies.npy").write_bytes(
        b"\x93NUMPY\x01\x00\x46\x00{'descr': '<f8', 'fortran_order': False, 'shape': (137438953472,), }   \n"
    )
    os.mkfifo(directory / "pipe")
    summary = index(directory)
    bad = {"ragged.csv", "zero.h5", "hdf4.hdf", "cut.h5", "lies.npy"}
    assert {Path(path).name for path, _ in summary.errors} == bad
    with Catalog(directory) as catalog:
        for name in bad:
            assert catalog.node((name,)).family == "bytes"
            assert name in metadata(catalog, name)["error"]
            with catalog.open_asset(own(catalog, name)[1]) as source:
                assert bytes(source.read()) == (directory / name).read_bytes()
        assert "pipe" not in tree(catalog)
        assert "sub/run.h5/entry/data" in tree(catalog)
    for name in bad:
        (directory / name).touch()
    with pytest.raises(BulkError, match="5 files") as caught:
        index(directory, strict=True)
    assert {Path(error.details["path"]).name for error in caught.value.exceptions} == bad
    assert caught.value.exit_code != 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_listed_with_the_reason(directory):
    os.chmod(directory / "a.npy", 0)
    assert "may not be read" in index(directory).errors[0][1]


def test_links_inside_are_followed_and_links_outside_refused(directory, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    (directory / "inside.npy").symlink_to("a.npy")
    (directory / "loop").symlink_to("sub")
    (directory / "sub" / "up").symlink_to("..")
    (directory / "secret.csv").symlink_to(secret)
    (directory / "outside").symlink_to(tmp_path)
    (directory / "dangling").symlink_to("nowhere")
    index(directory)
    with Catalog(directory) as catalog:
        found = tree(catalog)
        assert found["inside.npy"] == "array"
        assert found["loop/t.csv"] == "table"
        assert not any("up" in path.split("/") for path in found)
        assert "dangling" not in found
        for name in ("secret.csv", "outside"):
            assert found[name] == "bytes"
            assert "--allow-outside" in metadata(catalog, name)["error"]
            assert (
                catalog.sources([catalog.node((name,))]) == {}
                or not catalog.sources([catalog.node((name,))])[catalog.node((name,)).id]
            )
    index(directory, allow_outside=[tmp_path])
    with Catalog(directory, allow_outside=[tmp_path]) as catalog:
        assert catalog.node(("secret.csv",)).family == "table"


def test_reserved_and_odd_names(directory):
    for name in (".manifest", ".FSStore", "catalog.db-wal.bak", "_holdfast.0123456789abcdef.tmp"):
        (directory / "sub" / name).write_text("x")
    for name in (".hidden", "a b", "ü", "q?#%2F", "line\nbreak"):
        (directory / "sub" / name).write_text("x")
    (directory / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    index(directory)
    with Catalog(directory) as catalog:
        found = {key.removeprefix("sub/") for key in tree(catalog)}
        assert {".hidden", "a b", "ü", "q?#%2F", "line\nbreak"} <= found
        assert not {".manifest", ".FSStore", "catalog.db-wal.bak", ".holdfast"} & found
        assert not any(name.endswith(".tmp") for name in found)
        assert "not UTF-8" in metadata(catalog, "caf\\xe9.txt")["error"]


def test_linked_files_are_assets_and_bring_their_master_up_to_date(directory):
    with h5py.File(directory / "master.h5", "w") as file:
        file["link"] = h5py.ExternalLink("frames.h5", "data")
    rest(directory)
    index(directory)
    with Catalog(directory) as catalog:
        source, _ = own(catalog, "master.h5", "link")
        assert [(asset.location, asset.parameter, asset.state) for asset in source.assets[1:]] == [
            ("frames.h5", "external:frames.h5", "missing")
        ]
        assert "frames.h5" in metadata(catalog, "master.h5", "link")["error"]
    assert index(directory).missing == 0
    with h5py.File(directory / "frames.h5", "w") as file:
        file["data"] = np.arange(3)
    rest(directory)
    index(directory)
    with Catalog(directory) as catalog:
        assert catalog.node(("master.h5", "link")).family == "array"
        source, asset = own(catalog, "master.h5", "link")
        assert asset.location == "master.h5"
        assert source.assets[1].digest == str(hash_file(directory / "frames.h5")["blake3"])
        with catalog.array(("master.h5", "link")) as array:
            assert array.read().tolist() == [0, 1, 2]


def test_digests_wait_when_asked_to(directory):
    index(directory, digest="later")
    with Catalog(directory) as catalog:
        assert (own(catalog, "a.npy")[1].state, own(catalog, "a.npy")[1].digest) == ("pending", None)
        with catalog.array(("a.npy",)) as array:
            assert not array.is_verified
            assert array.read().tolist() == [[0, 1, 2], [3, 4, 5]]
    index(directory, digest="never")
    with Catalog(directory) as catalog:
        assert own(catalog, "a.npy")[1].state == "pending"
    assert index(directory, digest="now").digested == 6
    with Catalog(directory) as catalog:
        assert own(catalog, "a.npy")[1].state == "verified"
    with pytest.raises(InvalidInputError):
        index(directory, digest="sometimes")


def test_large_files_are_digested_by_blocks(directory):
    np.save(directory / "large.npy", np.arange(1 << 18))
    rest(directory)
    index(directory)
    with Catalog(directory) as catalog:
        digests = catalog.digests(own(catalog, "large.npy")[1])
        assert len(digests.blocks) == 32 * 9
        assert digests.whole == hash_file(directory / "large.npy")["blake3"]


def test_progress_tells_how_far_it_is(directory):
    seen = []
    links = [bus.connect(kind, seen.append, keep=True) for kind in (ProgressStart, ProgressStep, ProgressEnd)]
    index(directory)
    for link in links:
        bus.disconnect(link)
    ours = [event for event in seen if event.operation == "index"]
    assert isinstance(ours[0], ProgressStart)
    assert isinstance(ours[-1], ProgressEnd)
    assert "6 files" in ours[-1].message
    assert "files a second" in ours[-1].message
    steps = [event for event in ours if isinstance(event, ProgressStep)]
    assert steps
    assert "6 of 6 files" in steps[-1].message or steps[-1].step <= 6


def test_a_directory_that_vanishes_is_passed_over(directory, monkeypatch):
    # Another process may remove a directory between listing and entering it.
    def remove(event):
        for path in (directory / "empty", directory / "sub" / "deep" / "picture.ico"):
            if path.is_dir():
                path.rmdir()
            elif path.exists():
                path.unlink()

    link = bus.connect(ProgressStart, remove, keep=True)
    summary = index(directory)
    bus.disconnect(link)
    assert (summary.files, summary.errors) == (5, [])


def test_a_repository_lists_its_data_directory(tmp_path):
    from holdfast.database import Database

    (tmp_path / "stuff" / "data" / "sub").mkdir(parents=True)
    np.save(tmp_path / "stuff" / "data" / "sub" / "a.npy", np.arange(3))
    Database(tmp_path / "stuff" / "catalog.db").close()
    index(tmp_path / "stuff")
    (tmp_path / "stuff").rename(tmp_path / "moved")
    with Catalog(
        tmp_path / "moved" / "catalog.db", readable_storage=[tmp_path / "moved" / "data"]
    ) as catalog:
        assert tree(catalog) == {"sub": "container", "sub/a.npy": "array"}
        assert own(catalog, "sub", "a.npy")[1].location == "data/sub/a.npy"
        assert catalog.places.public("data/sub/a.npy") == "sub/a.npy"
        with catalog.array(("sub", "a.npy")) as array:
            assert array.read().tolist() == [0, 1, 2]
    (tmp_path / "moved" / "data").rename(tmp_path / "elsewhere")
    storage = [tmp_path / "elsewhere"]
    with Catalog(tmp_path / "moved" / "catalog.db", readable_storage=storage) as catalog:
        array = catalog.array(("sub", "a.npy"))
        assert array.is_verified
        array.close()


def test_a_directory_that_cannot_be_written_is_indexed_elsewhere(directory, tmp_path):
    index(directory, database=tmp_path / "other" / "x.db")
    assert not (directory / ".holdfast").exists()
    with Catalog(directory, database=tmp_path / "other" / "x.db") as catalog:
        assert "sub/t.csv" in tree(catalog)
    with pytest.raises(NotFoundError, match="holdfast index"):
        Catalog(directory)
    with pytest.raises(NotFoundError):
        index(tmp_path / "absent")


def test_many_entries_in_two_levels_are_listed(tmp_path):
    for n in range(20):
        (tmp_path / f"d{n}").mkdir()
        for m in range(60):
            (tmp_path / f"d{n}" / f"{m:03}.txt").touch()
    began = time.monotonic()
    summary = index(tmp_path)
    assert (summary.files, summary.added) == (1200, 1200)
    assert time.monotonic() - began < 30
    with Catalog(tmp_path) as catalog:
        assert catalog.count((), deep=True) == 1220
        assert [row.key for row in catalog.search(("d3",)).rows] == [f"{n:03}.txt" for n in range(60)]


def test_children_are_listed_by_name_files_and_directories_alike(tmp_path):
    names = [f"{n:03}" for n in range(0, 400, 7)]
    for n, name in enumerate(names):
        if n % 3:
            with h5py.File(tmp_path / name, "w") as file:
                file["x"] = np.arange(n * 100)
        elif n % 2:
            (tmp_path / name).mkdir()
            (tmp_path / name / "inner.csv").write_text("a\n1\n")
        else:
            (tmp_path / name).write_text("x")
    index(tmp_path)
    with Catalog(tmp_path) as catalog:
        assert [row.key for row in catalog.search((), limit=1000).rows] == names


def test_two_processes_may_index_one_directory_at_once(tmp_path):
    for n in range(5):
        (tmp_path / f"d{n}").mkdir()
        for m in range(40):
            (tmp_path / f"d{n}" / f"{m}.txt").write_text("x")
    code = f"from holdfast.catalog import index; index({str(tmp_path)!r})"
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath}
    started = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(3)]
    assert [process.wait(120) for process in started] == [0, 0, 0]
    with Catalog(tmp_path) as catalog:
        assert catalog.count((), deep=True) == 205


def test_an_index_that_was_killed_is_finished_by_the_next(tmp_path):
    for n in range(3000):
        (tmp_path / f"{n}.txt").write_text("x")
    code = f"from holdfast.catalog import index; index({str(tmp_path)!r})"
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as process:
        database = tmp_path / ".holdfast" / "catalog.db"
        while not database.exists() and process.poll() is None:
            os.sched_yield()
        process.kill()
    summary = index(tmp_path)
    assert summary.files == 3000
    assert summary.added + summary.unchanged == 3000
    with Catalog(tmp_path) as catalog:
        assert catalog.count(()) == 3000


def test_a_file_that_crashes_or_hangs_its_library_is_listed_with_an_error(tmp_path):
    (tmp_path / "served").mkdir()
    for name, content in {"a": "TRAPcrash", "b": "TRAPhang", "c": "TRAPfine"}.items():
        (tmp_path / "served" / f"{name}.trap").write_text(content)
    (tmp_path / "served" / "d.csv").write_text("x\n1\n")
    pool = ProbePool(workers=2, timeout_s=3)
    with trap_plugin(tmp_path / "packages"), Catalog(tmp_path / "served", create=True) as catalog:
        summary = index_catalog(catalog, Options(pool=pool))
        pool.close()
        assert (summary.files, len(summary.errors)) == (4, 2)
        assert "crashed (signal 6)" in metadata(catalog, "a.trap")["error"]
        assert "more than 3 s" in metadata(catalog, "b.trap")["error"]
        assert metadata(catalog, "c.trap") == {"ok": True}
        assert catalog.node(("d.csv",)).family == "table"
        for name in "abc":
            with catalog.open_asset(own(catalog, f"{name}.trap")[1]) as source:
                assert bytes(source.read()).startswith(b"TRAP")
        again = index_catalog(catalog)
        assert (again.unchanged, again.errors) == (4, summary.errors)


def test_what_leads_outside_is_read_where_that_is_allowed(directory, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    with h5py.File(outside / "frames.h5", "w") as file:
        file["data"] = np.arange(4)
    with h5py.File(directory / "master.h5", "w") as file:
        file["link"] = h5py.ExternalLink("../outside/frames.h5", "data")
    index(directory)
    with Catalog(directory) as catalog:
        assert "--allow-outside" in metadata(catalog, "master.h5", "link")["error"]
    assert index(directory, allow_outside=[outside]).updated == 7
    assert index(directory, allow_outside=[outside]).unchanged == 7
    with Catalog(directory, allow_outside=[outside]) as catalog:
        source, _ = own(catalog, "master.h5", "link")
        assert source.assets[1].location == str(outside / "frames.h5")
        assert catalog.places.public(source.assets[1].location) == "frames.h5"
        with catalog.array(("master.h5", "link")) as array:
            assert array.read().tolist() == [0, 1, 2, 3]
    with Catalog(directory) as catalog, pytest.raises(ForbiddenError):
        catalog.array(("master.h5", "link"))
