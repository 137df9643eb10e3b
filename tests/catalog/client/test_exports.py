"""Every node in every format that it has, over both transports: what is saved is what was read."""

from __future__ import annotations

import http.client
import io
import json
import os
import zipfile
from urllib.parse import urlsplit

import h5py
import numpy as np
import openpyxl
import PIL.Image
import pyarrow as pa
import pyarrow.parquet
import pytest
import tifffile

from catalog.conftest import serving_directory
from catalog.lab import IMAGE, NOISE
from export_sources import Cells
from holdfast.catalog import from_catalog, from_uri, index
from holdfast.errors import HashError, InvalidInputError, NotAcceptableError, NotFoundError
from holdfast.events import ProgressEnd, ProgressEvent, ProgressStart, ProgressStep, bus

DATA = "runs/scan.nxs/entry/data"
READERS = {
    "npy": np.load,
    "json": lambda path: np.array(json.loads(path.read_text())),
    "csv": lambda path: np.loadtxt(path, delimiter=","),
    "txt": lambda path: np.loadtxt(path, delimiter=","),
    "h5": lambda path: h5py.File(path)["data"][()],
    "tiff": tifffile.imread,
    "tif": tifffile.imread,
    "bin": lambda path: np.fromfile(path).reshape(NOISE[:, :40].shape),
}


