"""Records over HTTP: the original's addresses, ours, and the record that is on a server."""

import json
import threading

import cbor2
import numpy as np
import pytest

from holdfast.errors import HashError, InvalidInputError, NotAcceptableError, NotFoundError
from holdfast.http.client import Connection
from holdfast.http.pool import IO_THREADS
from holdfast.http.serving import running
from holdfast.records import Record
from holdfast.records.client import RemoteRecord
from holdfast.records.serving import site_of

KEY = "cd" * 32


@pytest.fixture
def local(tmp_path):
    record = Record(tmp_path / "served")
    record["numbers"] = np.arange(5.0)
    record["deep/er"] = ["a", "bb"]
    record["_hidden"] = 1
    (record.path / "pic.jpg").write_bytes(b"jpeg" * 1000)
    return record


@pytest.fixture
def site(local):
    return site_of(local.path, api_key=KEY)


@pytest.fixture
def url(site):
    with running(site) as address:
        yield address


@pytest.fixture
def http(url):
    with Connection.to_url(url, api_key=KEY) as connection:
        yield connection


@pytest.fixture(params=["tcp", "in-process"])
def remote(request, site):
    if request.param == "tcp":
        with Record(request.getfixturevalue("url"), api_key=KEY) as record:
            yield record
    else:
        yield RemoteRecord.on(Connection.to_site(site))


def test_51_to_58_the_addresses_of_the_original(http, url, local):
    assert cbor2.loads(http.get_bytes("/_entry-names")) == ["deep", "numbers", "pic.jpg"]
    assert cbor2.loads(http.get_bytes("/deep/_entry-names")) == ["er"]
    assert cbor2.loads(http.get_bytes("/_cmd-info")) is None
    found = cbor2.loads(http.get_bytes("/numbers"))
    assert found == {"$type": "array", "data": np.arange(5.0).tobytes(), "dtype": "float64", "shape": [5]}
    assert cbor2.loads(http.get_bytes("/deep/er")) == ["a", "bb"]
    with http.open("GET", "/pic.jpg", headers={"origin": "http://page.example"}) as answer:
        assert answer.read() == b"jpeg" * 1000
        assert answer.headers.get("access-control-allow-origin") == "*"
        assert answer.headers.get("content-type") == "image/jpeg"
        assert "last-modified" in answer.headers
    for missing in (
        "/nothing",
        "/nothing/_entry-names",
        "/_hidden",
        "/numbers/_entry-names",
        "/nothing/_cmd-info",
    ):
        with pytest.raises(NotFoundError):
            http.get_bytes(missing)


def test_cors_headers_stand_on_errors_too(url):
    import http.client
    from urllib.parse import urlsplit

    client = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    for method, path in (
        ("GET", "/nothing"),
        ("GET", "/_entry-names"),
        ("OPTIONS", "/numbers"),
        ("POST", "/numbers"),
    ):
        client.request(method, path, headers={"Origin": "http://page.example"})
        answer = client.getresponse()
        answer.read()
        assert answer.getheader("access-control-allow-origin") == "*", (method, path)
    client.close()


def test_command_info_is_that_of_the_spec(http, local):
    (local.path / "_cmd-spec.yaml").write_text('{"type": "module|Kind", "name": "tom"}')
    (local.path / "_cmd-status.yaml").write_text("done")
    assert cbor2.loads(http.get_bytes("/_cmd-info")) == {
        "type": "module|Kind",
        "desc": "",
        "conf": {"name": "tom"},
        "status": "done",
    }


@pytest.mark.parametrize(
    ("value", "dtype", "numbers"),
    [
        (np.array([1, -2]), "int32", [1, -2]),
        (np.array([2**40]), "float64", [2.0**40]),
        (np.array([2**63], "u8"), "float64", [2.0**63]),
        (np.array([True, False]), "uint8", [1, 0]),
        (np.array([0.5], "f2"), "float32", [0.5]),
        (np.array([1, 2], ">i2"), "int16", [1, 2]),
        (np.array([1.5], ">f8"), "float64", [1.5]),
    ],
)
def test_numbers_are_never_changed_by_the_originals_form(http, local, value, dtype, numbers):
    local["x"] = value
    found = cbor2.loads(http.get_bytes("/x"))
    assert found["dtype"] == dtype
    assert np.frombuffer(found["data"], np.dtype(dtype).newbyteorder("<")).tolist() == numbers


@pytest.mark.parametrize(
    "value", [np.array([2**53 + 1]), np.array([2**64 - 1], "u8"), np.array([1j]), np.datetime64("2020")]
)
def test_what_that_form_cannot_say_is_refused_and_npy_named(http, local, value):
    local["x"] = value
    with pytest.raises(NotAcceptableError, match="format=npy"):
        http.get_bytes("/x")
    import io

    assert np.array_equal(np.load(io.BytesIO(http.get_bytes("/x", {"format": "npy"}))), value)


