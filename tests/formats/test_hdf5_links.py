"""HDF5 files that lead to others: links, virtual data sets, external storage, writers at work."""

import fcntl
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from holdfast.errors import ForbiddenError, HashError, MissingFileError, NotFoundError, UnreadableError
from holdfast.formats.hdf5 import HDF5
from holdfast.formats.source import Source
from holdfast.testing.formats import Sample, block_digests, describe, nodes, open_descriptors

FRAMES = np.arange(24).reshape(4, 2, 3)


def read(path, name, index=..., **options):
    with HDF5.open(Source(path, **options)) as opened:
        return opened.array({"dataset": name}).read(index)


def linked(path, **options):
    with Source(path, **options) as source:
        return {(each.name, each.kind, each.is_present) for each in HDF5.describe(source).root.linked}


def write(path, **arrays):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


@pytest.fixture
def served(tmp_path):
    """A served directory with a file of frames, and a secret outside."""
    write(tmp_path / "outside" / "secret.h5", data=FRAMES)
    write(tmp_path / "served" / "frames.h5", data=FRAMES)
    return tmp_path / "served"


def link(path, target, name="data"):
    with h5py.File(path, "w") as file:
        file["entry/frames"] = h5py.ExternalLink(target, name)
    return path


def virtual(path, source, shape=(4, 2, 3), name="data"):
    layout = h5py.VirtualLayout(shape, "i8")
    for n in range(shape[0]):
        layout[n] = h5py.VirtualSource(source.format(n=n), name, shape=shape)[n]
    with h5py.File(path, "w", libver="latest") as file:
        file.create_virtual_dataset("v", layout, fillvalue=-1)
    return path


def stored(path, raw):
    with h5py.File(path, "w") as file:
        file.create_dataset("s", (4, 2, 3), "i8", external=[(raw, 0, 96), (raw + "2", 8, 96)])
    return path


