"""The unmodified tiled clients of three releases export from our server, in every format that it has."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import openpyxl
import PIL.Image
import pyarrow as pa
import pyarrow.parquet
import pytest
import tifffile

from catalog.lab import IMAGE, NOISE, write_lab
from export_sources import Cells
from originals.environments import RefusedError
from originals.tiled_server import release
from served import KEY, holdfast, served

pytestmark = pytest.mark.originals

__all__ = ["release"]

Ask = Callable[..., Any]
IN_SCAN = "runs/scan.nxs/entry/data"
ROWS = [(1, 0.5, "a"), (2, 1.5, "b"), (3, 2.5, "c")]


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    root = write_lab(tmp_path_factory.mktemp("exports") / "lab")
    indexed = holdfast("index", root)
    assert indexed.returncode == 0, indexed.stderr
    with served(root, timeout_s=600) as server:
        yield server.url


@pytest.fixture(scope="module")
def ask(original, url, release) -> Ask:
    conversation = original(f"tiled-{release}")
    conversation(f"from tiled.client import from_uri\nclient = from_uri({url!r}, api_key={KEY!r})")
    return conversation


@pytest.fixture
def export(ask, tmp_path) -> Callable[..., Path]:
    """Let the client export a node, and return the file."""

    def run(path: str, name: str, **options: Any) -> Path:
        target = tmp_path / name
        words = "".join(f", {option}={value!r}" for option, value in options.items())
        node = f"client[{', '.join(map(repr, path.split('/')))}]"
        ask(f"{node}.export({str(target)!r}{words})")
        return target

    return run


READERS = {
    "npy": np.load,
    "json": lambda path: np.array(json.loads(path.read_text())),
    "csv": lambda path: np.loadtxt(path, delimiter=","),
    "txt": lambda path: np.loadtxt(path, delimiter=","),
    "h5": lambda path: h5py.File(path)["data"][()],
    "hdf5": lambda path: h5py.File(path)["data"][()],
    "tiff": tifffile.imread,
    "tif": tifffile.imread,
}


@pytest.mark.parametrize("suffix", READERS)
def test_an_array_is_exported(export, suffix):
    np.testing.assert_array_equal(READERS[suffix](export(f"{IN_SCAN}/noise", f"a.{suffix}")), NOISE)


def test_a_slice_is_exported(export, ask, tmp_path):
    ask(
        f"client['runs', 'scan.nxs', 'entry', 'data', 'image'].export({str(tmp_path / 'a.tiff')!r}, "
        "slice=(slice(1, 3), slice(0, 2)))"
    )
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tiff"), IMAGE[1:3, 0:2])


def test_a_picture_and_a_page_are_exported(export):
    low, high = np.percentile(NOISE, (1, 99))
    expected = np.rint(np.clip((NOISE - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(export(f"{IN_SCAN}/noise", "a.png"))), expected)
    assert Cells(export(f"{IN_SCAN}/noise", "a.html").read_text()).images


def test_media_types_and_open_files_are_taken_too(ask):
    ask("import io\nout = io.BytesIO()")
    ask("client['runs', 'plain.npy'].export(out, format='text/csv')")
    assert ask("len(out.getvalue().splitlines())") == 10


def test_a_table_is_exported(export):
    table = "table.csv"
    for read in (
        pa.ipc.open_file(export(table, "t.arrow")).read_all(),
        pa.parquet.read_table(export(table, "t.parquet")),
    ):
        assert [tuple(row.values()) for row in read.to_pylist()] == ROWS
    assert list(openpyxl.load_workbook(export(table, "t.xlsx")).active.values) == [("x", "y", "name"), *ROWS]
    with h5py.File(export(table, "t.h5")) as file:
        assert list(zip(file["x"], file["y"], file["name"].asstr(), strict=True)) == ROWS
    assert list(csv.reader(export(table, "t.csv").read_text().splitlines()))[1] == ["1", "0.5", "a"]
    assert json.loads(export(table, "t.json").read_text())["y"] == [0.5, 1.5, 2.5]
    texts = export(table, "t.jsonl").read_text().split("\x1e")[1:]
    assert [tuple(json.loads(text).values()) for text in texts] == ROWS
    assert Cells(export(table, "t.html").read_text()).rows[0] == ["x", "y", "name"]
    assert export(table, "t.csv", columns=["name"]).read_text().split() == ["name", "a", "b", "c"]


def test_a_container_is_exported(export):
    with h5py.File(export(IN_SCAN, "d.h5")) as file:
        np.testing.assert_array_equal(file["noise"][()], NOISE)
        assert file["image"].attrs["units"] == "counts"
    with h5py.File(export("runs", "r.h5", fields=["plain.npy"])) as file:
        assert list(file) == ["plain.npy"]
    with zipfile.ZipFile(export("runs", "r.zip")) as archive:
        assert archive.testzip() is None
        np.testing.assert_array_equal(np.load(io.BytesIO(archive.read("plain.npy")))[0], np.arange(100.0))
    assert json.loads(export("many", "m.json").read_text())["contents"]["00.json"]["metadata"]["n"] == 0


def test_what_is_impossible_names_what_is_possible(export):
    for path, name, words in (
        (f"{IN_SCAN}/image", "a.png", "slice=0,:,:"),
        (f"{IN_SCAN}/complex", "a.csv", "application/x-npy"),
        ("table.csv", "t.png", "text/csv"),
        ("runs", "r.csv", "application/zip"),
    ):
        with pytest.raises(RefusedError, match=words):
            export(path, name)


def test_the_client_lists_the_formats(ask):
    assert "image/png" in ask("list(client['runs', 'plain.npy'].formats)")
    assert "application/x-parquet" in ask("list(client['table.csv'].formats)")
