"""Trees of nodes as HDF5, ZIP and JSON, read again by programs that are not ours."""

from __future__ import annotations

import io
import json
import os
import zipfile

import h5py
import numpy as np
import pytest
import xarray

from export_sources import EndlessArray, MemoryArray, MemoryNode, MemoryTable, exported, part_of
from holdfast.errors import ChangedError, NotAcceptableError, UnreadableError
from holdfast.formats.exports.base import ArrayPart
from holdfast.formats.exports.registry import exports_of

IMAGE = np.arange(12, dtype=">i4").reshape(3, 4)
TREE = {
    "run": {
        "image": IMAGE,
        "deep": {"scalar": np.float32(2.5), "words": np.array(["ä", ""]), "none": np.zeros((0, 2))},
        "flags": np.array([True, False]),
    },
    "table": MemoryTable({"x": np.arange(3), "name": np.array(["a", None, "c"], object)}),
    "notes.txt": b"a note\n",
}
META = {
    "text": "é",
    "long": "x" * 100_000,
    "n": 3,
    "x": 1.5,
    "ok": True,
    "list": [1, 2, 3],
    "words": ["a", "b"],
    "big": 2**70,
    "nested": {"a": [1, {"b": None}]},
    "none": None,
    "mixed": [1, "a"],
    "zero": "a\0b",
    "many": list(range(20_000)),
    "empty": [],
    "a/b": 1,
}
ROOT = MemoryNode("top", TREE, META)


def test_hdf5_holds_the_whole_tree():
    with h5py.File(io.BytesIO(exported(ROOT, "h5"))) as file:
        np.testing.assert_array_equal(file["run/image"][()], IMAGE)
        assert file["run/image"].dtype == IMAGE.dtype
        assert file["run/image"].attrs["about"] == "image"
        assert file["run"].attrs["about"] == "run"
        assert file["run/deep/scalar"][()] == np.float32(2.5)
        assert file["run/deep/words"].asstr()[()].tolist() == ["ä", ""]
        assert file["run/deep/none"].shape == (0, 2)
        assert file["run/flags"][()].tolist() == [True, False]
        assert file["table/x"][()].tolist() == [0, 1, 2]
        assert file["table/name"].asstr()[()].tolist() == ["a", "", "c"]
        assert dict(file["notes.txt"].attrs) == {"about": "notes.txt"}
        attributes = dict(file.attrs)
        for name in ("text", "long", "n", "x", "ok", "a/b"):
            assert attributes[name] == META[name]
        for name in ("list", "words", "many"):
            assert attributes[name].tolist() == META[name]
        for name in ("big", "nested", "none", "mixed", "zero", "empty"):
            assert json.loads(attributes[name]) == META[name]


def test_hdf5_is_not_written_but_streamed(monkeypatch):
    """The temporary file has holes where the elements are."""
    from holdfast.formats.exports import skeleton

    made = skeleton.export(part_of(MemoryNode("", {"a": EndlessArray((1 << 16, 1 << 14), 1.5), "b": IMAGE})))
    assert made.size > 1 << 33
    file = made.pieces._file
    assert os.fstat(file.fileno()).st_blocks * 512 < 1 << 20
    assert len(next(made.pieces)) < 1 << 20
    assert bytes(next(made.pieces)[:8]) == np.float64(1.5).tobytes()
    made.pieces.close()
    assert file.closed


def test_dimension_scales_make_a_data_set_that_xarray_opens(tmp_path):
    time = np.array(["2026-01-01", "2026-01-02"], "M8[ns]")
    nodes = [
        MemoryNode("time", MemoryArray(time, dims=("time",))),
        MemoryNode("y", MemoryArray(np.array([0.5, 1.5, 2.5]), dims=("y",)), {"units": "mm", "CLASS": "x"}),
        MemoryNode("t", MemoryArray(np.arange(6.0).reshape(2, 3), dims=("time", "y")), {"units": "K"}),
    ]
    path = tmp_path / "set.nc"
    path.write_bytes(exported(MemoryNode("", nodes, {"title": "a set"}, ["xarray_dataset"]), "h5"))
    with h5py.File(path) as file:
        assert [dim.label for dim in file["t"].dims] == ["time", "y"]
        assert file["t"].dims[1][0].name == "/y"
        assert file["y"].is_scale
    pytest.importorskip("netCDF4")
    with xarray.open_dataset(path, engine="netcdf4") as opened:
        assert opened["t"].dims == ("time", "y")
        assert (opened["time"].to_numpy() == time).all()


def test_zip_holds_ordinary_files():
    data = exported(ROOT, "zip")
    assert data == exported(ROOT, "zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == sorted(
            [
                "metadata.json",
                "run/image.npy",
                "run/deep/scalar.npy",
                "run/deep/words.npy",
                "run/deep/none.npy",
                "run/flags.npy",
                "table.csv",
                "notes.txt",
            ]
        )
        np.testing.assert_array_equal(np.load(io.BytesIO(archive.read("run/image.npy"))), IMAGE)
        assert archive.read("table.csv") == b"x,name\n0,a\n1,\n2,c\n"
        assert archive.read("notes.txt") == b"a note\n"
        assert json.loads(archive.read("metadata.json")) == json.loads(exported(ROOT, "json"))
        assert archive.getinfo("notes.txt").external_attr >> 16 == 0o100644


