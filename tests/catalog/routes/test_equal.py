"""In-process answers equal HTTP answers for every route."""

from __future__ import annotations

import pytest

PATHS = [
    "/",
    "/metadata/",
    "/metadata/box?include_data_sources=true",
    "/metadata/box/a.h5/f8",
    "/search/?fields=",
    "/search/box/a.h5?page[limit]=3",
    "/search/keys?page[limit]=7&sort=-n&fields=metadata",
    "/search-deep/?filter[eq][condition][key]=color&filter[eq][condition][value]=%22red%22",
    "/distinct/keys?metadata=color&counts=true",
    "/array/full/box/a.h5/cube?slice=::-1,1",
    "/array/full/box/large.npy",
    "/array/full/box/a.h5/zipped?format=npy",
    "/array/full/box/a.h5/zipped?format=json&slice=0",
    "/array/full/box/a.h5/big_i4?format=csv",
    "/array/block/box/a.h5/zipped?block=1,1",
    "/table/full/box/t.csv?format=csv",
    "/table/partition/box/t.csv?partition=0",
    "/container/full/box?format=json",
    "/array/full/uneven/matrix.npz?format=csv&slice=1:",
    "/array/block/uneven/matrix.npz?block=0,0",
    "/awkward/buffers/uneven/events.h5/hits?form_key=node1",
    "/awkward/full/uneven/events.h5/hits?format=json",
    "/metadata/nope",
    "/search/box?nonsense=1",
    "/assets/999999",
]
_OF_THE_SERVER = {"date", "transfer-encoding", "connection", "content-length"}


def exchange(connection, path, headers):
    answer = connection._transport.open("GET", connection._prefix + path, connection._fields(headers), None)
    with answer:
        data = answer.read().replace(connection.address.encode(), b"ADDRESS")
        server = connection.address.removesuffix("/api/v1").encode()
        fields = sorted((k, v) for k, v in answer.headers.items() if k not in _OF_THE_SERVER)
    return answer.status, fields, data.replace(server, b"SERVER")


@pytest.mark.parametrize(
    "headers", [{}, {"accept": "application/vnd.holdfast.frames"}, {"holdfast-verify": "blocks"}]
)
@pytest.mark.parametrize("path", PATHS)
def test_both_ways_answer_the_same(tcp, local, path, headers):
    assert exchange(tcp, path, headers) == exchange(local, path, headers)


def test_every_kind_of_route_is_among_them(site):
    asked = {path.split("?")[0].split("/")[1] for path in PATHS}
    declared = {route.path.split("/")[1] for mount in site.mounts for route in mount.routes}
    assert declared - asked == {"asset"}


@pytest.mark.parametrize("suffix", ["", "?format=json", "/digests", "?relative_path=sub/n.json"])
def test_both_ways_give_the_same_files(tcp, local, suffix):
    node = "/metadata/box" if "?" in suffix or not suffix else "/metadata/box/large.npy"
    attributes = local.get_json(node, {"include_data_sources": True})["data"]["attributes"]
    number = attributes["data_sources"][0]["assets"][0]["id"]
    path = f"/assets/{number}{suffix}"
    assert exchange(tcp, path, {}) == exchange(local, path, {})
    path = f"/asset/manifest/box?id={number}"
    assert exchange(tcp, path, {}) == exchange(local, path, {})
