"""A server that lies, cuts, damages or names what it should not: the client says so and stays inside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import holdfast as hf
from flows.meddler import Meddler, meddling
from holdfast.errors import HoldfastError
from served import KEY, holdfast, served

ARRAY = np.arange(200_000.0).reshape(200, 1000)
FAILURES = (HoldfastError, ExceptionGroup)


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("hostile") / "lab"
    (root / "folder").mkdir(parents=True)
    np.save(root / "image.npy", ARRAY)
    (root / "folder" / "victim.txt").write_text("harmless\n")
    assert holdfast("index", root).returncode == 0
    with served(root, timeout_s=300) as server:
        yield server.url


@pytest.fixture
def meddler(url) -> Iterator[Meddler]:
    with meddling(url) as between:
        yield between


@pytest.fixture
def client(meddler) -> Iterator[hf.catalog.Container]:
    with hf.from_uri(meddler.url, api_key=KEY) as connected:
        yield connected


def everything_below(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


NAMES = [
    "../escaped.txt",
    "../../escaped.txt",
    "/tmp/escaped.txt",
    "a/../../escaped",
    "..",
    "a\\u0000b",
    "catalog.db",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_a_server_cannot_leave_the_destination(client, meddler, tmp_path, name):
    home = tmp_path / "home" / "inner"
    home.mkdir(parents=True)
    meddler.change = lambda path, headers, body: body.replace(b"victim.txt", name.encode())
    before = everything_below(tmp_path)
    with suppress(*FAILURES):
        hf.download(client["folder"], home / "stuff")
    here = re.compile(r"home/inner/(stuff|\.stuff\.[0-9a-f]+\.part)(/.*)?")
    assert [path for path in everything_below(tmp_path) - before if not here.fullmatch(path)] == []
    assert not Path("/tmp/escaped.txt").exists()


def test_a_damaged_file_is_an_error_that_names_it(client, meddler, tmp_path):
    def damage(path: str, headers: dict[str, str], body: bytes) -> bytes:
        return body.replace(b"harmless", b"harmful!") if "asset" in path else body

    meddler.change = damage
    with pytest.raises(FAILURES) as raised:
        hf.download(client["folder"], tmp_path / "stuff")
    assert "victim.txt" in str(raised.value)
    assert not (tmp_path / "stuff").exists()


def test_a_damaged_array_is_an_error_and_never_a_wrong_number(client, meddler):
    node = client["image.npy"]
    assert np.array_equal(node.read(), ARRAY)

    def damage(path: str, headers: dict[str, str], body: bytes) -> bytes:
        return body[:5000] + bytes([body[5000] ^ 1]) + body[5001:] if len(body) > 100_000 else body

    meddler.change = damage
    with pytest.raises(HoldfastError):
        node.read()
    with pytest.raises(HoldfastError):
        node[3:190]


@pytest.mark.parametrize("cut", [0, 1, 1000, 700_000])
def test_a_connection_cut_in_the_middle_is_resumed(client, meddler, tmp_path, cut):
    meddler.cut, meddler.cuts, meddler.cut_paths = cut, 3, "asset"
    hf.download(client, tmp_path / "stuff")
    assert np.array_equal(np.load(tmp_path / "stuff" / "data" / "image.npy"), ARRAY)


def test_a_server_that_always_hangs_up_is_an_error_in_time(client, meddler, tmp_path):
    meddler.change = lambda path, headers, body: None if "asset" in path else body
    with pytest.raises(FAILURES):
        hf.download(client, tmp_path / "stuff")
    assert not (tmp_path / "stuff").exists()


def test_a_short_array_is_an_error(client, meddler):
    meddler.change = lambda path, headers, body: body[:-8] if "/array/" in path or "asset" in path else body
    with pytest.raises(HoldfastError):
        client["image.npy"].read()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'{"data": 5}', b"<html>", b'{"data": [{"id": 1}]}', b"\xff"]
)
def test_answers_that_make_no_sense_are_errors_of_ours(url, meddler, body):
    meddler.change = lambda *_: body
    with pytest.raises(HoldfastError), hf.from_uri(meddler.url, api_key=KEY) as client:
        list(client)


def test_pages_that_never_end_do_not_keep_the_client(client, meddler):
    def forever(path: str, headers: dict[str, str], body: bytes) -> bytes:
        return (
            body.replace(b'"next":null', f'"next":"{meddler.url}{path}"'.encode())
            if "/search/" in path
            else body
        )

    meddler.change = forever
    with suppress(HoldfastError):
        assert sorted(client) == ["folder", "image.npy"]
    assert len(meddler.seen) < 1000


def test_the_key_is_never_sent_to_another_server(client, meddler, url):
    """Links to elsewhere may be refused or passed over, but following one would give the key away."""
    with meddling(url) as elsewhere:
        meddler.change = lambda path, headers, body: body.replace(
            meddler.url.encode(), elsewhere.url.encode()
        )
        with suppress(HoldfastError):
            list(client)
            client["image.npy"].read()
            client["folder"].assets()
        assert elsewhere.seen == []