def test_names_in_a_zip_differ():
    tree = MemoryNode("", {"a": IMAGE, "a.npy": IMAGE + 1, "metadata.json": b"{}", "b.csv": PLAIN})
    with zipfile.ZipFile(io.BytesIO(exported(tree, "zip"))) as archive:
        assert sorted(archive.namelist()) == [
            "a.npy",
            "a.npy (2)",
            "b.csv",
            "metadata.json",
            "metadata.json (2)",
        ]
        assert np.load(io.BytesIO(archive.read("a.npy (2)")))[0, 0] == 1


PLAIN = MemoryTable({"x": np.arange(2)})


def test_json_is_the_tree_of_metadata():
    tree = json.loads(exported(ROOT, "json"))
    assert tree["metadata"] == META
    assert tree["contents"]["run"]["contents"]["deep"]["metadata"] == {"about": "deep"}
    assert tree["contents"]["table"] == {"contents": {}, "metadata": {"about": "table"}}


def test_what_has_no_form_is_named_before_a_byte():
    odd = MemoryNode("", {"fine": IMAGE, "odd": np.array(["2026"], "M8[Y]")})
    with pytest.raises(NotAcceptableError, match=r"'odd': times in steps of 1 Y.*field="):
        exported(odd, "h5")
    many = MemoryNode("", [MemoryNode(str(number), {}) for number in range(50_001)])
    with pytest.raises(NotAcceptableError, match="more than 50000 nodes"):
        exported(many, "h5")


def test_halves_of_surrogate_pairs_in_metadata_are_escaped():
    facts = {"a": "\ud800", "b": ["\ud800", "x"], "\ud801": {"c": "\udfff"}}
    tree = MemoryNode("", {"a": IMAGE}, facts)
    assert json.loads(exported(tree, "json"))["metadata"] == facts
    with zipfile.ZipFile(io.BytesIO(exported(tree, "zip"))) as archive:
        assert json.loads(archive.read("metadata.json"))["metadata"] == facts
    with h5py.File(io.BytesIO(exported(tree, "h5"))) as file:
        assert file.attrs["a"] == "\\ud800"
        assert file.attrs["b"].tolist() == ["\\ud800", "x"]
        assert json.loads(file.attrs["\\ud801"]) == {"c": "\udfff"}


def test_what_is_neither_data_nor_a_file():
    """A link that leads nowhere is in the metadata; a structure that has no form is refused."""
    tree = MemoryNode("", [MemoryNode("lost", "bytes", {"error": "needs 'gone.h5'"}), MemoryNode("a", IMAGE)])
    with zipfile.ZipFile(io.BytesIO(exported(tree, "zip"))) as archive:
        assert archive.namelist() == ["metadata.json", "a.npy"]
        assert "needs 'gone.h5'" in archive.read("metadata.json").decode()
    with h5py.File(io.BytesIO(exported(tree, "h5"))) as file:
        assert file["lost"].attrs["error"] == "needs 'gone.h5'"
    uneven = MemoryNode("", [MemoryNode("events", "awkward")])
    for name in ("zip", "h5"):
        with pytest.raises(NotAcceptableError, match=r"'events' of family awkward has no form in.*field="):
            exported(uneven, name)


def test_what_cannot_be_opened_is_said_before_a_byte():
    class Absent(MemoryNode):
        def array(self):
            raise UnreadableError("gone")

    tree = MemoryNode("", [MemoryNode("a", IMAGE), Absent("b", IMAGE)])
    for name in ("h5", "zip"):
        with pytest.raises(UnreadableError):
            exports_of("container").export(exports_of("container").aliases[name], tree)


def test_a_failure_in_the_middle_never_looks_like_the_end():
    for name in ("h5", "zip"):
        tree = MemoryNode("", {"a": IMAGE, "b": EndlessArray((4096, 1024), 1.5, fails_after=20 << 20)})
        made = exports_of("container").export(exports_of("container").aliases[name], tree)
        sent = bytearray()
        with pytest.raises(UnreadableError, match="damaged"):
            any(sent.extend(piece) for piece in made.pieces)
        assert len(sent) > 16 << 20
        with pytest.raises((OSError, zipfile.BadZipFile)):
            (h5py.File if name == "h5" else zipfile.ZipFile)(io.BytesIO(sent))


def test_an_array_that_changed_since_it_was_laid_out_breaks_off():

    class Twice(MemoryNode):
        opened = 0

        def array(self):
            Twice.opened += 1
            self.value = np.arange(9.0) if Twice.opened == 1 else np.arange(4.0)
            return super().array()

    with pytest.raises(ChangedError, match="shrank"):
        exported(MemoryNode("", [Twice("a", np.arange(9.0))]), "h5")


def test_an_array_that_grew_since_it_was_laid_out_is_cut():
    class Twice(MemoryNode):
        opened = 0

        def array(self):
            Twice.opened += 1
            self.value = np.arange(4.0 * Twice.opened)
            return super().array()

    with h5py.File(io.BytesIO(exported(MemoryNode("", [Twice("a", np.arange(4.0))]), "h5"))) as file:
        assert file["a"][()].tolist() == [0, 1, 2, 3]


def test_metadata_and_names_of_axes_of_an_array_alone():
    part = ArrayPart.of(MemoryArray(np.zeros((2, 3, 4)), dims=("t", "y", "x")), (0,), {"units": "K"})
    with h5py.File(io.BytesIO(exported(part, "h5"))) as file:
        assert [dim.label for dim in file["data"].dims] == ["y", "x"]
        assert file["data"].attrs["units"] == "K"
