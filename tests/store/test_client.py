"""The store on a server keeps the contract, in this process and over TCP."""

import io
import os
import pickle
import socket
import threading
import time

import pytest

from holdfast.errors import (
    AuthenticationError,
    ChangedError,
    ForbiddenError,
    HashError,
    InvalidInputError,
    NotFoundError,
    TransportError,
)
from holdfast.http.auth import Access, new_key
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.limits import Limits
from holdfast.http.routing import Mount
from holdfast.http.serving import running
from holdfast.store import FileSystemStore, HTTPStore, MemoryStore, StoreModificationEvent, init_shared_store
from holdfast.store.routes import routes
from holdfast.store.wire import record
from holdfast.testing import StoreTests


def site_of(store, **options):
    return Site([Mount("", routes(lambda parts: (store, parts)))], **options)


class TestHTTPStoreInProcess(StoreTests):
    @pytest.fixture
    def store(self):
        return HTTPStore.over(Connection.to_site(site_of(MemoryStore())))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    init_shared_store(path)
    key = new_key()
    store = FileSystemStore(path, durability="os")
    with running(site_of(store, access=Access.with_key(key))) as url:
        yield store, url, key


@pytest.fixture
def remote(served):
    store, url, key = served
    with store.transaction("empty"):
        for found in list(store.query_keys()):
            store.delete(found)
    client = HTTPStore(url, key)
    yield client
    client.disconnect()


class TestHTTPStoreOverTCP(StoreTests):
    test_a_copied_handle_works_on_its_own = None  # the key does not travel; see below

    @pytest.fixture
    def store(self, remote):
        return remote


def test_a_handle_is_pickled_without_its_key(served, remote, monkeypatch):
    key = served[2]
    remote.from_bytes("k", b"1")
    copied = pickle.dumps(remote)
    assert key.encode() not in copied
    assert key not in repr(remote)
    with pytest.raises(AuthenticationError):
        pickle.loads(copied).get("k")
    monkeypatch.setenv("HOLDFAST_API_KEY", key)
    assert pickle.loads(copied).to_bytes("k") == b"1"


@pytest.mark.parametrize("form", ["basic", "query"])
def test_the_key_may_stand_in_the_address(served, form):
    _, url, key = served
    address = url.replace("http://", f"http://key:{key}@") if form == "basic" else f"{url}?api_key={key}"
    store = HTTPStore(address)
    store.from_bytes("k", b"1")
    assert store.to_bytes("k") == b"1"
    assert key not in store.url
    store.disconnect()


def test_reading_does_not_suffice_for_writing(tmp_path):
    init_shared_store(tmp_path)
    key = new_key()
    store = FileSystemStore(tmp_path)
    with running(site_of(store, access=Access.with_key(key, scope="read"))) as url:
        client = HTTPStore(url, key)
        client.connect()
        with pytest.raises(ForbiddenError):
            client.from_bytes("k", b"1")
        with pytest.raises(ForbiddenError):
            client.delete("k")
        client.disconnect()
    assert list(store.query_keys()) == []


def test_connecting_asks_the_server(served):
    _, url, key = served
    with pytest.raises(AuthenticationError):
        HTTPStore(url, "0" * 64).connect()
    store = HTTPStore(url, "0" * 64)
    store.connect(key)
    assert store.info()["server"]["type"] == "FileSystemStore"
    store.disconnect()