def test_own_addresses_read_slices_in_several_forms(http, local):
    local["m"] = np.arange(20).reshape(4, 5)
    assert http.get_json("/m", {"format": "json", "slice": "1:3,::2"}) == [[5, 7, 9], [10, 12, 14]]
    assert http.get_bytes("/m", {"format": "raw", "slice": "0"}) == np.arange(5).tobytes()
    assert http.get_json("/deep/er", {"format": "json"}) == ["a", "bb"]
    assert http.get_json("/deep/er", {"format": "json", "t_last": "5", "api_key": KEY}) == ["a", "bb"]
    with pytest.raises(InvalidInputError):
        http.get_json("/m", {"format": "json", "start": "x"})
    assert http.get_json("/deep", {"format": "json"}) == {"kind": "record", "keys": ["er"]}
    with pytest.raises(InvalidInputError):
        http.get_bytes("/m", {"slice": "1:x"})


def test_own_addresses_write(http, local):
    import io

    body = io.BytesIO()
    np.save(body, np.arange(3, dtype="i2"))
    http.upload("PUT", "/new/npy", body.getvalue(), headers={"content-type": "application/x-npy"})
    assert local["new/npy"].dtype == np.int16
    http.upload("PUT", "/new/curl", body.getvalue())
    assert local["new/curl"].tolist() == [0, 1, 2]
    http.upload("PUT", "/new/hdf5", (local.path / "numbers.h5").read_bytes())
    assert local["new/hdf5"].tolist() == [0, 1, 2, 3, 4]
    http.send_json("PUT", "/new/json", [1.5, 2.5])
    assert local["new/json"].tolist() == [1.5, 2.5]
    http.upload("PUT", "/new/pic.png", b"png", headers={"content-type": "image/png"})
    assert local["new/pic.png"].read_bytes() == b"png"
    assert local.check("new/pic.png").notes == []
    assert http.send_json("POST", "/new/json", 3.5, idempotency_key="a") == {"row": 2}
    assert http.send_json("POST", "/new/json", 3.5, idempotency_key="a") == {"row": 2}
    assert http.send_json("POST", "/new/json", [4.5, 5.5], {"action": "extend"}) == {"row": 3}
    assert local["new/json"].tolist() == [1.5, 2.5, 3.5, 4.5, 5.5]
    with http.open("DELETE", "/new"):
        pass
    assert "new" not in local


def test_bad_bodies_change_nothing(http, local):
    for headers, body in [
        ({"content-type": "application/x-npy"}, b"not npy"),
        ({"content-type": "application/json"}, b"{"),
        ({"content-type": "application/json"}, b"[[1], [2, 3]]"),
        ({"content-type": "application/vnd.holdfast.values"}, b"HFVALS1\n\xff\xff\xff\xff"),
    ]:
        with pytest.raises(InvalidInputError):
            http.upload("PUT", "/numbers", body, headers=headers)
    with pytest.raises(InvalidInputError):
        http.send_json("POST", "/numbers", "text")
    assert local["numbers"].tolist() == [0, 1, 2, 3, 4]


def test_writing_needs_the_key_and_reading_does_not(url):
    with Connection.to_url(url) as anyone:
        assert cbor2.loads(anyone.get_bytes("/_entry-names"))
        with pytest.raises(PermissionError):
            anyone.send_json("PUT", "/x", 1)
        with pytest.raises(PermissionError), anyone.open("DELETE", "/numbers"):
            pass


