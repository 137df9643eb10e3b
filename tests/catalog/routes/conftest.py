"""A small directory of every kind of file, indexed, and reached over TCP and in one process."""

from __future__ import annotations

import json
import os

import awkward
import h5py
import numpy as np
import pytest
import scipy.sparse

from catalog_arrays import ARRAYS, HITS, MATRIX
from holdfast.catalog import index
from holdfast.catalog.routes import routes
from holdfast.catalog.tree import Catalog
from holdfast.http.auth import Access
from holdfast.http.client import Connection
from holdfast.http.edge import Site
from holdfast.http.routing import Mount
from holdfast.http.serving import running

API = "/api/v1"
KEY = "cd" * 32


def fill(top):
    box = top / "box"
    (box / "sub").mkdir(parents=True)
    np.save(box / "small.npy", np.arange(100.0).reshape(10, 10))
    np.save(box / "large.npy", np.random.default_rng(0).random((500, 1000)))
    with h5py.File(box / "a.h5", "w") as file:
        for name, value in ARRAYS.items():
            file[name] = value
        file["text"] = ["x", "yé"]
        file["record"] = np.array([(1, 2.5), (3, np.nan)], dtype=[("a", "<i4"), ("b", "<f8")])
        file.create_dataset(
            "zipped", data=np.arange(400_000.0).reshape(400, 1000), chunks=(50, 100), compression=1
        )
        file["f8"].attrs["color"] = "red"
    (box / "t.csv").write_text("A,B,name\n1,1.5,x\n2,2.5,y\n3,,z\n")
    (box / "sub" / "n.json").write_text('{"color": "blue", "n": 5, "nested": {"t": 1.5}, "tags": ["u", "v"]}')
    (box / "sub" / "m.json").write_text('{"color": "red", "n": 50, "text": "hello world"}')
    (box / "é ü.txt").write_text("text")
    uneven = top / "uneven"
    uneven.mkdir()
    scipy.sparse.save_npz(uneven / "matrix.npz", scipy.sparse.csr_array(MATRIX))
    with h5py.File(uneven / "events.h5", "w") as file:
        form, length, _ = awkward.to_buffers(awkward.Array(HITS), container=file.create_group("hits"))
        file["hits"].attrs.update({"form": form.to_json(), "length": length, "color": "red"})
    keys = top / "keys"
    keys.mkdir()
    for number in range(320):
        facts = {"n": number, "color": "red" if number % 10 == 0 else "blue"}
        (keys / f"k{number:03}.json").write_text(json.dumps(facts))


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    top = tmp_path_factory.mktemp("served")
    fill(top)
    # A file that changed just now counts as being written, and has no digests yet.
    for path in top.rglob("*"):
        os.utime(path, (10**9, 10**9))
    index(top)
    return top


@pytest.fixture(scope="session")
def catalog(served):
    with Catalog(served) as opened:
        yield opened


@pytest.fixture(scope="session")
def site(catalog):
    return Site([Mount(API, routes(catalog), "catalog")], access=Access.with_key(KEY, public=True))


@pytest.fixture(scope="session")
def url(site):
    with running(site) as address:
        yield address


@pytest.fixture
def tcp(url):
    with Connection.to_url(url + API, api_key=KEY, timeout_s=20.0) as connection:
        yield connection


@pytest.fixture
def local(site):
    return Connection.to_site(site, prefix=API)


@pytest.fixture(params=["tcp", "local"])
def connection(request):
    return request.getfixturevalue(request.param)