def test_an_external_link_is_followed_to_a_file_beside(served, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = link(served / "master.h5", "frames.h5")
    np.testing.assert_array_equal(read(path, "entry/frames", (1, ...)), FRAMES[1])
    assert linked(path) == {("frames.h5", "external", True)}
    assert [node.key for node in nodes(describe(Sample(HDF5, path)))] == ["", "entry", "frames"]


def test_an_absolute_name_of_another_machine_falls_back_to_the_file_beside(served):
    path = link(served / "master.h5", "/data/visit-1/frames.h5")
    np.testing.assert_array_equal(read(path, "entry/frames"), FRAMES)


def test_a_link_to_a_group_of_another_file_leads_on(served):
    with h5py.File(served / "frames.h5", "a") as file:
        file["g/deep/x"] = 5
        file["g/self"] = h5py.SoftLink("/data")
    path = link(served / "master.h5", "frames.h5", "g")
    assert read(path, "entry/frames/deep/x").tolist() == 5
    np.testing.assert_array_equal(read(path, "entry/frames/self"), FRAMES)
    assert describe(Sample(HDF5, path)).metadata == {"entry": {"frames": {"deep": {"x": 5}}}}


@pytest.mark.parametrize("target", ["../outside/secret.h5", "{outside}/secret.h5", "passage.h5"])
def test_nothing_outside_is_opened_unless_allowed(served, target):
    outside = served.parent / "outside"
    (served / "passage.h5").symlink_to(outside / "secret.h5")
    name = target.format(outside=outside)
    cases = [
        (link(served / "a.h5", name), "entry/frames"),
        (virtual(served / "b.h5", name), "v"),
        (stored(served / "c.h5", name), "s"),
    ]
    opened = os.stat(outside / "secret.h5").st_atime_ns
    for path, dataset in cases:
        with pytest.raises(ForbiddenError, match=r"outside the served directory.*--allow-outside"):
            read(path, dataset)
        found = {node.key: node.metadata.get("error", "") for node in nodes(describe(Sample(HDF5, path)))}
        assert dataset != "entry/frames" or "outside" in found["frames"]
    assert os.stat(outside / "secret.h5").st_atime_ns == opened
    allowed = {"roots": (served, outside)}
    np.testing.assert_array_equal(read(cases[0][0], "entry/frames", **allowed), FRAMES)
    np.testing.assert_array_equal(read(cases[1][0], "v", **allowed), FRAMES)


def test_absent_files_are_errors_that_name_them_never_zeros(served):
    cases = [
        (link(served / "a.h5", "gone.h5"), "entry/frames", "gone.h5"),
        (virtual(served / "b.h5", "gone{n}.h5"), "v", "gone0.h5"),
        (stored(served / "c.h5", "gone.raw"), "s", "gone.raw"),
        (virtual(served / "d.h5", "frames.h5", name="nothing"), "v", "nothing"),
        (link(served / "e.h5", "frames.h5", "nothing"), "entry/frames", "nothing"),
    ]
    for path, dataset, name in cases:
        with pytest.raises((MissingFileError, NotFoundError), match=name):
            read(path, dataset)
        describe(Sample(HDF5, path))
    assert linked(cases[1][0]) == {(f"gone{n}.h5", "virtual", False) for n in range(4)}


def test_only_the_sources_that_a_slice_needs_must_be_there(served):
    for n in range(4):
        write(served / f"f{n}.h5", data=FRAMES)
    path = virtual(served / "master.h5", "f{n}.h5")
    np.testing.assert_array_equal(read(path, "v", slice(None, None, -1)), FRAMES[::-1])
    (served / "f2.h5").unlink()
    np.testing.assert_array_equal(read(path, "v", slice(0, 2)), FRAMES[:2])
    with pytest.raises(MissingFileError, match=r"f2\.h5"):
        read(path, "v", slice(1, 3))
    with HDF5.open(Source(path)) as opened, pytest.raises(MissingFileError, match=r"f2\.h5"):
        list(opened.array({"dataset": "v"}).slabs())


def test_lists_of_virtual_data_sets_are_read_from_files_that_may_be_read_only(served, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    kind = h5py.vlen_dtype("i8")
    for path in (tmp_path / "elsewhere" / "secret.h5", served / "beside.h5"):
        with h5py.File(path, "w") as file:
            made = file.create_dataset("data", (2,), kind)
            made[0], made[1] = [41, 42], [43]
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name in ("secret.h5", "beside.h5"):
        layout = h5py.VirtualLayout((2,), kind)
        layout[...] = h5py.VirtualSource(name, "data", shape=(2,))
        with h5py.File(served / "master.h5", "w", libver="latest") as file:
            file.create_virtual_dataset("v", layout)
        (node,) = [each for each in nodes(describe(Sample(HDF5, served / "master.h5"))) if each.key == "v"]
        if name == "secret.h5":
            assert "not there" in node.metadata["error"]
            with pytest.raises(MissingFileError):
                read(served / "master.h5", "v")
        else:
            assert node.family == "array"
            assert "41" in str(read(served / "master.h5", "v")[0])


@pytest.mark.parametrize("shape", [(2,), (1,)])
def test_texts_of_virtual_data_sets_are_measured_in_files_that_may_be_read_only(
    served, monkeypatch, tmp_path, shape
):
    (tmp_path / "elsewhere").mkdir()
    texts = np.array(["a secret that is long", "b"][: shape[0]], object)
    for path in (tmp_path / "elsewhere" / "secret.h5", served / "beside.h5"):
        write(path, data=texts)
    monkeypatch.chdir(tmp_path / "elsewhere")
    errors = {"secret.h5": "not there", "../elsewhere/secret.h5": "outside", "beside.h5": None}
    for name, error in [*errors.items(), (str(tmp_path / "elsewhere" / "secret.h5"), "outside")]:
        layout = h5py.VirtualLayout(shape, h5py.string_dtype())
        layout[...] = h5py.VirtualSource(name, "data", shape=shape)
        with h5py.File(served / "master.h5", "w", libver="latest") as file:
            file.create_virtual_dataset("v", layout)
        (node,) = [each for each in nodes(describe(Sample(HDF5, served / "master.h5"))) if each.key == "v"]
        if error is None:
            assert node.structure["data_type"]["itemsize"] == 4 * len(texts[0])
            np.testing.assert_array_equal(read(served / "master.h5", "v"), texts.astype(str))
        else:
            assert error in node.metadata["error"]
            with pytest.raises((MissingFileError, ForbiddenError)):
                read(served / "master.h5", "v")


def test_virtual_sources_are_looked_for_beside_the_file_not_in_the_working_directory(
    served, monkeypatch, tmp_path
):
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "decoy.h5", data=FRAMES * 0)
    monkeypatch.chdir(tmp_path / "elsewhere")
    path = virtual(served / "master.h5", "decoy.h5")
    with pytest.raises(MissingFileError, match="decoy"):
        read(path, "v")
    write(served / "decoy.h5", data=FRAMES)
    np.testing.assert_array_equal(read(path, "v"), FRAMES)


def test_a_virtual_data_set_within_its_own_file_reads(served):
    layout = h5py.VirtualLayout((2, 3), "i8")
    layout[...] = h5py.VirtualSource(".", "data", shape=(2, 3))
    path = write(served / "own.h5", data=FRAMES[0])
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("v", layout)
    np.testing.assert_array_equal(read(path, "v"), FRAMES[0])
    np.testing.assert_array_equal(read(path, "v", digests=block_digests(path)), FRAMES[0])


def test_virtual_data_sets_made_of_each_other_end(served):
    for one, other in [("p", "q"), ("q", "p")]:
        layout = h5py.VirtualLayout((2,), "i8")
        layout[...] = h5py.VirtualSource(f"{other}.h5", "v", shape=(2,))
        with h5py.File(served / f"{one}.h5", "w") as file:
            file.create_virtual_dataset("v", layout)
    with pytest.raises(UnreadableError, match="each other"):
        read(served / "p.h5", "v")


def test_external_links_in_circles_end(served):
    link(served / "p.h5", "q.h5", "entry/frames")
    link(served / "q.h5", "p.h5", "entry/frames")
    with pytest.raises(UnreadableError, match="circles"):
        read(served / "p.h5", "entry/frames")
    assert "circles" in describe(Sample(HDF5, served / "p.h5")).children[0].children[0].metadata["error"]


def test_external_storage_counts_from_the_files_own_directory(served, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (served / "x.raw").write_bytes(FRAMES[:2].tobytes())
    (served / "x.raw2").write_bytes(bytes(8) + FRAMES[2:].tobytes())
    path = stored(served / "master.h5", "x.raw")
    np.testing.assert_array_equal(read(path, "s"), FRAMES)
    np.testing.assert_array_equal(
        read(path, "s", (slice(None, None, -1), 1, slice(0, 3, 2))), FRAMES[::-1, 1, ::2]
    )
    assert linked(path) == {("x.raw", "storage", True), ("x.raw2", "storage", True)}
    (served / "x.raw2").write_bytes(b"short")
    with pytest.raises(UnreadableError, match="truncated"):
        read(path, "s")


def test_linked_files_are_verified_where_their_digests_are_known(served):
    path = link(served / "master.h5", "frames.h5")
    digests = {each.name: block_digests(each) for each in (path, served / "frames.h5")}
    find = {"find_digests": lambda asked: digests.get(asked.name)}
    np.testing.assert_array_equal(read(path, "entry/frames", **find), FRAMES)
    data = bytearray((served / "frames.h5").read_bytes())
    data[-10] ^= 1
    (served / "frames.h5").write_bytes(data)
    with pytest.raises(HashError, match=r"frames\.h5"):
        read(path, "entry/frames", **find)


def test_no_descriptor_of_a_linked_file_is_left(served):
    link(served / "a.h5", "frames.h5")
    virtual(served / "b.h5", "frames.h5")
    read(served / "a.h5", "entry/frames")
    before = open_descriptors()
    for _ in range(3):
        read(served / "a.h5", "entry/frames")
        read(served / "b.h5", "v")
        describe(Sample(HDF5, served / "a.h5"))
    assert open_descriptors() == before


WRITER = """
import sys, h5py
file = h5py.File(sys.argv[1], "w", libver="latest")
data = file.create_dataset("data", (1, 4), "i8", maxshape=(None, 4), chunks=(1, 4))
data[...] = 7
file.swmr_mode = True
file.flush()
for line in sys.stdin:
    data.resize(data.shape[0] + 1, axis=0)
    data[-1] = 7
    data.flush()
    print(data.shape[0], flush=True)
"""


def test_a_file_that_a_detector_writes_is_read_as_it_grows(tmp_path):
    path = tmp_path / "growing.h5"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with writer:
        for rows in range(2, 6):
            writer.stdin.write("more\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == f"{rows}\n"
            assert read(path, "data").tolist() == [[7] * 4] * rows
            assert describe(Sample(HDF5, path)).children[0].structure["shape"] == [rows, 4]
        writer.stdin.close()
        assert writer.wait(20) == 0


def test_reading_takes_no_lock_so_that_a_writer_can_always_open(tmp_path):
    path = write(tmp_path / "a.h5", data=FRAMES)
    with HDF5.open(Source(path)) as opened:
        opened.array({"dataset": "data"}).read()
        with open(path, "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        code = f"import h5py; h5py.File({str(path)!r}, 'r+')['more'] = 1"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    with open(path, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        np.testing.assert_array_equal(read(path, "data"), FRAMES)


def test_every_node_names_the_files_that_reading_it_opens(served):
    virtual(served / "middle.h5", "frames.h5")
    layout = h5py.VirtualLayout((4, 2, 3), "i8")
    layout[...] = h5py.VirtualSource("middle.h5", "v", shape=(4, 2, 3))
    with h5py.File(served / "top.h5", "w") as file:
        file["plain"] = 1
        file.create_virtual_dataset("nested", layout)
        file["link"] = h5py.ExternalLink("frames.h5", "data")
        file["absent"] = h5py.ExternalLink("gone.h5", "data")
    root = describe(Sample(HDF5, served / "top.h5"))
    named = {node.key: {each.name for each in node.linked} for node in nodes(root)}
    assert named == {
        "": {"middle.h5", "frames.h5", "gone.h5"},
        "plain": set(),
        "nested": {"middle.h5", "frames.h5"},
        "link": {"frames.h5"},
        "absent": {"gone.h5"},
    }
    np.testing.assert_array_equal(read(served / "top.h5", "nested"), FRAMES)


def test_a_file_that_the_same_process_has_open_is_read_too(served):
    path = virtual(served / "v.h5", "frames.h5")
    for mode, options in [("r", {}), ("r", {"locking": False}), ("r+", {})]:
        with h5py.File(served / "frames.h5", mode, **options):
            np.testing.assert_array_equal(read(served / "frames.h5", "data"), FRAMES)
    with h5py.File(path, "r"):
        describe(Sample(HDF5, path))


def series(path, pattern):
    """Write a virtual data set over a numbered series of files, as long as there are files."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_fill_value(np.array(-1, "i8"))
    source = h5py.h5s.create_simple((1, 2, 3))
    target = h5py.h5s.create_simple((4, 2, 3), (h5py.h5s.UNLIMITED, 2, 3))
    target.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (1, 1, 1), (1, 2, 3))
    layout.set_virtual(target, pattern.encode(), b"data", source)
    with h5py.File(path, "w", libver="latest") as file:
        h5py.h5d.create(file.id, b"v", h5py.h5t.NATIVE_INT64, target, layout)
    return path


def test_a_numbered_series_is_read_beside_its_file_only(served, monkeypatch, tmp_path):
    for n in range(3):
        write(served / f"s{n}.h5", data=FRAMES[n : n + 1])
        write(tmp_path / "outside" / f"s{n}.h5", data=FRAMES[n : n + 1])
    path = series(served / "master.h5", "s%b.h5")
    np.testing.assert_array_equal(read(path, "v", slice(0, 3)), FRAMES[:3])
    assert linked(path) == {(f"s{n}.h5", "virtual", True) for n in range(3)}
    with pytest.raises(ForbiddenError, match="outside the served directory"):
        read(series(served / "b.h5", "../outside/s%b.h5"), "v")
    assert linked(served / "b.h5") == set()
    write(tmp_path / "outside" / "s3.h5", data=FRAMES[3:] * 0)
    monkeypatch.chdir(tmp_path / "outside")
    with pytest.raises(ForbiddenError, match="working directory"):
        read(path, "v")


def test_a_relative_name_is_not_looked_for_by_its_last_part(served):
    for path, dataset in [
        (link(served / "a.h5", "sub/frames.h5"), "entry/frames"),
        (virtual(served / "b.h5", "sub/frames.h5"), "v"),
    ]:
        with pytest.raises(MissingFileError, match="sub/frames"):
            read(path, dataset)
