"""The client against a server that a test holds in its hand; no server of ours is asked here."""

from __future__ import annotations

import multiprocessing
import pickle
import threading

import numpy as np
import pytest

from catalog.canned import Canned, item, serving
from holdfast.catalog import from_uri
from holdfast.catalog.client.session import split_address
from holdfast.errors import (
    AuthenticationError,
    InvalidInputError,
    InvalidTypeError,
    NotFoundError,
    OutOfRangeError,
    ServerError,
    TransportError,
)
from holdfast.queries import Key

DATA = np.arange(24.0).reshape(4, 6)
KEY = "0123456789abcdef" * 4


def structure(array):
    kind = {
        "endianness": "little",
        "kind": array.dtype.kind,
        "itemsize": array.dtype.itemsize,
        "dt_units": None,
    }
    chunks = [[n] for n in array.shape]
    return {"data_type": kind, "chunks": chunks, "shape": list(array.shape), "dims": None, "resizable": False}


def array_body(array):
    def answer(handler, query):
        wire = query.get("slice", "")
        parts = tuple(slice(*map(int, part.split(":"))) for part in wire.split(",")) if wire else ...
        return array[parts].tobytes()

    return answer


@pytest.fixture(scope="module")
def canned():
    nodes = {
        "box": item(
            "box", "container", structure={"contents": None, "count": 1}, metadata={"<script>": "<b>"}
        ),
        "box/a": item("box/a", "array", structure=structure(DATA), metadata={"n": 1}),
        "point": item("point", "array", structure=structure(np.array(3.5))),
        "odd": item("odd", "ragged"),
        "lies": {"id": "lies", "attributes": {"ancestors": []}},
    }
    nodes |= {f"n{number:04}": item(f"n{number:04}", "container") for number in range(700)}
    bodies = {("array/full", "box/a"): array_body(DATA), ("array/full", "point"): array_body(np.array(3.5))}
    return Canned(nodes, bodies)


@pytest.fixture(scope="module")
def url(canned):
    with serving(canned) as address:
        yield address


@pytest.fixture
def client(url):
    return from_uri(url)


def test_pages_are_split_by_the_client(client):
    assert len(client) == 704
    assert len(client.keys().head(1000)) == 704
    assert list(client) == list(client.keys())


def test_listings_take_what_lists_take(client):
    keys = client.keys()
    every = list(keys)
    for index in [0, -1, 300, -704, slice(None), slice(298, 302), slice(-3, None), slice(None, None, -100)]:
        assert keys[index] == every[index]
    for index in [slice(5, 2), slice(2, 9, 3), slice(700, 9000), slice(-2, -5, -1)]:
        assert keys[index] == every[index]
    assert (keys.first(), keys.last()) == (every[0], every[-1])
    assert (keys.head(2), keys.tail(2), keys.tail(0)) == (every[:2], every[-2:], [])
    assert client.values().head(1)[0].key == every[0]
    assert client.items()[1:2][0][1].path == (every[1],)


@pytest.mark.parametrize("index", [704, -705])
def test_an_entry_outside_a_listing_is_an_index_error(client, index):
    with pytest.raises(OutOfRangeError):
        client.keys()[index]


def test_a_listing_says_what_it_holds(client):
    assert repr(client.keys()).endswith("'n0000', … 704 in all]")


def test_entries_are_reached_by_paths_and_by_keys(client):
    assert client["box/a"] == client["box", "a"] == client["box"]["a"]
    assert client["/box//a/"].path == ("box", "a")


@pytest.mark.parametrize("key", ["nope", "..", "a/../b", "", "x" * 300, "a\x00"])
def test_what_is_not_there_is_a_key_error(client, key):
    if key:
        with pytest.raises(NotFoundError) as caught:
            client[key]
        assert isinstance(caught.value, KeyError)
        assert key not in client
        assert client.get(key) is None


def test_what_is_no_key_is_a_type_error(client):
    with pytest.raises(InvalidTypeError):
        client[5]
    assert 5 not in client


