"""Files as they are, directories as ZIP and list, nothing from outside."""

from __future__ import annotations

import io
import json
import os
import zipfile

import msgspec
import pytest
from blake3 import blake3

from conftest_catalog import open_site
from holdfast.catalog import index
from holdfast.catalog.routes import answers
from holdfast.errors import (
    ChangedError,
    InvalidInputError,
    MissingFileError,
    NotFoundError,
    RangeNotSatisfiableError,
)
from holdfast.hashing import hash_blocks


def asset(connection, path):
    attributes = connection.get_json(f"/metadata/{path}", {"include_data_sources": True})["data"][
        "attributes"
    ]
    return attributes["data_sources"][0]["assets"][0]


def test_a_file_streams_with_its_digests(connection, served):
    data = (served / "box" / "large.npy").read_bytes()
    number = asset(connection, "box/large.npy")["id"]
    for path, params in ((f"/assets/{number}", None), ("/asset/bytes/box/large.npy", {"id": number})):
        with connection.open("GET", path, params) as answer:
            assert answer.headers.get("etag") == f'"blake3-{blake3(data).hexdigest()}"'
            assert answer.headers.get("content-disposition") == 'attachment; filename="large.npy"'
            assert "blake3=:" in answer.headers.get("repr-digest")
            assert answer.headers.get("accept-ranges") == "bytes"
            assert int(answer.headers.get("content-length")) == len(data)
            assert answer.read() == data


@pytest.mark.parametrize(
    ("field", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=262143-262144", 262_143, 262_145),
        ("bytes=1000000-3000000", 1_000_000, 3_000_001),
        ("bytes=-5", -5, None),
        ("bytes=3999999-", 3_999_999, None),
    ],
)
@pytest.mark.parametrize("verify", [{}, {"holdfast-verify": "blocks"}])
def test_a_range_of_a_file_is_that_part(connection, served, field, start, stop, verify):
    data = (served / "box" / "large.npy").read_bytes()
    number = asset(connection, "box/large.npy")["id"]
    with connection.open("GET", f"/assets/{number}", headers={"range": field, **verify}) as answer:
        assert answer.status == 206
        assert answer.read() == data[start:stop]


def test_conditions_of_a_file(connection):
    path = f"/assets/{asset(connection, 'box/small.npy')['id']}"
    with connection.open("GET", path) as answer:
        tag = answer.headers.get("etag")
    with connection.open("GET", path, headers={"if-none-match": tag}) as answer:
        assert (answer.status, answer.read()) == (304, b"")
    with connection.open("GET", path, headers={"range": "bytes=0-3", "if-range": tag}) as answer:
        assert (answer.status, answer.read()) == (206, b"\x93NUM")
    with connection.open("GET", path, headers={"range": "bytes=0-3", "if-range": '"other"'}) as answer:
        assert (answer.status, len(answer.read())) == (200, 928)
    with pytest.raises(RangeNotSatisfiableError):
        connection.open("GET", path, headers={"range": "bytes=928-"})


def test_the_block_list_is_that_of_the_file(connection, served):
    entry = asset(connection, "box/large.npy")
    with (served / "box" / "large.npy").open("rb") as source:
        expected = hash_blocks(source)
    assert connection.block_list(f"/assets/{entry['id']}/digests") == expected
    assert str(expected.whole) == entry["digest"]


def test_a_download_is_verified_and_resumed(connection, served, tmp_path):
    entry = asset(connection, "box/large.npy")
    data = (served / "box" / "large.npy").read_bytes()
    target = tmp_path / "large.npy"
    from holdfast.hashing import Digest

    (tmp_path / "large.npy.part").write_bytes(data[:1_500_000])
    taken = []
    found = connection.fetch_file(
        f"/assets/{entry['id']}",
        target,
        digest=Digest.parse(entry["digest"]),
        size=entry["size"],
        progress=taken.append,
    )
    assert str(found) == entry["digest"]
    assert target.read_bytes() == data
    assert sum(taken) == len(data) - 1_500_000
    assert os.listdir(tmp_path) == ["large.npy"]


def test_a_directory_has_a_relative_manifest_and_gives_its_files(connection, served):
    number = asset(connection, "box")["id"]
    names = connection.get_json("/asset/manifest/box", {"id": number})["manifest"]
    assert names == sorted(names)
    assert set(names) == {"a.h5", "large.npy", "small.npy", "sub/m.json", "sub/n.json", "t.csv", "é ü.txt"}
    for name in names:
        answer = connection.get_bytes("/asset/bytes/box", {"id": number, "relative_path": name})
        assert answer == (served / "box" / name).read_bytes()
        assert connection.get_bytes(f"/assets/{number}", {"relative_path": name}) == answer


