"""The list of bad input of the catalog, item by item: each has its status and its message."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from flows.wire import ask
from served import holdfast, served


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("bad") / "lab"
    root.mkdir()
    np.save(root / "image.npy", np.arange(12.0).reshape(3, 4))
    (root / "table.csv").write_text("x,y\n1,2\n3,4\n")
    (root / "one.json").write_text(json.dumps({"n": 1, "color": "red"}))
    (root / "sub").mkdir()
    (root / "sub" / "deep.txt").write_text("deep\n")
    (root.parent / "secret.txt").write_text("secret\n")
    assert holdfast("index", root).returncode == 0
    return root


@pytest.fixture(scope="module")
def url(directory) -> Iterator[str]:
    with served(directory, timeout_s=300) as server:
        yield server.url


ROUTES = ["/api/v1/metadata/{}", "/api/v1/search/{}", "/api/v1/array/full/{}", "/api/v1/asset/bytes/{}?id=1"]
NAMES = {
    "traversal": "../../secret.txt",
    "encoded traversal": "%2e%2e/%2e%2e/secret.txt",
    "encoded slash traversal": "..%2f..%2fsecret.txt",
    "NUL": "a%00b",
    "reserved": ".holdfast/catalog.db",
    "reserved, encoded": "%2eholdfast",
    "over-long": "x" * 5000,
    "not UTF-8": "%ff%fe",
    "lone surrogate": "%ed%a0%80",
    "broken escape": "%zz",
    "backslash": "..\\secret",
    "absolute": "/etc/passwd",
    "doubled": "sub//..//..//secret.txt",
    "a question": "a%3Fb",
    "line ends": "a%0d%0ab",
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", NAMES)
def test_bad_names_are_refused_and_leak_nothing(url, route, name):
    answer = ask(url, route.format(NAMES[name]))
    assert answer.status in (400, 404)
    assert answer.detail
    assert b"secret\n" not in answer.body


@pytest.mark.parametrize(
    "raw", [b"/api/v1/metadata/\xff", b"/api/v1/metadata/a b", b"/api/v1/metadata/\x01", b"*"]
)
def test_targets_that_are_no_urls_are_refused(url, raw):
    assert 400 <= ask(url, raw).status < 500


@pytest.mark.parametrize(
    "relative", ["../secret.txt", "/etc/passwd", "%2e%2e/secret.txt", "a%00", "", ".", ".."]
)
def test_the_files_of_a_directory_asset_cannot_be_left(url, relative):
    item = ask(url, "/api/v1/metadata/?include_data_sources=true").json()["data"]
    [source] = item["attributes"]["data_sources"]
    target = f"/api/v1/asset/bytes/?id={source['assets'][0]['id']}&relative_path={relative}"
    answer = ask(url, target)
    assert b"secret\n" not in answer.body
    assert answer.status in (200, 400, 404)
    assert answer.status != 200 or answer.headers["content-type"] == "application/zip"


BAD_QUERIES = {
    "a filter without a value": "filter[eq][condition][key]=color",
    "a value that is not JSON": "filter[eq][condition][key]=color&filter[eq][condition][value]=red",
    "an unknown filter": "filter[nope][condition][key]=color",
    "an unknown operator": "filter[comparison][condition][operator]=zz&filter[comparison][condition][key]=n"
    "&filter[comparison][condition][value]=1",
    "a list that is none": "filter[in][condition][key]=n&filter[in][condition][value]=5",
    "a value of NUL": "filter[eq][condition][key]=n&filter[eq][condition][value]=%22%5Cu0000%22",
    "a broken regular expression": "filter[regex][condition][key]=color&filter[regex][condition][pattern]=(",
    "deep JSON": "filter[eq][condition][key]=n&filter[eq][condition][value]=" + "[" * 5000,
    "a huge number": "filter[eq][condition][key]=n&filter[eq][condition][value]=1e999",
    "a family that is none": "filter[structure_family][condition][value]=banana",
    "a tree that is none": "filter[tree][condition][query]=%7B%22op%22%3A%22explode%22%7D",
    "an unknown parameter": "colour=red",
    "a negative page": "page[limit]=-1",
    "an absurd page": "page[limit]=1000000000000000000000",
    "a page that is no number": "page[limit]=ten",
    "a negative offset": "page[offset]=-5",
    "a cursor that is none": "page[cursor]=%00%ff",
    "a field that is none": "fields=banana",
}


@pytest.mark.parametrize("name", BAD_QUERIES)
def test_bad_queries_say_what_is_wrong(url, name):
    answer = ask(url, "/api/v1/search/?" + BAD_QUERIES[name])
    assert answer.status in (400, 422), answer.body
    assert answer.detail


@pytest.mark.parametrize("value", ["null", "[5]", "{}", "true", '"1"', "1.0", '"é"', "[]"])
def test_values_of_every_json_type_can_be_compared(url, value):
    from urllib.parse import quote

    for name in ("eq", "noteq"):
        condition = f"filter[{name}][condition]"
        answer = ask(url, f"/api/v1/search/?{condition}[key]=n&{condition}[value]={quote(value)}")
        assert answer.status == 200, answer.body


SLICES = ["9", "0,9", "1:2:0", "a:b", "1,2,3", "::", ":::", "1.5", "9" * 40, "...,...", ",", "%00", "-4"]


@pytest.mark.parametrize("text", [s for s in SLICES if s != "::"])
def test_slices_that_do_not_fit_are_refused(url, text):
    answer = ask(url, f"/api/v1/array/full/image.npy?slice={text}")
    assert answer.status == 400, answer.body
    assert answer.detail


@pytest.mark.parametrize("block", ["9,9", "-1,0", "a", "", "0", "0,0,0", "1e3,0"])
def test_blocks_that_are_not_there_are_refused(url, block):
    answer = ask(url, f"/api/v1/array/block/image.npy?block={block}")
    assert answer.status in (400, 404, 422), answer.body
    assert answer.detail


@pytest.mark.parametrize("shape", ["3,5", "9", "x", "-3,4"])
def test_an_expected_shape_that_is_wrong_is_refused(url, shape):
    answer = ask(url, f"/api/v1/array/full/image.npy?expected_shape={shape}")
    assert answer.status == 400
    assert answer.detail


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/array/full/table.csv",
        "/api/v1/array/full/sub",
        "/api/v1/table/full/image.npy",
        "/api/v1/table/partition/table.csv?partition=7",
        "/api/v1/table/partition/table.csv?partition=-1",
        "/api/v1/table/full/table.csv?column=nope",
        "/api/v1/array/full/image.npy?format=application/x-nope",
        "/api/v1/asset/bytes/image.npy?id=999999",
        "/api/v1/asset/bytes/image.npy?id=minus",
        "/api/v1/asset/bytes/image.npy",
        "/api/v1/asset/manifest/image.npy?id=999999",
        "/api/v1/assets/999999999999999999999999",
        "/api/v1/assets/-1",
        "/api/v1/assets/x",
        "/api/v1/nope",
        "/nope",
    ],
)
def test_what_is_not_there_or_of_another_kind_is_a_client_error(url, target):
    answer = ask(url, target)
    assert 400 <= answer.status < 500, answer.body
    assert answer.detail


def test_a_url_of_a_megabyte_is_refused(url):
    assert 400 <= ask(url, "/api/v1/metadata/" + "x" * 1_000_000).status < 500
    assert ask(url, "/api/v1/metadata/").status == 200


def test_a_head_of_a_megabyte_is_refused(url):
    headers = tuple(f"X-Filler-{n}: {'y' * 1000}" for n in range(1000))
    assert 400 <= ask(url, "/api/v1/metadata/", headers=headers).status < 500


RANGES = {
    "bytes=0-3": 206,
    "bytes=-4": 206,
    "bytes=5-": 206,
    "bytes=999999-": 416,
    "bytes=-0": 416,
}
IGNORED = ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=", "bytes=--1", "0-3", "bytes=0-1,4-5"]


@pytest.mark.parametrize("value", [*RANGES, *IGNORED])
def test_ranges_are_kept_refused_or_ignored_as_http_says(url, value):
    asset = ask(url, "/api/v1/metadata/image.npy?include_data_sources=true").json()
    number = asset["data"]["attributes"]["data_sources"][0]["assets"][0]["id"]
    for target in (f"/api/v1/assets/{number}", f"/api/v1/asset/bytes/image.npy?id={number}"):
        answer = ask(url, target, headers=(f"Range: {value}",))
        assert answer.status in ((RANGES[value],) if value in RANGES else (200, 206, 416))
        assert answer.status != 416 or answer.headers["content-range"].startswith("bytes */")


@pytest.mark.parametrize("key", ["", "0" * 64, "é", "a b", "x" * 100_000, "'; --"])
def test_a_wrong_key_is_refused_on_every_route(url, key):
    quick = {"/api/v1/metadata/", "/api/v1/search/", "/api/v1/array/full/image.npy", "/api/v1/assets/1"}
    for target in quick:
        assert ask(url, target, key=key).status in (400, 401, 431)
        assert ask(url, target, key=None).status == 401


def test_other_methods_are_refused_and_name_what_is_allowed(url):
    for method in ("PUT", "DELETE", "PATCH", "POST", "BREW"):
        answer = ask(url, "/api/v1/", method=method)
        assert 400 <= answer.status < 500
    assert "GET" in ask(url, "/api/v1/", method="DELETE").headers["allow"]


def test_another_host_is_refused(url):
    host = url.removeprefix("http://")
    answer = ask(url, "/api/v1/", headers=("Host: evil.example",))
    assert 400 <= answer.status < 500
    assert host


def test_garbage_on_the_socket_does_not_stop_the_server(url):
    host, _, port = url.removeprefix("http://").partition(":")
    for garbage in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\0" * 1000, b"GET / HTTP/9.9\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert ask(url, "/healthz", key=None).status == 200


# Directories with things that should not be there


def hdf5_with_links(root: Path, outside: Path) -> None:
    """Write files whose links, virtual sources and raw storage lie outside the served directory."""
    with h5py.File(outside / "secret.h5", "w") as file:
        file["data"] = np.full(4, 7.0)
    (outside / "secret.raw").write_bytes(np.full(4, 7.0).tobytes())
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(outside / "secret.h5"), "data", shape=(4,))
    with h5py.File(root / "links.h5", "w") as file:
        file["own"] = np.arange(3)
        file["linked"] = h5py.ExternalLink(str(outside / "secret.h5"), "/data")
        file["relative"] = h5py.ExternalLink("../outside/secret.h5", "/data")
        file.create_virtual_dataset("virtual", layout, fillvalue=-1)
        file.create_dataset("raw", (4,), "f8", external=[(str(outside / "secret.raw"), 0, 32)])


def strange_directory(home: Path) -> Path:
    """Write one of everything that a walk over a directory must survive."""
    root, outside = home / "lab", home / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("secret\n")
    hdf5_with_links(root, outside)
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "linked_directory").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "dangling").symlink_to(root / "nothing")
    (root / "zero.h5").write_bytes(b"")
    (root / "zero.npy").write_bytes(b"")
    (root / "hdf4.hdf").write_bytes(b"\x0e\x03\x13\x01" + bytes(200))
    with h5py.File(root / "whole.h5", "w") as file:
        file["data"] = np.arange(10_000)
    (root / "truncated.h5").write_bytes((root / "whole.h5").read_bytes()[:5000])
    np.save(root / "whole.npy", np.arange(1000))
    (root / "truncated.npy").write_bytes((root / "whole.npy").read_bytes()[:500])
    (root / "ragged.csv").write_text("a,b\n1,2\n3\n4,5,6\n")
    (root / "broken.json").write_text('{"a": ')
    (root / "nan.json").write_text('{"a": NaN, "b": 1e999, "ok": 1}')
    os.mkfifo(root / "pipe")
    (root / "unreadable.txt").write_text("no\n")
    (root / "unreadable.txt").chmod(0)
    with open(os.fsencode(root) + b"/bad\xffname.txt", "wb") as file:
        file.write(b"odd name\n")
    (root / ("long" * 60 + ".txt")).write_text("long\n")
    (root / "good.json").write_text('{"fine": true}')
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(root)
        listener.bind("socket")
    return root


@pytest.fixture(scope="module")
def strange(tmp_path_factory) -> Iterator[tuple[Path, str]]:
    before = Path.cwd()
    root = strange_directory(tmp_path_factory.mktemp("strange"))
    os.chdir(before)
    indexed = holdfast("index", root)
    assert indexed.returncode == 0, indexed.stderr
    with served(root, "--public", timeout_s=300) as server:
        yield root, server.url


def test_one_bad_file_never_stops_the_rest_and_strict_says_so(strange):
    root, url = strange
    keys = {item["id"] for item in ask(url, "/api/v1/search/?fields=&page[limit]=300").json()["data"]}
    assert {"good.json", "whole.h5", "whole.npy", "links.h5", "zero.h5", "truncated.h5", "ragged.csv"} <= keys
    assert holdfast("index", root, "--strict").returncode != 0


@pytest.mark.parametrize(
    "name", ["truncated.h5", "zero.h5", "hdf4.hdf", "truncated.npy", "zero.npy", "ragged.csv", "broken.json"]
)
def test_an_unreadable_file_is_a_node_with_an_error_and_still_a_file(strange, name):
    root, url = strange
    item = ask(url, f"/api/v1/metadata/{name}?include_data_sources=true").json()["data"]["attributes"]
    assert "error" in json.dumps(item["metadata"]), item
    asset = item["data_sources"][0]["assets"][0]
    assert ask(url, f"/api/v1/assets/{asset['id']}").body == (root / name).read_bytes()


@pytest.mark.parametrize("name", ["linked", "relative", "virtual", "raw"])
def test_nothing_outside_the_directory_is_opened(strange, name):
    _, url = strange
    answer = ask(url, f"/api/v1/array/full/links.h5/{name}")
    assert 400 <= answer.status < 500, answer
    assert "outside" in answer.detail or "not" in answer.detail
    assert np.full(4, 7.0).tobytes() not in answer.body
    assert ask(url, "/api/v1/array/full/links.h5/own").status == 200


@pytest.mark.parametrize("target", ["link.txt", "linked_directory/secret.txt", "linked_directory/secret.h5"])
def test_links_that_leave_are_not_followed(strange, target):
    _, url = strange
    for route in ("metadata", "asset/bytes"):
        answer = ask(url, f"/api/v1/{route}/{target}?include_data_sources=true")
        assert b"secret\n" not in answer.body
    item = ask(url, f"/api/v1/metadata/{target}?include_data_sources=true")
    for source in (item.json()["data"]["attributes"]["data_sources"] or []) if item.status == 200 else []:
        for asset in source["assets"]:
            assert b"secret\n" not in ask(url, f"/api/v1/assets/{asset['id']}").body


def test_the_loop_ends_and_the_zip_of_the_root_holds_no_secret(strange):
    root, url = strange
    asset = ask(url, "/api/v1/metadata/?include_data_sources=true").json()
    number = asset["data"]["attributes"]["data_sources"][0]["assets"][0]["id"]
    answer = ask(url, f"/api/v1/assets/{number}", timeout_s=60)
    assert answer.status in (200, 403, 409)
    assert b"secret\n" not in answer.body
    assert root.exists()


def test_non_finite_numbers_become_null_with_their_paths_listed(strange):
    _, url = strange
    metadata = ask(url, "/api/v1/metadata/nan.json").json()["data"]["attributes"]["metadata"]
    assert metadata["a"] is None
    assert metadata["ok"] == 1
    assert "a" in json.dumps(metadata["holdfast"]["nonfinite"])


def test_outside_files_are_opened_when_allowed(strange):
    root, _ = strange
    outside = root.parent / "outside"
    with served(root, "--public", "--allow-outside", outside, "--watch", "1") as server:
        holdfast("index", root, "--allow-outside", outside)
        deadline = time.monotonic() + 30  # the server may be at the same work still
        while True:
            answer = ask(server.url, "/api/v1/array/full/links.h5/linked")
            if answer.status == 200 or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        assert answer.status == 200, answer.body
        assert answer.body == np.full(4, 7.0).tobytes()


def test_a_directory_that_vanishes_during_indexing_is_no_crash(tmp_path):
    import shutil
    import threading

    root = tmp_path / "lab"
    for number in range(20):
        (root / f"d{number}").mkdir(parents=True)
        for file in range(50):
            (root / f"d{number}" / f"f{file}.json").write_text('{"n": 1}')
    remover = threading.Timer(0.4, shutil.rmtree, [root / "d19"], {"ignore_errors": True})
    remover.start()
    done = holdfast("index", root)
    remover.join()
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