def test_arrays_slice_like_numpy(client):
    array = client["box/a"]
    for index in [
        ...,
        (1, 2),
        (slice(None), -1),
        (slice(3, None, -2), slice(1, 5, 2)),
        (None, 0),
        ([2, 0], ...),
    ]:
        np.testing.assert_array_equal(array[index], DATA[index])
    np.testing.assert_array_equal(np.asarray(array), DATA)
    np.testing.assert_array_equal(np.asarray(array, dtype="f4"), DATA.astype("f4"))
    assert [list(row) for row in array] == DATA.tolist()
    assert (array.shape, array.ndim, array.size, array.nbytes) == ((4, 6), 2, 24, 192)
    assert (array.dtype, array.chunks, array.dims, len(array)) == (np.float64, ((4,), (6,)), None, 4)


def test_an_array_without_axes_reads_and_has_no_length(client):
    point = client["point"]
    assert point[()] == 3.5
    assert point.read().shape == ()
    assert float(np.asarray(point)) == 3.5
    with pytest.raises(TypeError):
        len(point)


def test_an_index_outside_the_array_asks_nothing(client, canned):
    array = client["box/a"]
    asked = len(canned.asked)
    with pytest.raises(IndexError):
        array[9]
    assert array[4:].shape == (0, 6)
    assert len(canned.asked) == asked


def test_an_array_is_never_copied_by_mistake(client):
    with pytest.raises(InvalidTypeError):
        np.array(client["box/a"], copy=False) if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else client[
            "box/a"
        ].__array__(copy=False)


def test_dask_reads_its_chunks(client):
    assert float(client["box/a"].to_dask().sum().compute()) == DATA.sum()


def test_a_large_read_is_split_at_the_piece(client, canned, monkeypatch):
    monkeypatch.setattr("holdfast.catalog.client.array.PIECE_BYTES", 60)
    canned.asked.clear()
    np.testing.assert_array_equal(client["box/a"].read(), DATA)
    assert [dict(query)["slice"] for path, query in canned.asked if "full" in path] == [
        "0:1,0:6",
        "1:2,0:6",
        "2:3,0:6",
        "3:4,0:6",
    ]


def test_a_short_answer_is_an_error_and_no_array(url, canned):
    with (
        serving(Canned(canned.nodes, {("array/full", "box/a"): b"123"})) as address,
        pytest.raises(TransportError),
    ):
        from_uri(address)["box/a"].read()


def test_searches_chain_and_say_what_they_are(client):
    hits = client.search(Key("color") == "red").search(Key("n") > 5).sort(("n", -1))
    pairs = hits._pairs(keys_only=False)
    assert ("sort", "-n") in pairs
    assert ("filter[eq][condition][key]", "color") in pairs
    assert ("filter[comparison][condition][value]", "5") in pairs
    assert hits.is_search
    assert hits != client
    assert hits == client.search(Key("color") == "red").search(Key("n") > 5).sort(("n", -1))


def test_a_query_that_a_server_would_pass_over_is_refused(canned):
    with serving(Canned(canned.nodes, about={"queries": ["eq", "lookup"], "meta": {}})) as address:
        client = from_uri(address)
        assert len(client.search(Key("color") == "red")) == 704
        with pytest.raises(InvalidInputError, match="Holdfast server"):
            len(client.search((Key("color") == "red") | (Key("n") == 1)))


@pytest.mark.parametrize("query", ["color", None, {"color": "red"}])
def test_what_is_no_query_is_a_type_error(client, query):
    with pytest.raises(InvalidTypeError):
        client.search(query)


def test_a_sort_direction_is_checked(client):
    with pytest.raises(InvalidInputError):
        client.sort(("n", 2))


