"""Every wrong request has its status and its message; none is a 500, and the connection goes on."""

from __future__ import annotations

import http.client
import json
from urllib.parse import quote, urlsplit

import pytest

API = "/api/v1"
LONG = "a" * 300

WRONG = [
    ("/metadata/nope", 404, "nope"),
    ("/metadata/box/../keys", 400, ".."),
    ("/metadata/%2e%2e/x", 400, ".."),
    ("/metadata/a%00b", 400, "NUL"),
    (f"/metadata/{LONG}", 400, "bytes"),
    (f"/metadata/{'a/' * 3000}", 400, ""),
    ("/metadata/%ff%fe", 404, ""),
    ("/metadata/box?fields=nonsense", 400, "fields"),
    ("/metadata/box?nonsense=1", 400, "nonsense"),
    ("/metadata/box?include_data_sources=perhaps", 400, "include_data_sources"),
    ("/metadata/box?max_depth=-1", 400, "max_depth"),
    ("/search/keys?page[limit]=-1", 400, "page[limit]"),
    ("/search/keys?page[limit]=1000000000", 400, "page[limit]"),
    ("/search/keys?page[limit]=x", 400, "page[limit]"),
    ("/search/keys?page[offset]=-1", 400, "page[offset]"),
    ("/search/keys?page[offset]=99999999999999999999999", 400, "page[offset]"),
    ("/search/keys?page[cursor]=nonsense", 400, "cursor"),
    ("/search/keys?filter[nonsense][condition][key]=a", 400, "nonsense"),
    ("/search/keys?filter[eq][condition][key]=a", 400, "eq"),
    ("/search/keys?filter[eq][condition][value]=1", 400, "eq"),
    ("/search/keys?filter[eq][condition][key]=a&filter[eq][condition][value]={", 400, "eq"),
    ("/search/keys?filter[eq]=1", 400, "filter"),
    ("/search/keys?filter[comparison][condition][operator]=like&filter[comparison][condition][key]=a"
     "&filter[comparison][condition][value]=1", 400, "operator"),
    ("/search/keys?filter[regex][condition][key]=color&filter[regex][condition][pattern]=(", 400, ""),
    ("/search/keys?filter[tree][condition][query]={}", 400, ""),
    ("/search/keys?filter[tree][condition][query]=" + quote('{"op":"not","query":' * 200), 400, ""),
    ("/distinct/keys?counts=maybe", 400, "counts"),
    ("/array/full/box/a.h5/cube?slice=a", 400, "slice"),
    ("/array/full/box/a.h5/cube?slice=9", 400, "outside"),
    ("/array/full/box/a.h5/cube?format=nonsense", 406, "application/x-npy"),
    ("/array/block/box/a.h5/cube", 400, "block"),
    ("/array/block/box/a.h5/cube?block=9,9,9", 400, "block"),
    ("/array/full/box/a.h5/nope", 404, "nope"),
    ("/table/partition/box/t.csv?partition=9", 400, "partition"),
    ("/table/full/box/t.csv?column=Z", 404, "Z"),
    ("/container/full/box?field=nope", 404, "nope"),
    ("/container/full/box?format=csv", 406, "application/json"),
    ("/asset/bytes/box?id=x", 400, "id"),
    ("/assets/x", 404, ""),
    ("/assets/-1", 404, ""),
    ("/assets/1/nope", 404, ""),
    ("/nope", 404, "openapi"),
    ("/search/keys?filter[eq][condition][key]=%ff", 400, "UTF-8"),
]  # fmt: skip


def ask(link, method, path, body=None):
    link.request(method, path, body=body)
    answer = link.getresponse()
    return answer.status, answer.getheader("content-type"), answer.read()


@pytest.fixture
def link(url):
    opened = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    yield opened
    opened.close()


@pytest.mark.parametrize(("path", "status", "message"), WRONG, ids=lambda each: str(each)[:60])
def test_a_wrong_request_is_explained(link, path, status, message):
    found, kind, body = ask(link, "GET", API + path)
    error = json.loads(body)
    assert (found, kind) == (status, "application/json"), error
    assert message in error["detail"]
    assert isinstance(error["code"], str)
    assert ask(link, "GET", API + "/")[0] == 200


def test_a_very_long_address_is_a_414(link):
    found, _, body = ask(link, "GET", f"{API}/search/keys?filter[eq][condition][key]={'a' * 1_050_000}")
    assert found == 414
    assert json.loads(body)["code"] == "address-too-long"


def test_half_a_megabyte_of_address_is_read(link):
    keys = json.dumps([f"k{number:03}.json" for number in range(30_000)])
    found, _, body = ask(
        link, "GET", f"{API}/search/keys?fields=count&filter[keys_filter][condition][keys]={quote(keys)}"
    )
    assert (found, json.loads(body)["meta"]["count"]) == (200, 320)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_cannot_be_done_says_what_can(link, method):
    found, _, body = ask(link, method, f"{API}/metadata/box", b"{}")
    assert found == 405
    assert "GET, HEAD, OPTIONS" in json.loads(body)["detail"]


def test_a_wrong_key_is_a_401_even_on_a_public_server(link):
    link.request("GET", f"{API}/metadata/box", headers={"authorization": "Apikey wrong"})
    answer = link.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (401, "authentication")
