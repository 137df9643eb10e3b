"""A server that lies: nothing may be written outside the destination, nothing unverified may stay."""

from __future__ import annotations

from contextlib import suppress

import pytest

from catalog.canned import Canned, item, serving
from holdfast.catalog import download, from_uri
from holdfast.errors import ConflictError, HoldfastError
from holdfast.hashing import hash_bytes

BODY = b"these bytes"
DIGEST = str(hash_bytes(BODY))


def file_node(path, *assets):
    listed = [
        {"id": 1, "location": path, "size": len(BODY), "digest": DIGEST, **asset} for asset in assets or [{}]
    ]
    sources = [{"structure_family": "bytes", "mimetype": "text/plain", "assets": listed}]
    return item(path, "bytes", sources=sources)


def attempt(nodes, tmp_path, body=BODY, manifest=()):
    """Download all of a hostile server; returns everything that lies on the disk afterwards."""
    bodies = {}
    for node in nodes.values():
        path = "/".join([*node["attributes"]["ancestors"], node["id"]])
        bodies["asset/bytes", path] = body
        bodies["asset/manifest", path] = {"manifest": list(manifest)}
    work = tmp_path / "work" / "deep"
    work.mkdir(parents=True)
    with serving(Canned(nodes, bodies)) as url:
        try:
            download(from_uri(url), work / "stuff", progress=False)
        finally:
            found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
            assert all(path.startswith(("work/deep/stuff/", "work/deep/.stuff.")) for path in found), found
    return found


def test_an_honest_server_of_this_kind_is_downloaded(tmp_path):
    assert attempt({"a.txt": file_node("a.txt")}, tmp_path) == {
        "work/deep/stuff/catalog.db",
        "work/deep/stuff/data/a.txt",
    }


@pytest.mark.parametrize(
    "path",
    ["..", ".", "a\0b", "x" * 300, ".holdfast", "catalog.db", "catalog.db-wal"],
)
def test_node_names_that_are_no_file_names_are_refused(path, tmp_path):
    with pytest.raises(HoldfastError):
        attempt({"a": file_node(path)}, tmp_path)


@pytest.mark.parametrize(
    "ancestors", [[".."], ["..", "..", ".."], ["a/../../.."], ["/etc"], ["~"], [5], [None]]
)
def test_ancestors_that_lead_elsewhere_are_refused(ancestors, tmp_path):
    node = file_node("a")
    node["attributes"]["ancestors"] = ancestors
    nodes = {"a": node}
    if ancestors == ["~"]:
        nodes = {"~": item("~", "container"), "a": node}
        assert "work/deep/stuff/data/~/a" in attempt(nodes, tmp_path)
        return
    with pytest.raises(HoldfastError):
        attempt_raw(nodes, tmp_path)


def attempt_raw(nodes, tmp_path):
    class Any(Canned):
        def answer(self, handler):
            return BODY if "asset/bytes" in handler.path else super().answer(handler)

    (tmp_path / "work").mkdir()
    with serving(Any(nodes)) as url:
        try:
            download(from_uri(url), tmp_path / "work" / "stuff", progress=False)
        finally:
            found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
            assert all(path.startswith(("work/stuff/", "work/.stuff.")) for path in found), found


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "..", "a\0", 5, None, ["x"]])
def test_manifests_that_lead_elsewhere_are_refused(name, tmp_path):
    node = item(
        "z", "array", sources=[{"structure_family": "array", "assets": [{"id": 1, "is_directory": True}]}]
    )
    with pytest.raises(HoldfastError):
        attempt({"z": node}, tmp_path, manifest=[name])


@pytest.mark.parametrize("location", ["../../x", "/etc/passwd", "..", "a/..", "x\0"])
def test_locations_that_lead_elsewhere_do_no_harm(location, tmp_path):
    with suppress(HoldfastError):
        attempt({"a": file_node("a", {"location": location})}, tmp_path)


@pytest.mark.parametrize("link", ["../../../x", "/../x", "/", "..", "", "a\0b"])
def test_links_that_lead_elsewhere_do_no_harm(link, tmp_path):
    node = file_node("a.h5", {}, {"id": 2, "link": link, "parameter": f"external:{link}"})
    with suppress(HoldfastError):
        attempt({"a.h5": node}, tmp_path)


@pytest.mark.parametrize(
    "body", [b"other bytes", b"", b"these byte", b"these bytes and more", b"x" * 5_000_000]
)
def test_other_bytes_than_the_digest_says_never_stay(body, tmp_path):
    with pytest.raises(ExceptionGroup) as caught:
        attempt({"a": file_node("a")}, tmp_path, body=body)
    assert all(isinstance(error, HoldfastError) for error in caught.value.exceptions)
    assert not (tmp_path / "work" / "deep" / "stuff").exists()


def test_a_file_that_is_also_a_directory_is_refused(tmp_path):
    both = file_node("a")
    both["attributes"]["structure_family"] = "container"
    with pytest.raises(ConflictError):
        attempt({"a": both, "a/b": file_node("a/b", {"id": 2})}, tmp_path)


@pytest.mark.parametrize("metadata", [{"a\0b": 1}, {"deep": "\ud800"}, {"x": float("nan")}])
def test_metadata_that_cannot_be_kept_is_an_error_of_ours(metadata, tmp_path):
    node = file_node("a")
    node["attributes"]["metadata"] = metadata
    with pytest.raises(HoldfastError):
        attempt({"a": node}, tmp_path)


@pytest.mark.parametrize(
    "sources", [5, "x", [5], [{}], [{"structure_family": "bytes", "assets": 7}], {"a": 1}]
)
def test_descriptions_that_are_none_are_an_error_of_ours(sources, tmp_path):
    node = item("a", "bytes", sources=sources)
    with pytest.raises(HoldfastError):
        attempt({"a": node}, tmp_path)


def test_an_endless_listing_of_one_page_ends(tmp_path):
    class Endless(Canned):
        def listing(self, node, route, query):
            answer = super().listing(node, route, query)
            answer["links"]["next"] = "http://x/api/v1/search/?page[cursor]=0"
            return answer

    node = file_node("a")
    with serving(Endless({"a": node}, {("asset/bytes", "a"): BODY})) as url, pytest.raises(HoldfastError):
        download(from_uri(url), tmp_path / "stuff", progress=False)


def tiled_directory(data_uri="file://localhost/srv/data/my%20zarr"):
    """Describe a directory as Tiled does: by where it lies on its machine."""
    listed = [{"id": 1, "data_uri": data_uri, "is_directory": True, "parameter": "data_uri"}]
    source = {"structure_family": "array", "mimetype": "application/x-zarr", "assets": listed}
    return item("z", "array", sources=[source])


def test_a_manifest_of_places_on_the_servers_machine_is_taken_relative_to_the_directory(tmp_path):
    found = attempt({"z": tiled_directory()}, tmp_path, manifest=["/srv/data/my zarr/c/0", "zarr.json"])
    assert {"work/deep/stuff/data/z/c/0", "work/deep/stuff/data/z/zarr.json"} <= found


@pytest.mark.parametrize(
    "name", ["/srv/data/my zarr2/a", "/srv/data/my zarr/../a", "/srv/data/my zarr//etc/x", "/etc/passwd", "/"]
)
def test_places_outside_the_directory_are_still_refused(name, tmp_path):
    with pytest.raises(HoldfastError):
        attempt({"z": tiled_directory()}, tmp_path, manifest=[name])
    with pytest.raises(HoldfastError):
        attempt({"z": tiled_directory("file://localhost/")}, tmp_path / "again", manifest=[name])