def test_large_data_are_verified_by_the_client(served, remote, tmp_path):
    data = bytes(range(256)) * 24_000  # 6 MB
    remote.from_bytes("k", data)
    value = remote.get("k")
    assert value.verified
    assert value.digests is not None
    assert value.range(5_000_000, 5_000_010).read() == data[5_000_000:5_000_010]
    assert value.data.read() == data
    remote.to_file("k", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data
    path = f"{served[0].path}/k.data"
    facts = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(3_000_000)
        file.write(b"?")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(HashError):
        remote.to_bytes("k")
    assert remote.get("k").range(0, 10).read() == data[:10]


def test_large_data_that_changed_since_they_were_got_are_told(remote):
    remote.from_bytes("k", b"old" * 1_000_000)
    value = remote.get("k")
    remote.from_bytes("k", b"new" * 1_000_000)
    with pytest.raises(ChangedError, match="get the value again"):
        value.data.read()


def test_batches_are_larger_than_a_request(remote):
    keys = [f"k{number}" for number in range(250)]
    remote.multiset(keys, ((io.BytesIO(key.encode()), {"n": key}) for key in keys))
    assert [value.data.read() for value in remote.multiget(keys)] == [key.encode() for key in keys]
    assert [value.metadata for value in remote.multiget(iter(keys))] == [{"n": key} for key in keys]


def test_the_servers_store_tells_its_own_listeners(served, remote):
    store = served[0]
    heard = []
    link = store.event_manager.connect(StoreModificationEvent, heard.append, {"source": store})
    remote.set("k", (io.BytesIO(b"1"), {"a": 1}))
    store.event_manager.disconnect(link)
    assert [(event.action, event.key, event.metadata) for event in heard] == [("set", "k", {"a": 1})]


def test_two_clients_lose_no_update(served):
    _, url, key = served
    HTTPStore(url, key).set_metadata("shared", {})

    def work(name):
        client = HTTPStore(url, key)
        for number in range(20):
            client.update_metadata("shared", {f"{name}-{number}": number})
        client.disconnect()

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(HTTPStore(url, key).get_metadata("shared")) == 60


@pytest.mark.parametrize("cut", [1, 5, 30, -1])
def test_a_broken_off_or_senseless_change_leaves_nothing(served, remote, cut):
    store = served[0]
    body = record({"op": "set", "key": "k", "metadata": {}, "inline": True, "size": 4}) + b"data"
    with pytest.raises(InvalidInputError):
        remote._connection.upload("POST", "/_holdfast/changes", body[:cut])
    assert not store.exists("k")
    assert os.listdir(f"{store.path}/.holdfast/staging") == []


@pytest.mark.parametrize(
    "facts",
    [
        {"op": "fly", "key": "k"},
        {"op": "set"},
        {"op": "set", "key": ""},
        {"op": "set", "key": "k", "metadata": [1]},
        {"op": "set", "key": "k", "inline": True, "size": -1},
        {"op": "update", "key": "k"},
    ],
)
def test_senseless_changes_are_refused(remote, facts):
    with pytest.raises(InvalidInputError):
        remote._connection.upload("POST", "/_holdfast/changes", record(facts))


def test_queries_that_json_cannot_say_are_decided_here(remote):
    remote.set_metadata("k", {"l": [1, 2], "n": 1})
    assert list(remote.query_keys(l=(1, 2))) == []
    assert list(remote.query_keys(l=[1, 2])) == ["k"]
    assert list(remote.query_keys(n=True)) == ["k"]
    assert list(remote.query_keys(n=float("nan"))) == []


def test_a_server_that_is_gone_is_a_transport_error(tmp_path):
    with pytest.raises(TransportError):
        HTTPStore("http://127.0.0.1:9", "k").get("k")
    with pytest.raises(NotFoundError), running(Site([])) as url:
        HTTPStore(url).get("k")


def test_a_stalled_upload_stops_nobody_and_leaves_the_old_value(tmp_path):
    init_shared_store(tmp_path)
    store = FileSystemStore(tmp_path)
    store.set("k", (io.BytesIO(b"old"), {"a": 1}))
    with running(site_of(store, limits=Limits(idle_s=0.3))) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as stalled:
            stalled.sendall(b"PUT /k/data HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf")
            client = HTTPStore(url)
            client.set("other", (io.BytesIO(b"1"), {}))
            assert client.to_bytes("k") == b"old"
            client.disconnect()
            deadline = time.monotonic() + 30
            while os.listdir(tmp_path / ".holdfast" / "staging") and time.monotonic() < deadline:
                client.exists("k")  # the server gives the stalled one up meanwhile
            client.disconnect()
    assert store.to_bytes("k") == b"old"
    assert os.listdir(tmp_path / ".holdfast" / "staging") == []