def test_symbolic_links_that_leave_are_not_served(http, local, tmp_path):
    (tmp_path / "secret.txt").write_text("secret")
    (local.path / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(PermissionError):
        http.get_bytes("/link.txt")
    for path in ("/../secret.txt", "/%2e%2e/secret.txt"):
        with pytest.raises((InvalidInputError, NotFoundError)):
            http.get_bytes(path)


VALUES = [
    np.arange(6.0).reshape(2, 3),
    np.float32(1.5),
    7,
    True,
    1 + 2j,
    "héllo",
    ["a", "", "ccc"],
    b"raw\0",
    np.array(["2020-01-01", "NaT"], "M8[ns]"),
    np.zeros(2, [("a", "i4"), ("b", ">f8")]),
    np.zeros((0, 3)),
    np.arange(3, dtype=">i4"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_of_every_kind_cross_the_wire_both_ways(remote, local, value):
    remote["there/x"] = value
    here, back = local["there/x"], remote["there/x"]
    assert type(here) is type(back)
    assert np.array_equal(
        np.asarray(here), np.asarray(value), equal_nan=np.asarray(value).dtype.kind in "fcmM"
    )
    assert np.asarray(back).tobytes() == np.asarray(here).tobytes()


def test_a_remote_record_is_a_record(remote, local, tmp_path):
    assert list(remote) == ["deep", "numbers", "pic.jpg"]
    assert list(remote["deep"]) == ["er"]
    assert "numbers" in remote
    assert "nothing" not in remote
    assert len(remote) == 3
    path = remote["pic.jpg"]
    assert path.read_bytes() == b"jpeg" * 1000
    assert path.name == "pic.jpg"
    remote["tree"] = {"a": {"b": [1, 2]}, "c": "text", "p.bin": path}
    assert local["tree/a/b"].tolist() == [1, 2]
    assert local["tree/p.bin"].read_bytes() == b"jpeg" * 1000
    source = Record(tmp_path / "source")
    source["x/y"], source["z"] = np.arange(3), "z"
    remote["tree"] = source
    assert list(local["tree"]) == ["x", "z"]
    local["copy"] = remote["tree"]
    assert local["copy/x/y"].tolist() == [0, 1, 2]
    assert [remote.append("rows", [number, number]) for number in range(3)] == [0, 1, 2]
    assert remote.extend("rows", [[9, 9], [8, 8]]) == 3
    assert remote.append("rows", [7, 7], idempotency_key="k") == remote.append(
        "rows", [7, 7], idempotency_key="k"
    )
    with remote.open("rows") as view:
        assert view.shape == (6, 2)
        assert view[1:3, 0].tolist() == [1, 2]
        assert view[::-1][0].tolist() == [7, 7]
        assert view.sealed
    remote.compact()
    assert remote.check().ok
    del remote["rows"]
    for use in (lambda: remote["rows"], lambda: remote.open("rows"), lambda: remote.__delitem__("rows")):
        with pytest.raises(KeyError):
            use()
    with pytest.raises(InvalidInputError, match="transaction"):
        remote.transaction()
    with pytest.raises(TypeError):
        remote["bad"] = [[1], [2, 3]]
    assert (remote.cmd_spec, remote.cmd_status) == (None, "unbegun")
    remote.adopt("pic.jpg")
    with remote.open("pic.jpg") as file:
        assert file.sealed


def test_a_remote_record_is_pickled_without_its_key(url):
    import pickle

    record = Record(url, api_key=KEY)
    raw = pickle.dumps(record)
    assert KEY.encode() not in raw
    assert KEY not in repr(record)
    assert pickle.loads(raw) == record


def test_damage_on_the_server_is_an_error_at_the_client(remote, local):
    local["big"] = np.random.default_rng(1).random(100_000)
    path = local.path / "big.h5"
    data = bytearray(path.read_bytes())
    data[300_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(HashError):
        remote["big"]
    remote.adopt("pic.jpg")
    (local.path / "pic.jpg").write_bytes(b"jpeX" * 1000)
    with pytest.raises(HashError):
        remote["pic.jpg"]


def test_live_rows_arrive_over_http(url, local):
    record = Record(url, api_key=KEY)
    found = []

    def listen():
        for row in record.follow("live", timeout=5.0):
            found.append(row)
            if len(found) == 4:
                return

    thread = threading.Thread(target=listen)
    thread.start()
    for number in range(4):
        local.append("live", np.array([number, 0.5]))
    thread.join(20)
    assert [row.tolist() for row in found] == [[number, 0.5] for number in range(4)]
    assert [row.tolist() for row in record.follow("live", start=-1, timeout=0.2)] == [[3, 0.5]]
    with Connection.to_url(url) as anyone:
        event = next(iter(anyone.events("/live", {"format": "events", "start": "2"})))
        assert json.loads(event.data) == {"row": 2, "value": [2.0, 0.5]}


@pytest.mark.slow
def test_500_idle_listeners_hold_no_thread_and_leave_small_reads_quick(url, local):
    import socket
    import statistics
    import time
    from urllib.parse import urlsplit

    local.append("live", 1.0)
    place = urlsplit(url)

    def median_read():
        with Connection.to_url(url) as anyone:
            times = []
            for _ in range(300):
                started = time.perf_counter()
                anyone.get_bytes("/numbers")
                times.append(time.perf_counter() - started)
        return statistics.median(times)

    before, threads = median_read(), threading.active_count()
    listeners = []
    for _ in range(500):
        listener = socket.create_connection((place.hostname, place.port))
        listener.sendall(b"GET /live?format=events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        listener.settimeout(20)
        listeners.append(listener)
    for listener in listeners:
        received = b""
        while b'"row":0' not in received:
            received += listener.recv(4096)
    assert threading.active_count() <= threads + IO_THREADS  # those of the lane, however many listen
    assert median_read() <= 2 * before
    local.append("live", 2.0)
    for listener in listeners:
        received = b""
        while b'"row":1' not in received:
            received += listener.recv(4096)
        listener.close()
