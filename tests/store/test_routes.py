"""The server speaks the protocol of encore's DynamicURLStore, at its own root and below a prefix."""

import http.client
import io
import json
from urllib.parse import quote, urlsplit

import pytest

from holdfast.app import ServeOptions, build
from holdfast.errors import NotAStoreError
from holdfast.http.serving import running
from holdfast.store import FileSystemStore, HTTPStore, init_shared_store

SAFE = "/~!$&'()*+,;=:@"


@pytest.fixture(scope="module")
def key():
    return "5" * 64


@pytest.fixture(scope="module")
def alone(tmp_path_factory, key):
    path = tmp_path_factory.mktemp("alone")
    init_shared_store(path)
    with build(ServeOptions(directory=path, face="store", api_key=key)) as app, running(app.site) as url:
        yield path, url


@pytest.fixture(scope="module")
def whole(tmp_path_factory, key):
    path = tmp_path_factory.mktemp("whole")
    for name in ["runs", "deep/er"]:
        (path / name).mkdir(parents=True)
        init_shared_store(path / name)
    (path / "plain").mkdir()
    with build(ServeOptions(directory=path, api_key=key)) as app, running(app.site) as url:
        yield path, url


@pytest.fixture(params=["alone", "whole"])
def place(request):
    """Give the store's directory, its base address and its query address."""
    path, url = request.getfixturevalue(request.param)
    if request.param == "alone":
        return path, url, f"{url}/query"
    return path / "runs", f"{url}/store/runs", f"{url}/store/runs/query"


@pytest.fixture
def ask(place, key):
    def send(method, path="", body=None, headers=None, query=None):
        address = urlsplit(place[2] if query is not None else place[1])
        target = address.path + (path if query is None else f"?{query}")
        connection = http.client.HTTPConnection(address.netloc, timeout=10)
        fields = {"Authorization": f"Bearer {key}", **(headers or {})}
        connection.request(method, target, body, fields, encode_chunked="Transfer-Encoding" in fields)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content, answer.headers

    return send


@pytest.fixture(autouse=True)
def _empty(place):
    store = FileSystemStore(place[0], durability="os")
    for found in list(store.query_keys()):
        store.delete(found)


@pytest.mark.parametrize("name", ["k", "a/b", "two words", "ключ", "a//b", "x/data", "100%", "q?x", "query"])
def test_data_and_metadata_go_in_and_out(ask, place, name):
    at = "/" + quote(name, safe=SAFE)
    assert ask("PUT", at + "/data", b"0123456789")[0] in (200, 204)
    assert ask("PUT", at + "/metadata", json.dumps({"a": 1, "é": 2}))[0] in (200, 204)
    status, content, headers = ask("GET", at + "/data")
    assert (status, content) == (200, b"0123456789")
    assert headers["content-length"] == "10"
    assert "last-modified" in headers
    assert "content-encoding" not in headers
    status, content, headers = ask("HEAD", at + "/data")
    assert (status, content, headers["content-length"]) == (200, b"", "10")
    assert json.loads(ask("GET", at + "/metadata")[1]) == {"a": 1, "é": 2}
    assert ask("POST", at + "/metadata", json.dumps({"a": 3}))[0] in (200, 204)
    assert json.loads(ask("GET", at + "/metadata")[1]) == {"a": 3, "é": 2}
    assert ask("GET", query="a=3")[1].decode() == name + "\n"
    value = FileSystemStore(place[0]).get(name)
    assert (value.data.read(), value.metadata) == (b"0123456789", {"a": 3, "é": 2})
    assert ask("DELETE", at)[0] in (200, 204)
    assert ask("GET", at + "/data")[0] == 404
    assert ask("DELETE", at)[0] == 404


def test_ranges_are_ignored_as_encores_client_needs(ask):
    ask("PUT", "/k/data", b"0123456789")
    for asked in ["bytes=1-3", "bytes=-2", "bytes=100-"]:
        status, content, _ = ask("GET", "/k/data", headers={"Range": asked})
        assert (status, content) == (200, b"0123456789")


def test_a_put_of_data_makes_the_key_and_chunked_bodies_are_taken(ask):
    status, _, _ = ask("PUT", "/k/data", io.BytesIO(b"chunked"), headers={"Transfer-Encoding": "chunked"})
    assert status in (200, 204)
    assert json.loads(ask("GET", "/k/metadata")[1]) == {}
    assert ask("GET", "/k/data")[1] == b"chunked"


