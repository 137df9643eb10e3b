"""Reading nodes: verification, changed and growing files, leases, forks and threads."""

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from holdfast.catalog import check, index
from holdfast.catalog.tree import Catalog
from holdfast.errors import ChangedError, HashError, InvalidInputError, MissingFileError, NotFoundError
from holdfast.testing.formats import open_descriptors

LONG_AGO = 1_700_000_000
DATA = np.random.default_rng(3).random((300, 400))


@pytest.fixture
def directory(tmp_path):
    np.save(tmp_path / "a.npy", DATA)
    (tmp_path / "t.csv").write_text("x,name\n1,Ag\n2,Au\n")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.create_dataset("chunked", data=DATA, chunks=(10, 400), compression="gzip")
        file["contiguous"] = DATA
    for path in tmp_path.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    index(tmp_path)
    return tmp_path


def flip(path, position, *, keep_time=True):
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def read_everything(catalog):
    for path in [("a.npy",), ("c.h5", "chunked"), ("c.h5", "contiguous")]:
        with catalog.array(path) as array:
            assert array.is_verified
            np.testing.assert_array_equal(array.read(), DATA)
            np.testing.assert_array_equal(array.read((slice(7, 90, 3), 5)), DATA[7:90:3, 5])
    with catalog.table(("t.csv",)) as table:
        assert table.read(["name"])["name"].tolist() == ["Ag", "Au"]


@pytest.mark.parametrize(
    ("name", "position"), [("a.npy", -100), ("t.csv", 8), ("c.h5", -100), ("c.h5", 3000)]
)
def test_a_flipped_bit_with_its_time_kept_is_an_error(directory, name, position):
    with Catalog(directory) as catalog:
        read_everything(catalog)
        flip(directory / name, position)
        with pytest.raises(HashError, match=name):
            read_everything(catalog)
    with Catalog(directory) as catalog, pytest.raises(HashError, match=name):
        read_everything(catalog)


@pytest.mark.parametrize("name", ["a.npy", "t.csv", "c.h5"])
def test_other_bytes_ask_for_a_new_index_and_get_one(directory, name):
    with Catalog(directory) as catalog:
        flip(directory / name, -100 if name != "t.csv" else 8, keep_time=False)
        with pytest.raises(ChangedError, match="index the directory again"):
            read_everything(catalog)
        index(directory)
        with catalog.array(("a.npy",)) as array:
            assert array.read().shape == DATA.shape


def test_the_same_bytes_with_another_time_go_on(directory):
    for path in directory.glob("*.*"):
        if path.is_file():
            os.utime(path, (LONG_AGO + 5, LONG_AGO + 5))
    with Catalog(directory) as catalog:
        read_everything(catalog)
        assert catalog.database.assets.by_location("a.npy").mtime_ns == (LONG_AGO + 5) * 10**9


def test_a_vanished_file_is_an_error_that_names_it(directory):
    with Catalog(directory) as catalog:
        (directory / "a.npy").unlink()
        with pytest.raises(MissingFileError, match=r"a\.npy"):
            catalog.array(("a.npy",))


def test_a_column_is_an_array_of_its_own(directory):
    with Catalog(directory) as catalog:
        row = catalog.node(("t.csv", "name"))
        assert (row.family, catalog.is_column(row), catalog.path_of(row)) == (
            "array",
            True,
            ("t.csv", "name"),
        )
        with catalog.array(row) as array:
            assert array.read().tolist() == ["Ag", "Au"]
        with catalog.array(("t.csv", "x")) as array:
            assert array.read(slice(None, None, -1)).tolist() == [2, 1]
        with pytest.raises(NotFoundError):
            catalog.node(("t.csv", "y"))
        with pytest.raises(InvalidInputError, match="of family table, not array"):
            catalog.array(("t.csv",))


def test_contiguous_data_can_be_streamed_from_its_file(directory):
    with Catalog(directory) as catalog:
        for path in [("a.npy",), ("c.h5", "contiguous")]:
            with catalog.array(path) as array:
                extent = array.extent(slice(10, 20))
                data = extent.path.read_bytes()[extent.offset : extent.offset + extent.size]
                assert data == DATA[10:20].tobytes()
        with catalog.array(("c.h5", "chunked")) as array:
            assert array.extent() is None


WRITER = """
import sys, h5py
path, libver, swmr = sys.argv[1], sys.argv[2], sys.argv[3] == "swmr"
file = h5py.File(path, "w", libver=libver)
data = file.create_dataset("data", (1, 4), "i8", maxshape=(None, 4), chunks=(1, 4))
data[...] = 7
file.swmr_mode = swmr
file.flush()
print("ready", flush=True)
for line in sys.stdin:
    data.resize(data.shape[0] + 1, axis=0)
    data[-1] = 7
    data.flush()
    file.flush()
    print(data.shape[0], flush=True)
"""


