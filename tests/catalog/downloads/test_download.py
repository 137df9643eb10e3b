"""The circle of seed 4: take a search result home, move it, serve it again, open it without a server."""

from __future__ import annotations

import os
import shutil
import threading

import h5py
import numpy as np
import pytest

from catalog.conftest import serving_directory
from catalog.cutting import relay
from catalog.lab import IMAGE
from holdfast.app import ServeOptions, build
from holdfast.catalog import check, download, from_catalog, from_uri, index
from holdfast.errors import (
    AlreadyExistsError,
    AuthenticationError,
    BulkError,
    BusyError,
    HashError,
    HoldfastError,
    InvalidInputError,
    InvalidTypeError,
    TransportError,
)
from holdfast.http.serving import running
from holdfast.queries import Key


def files_of(directory):
    """Return the plain files below a directory, without Holdfast's own."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and ".holdfast" not in path.parts
    }


def all_keys(client):
    return sorted(client.search_deep().keys())


def left_over(directory):
    return [path.name for path in directory.iterdir() if path.name.startswith(".")]


def test_a_catalog_comes_home_whole(client, lab, tmp_path):
    report = download(client, tmp_path / "stuff")
    assert files_of(tmp_path / "stuff" / "data") == files_of(lab)
    assert report.checked == len(files_of(lab))
    assert report.ok
    local = from_catalog(tmp_path / "stuff" / "catalog.db", readable_storage=[tmp_path / "stuff" / "data"])
    assert all_keys(local) == all_keys(client)
    assert list(local) == list(client)
    for key, node in client.search_deep().items():
        assert local[key].metadata == node.metadata
        assert local[key].specs == node.specs
    np.testing.assert_array_equal(local["runs/scan.nxs/entry/data/image"].read(), IMAGE)
    assert left_over(tmp_path) == []


def test_the_seeds_own_lines(url, tmp_path, monkeypatch):
    import holdfast as hf

    monkeypatch.chdir(tmp_path)
    client = hf.from_uri(url)
    hf.download(client.search_deep(Key("color") == "red"), "stuff/")
    local = hf.from_catalog("stuff/catalog.db", readable_storage=["stuff/data"])
    assert local["facts.json"].metadata["n"] == 7
    with serving_directory(tmp_path / "stuff") as again:
        assert all_keys(hf.from_uri(again)) == all_keys(local)


def test_a_search_result_brings_its_hits_and_what_is_above_them(client, tmp_path):
    hits = client.search_deep((Key("color") == "red") & (Key("n") < 7))
    download(hits, tmp_path / "stuff")
    names = {"many/00.json", "many/02.json", "many/04.json", "many/06.json"}
    assert set(files_of(tmp_path / "stuff" / "data")) == names
    assert set(from_catalog(tmp_path / "stuff").search_deep().keys()) == {"many", *names}


def test_one_node_of_a_file_brings_the_file(client, lab, tmp_path):
    download(client["runs/scan.nxs/entry/data/image"], tmp_path / "stuff")
    local = from_catalog(tmp_path / "stuff")
    assert all_keys(local) == [
        "runs",
        "runs/scan.nxs",
        "runs/scan.nxs/entry",
        "runs/scan.nxs/entry/data",
        "runs/scan.nxs/entry/data/image",
    ]
    copy = tmp_path / "stuff" / "data" / "runs" / "scan.nxs"
    assert copy.read_bytes() == (lab / "runs" / "scan.nxs").read_bytes()
    np.testing.assert_array_equal(local["runs/scan.nxs/entry/data/image"][1, ::-2], IMAGE[1, ::-2])


def test_a_column_brings_its_table(client, tmp_path):
    download(client["table.csv"]["x"], tmp_path / "stuff")
    local = from_catalog(tmp_path / "stuff")
    assert all_keys(local) == ["table.csv"]
    assert list(local["table.csv"]["x"]) == [1, 2, 3]


def test_linked_files_travel_to_where_the_link_finds_them_and_absent_ones_are_told(client, tmp_path):
    report = download(client["runs/scan.nxs"], tmp_path / "stuff")
    assert report.ok
    assert any("gone.h5" in note for note in report.notes)
    shutil.move(tmp_path / "stuff", tmp_path / "moved")
    with h5py.File(tmp_path / "moved" / "data" / "runs" / "scan.nxs", "r") as file:
        np.testing.assert_array_equal(file["entry/linked"][:], np.arange(10.0))
    local = from_catalog(tmp_path / "moved")
    np.testing.assert_array_equal(local["runs/scan.nxs/entry/linked"].read(), np.arange(10.0))


def test_a_download_can_be_moved_checked_served_and_downloaded_again(client, lab, tmp_path):
    download(client, tmp_path / "first")
    shutil.move(tmp_path / "first", tmp_path / "moved")
    assert check(tmp_path / "moved").ok
    with serving_directory(tmp_path / "moved") as url:
        download(from_uri(url), tmp_path / "second")
    assert files_of(tmp_path / "second" / "data") == files_of(lab)
    assert all_keys(from_catalog(tmp_path / "second")) == all_keys(client)
    assert check(tmp_path / "second").ok


def test_times_of_files_are_kept(client, lab, tmp_path):
    download(client["table.csv"], tmp_path / "stuff")
    kept, there = tmp_path / "stuff" / "data" / "table.csv", lab / "table.csv"
    assert kept.stat().st_mtime_ns == there.stat().st_mtime_ns


def test_a_file_of_many_nodes_travels_once(url, tmp_path):
    with relay(url) as between:
        client = from_uri(between.url)
        nodes = client["runs/scan.nxs"].search_deep()
        assert len(nodes) > 5
        report = download(nodes, tmp_path / "stuff")
    assert report.checked == 2  # the file and the one it links to


def test_progress_counts_every_byte_once(client, lab, tmp_path):
    told = []
    download(client, tmp_path / "stuff", progress=lambda done, total: told.append((done, total)))
    total = sum(len(data) for data in files_of(lab).values())
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("limit", [150_000, 300_000])
def test_a_cut_connection_leaves_nothing_and_is_resumed(own_lab, tmp_path, limit):
    (own_lab / "large.bin").write_bytes(os.urandom(2_000_000))
    index(own_lab, digest="now")
    with serving_directory(own_lab) as url:
        with relay(url) as between:
            download(from_uri(between.url), tmp_path / "whole")
            whole = between.passed
        with relay(url, limit=limit + 600_000) as between:
            client = from_uri(between.url)
            with pytest.raises(BulkError) as caught:
                download(client, tmp_path / "stuff", workers=2)
        assert caught.value.split(TransportError)[0] is not None
        assert not (tmp_path / "stuff").exists()
        with relay(url) as between:
            download(from_uri(between.url), tmp_path / "stuff")
            assert between.passed < whole - 300_000
    assert files_of(tmp_path / "stuff" / "data") == files_of(own_lab)
    assert left_over(tmp_path) == []


def test_what_an_interrupted_download_left_and_another_does_not_want_goes(own_lab, tmp_path):
    stuff = tmp_path / "stuff"
    client = from_catalog(own_lab)

    def stop(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(client, stuff, workers=1, progress=stop)
    assert not stuff.exists()
    download(client["notes.txt"], stuff)
    assert set(files_of(stuff / "data")) == {"notes.txt"}
    assert check(stuff).ok
    assert left_over(tmp_path) == []


def test_damage_at_the_source_is_never_taken_home(own_lab, tmp_path):
    damaged = own_lab / "runs" / "plain.npy"
    facts = damaged.stat()
    data = bytearray(damaged.read_bytes())
    data[-3] ^= 1
    damaged.write_bytes(data)
    os.utime(damaged, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with serving_directory(own_lab) as url:
        with pytest.raises(BulkError) as caught:
            download(from_uri(url), tmp_path / "stuff")
        assert caught.value.split(HashError)[0] is not None
        assert "plain.npy" in str(caught.value)
        assert not (tmp_path / "stuff").exists()


def test_all_failures_are_told_together(own_lab, tmp_path):
    for name in ("facts.json", "notes.txt"):
        (own_lab / name).unlink()
    with serving_directory(own_lab) as url, pytest.raises(BulkError) as caught:
        download(from_uri(url), tmp_path / "stuff")
    assert len(caught.value.exceptions) == 2
    assert all(isinstance(error, HoldfastError) for error in caught.value.exceptions)


def test_an_earlier_download_is_brought_up_to_date(own_lab, tmp_path):
    stuff = tmp_path / "stuff"
    with serving_directory(own_lab) as url:
        download(from_uri(url), stuff)
    (stuff / "my notes.txt").write_text("mine")
    kept = (stuff / "data" / "table.csv").stat().st_ino
    (own_lab / "facts.json").write_text('{"color": "green"}')
    (own_lab / "new.txt").write_text("new")
    (own_lab / "notes.txt").unlink()
    index(own_lab, digest="now", prune=True)
    with serving_directory(own_lab) as url:
        with relay(url) as between:
            download(from_uri(between.url), stuff)
        client = from_uri(url)
        assert all_keys(from_catalog(stuff)) == all_keys(client)
    assert files_of(stuff / "data") == files_of(own_lab)
    assert (stuff / "data" / "table.csv").stat().st_ino == kept
    assert from_catalog(stuff)["facts.json"].metadata["color"] == "green"
    assert (stuff / "my notes.txt").read_text() == "mine"
    assert left_over(tmp_path) == []
    assert check(stuff).ok


def test_a_second_search_result_joins_the_first(client, tmp_path):
    stuff = tmp_path / "stuff"
    download(client["table.csv"], stuff)
    download(client["notes.txt"], stuff)
    assert sorted(from_catalog(stuff)) == ["notes.txt", "table.csv"]
    assert set(files_of(stuff / "data")) == {"notes.txt", "table.csv"}
    assert check(stuff).ok


def test_an_update_repairs_a_damaged_copy(client, lab, tmp_path):
    stuff = tmp_path / "stuff"
    download(client, stuff)
    (stuff / "data" / "table.csv").write_text("damaged")
    (stuff / "data" / "facts.json").unlink()
    download(client, stuff)
    assert files_of(stuff / "data") == files_of(lab)
    assert check(stuff).ok


def test_a_destination_with_something_else_is_refused(client, own_lab, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    (tmp_path / "file").write_text("mine")
    download(from_catalog(own_lab), tmp_path / "other")
    for name in ("full", "file", "other"):
        with pytest.raises(AlreadyExistsError):
            download(client["notes.txt"], tmp_path / name)
    assert (tmp_path / "full" / "x").read_text() == "mine"
    assert left_over(tmp_path) == []


def test_an_empty_destination_is_filled(client, tmp_path):
    (tmp_path / "stuff").mkdir()
    download(client["notes.txt"], tmp_path / "stuff")
    assert from_catalog(tmp_path / "stuff")["notes.txt"].read() == b"a note\n"


def test_two_downloads_to_one_destination_exclude_each_other(client, tmp_path):
    download(client["notes.txt"], tmp_path / "elsewhere")
    entered, leave = threading.Event(), threading.Event()

    def wait(done, total):
        entered.set()
        leave.wait(20)

    first = threading.Thread(
        target=download, args=(client["notes.txt"], tmp_path / "stuff"), kwargs={"progress": wait}
    )
    first.start()
    entered.wait(20)
    with pytest.raises(BusyError):
        download(client["notes.txt"], tmp_path / "stuff")
    leave.set()
    first.join()
    assert (tmp_path / "stuff" / "catalog.db").exists()


@pytest.mark.parametrize("source", ["http://x", None, {}])
def test_what_is_no_node_cannot_be_downloaded(source, tmp_path):
    with pytest.raises(InvalidTypeError):
        download(source, tmp_path / "stuff")


@pytest.mark.parametrize("destination", ["", "a\0b"])
def test_a_destination_that_is_no_path_is_refused(client, destination):
    with pytest.raises(InvalidInputError):
        download(client["notes.txt"], destination)


def test_digests_that_were_not_recorded_are_computed_on_arrival_and_so_marked(tmp_path):
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "a.txt").write_text("a")
    index(lab, digest="never")
    report = download(from_catalog(lab), tmp_path / "stuff")
    assert any("a.txt" in note for note in report.notes)
    assert check(tmp_path / "stuff").ok
    (asset,) = from_catalog(tmp_path / "stuff")["a.txt"].assets()
    assert asset.digest is not None


def test_no_key_and_no_address_is_kept_in_a_download(own_lab, tmp_path):
    key = "feed" * 16
    with build(ServeOptions(directory=own_lab, api_key=key)) as app, running(app.site) as url:
        with pytest.raises(AuthenticationError):
            from_uri(url)
        download(from_uri(url, api_key=key)["notes.txt"], tmp_path / "stuff")
    for path in (tmp_path / "stuff").rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes()
            assert url.encode() not in path.read_bytes()


def test_a_download_is_a_database_at_rest(client, tmp_path):
    download(client["notes.txt"], tmp_path / "stuff")
    assert sorted(path.name for path in (tmp_path / "stuff").iterdir()) == ["catalog.db", "data"]
