"""A served archive has the same calls, is verified at both ends, and goes on where it broke off."""

import hashlib
import os
import pickle
import urllib.request
from pathlib import Path

import pytest

from holdfast.archive import AlreadyPresentException, Archive, HashError, NotAStoreError
from holdfast.archive.archive import LocalArchive
from holdfast.archive.client import RemoteArchive
from holdfast.archive.routes import Archives, routes
from holdfast.archive.uploads import Uploads
from holdfast.errors import (
    AuthenticationError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    MissingFileError,
    NotFoundError,
)
from holdfast.hashing import hash_file
from holdfast.http.auth import Access
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.routing import Mount
from holdfast.http.serving import running
from holdfast.queries import Key

KEY = "ab" * 32


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE_DIRECTORY", str(tmp_path / "state"))


@pytest.fixture
def archives(archive):
    archive.close()
    served = Archives(Path(archive.root), alone=True)
    yield served
    served.close()


@pytest.fixture
def site(archives):
    return Site([Mount("", routes(archives))], access=Access.with_key(KEY, public=True))


@pytest.fixture
def url(site):
    with running(site) as address:
        yield address


@pytest.fixture
def remote(url):
    with Archive(url, api_key=KEY) as opened:
        yield opened


@pytest.fixture
def local(site):
    return RemoteArchive.over(Connection.to_site(site))


def test_both_kinds_of_archive_define_every_method_of_the_contract():
    contract = {
        name for name, value in vars(Archive).items() if callable(value) or isinstance(value, property)
    }
    own = {"find", "fetch_file", "fetch_uuid", "open_file", "create", "__new__", "__enter__", "__exit__"}
    for kind in (LocalArchive, RemoteArchive):
        assert contract - own - vars(kind).keys() == set()


def test_file_goes_in_and_comes_out(remote, file):
    added = remote.add_file("S1", "Prod0", file())
    assert added["hash"] == hashlib.md5(b"<results/>").hexdigest()
    assert set(added) == {"file", "uuid", "hash", "size", "digests", "head"}
    path = Path(remote.fetch_file("S1", "Prod0", "results.xml", hash=added["hash"]))
    assert (path.name, path.read_bytes()) == ("results.xml", b"<results/>")
    assert path.stat().st_mode & 0o222 == 0
    assert remote.fetch_uuid(added["uuid"]) == str(path)
    with remote.open_file("S1", "Prod0", "results.xml") as opened:
        assert opened.read() == b"<results/>"
    assert remote.head() == added["head"]
    assert [row.action for row in remote.log()] == ["create", "add"]
    assert remote.log()[-1].facts["origin"] == str(file())


def test_answers_are_those_of_the_local_archive(remote, archives, file):
    for number in range(4):
        remote.add_file(
            f"S{number % 2}", "Prod0", file(f"sub/ü {number}", b"%d" % number), new_name=f"sub/ü {number}"
        )
    with LocalArchive(archives._directory) as local:
        assert remote.entries() == local.entries()
        assert remote.entries("S1", "Prod0") == local.entries("S1", "Prod0")
        assert remote.entry("S1", "Prod0", "sub/ü 1") == local.entry("S1", "Prod0", "sub/ü 1")
        for where in (None, "size == 1", {"event": "S0"}, Key("name") == "sub/ü 2"):
            assert remote.find(where) == local.find(where)
        assert remote.manifest.data == local.manifest.data
        assert remote.manifest.list_resources("S0", "Prod0") == local.manifest.list_resources("S0", "Prod0")
        [first, *_] = local.entries()
        place = first.place
        assert remote.manifest.get_uuid(place.event, place.production, place.name) == first.uuid
        assert remote.manifest.get_hash(first.uuid) == local.manifest.get_hash(first.uuid)
        assert (remote.name, remote.uid, remote.head()) == (local.name, local.uid, local.head())
        assert remote.check().to_dict() == local.check().to_dict()
        assert remote.check(fast=True, head=remote.head()).ok