def test_a_file_that_is_being_written_is_readable_unverified_and_verified_when_it_rests(tmp_path):
    path = tmp_path / "run.h5"
    command = [sys.executable, "-c", WRITER, str(path), "latest", "swmr"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "ready\n"
        index(tmp_path)
        with Catalog(tmp_path) as catalog:
            assert catalog.database.assets.by_location("run.h5").state == "growing"
            for rows in range(2, 5):
                writer.stdin.write("more\n")
                writer.stdin.flush()
                assert writer.stdout.readline() == f"{rows}\n"
                with catalog.array(("run.h5", "data")) as array:
                    assert not array.is_verified
                    assert array.read().tolist() == [[7] * 4] * rows
            row = catalog.current(catalog.node(("run.h5", "data")))
            assert json.loads(row.structure)["shape"] == [4, 4]
            [source] = catalog.sources([catalog.node(("run.h5",))])[catalog.node(("run.h5",)).id]
            assert (source.assets[0].digest, source.assets[0].size) == (None, path.stat().st_size)
        writer.stdin.close()
        assert writer.wait(20) == 0
    os.utime(path, (LONG_AGO, LONG_AGO))
    index(tmp_path)
    with Catalog(tmp_path) as catalog, catalog.array(("run.h5", "data")) as array:
        assert array.is_verified
        assert catalog.database.assets.by_location("run.h5").state == "verified"
        assert array.read().shape == (4, 4)


def test_a_detector_can_open_its_file_while_it_is_indexed_and_read(directory):
    stop = threading.Event()

    def busy():
        with Catalog(directory) as catalog:
            while not stop.is_set():
                with catalog.array(("c.h5", "contiguous")) as array:
                    array.read(0)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(busy)
        code = (
            f"import h5py\nfor n in range(20):\n    with h5py.File({str(directory / 'c.h5')!r}, 'r+'): pass"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        index(directory)
        stop.set()
        reading.exception(timeout=30)


def test_a_fresh_file_is_growing_and_rests_when_it_is_looked_at_again(tmp_path):
    np.save(tmp_path / "a.npy", DATA)
    index(tmp_path)
    with Catalog(tmp_path) as catalog:
        assert catalog.database.assets.by_location("a.npy").state == "growing"
        with catalog.array(("a.npy",)) as array:
            np.testing.assert_array_equal(array.read(), DATA)
    old = time.time() - 60
    os.utime(tmp_path / "a.npy", (old, old))
    index(tmp_path)
    with Catalog(tmp_path) as catalog:
        assert catalog.database.assets.by_location("a.npy").state == "verified"


def test_a_lease_keeps_a_retired_file_open_and_no_longer(directory):
    with Catalog(directory) as catalog:
        array = catalog.array(("c.h5", "chunked"))
        with h5py.File(directory / "new.h5", "w") as file:
            file["chunked"] = DATA * 2
        os.replace(directory / "new.h5", directory / "c.h5")
        index(directory)
        with catalog.array(("c.h5", "chunked")) as fresh:
            np.testing.assert_array_equal(fresh.read(0), DATA[0] * 2)
        np.testing.assert_array_equal(array.read(0), DATA[0])
        assert any(target.endswith("c.h5 (deleted)") for target in open_descriptors())
        array.close()
        array.close()
        assert not [target for target in open_descriptors() if target.endswith("c.h5 (deleted)")]
    assert not any(str(directory) in target for target in open_descriptors())


def test_two_threads_leave_no_retired_reader_open(directory):
    with Catalog(directory) as catalog:

        def work(n):
            for turn in range(20):
                if n == 0:
                    os.utime(directory / "c.h5", (LONG_AGO + turn, LONG_AGO + turn))
                with catalog.array(("c.h5", "chunked")) as array:
                    np.testing.assert_array_equal(array.read(turn), DATA[turn])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
    assert not any(str(directory) in target for target in open_descriptors())


def test_the_cache_of_open_files_is_bounded(tmp_path):
    for n in range(100):
        np.save(tmp_path / f"{n}.npy", np.arange(n))
    index(tmp_path)
    with Catalog(tmp_path) as catalog:
        for n in range(100):
            with catalog.array((f"{n}.npy",)) as array:
                assert array.structure.shape == (n,)
        assert sum(target.startswith(str(tmp_path)) for target in open_descriptors()) <= 64 + 8


def test_a_catalog_survives_fork_and_pickles_by_address(directory):
    with Catalog(directory) as catalog:
        read_everything(catalog)
        child = os.fork()
        if not child:
            code = 1
            try:
                read_everything(catalog)
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        read_everything(catalog)
        with pickle.loads(pickle.dumps(catalog)) as again:
            read_everything(again)
            assert again.uid == catalog.uid


def test_manifests_and_children_of_directories(directory):
    (directory / "sub" / "deep").mkdir(parents=True)
    (directory / "sub" / "deep" / "x.txt").write_text("x")
    (directory / "sub" / "y.txt").write_text("y")
    (directory / "outside").symlink_to("/etc")
    index(directory)
    (directory / "sub" / "unlisted.txt").write_text("new since")
    with Catalog(directory) as catalog:
        top = catalog.database.assets.by_location(".")
        names = [entry.name for entry in catalog.manifest(top)]
        assert names == ["a.npy", "c.h5", "sub/deep/x.txt", "sub/unlisted.txt", "sub/y.txt", "t.csv"]
        sub = catalog.database.assets.by_location("sub")
        entries = {entry.name: entry.asset and entry.asset.location for entry in catalog.manifest(sub)}
        assert entries == {"deep/x.txt": "sub/deep/x.txt", "unlisted.txt": None, "y.txt": "sub/y.txt"}
        assert [asset.location for asset in catalog.children_of(sub)] == ["sub/deep", "sub/y.txt"]
        assert [asset.location for asset in catalog.children_of(top)] == ["a.npy", "c.h5", "sub", "t.csv"]
        with pytest.raises(InvalidInputError):
            catalog.manifest(catalog.database.assets.by_location("a.npy"))


def test_real_files_read_as_h5py_reads_them():
    shared = Path(__file__).parents[2].parent / "shared" / "data"
    if not shared.is_dir():
        pytest.skip(f"no real data beside the checkout: {shared} is absent")
    from holdfast.formats.registry import get_format
    from holdfast.formats.source import Source
    from holdfast.testing.formats import nodes

    form, compared = get_format("application/x-hdf5"), 0
    for path in sorted(shared.glob("*/*")):
        try:
            with h5py.File(path, "r") as file, Source(path) as source:
                description = form.describe(source)
                with form.open(Source(path)) as opened:
                    for node in nodes(description.root):
                        name = node.parameters.get("dataset", "")
                        if (
                            node.family == "array"
                            and not file[name].is_virtual
                            and file[name].dtype.kind != "O"
                        ):
                            np.testing.assert_array_equal(
                                opened.array(node.parameters).read(), file[name][()]
                            )
                            compared += 1
        except OSError:
            continue
    assert compared > 800


def test_a_sealed_record_shows_all_rows_and_neither_log_nor_lock(tmp_path):
    from holdfast.records import Record

    with Record(tmp_path) as record:
        for value in (0, 0, 1):
            record.append("log", np.full(3, float(value)))
    (tmp_path / "_other.0123456789abcdef.digests").write_text(
        "a user's own file: nothing of that name is beside"
    )
    summary = index(tmp_path)
    with Catalog(tmp_path) as catalog:
        names = [row.key for row in catalog.search(()).rows]
        assert names == ["_other.0123456789abcdef.digests", "log.h5"]
        assert summary.files == 2
        with catalog.array(("log.h5", "data")) as array:
            assert array.read().tolist() == [[0] * 3, [0] * 3, [1] * 3]
        with Record(tmp_path) as record:
            record.append("log", np.full(3, 2.0))
        row = catalog.node(("log.h5", "data"))
        assert json.loads(row.structure)["shape"] == [3, 3]
        assert json.loads(catalog.current(row).structure)["shape"] == [4, 3]
        with catalog.array(row) as array:
            assert array.read(-1).tolist() == [2.0] * 3
    index(tmp_path)
    with Catalog(tmp_path) as catalog:
        assert json.loads(catalog.node(("log.h5", "data")).structure)["shape"] == [4, 3]
    assert check(tmp_path).ok


def test_the_same_bytes_with_another_time_are_compared_once_where_nothing_can_be_recorded(directory):
    os.utime(directory / "a.npy", (LONG_AGO + 5, LONG_AGO + 5))
    with Catalog(directory, read_only=True) as catalog:
        first = catalog.array(("a.npy",))
        again = catalog.array(("a.npy",))
        assert first.is_verified
        assert again.lease.file is first.lease.file
        np.testing.assert_array_equal(again.read(), DATA)
        first.close()
        again.close()
        assert catalog.database.assets.by_location("a.npy").mtime_ns == LONG_AGO * 10**9