def test_queries_compare_json_values(ask):
    for name, metadata in {
        "a": {"n": 1, "s": "x"},
        "b": {"n": 1.0},
        "c": {"n": "1"},
        "d": {"where": "w"},
    }.items():
        ask("PUT", f"/{name}/metadata", json.dumps(metadata))
    assert sorted(ask("GET", query="")[1].split()) == [b"a", b"b", b"c", b"d"]
    assert sorted(ask("GET", query="n=1")[1].split()) == [b"a", b"b"]
    assert ask("GET", query="n=1&s=%22x%22")[1] == b"a\n"
    assert ask("GET", query="where=%22w%22")[1] == b"d\n"
    assert ask("GET", query="n=2")[1] == b""
    assert ask("GET", query="n=x")[0] == 400


def test_permissions_say_who_asks_and_are_not_kept(ask):
    ask("PUT", "/k/data", b"")
    assert list(json.loads(ask("GET", "/k/auth")[1])) == ["owned"]
    assert ask("GET", "/absent/auth")[0] == 404
    assert ask("PUT", "/k/auth", b"{}")[0] == 403
    assert ask("POST", "/k/auth", b"{}")[0] == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/k/metadata", b"{"),
        ("PUT", "/k/metadata", b"[1]"),
        ("PUT", "/k/metadata", b"\xff"),
        ("POST", "/k/metadata", b"5"),
        ("PUT", "//data", b"x"),
        ("PUT", "/%00/data", b"x"),
        ("PUT", "/%FF/data", b"x"),
        ("GET", "/_holdfast/value", None),
        ("GET", "/_holdfast/value?key=", None),
        ("POST", "/_holdfast/search", b"{"),
        ("POST", "/_holdfast/search", b'{"where": {"op": "no"}}'),
    ],
)
def test_bad_requests_are_refused(ask, method, path, body):
    ask("PUT", "/k/data", b"old")
    assert ask(method, path, body)[0] in (400, 405)
    assert ask("GET", "/k/data")[1] == b"old"


def test_traversal_stays_inside(ask, place):
    outside = place[0].parent / "esc.data"
    for path in ["/..%2Fesc/data", "/%2e%2e/esc/data", "/../esc/data"]:
        ask("PUT", path, b"x")
        assert not outside.exists()


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": ""}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic a2V5Ondyb25n"}],
)
def test_writing_needs_a_key(ask, headers):
    assert ask("PUT", "/k/data", b"x", headers=headers)[0] == 401
    assert ask("DELETE", "/k", headers=headers)[0] == 401
    assert ask("POST", "/_holdfast/changes", b"", headers=headers)[0] == 401
    assert ask("GET", "/k/data")[0] == 404


@pytest.mark.parametrize("form", ["Apikey", "Bearer", "X-API-Key", "Basic"])
def test_every_form_of_the_key_is_equal(ask, key, form):
    import base64

    basic = base64.b64encode(f"key:{key}".encode()).decode()
    headers = {
        "Apikey": {"Authorization": f"Apikey {key}"},
        "Bearer": {"Authorization": f"Bearer {key}"},
        "X-API-Key": {"Authorization": "", "X-API-Key": key},
        "Basic": {"Authorization": f"Basic {basic}"},
    }[form]
    assert ask("PUT", "/k/data", b"x", headers={k: v for k, v in headers.items() if v})[0] in (200, 204)


def test_large_bodies_stream(ask):
    data = bytes(range(256)) * 20_000
    assert ask("PUT", "/k/data", data)[0] in (200, 204)
    assert ask("GET", "/k/data")[1] == data


def test_our_client_uses_the_same_stores(place, key):
    store = HTTPStore(place[1], key)
    store.set("a/b", (io.BytesIO(b"1"), {"n": 1}))
    assert store.to_bytes("a/b") == b"1"
    assert FileSystemStore(place[0]).to_bytes("a/b") == b"1"
    store.disconnect()


def test_only_stores_are_served_below(whole, key):
    path, url = whole
    deep = HTTPStore(f"{url}/store/deep/er", key)
    deep.from_bytes("k", b"1")
    assert FileSystemStore(path / "deep" / "er").to_bytes("k") == b"1"
    deep.disconnect()
    for name in ["plain", "absent", "../whole", "runs/../plain"]:
        with pytest.raises((KeyError, ValueError)):
            HTTPStore(f"{url}/store/{quote(name, safe='/')}", key).get("k")


def test_a_directory_that_is_no_store_is_not_served_alone(tmp_path):
    with pytest.raises(NotAStoreError, match="init_shared_store"):
        build(ServeOptions(directory=tmp_path, face="store"))