def test_large_file_and_tree_go_in_by_parts(remote, file, tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.archive.client._PART_BYTES", 1_000_000)
    content = os.urandom(5_500_000)
    path = file("t/big", content)
    file("t/sub/empty", b"")
    seen = []
    added = remote.add_file("S1", "Prod0", path, progress=seen.append)
    assert added["hash"] == hashlib.md5(content).hexdigest()
    assert seen[-1] == len(content)
    assert len(seen) == 6
    assert [each["file"] for each in remote.add_tree("S2", "Prod0", tmp_path / "t")] == ["big", "sub/empty"]
    assert Path(remote.fetch_file("S2", "Prod0", "big")).read_bytes() == content
    assert remote.check().ok


def test_upload_goes_on_where_an_earlier_one_broke_off(remote, archives, file, monkeypatch):
    monkeypatch.setattr("holdfast.archive.client._PART_BYTES", 1_000_000)
    content = os.urandom(5_000_000)
    path = file("big", content)
    added = remote.add_file("S1", "Prod0", path)
    uploads = Uploads(os.path.join(str(archives._directory), ".manifest"))
    staged = uploads.receive(added["digests"]["blake3"], 0)
    staged.write(content[:3_500_000])
    staged.close()
    seen = []
    remote.add_file("S2", "Prod0", path, progress=seen.append)
    assert seen == [4_500_000, 5_000_000]


def test_staged_garbage_is_never_added(remote, archives, file, monkeypatch):
    monkeypatch.setattr("holdfast.archive.client._WHOLE_BYTES", 10)
    path = file("big", b"good content")
    uploads = Uploads(os.path.join(str(archives._directory), ".manifest"))
    staged = uploads.receive(hash_file(path)["blake3"].hex, 0)
    staged.write(b"evil")
    staged.close()
    with pytest.raises(HashError):
        remote.add_file("S1", "Prod0", path)
    assert remote.entries() == []


def test_download_goes_on_and_what_is_there_is_not_fetched_again(remote, file):
    content = os.urandom(3_000_000)
    remote.add_file("S1", "Prod0", file("big", content))
    path = Path(remote.fetch_file("S1", "Prod0", "big"))
    before = path.stat().st_ino
    assert Path(remote.fetch_file("S1", "Prod0", "big")).stat().st_ino == before
    path.unlink()
    path.with_name("big.part").write_bytes(content[:1_000_000])
    assert Path(remote.fetch_file("S1", "Prod0", "big")).read_bytes() == content
    path.chmod(0o644)
    path.write_bytes(b"edited")
    assert Path(remote.fetch_file("S1", "Prod0", "big")).read_bytes() == content


def test_errors_are_those_of_the_local_archive(remote, archives, file, tmp_path):
    added = remote.add_file("S1", "Prod0", file())
    for size in (10, 5_000_000):
        with pytest.raises(AlreadyPresentException):
            remote.add_file("S1", "Prod0", file("x", bytes(size)), new_name="results.xml")
    with pytest.raises(NotFoundError, match="no file 'other'"):
        remote.fetch_file("S1", "Prod0", "other")
    with pytest.raises(HashError, match="expect"):
        remote.fetch_file("S1", "Prod0", "results.xml", hash="0" * 32)
    for hash in ("", "xyz", "crc:12"):
        with pytest.raises(InvalidInputError):
            remote.fetch_file("S1", "Prod0", "results.xml", hash=hash)
    for name in ("../x", ".manifest", "a//b"):
        with pytest.raises(InvalidInputError):
            remote.add_file("S1", "Prod0", file(), new_name=name)
    with pytest.raises(InvalidInputError, match="directory"):
        remote.add_file("S1", "Prod0", tmp_path)
    stored = archives._directory / "S1" / "Prod0" / added["uuid"]
    stored.chmod(0o644)
    stored.write_bytes(b"<Results/>")
    for path in (tmp_path / "state").rglob("results.xml"):
        path.unlink()
    with pytest.raises(HashError, match="damaged"):
        remote.fetch_file("S1", "Prod0", "results.xml")
    stored.unlink()
    with pytest.raises(MissingFileError):
        remote.fetch_file("S1", "Prod0", "results.xml")


def test_adding_needs_a_key(url, file):
    with Archive(url) as reader:
        assert reader.entries() == []
        with pytest.raises((AuthenticationError, ForbiddenError)):
            reader.add_file("S1", "Prod0", file())
        with pytest.raises((AuthenticationError, ForbiddenError)):
            reader.add_tree("S1", "Prod0", file("t/a").parent)


def test_range_and_digests_are_answered(url, remote, file):
    remote.add_file("S1", "Prod0", file("a", b"0123456789"))
    request = urllib.request.Request(f"{url}/files/S1/Prod0/a", headers={"Range": "bytes=2-4"})
    with urllib.request.urlopen(request) as answer:
        assert (answer.status, answer.read()) == (206, b"234")
        assert answer.headers["Content-Range"] == "bytes 2-4/10"
        assert "sha-256=:" in answer.headers["Repr-Digest"]
        assert answer.headers["ETag"]


def test_archive_in_this_process_needs_no_socket(local, file):
    added = local.add_file("S1", "Prod0", file())
    assert Path(local.fetch_uuid(added["uuid"])).read_bytes() == b"<results/>"
    assert local.check().ok


def test_whole_server_has_each_archive_by_its_name(tmp_path, file):
    (tmp_path / "all").mkdir()
    for name in ("one", "two"):
        Archive.create(tmp_path / "all" / name, name).close()
    archives = Archives(tmp_path / "all", alone=False)
    with running(Site([Mount("/archive", routes(archives))], access=Access.with_key(KEY))) as url:
        with Archive(f"{url}/archive/two", api_key=KEY) as two:
            two.add_file("S1", "Prod0", file())
            assert (two.name, len(two.entries())) == ("two", 1)
        with pytest.raises(NotAStoreError, match="three"):
            Archive(f"{url}/archive/three", api_key=KEY)
        with pytest.raises(NotAStoreError, match="one, two"):
            Archive(f"{url}/archive", api_key=KEY)
    archives.close()


def test_pickle_has_no_key(remote):
    data = pickle.dumps(remote)
    assert KEY.encode() not in data
    assert pickle.loads(data).name == "Test Store"
    assert KEY not in repr(remote)


def test_staged_file_takes_only_what_follows(tmp_path):
    uploads = Uploads(str(tmp_path))
    staged = uploads.receive("a" * 64, 0)
    staged.write(b"abc")
    staged.close()
    with pytest.raises(ConflictError) as caught:
        uploads.receive("a" * 64, 1)
    assert caught.value.details["offset"] == 3
    with pytest.raises(InvalidInputError):
        uploads.path("../x")
    with pytest.raises(NotFoundError):
        uploads.require("b" * 64)