def test_nodes_pickle_by_address_and_never_with_a_key(url, canned):
    client = from_uri(url, api_key=KEY)
    for node in (client, client["box/a"], client.search(Key("n") == 1)):
        data = pickle.dumps(node)
        assert KEY.encode() not in data
        assert pickle.loads(data) == node
    assert KEY not in repr(client)
    assert KEY not in repr(vars(client))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(client["box/a"])).read(), DATA)


def test_a_key_in_the_url_goes_to_the_header(url, canned):
    canned.headers.clear()
    client = from_uri(f"{url}?api_key={KEY}")
    assert KEY not in client.uri
    assert all(
        KEY in headers.get("authorization", headers.get("Authorization", "")) for headers in canned.headers
    )


def test_nodes_work_from_many_threads(client):
    array = client["box/a"]
    wrong = []

    def read(row):
        for _ in range(20):
            if not np.array_equal(array[row], DATA[row]):
                wrong.append(row)

    threads = [threading.Thread(target=read, args=(row % 4,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nodes_survive_fork(client):
    array = client["box/a"]
    array.read()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for row in pool.map(array.__getitem__, [0, 1, 2, 3]):
            assert row.shape == (6,)
    np.testing.assert_array_equal(array.read(), DATA)


def test_a_node_shows_itself_without_running_what_it_holds(client):
    assert repr(client["box/a"]) == "<Array 'box/a' float64 (4, 6)>"
    assert repr(client["box"]) == "<Container 'box' of 1: a>"
    html = client["box"]._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert "float64" in client["box/a"]._repr_html_()


def test_tab_completes_keys(client):
    assert client["box"]._ipython_key_completions_() == ["a"]


def test_a_family_that_is_not_known_is_still_a_node(client):
    assert client["odd"].structure_family == "ragged"
    assert repr(client["odd"]) == "<Node 'odd'>"


def test_a_description_that_is_none_is_a_server_error(client):
    with pytest.raises(ServerError):
        client["lies"]


def test_an_export_needs_a_format(client, tmp_path):
    with pytest.raises(InvalidInputError, match="format="):
        client["box/a"].export(tmp_path / "a")
    with pytest.raises(InvalidInputError, match="colour"):
        client["box/a"].export(tmp_path / "a.csv", colour="red")


def test_a_repr_does_not_fail_where_the_server_does(canned):
    class Failing(Canned):
        def answer(self, handler):
            return 500 if "/search/" in handler.path else super().answer(handler)

    with serving(Failing({})) as address:
        assert repr(from_uri(address)).startswith("<Container '/' (")


@pytest.mark.parametrize("uri", ["stuff/", "ftp://x", "", None, 5])
def test_what_is_no_url_says_so(uri):
    with pytest.raises(InvalidInputError):
        from_uri(uri)


def test_a_server_that_is_not_there_is_a_transport_error():
    with pytest.raises(TransportError):
        from_uri("http://127.0.0.1:9")


def test_a_server_that_is_no_catalog_says_so(canned):
    class Other(Canned):
        def answer(self, handler):
            return [1, 2]

    with serving(Other({})) as address, pytest.raises(ServerError, match="address of a catalog"):
        from_uri(address)


def test_a_refusal_is_the_class_that_the_server_raised(canned):
    class Closed(Canned):
        def answer(self, handler):
            return 401

    with serving(Closed({})) as address, pytest.raises(AuthenticationError):
        from_uri(address)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h", ("http://h", ())),
        ("http://h/", ("http://h", ())),
        ("http://h/api/v1/", ("http://h", ())),
        ("http://h:1/lab/api/v1/metadata/a%2Fb//c/", ("http://h:1/lab", ("a/b", "c"))),
        ("http://h/lab?api_key=x", ("http://h/lab?api_key=x", ())),
    ],
)
def test_an_address_splits_into_server_and_path(url, expected):
    assert split_address(url) == expected


def test_a_listing_takes_numpys_integers_and_nothing_else(client):
    assert client.keys()[np.int64(-1)] == client.keys().last()
    for index in ("a", 1.5, None):
        with pytest.raises(InvalidTypeError):
            client.keys()[index]