@pytest.mark.parametrize("suffix", READERS)
def test_an_array_is_the_same_in_every_format(client, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    client[f"{DATA}/noise"].export(path, slice=(slice(None), slice(40)))
    np.testing.assert_array_equal(READERS[suffix](path), NOISE[:, :40])


def test_a_picture_and_a_page(client, tmp_path):
    client[f"{DATA}/noise"].export(tmp_path / "a.png", slice=(slice(None), slice(64)))
    array = NOISE[:, :64]
    low, high = np.percentile(array, (1, 99))
    expected = np.rint(np.clip((array - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(tmp_path / "a.png")), expected)
    client[f"{DATA}/image"].export(tmp_path / "a.html", slice=1)
    page = Cells((tmp_path / "a.html").read_text())
    assert [[int(cell) for cell in row] for row in page.rows] == IMAGE[1].tolist()


def test_the_metadata_of_an_array_travels_in_hdf5(client, tmp_path):
    client[f"{DATA}/image"].export(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["data"].attrs["units"] == "counts"
        assert file["data"].dtype == ">i4"


def test_a_table_is_the_same_in_every_format(client, tmp_path):
    table, rows = client["table.csv"], [(1, 0.5, "a"), (2, 1.5, "b"), (3, 2.5, "c")]
    paths = {
        suffix: tmp_path / f"t.{suffix}" for suffix in ("arrow", "parquet", "xlsx", "h5", "html", "json-seq")
    }
    for path in paths.values():
        table.export(path)
    for read in (pa.ipc.open_file(paths["arrow"]).read_all(), pa.parquet.read_table(paths["parquet"])):
        assert [tuple(row.values()) for row in read.to_pylist()] == rows
    assert list(openpyxl.load_workbook(paths["xlsx"]).active.values) == [("x", "y", "name"), *rows]
    with h5py.File(paths["h5"]) as file:
        assert list(zip(file["x"], file["y"], file["name"].asstr(), strict=True)) == rows
    page = Cells(paths["html"].read_text())
    assert page.rows == [["x", "y", "name"], *([str(cell) for cell in row] for row in rows)]
    texts = paths["json-seq"].read_text().split("\x1e")[1:]
    assert [tuple(json.loads(text).values()) for text in texts] == rows
    table.export(paths["parquet"], columns=["name", "x"])
    assert pa.parquet.read_table(paths["parquet"]).column_names == ["name", "x"]


def test_a_container_is_the_same_as_hdf5_and_as_zip(client, tmp_path):
    client["runs"].export(tmp_path / "r.h5", fields=["plain.npy", "ext"])
    with h5py.File(tmp_path / "r.h5") as file:
        np.testing.assert_array_equal(file["plain.npy"][()], np.arange(1000.0).reshape(10, 100))
        assert file["ext/raw.h5/raw"][()].tolist() == list(range(10))
        assert set(file) == {"ext", "plain.npy"}
    client[f"{DATA}"].export(tmp_path / "d.h5")
    with h5py.File(tmp_path / "d.h5") as file:
        np.testing.assert_array_equal(file["noise"][()], NOISE)
        assert file["words"].asstr()[()].tolist() == ["ä", "longer"]
        assert file["pairs"][()].tolist() == [(1, 2.5), (3, 4.5)]
        assert file["empty"].shape == (0, 3)
        assert file["image"].attrs["units"] == "counts"
    client.export(tmp_path / "all.zip", fields=["table.csv", "facts.json", "runs", "many"])
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.testzip() is None
        assert "runs/scan.nxs/entry/absent" not in archive.namelist()
        assert json.loads(archive.read("facts.json"))["n"] == 7
        assert archive.read("table.csv") == b"x,y,name\n1,0.5,a\n2,1.5,b\n3,2.5,c\n"
        np.testing.assert_array_equal(np.load(io.BytesIO(archive.read(f"{DATA}/image.npy"))), IMAGE)
        facts = json.loads(archive.read("metadata.json"))
        assert facts["contents"]["facts.json"]["metadata"]["color"] == "red"


def test_an_export_into_an_open_file(client):
    out = io.BytesIO()
    client["table.csv"].export(out, ".csv", columns=["x"])
    assert out.getvalue() == b"x\n1\n2\n3\n"
    with pytest.raises(InvalidInputError, match="has no suffix"):
        client["table.csv"].export(io.BytesIO())


def test_refusals_name_what_is_possible_and_leave_no_file(client, tmp_path):
    for path, suffix, words in (
        (f"{DATA}/complex", "csv", "complex numbers.*application/x-npy"),
        (f"{DATA}/image", "png", r"slice=0,:,:.*image/tiff"),
        (f"{DATA}/words", "tiff", "no form in TIFF.*application/json"),
        (f"{DATA}/empty", "png", "no pixels.*text/csv"),
        (f"{DATA}/pairs", "png", "no brightness.*text/csv"),
        ("table.csv", "png", "text/csv"),
        ("runs", "csv", "application/x-hdf5, application/zip"),
    ):
        with pytest.raises(NotAcceptableError, match=words) as refused:
            client[path].export(tmp_path / f"x.{suffix}")
        assert refused.value.details["possible"]
        assert refused.value.status == 406
    assert list(tmp_path.iterdir()) == []


def test_columns_and_fields_that_are_not_there(client, tmp_path):
    with pytest.raises(NotFoundError):
        client["table.csv"].export(tmp_path / "t.csv", columns=["z"])
    with pytest.raises(NotFoundError):
        client["runs"].export(tmp_path / "r.zip", fields=["z"])


def test_progress_is_told_in_bytes(client, tmp_path):
    heard: list[ProgressEvent] = []
    connection = bus.connect(ProgressEvent, heard.append)
    try:
        client["runs/plain.npy"].export(tmp_path / "a.npy")
        client["runs/plain.npy"].export(tmp_path / "a.csv")
    finally:
        bus.disconnect(connection)
    own = [event for event in heard if event.operation == "export"]
    size = (tmp_path / "a.npy").stat().st_size
    starts = [event for event in own if isinstance(event, ProgressStart)]
    assert [start.steps for start in starts] == [size, -1]
    ends = [event for event in own if isinstance(event, ProgressEnd)]
    assert [end.exit_state for end in ends] == ["normal", "normal"]
    steps = [event for event in own if isinstance(event, ProgressStep)]
    assert own.index(starts[1]) > own.index(ends[0]) > own.index(steps[0])
    assert max(step.step for step in steps if step.steps == size) == size
    assert steps[-1].step == (tmp_path / "a.csv").stat().st_size


# -- a failure in the middle ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A directory with an array whose last block was changed after it was indexed, with the old time."""
    top = tmp_path_factory.mktemp("damaged")
    np.save(top / "a.npy", np.arange(2_250_000.0).reshape(1500, 1500))
    os.utime(top / "a.npy", (10**9, 10**9))
    index(top, digest="now")
    with (top / "a.npy").open("r+b") as file:
        file.seek(-9, os.SEEK_END)
        file.write(b"?")
    os.utime(top / "a.npy", (10**9, 10**9))
    return top


FORMATS = ["npy", "csv", "json", "h5", "tiff"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_damage_in_the_middle_leaves_no_file(damaged, tmp_path, suffix):
    with from_catalog(damaged) as local, serving_directory(damaged) as url, from_uri(url) as remote:
        for client in (local, remote):
            with pytest.raises(HashError):
                client["a.npy"].export(tmp_path / f"a.{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_damage_in_the_middle_breaks_a_plain_transfer(damaged):
    """A client that knows no frames sees the connection break, with and without a size."""
    with serving_directory(damaged) as url:
        address = urlsplit(url)
        for suffix in FORMATS:
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
            connection.request("GET", f"/api/v1/array/full/a.npy?format={suffix}")
            answer = connection.getresponse()
            assert answer.status == 200
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                answer.read()
            connection.close()


def test_a_client_that_leaves_frees_the_temporary_file(lab, tmp_path, monkeypatch):
    """Neither a descriptor nor a file is left when the answer is given up in the middle."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving_directory(lab) as url, from_uri(url) as client:
        client["runs"].export(io.BytesIO(), "h5", fields=["plain.npy"])
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            route = client.session.route("container/full", ("runs",))
            query = [("format", "h5"), ("field", "plain.npy")]
            with client.session.connection.open("GET", route, query) as answer:
                answer.read(10)
        client["runs"].export(io.BytesIO(), "h5", fields=["plain.npy"])
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert list(tmp_path.iterdir()) == []


def test_the_root_says_what_is_possible(client):
    about = client.session.about
    assert {"image/png", "image/tiff", "application/x-hdf5", "text/html"} <= set(about["formats"]["array"])
    assert {"application/x-parquet", "text/csv", "application/json-seq"} <= set(about["formats"]["table"])
    assert about["formats"]["container"] == ["application/json", "application/x-hdf5", "application/zip"]
    assert about["aliases"]["array"]["image/tiff"] == ["tiff", "tif"]
    assert "arrow" in about["aliases"]["table"]["application/vnd.apache.arrow.file"]