@pytest.mark.parametrize(
    "name",
    [
        "../keys/k000.json",
        "../../secret",
        "/etc/passwd",
        "sub/../../keys/k000.json",
        "sub",
        "nope",
        "",
        "a\x00b",
        "./t.csv",
        "sub//n.json",
        ".holdfast/catalog.db",
        "C:\\x",
        "x" * 5000,
    ],
)
def test_nothing_outside_a_directory_is_given(connection, name):
    number = asset(connection, "box")["id"]
    for path, params in ((f"/assets/{number}", {}), ("/asset/bytes/box", {"id": number})):
        with pytest.raises((InvalidInputError, NotFoundError)):
            connection.get_bytes(path, {**params, "relative_path": name})


def test_a_directory_is_a_zip(connection, served):
    number = asset(connection, "box")["id"]
    with connection.open("GET", f"/assets/{number}") as answer:
        assert answer.headers.get("content-type") == "application/zip"
        assert answer.headers.get("content-disposition") == 'attachment; filename="box.zip"'
        data = answer.read()
        tag = answer.headers.get("etag")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.read("sub/n.json") == (served / "box" / "sub" / "n.json").read_bytes()
    with connection.open(
        "GET", f"/assets/{number}", headers={"range": f"bytes={len(data) - 700}-", "if-range": tag}
    ) as answer:
        assert (answer.status, answer.read()) == (206, data[-700:])


def test_a_directory_is_a_list_of_one_level(connection):
    number = asset(connection, "box")["id"]
    answer = connection.get_json(f"/assets/{number}", {"format": "json"})
    msgspec.convert(answer, answers.AssetListing)
    msgspec.convert(connection.get_json("/asset/manifest/box", {"id": number}), answers.Manifest)
    assert answer["location"] == "box"
    by_name = {each["name"]: each for each in answer["contents"]}
    assert set(by_name) == {"a.h5", "large.npy", "small.npy", "sub", "t.csv", "é ü.txt"}
    assert by_name["sub"]["is_directory"]
    assert by_name["sub"]["uri"].endswith("?format=json")
    below = connection.get_json(by_name["sub"]["uri"])
    assert [each["name"] for each in below["contents"]] == ["m.json", "n.json"]
    assert json.loads(connection.get_bytes(below["contents"][1]["uri"]))["n"] == 5


def test_assets_that_do_not_fit_are_refused(connection):
    file, directory = asset(connection, "box/small.npy")["id"], asset(connection, "box")["id"]
    refused = [
        ("/asset/bytes/box/small.npy", {"id": directory}, NotFoundError),
        ("/asset/bytes/box/small.npy", {"id": 999_999}, NotFoundError),
        ("/asset/bytes/box/small.npy", {}, InvalidInputError),
        ("/asset/bytes/box/small.npy", {"id": "x"}, InvalidInputError),
        ("/asset/bytes/box/small.npy", {"id": file, "relative_path": "a"}, InvalidInputError),
        ("/asset/bytes/box", {"id": directory}, InvalidInputError),
        ("/asset/manifest/box/small.npy", {"id": file}, InvalidInputError),
        ("/assets/999999", {}, NotFoundError),
        (f"/assets/{2**70}", {}, NotFoundError),
        (f"/assets/{file}", {"format": "json"}, InvalidInputError),
        (f"/assets/{directory}", {"format": "tar"}, InvalidInputError),
        (f"/assets/{directory}/digests", {}, NotFoundError),
        (f"/assets/{file}/digests", {"a": 1}, InvalidInputError),
    ]
    for path, params, error in refused:
        with pytest.raises(error):
            connection.get_bytes(path, params)


def test_a_file_that_changed_or_vanished_is_an_error(tmp_path):
    for name in ("gone.txt", "longer.txt", "shorter.txt"):
        (tmp_path / name).write_text("some text of a file")
        os.utime(tmp_path / name, (1, 1))
    index(tmp_path)
    with open_site(tmp_path) as (_, connection):
        numbers = {name: asset(connection, name)["id"] for name in ("gone.txt", "longer.txt", "shorter.txt")}
        (tmp_path / "gone.txt").unlink()
        (tmp_path / "longer.txt").write_text("some text of a file, and more")
        (tmp_path / "shorter.txt").write_text("some")
        with pytest.raises(MissingFileError, match=r"gone\.txt"):
            connection.get_bytes(f"/assets/{numbers['gone.txt']}")
        for name in ("longer.txt", "shorter.txt"):
            with pytest.raises(ChangedError, match="index"):
                connection.get_bytes(f"/assets/{numbers[name]}")
