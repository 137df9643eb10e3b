"""The wire itself: the original's bodies, signatures and statuses, sent byte by byte."""

import json
import urllib.error
import urllib.request
from urllib.parse import quote

import pytest

from holdfast.analysis import Documents
from holdfast.analysis.routes import routes
from holdfast.http.auth import Access
from holdfast.http.edge import Site
from holdfast.http.routing import Mount
from holdfast.http.serving import running

KEY = "f00d" * 16
KINDS = ["analysis_header", "analysis_tail", "data_reference_header", "data_reference"]


def send(method, url, body=None, **headers):
    """Return status, headers and body, whatever they are."""
    request = urllib.request.Request(url, body, {"authorization": f"Apikey {KEY}", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def insert(url, kind, payload, signature=None):
    body = json.dumps({"payload": payload, "signature": signature or f"insert_{kind}"}).encode()
    return send("POST", f"{url}/{kind}", body, **{"content-type": ""})


def find(url, kind, payload, quoted=True):
    text = json.dumps({"payload": payload, "signature": f"find_{kind}"}, ensure_ascii=False)
    # requests leaves & = + ; $ , : as they are.
    raw = quote(text, safe="&=+;$,:/?" if quoted else "")
    return send("GET", f"{url}/{kind}?{raw}")


@pytest.fixture(params=["", "/analysis"], ids=["alone", "prefix"])
def url(request, lab):
    with Documents(lab) as documents:
        site = Site([Mount(request.param, routes(documents))], access=Access.with_key(KEY))
        with running(site) as address:
            yield address + request.param


def test_is_connected_is_open_and_empty(url):
    with urllib.request.urlopen(f"{url}/is_connected", timeout=10) as answer:
        assert (answer.status, answer.read()) == (200, b"")


def test_documents_go_in_and_out_as_with_the_original(url):
    header = {"uid": "h", "time": 2, "provenance": {"a": 1}, "extra": {"é": [1, None]}}
    assert insert(url, "analysis_header", header)[::2] == (200, b'{"status":true}')
    insert(url, "data_reference_header", {"uid": "s", "time": 1, "analysis_header": "h", "data_keys": {}})
    reference = {
        "uid": "r",
        "time": 3,
        "data_reference_header": "s",
        "data": {},
        "timestamps": {},
        "seq_num": 1,
    }
    insert(url, "data_reference", reference)
    insert(url, "analysis_tail", {"uid": "t", "time": 4, "analysis_header": "h", "exit_status": "success"})
    status, headers, body = find(url, "analysis_header", {"uid": "h"})
    assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", [header])
    for kind in KINDS:
        assert len(json.loads(find(url, kind, {})[2])) == 1
    assert json.loads(find(url, "data_reference", {"data_reference_header": "s"})[2]) == [reference]
    assert json.loads(find(url, "analysis_tail", {"uid": "nope"})[2]) == []


def test_time_and_uid_that_are_null_are_filled(url):
    insert(url, "analysis_header", {"uid": None, "time": None, "provenance": {}})
    (found,) = json.loads(find(url, "analysis_header", {})[2])
    assert isinstance(found["time"], float)
    assert len(found["uid"]) == 36


@pytest.mark.parametrize(
    "value", ["a&b", "a=b", "a+b", "a b", "it's", '"q"', "\\", "\n", "é😀", ";", "?", "a#b", "%41", "="]
)
def test_values_survive_the_query_string(url, value):
    for n, each in enumerate([value, "other"]):
        insert(url, "analysis_header", {"uid": f"u{n}", "time": n, "provenance": {}, "note": each})
    for quoted in (True, False):
        assert [
            each["note"] for each in json.loads(find(url, "analysis_header", {"note": value}, quoted)[2])
        ] == [value]


def test_query_of_5000_uids(url):
    insert(url, "analysis_header", {"uid": "u4999" + "x" * 30, "time": 1, "provenance": {}})
    wanted = {"uid": {"$in": [f"u{n}" + "x" * 30 for n in range(5000)]}}
    assert len(json.loads(find(url, "analysis_header", wanted)[2])) == 1
    body = json.dumps({"query": {"uid": {"$in": [f"u{n}" + "x" * 30 for n in range(50_000)]}}}).encode()
    status, _, found = send(
        "POST", f"{url}/analysis_header/search", body, **{"content-type": "application/json"}
    )
    assert (status, len(json.loads(found))) == (200, 1)


def test_bulk_of_the_original(url):
    insert(url, "analysis_header", {"uid": "h", "time": 1, "provenance": {}})
    insert(url, "data_reference_header", {"uid": "s", "time": 1, "analysis_header": "h", "data_keys": {}})
    references = [{"uid": f"r{n}", "time": n, "data": {"x": n}, "timestamps": {}} for n in range(700)]
    payload = {"data_header": "s", "data_references": references}
    assert insert(url, "data_reference", payload, "bulk_data_reference_insert")[0] == 200
    assert len(json.loads(find(url, "data_reference", {"data.x": {"$lt": 700}})[2])) == 700
    assert (
        insert(url, "data_reference", {**payload, "data_references": []}, "bulk_data_reference_insert")[0]
        == 200
    )
    bad = [
        {"uid": "new", "time": 1, "data": {}, "timestamps": {}},
        {"uid": "r1", "time": 5, "data": {}, "timestamps": {}},
    ]
    status, _, body = insert(
        url, "data_reference", {**payload, "data_references": bad}, "bulk_data_reference_insert"
    )
    assert status == 409
    assert b"document 2 of 2" in body
    assert json.loads(find(url, "data_reference", {"uid": "new"})[2]) == []


FIND, INSERT = "find_analysis_header", "insert_analysis_header"
HEADER = {"uid": "x", "time": 1, "provenance": {}}
BULK = "bulk_data_reference_insert"


def asks(payload, signature=FIND):
    return f"analysis_header?{json.dumps({'payload': payload, 'signature': signature})}"


SAYS = [
    ("GET", "analysis_header", None, None, 400, "No payload provided by the client"),
    ("GET", "analysis_header?{}", None, None, 400, "No payload provided by the client"),
    ("GET", 'analysis_header?{"payload":{}}', None, None, 400, "No signature provided by the client"),
    ("GET", asks({}, "find_analysis_tail"), None, None, 400, "Not a valid signature"),
    ("GET", asks(5), None, None, 400, "payload"),
    ("GET", asks({"a": {"$where": "1"}}), None, None, 400, "$where"),
    ("GET", asks({"$where": "1"}), None, None, 400, "$where"),
    ("GET", "analysis_header?not json", None, None, 400, "JSON"),
    ("GET", "analysis_header?" + "[" * 5000, None, None, 400, "JSON"),
    ("POST", "analysis_header", b"", None, 400, "payload"),
    ("POST", "analysis_header", b"not json", None, 400, "JSON"),
    ("POST", "analysis_header", b"5", None, 400, "A payload field must exist for post"),
    ("POST", "analysis_header", b"{}", None, 400, "A payload field must exist for post"),
    ("POST", "analysis_header", b'{"payload":{}}', None, 400, "No valid signature field provided"),
    ("POST", "analysis_header", {"self": 1}, None, 400, "provenance"),
    ("POST", "analysis_header", 5, None, 400, "payload"),
    ("POST", "analysis_header", [], None, 400, "payload"),
    ("POST", "analysis_header", HEADER, "insert_analysis_tail", 400, "Not a valid signature"),
    ("POST", "analysis_header", HEADER, 5, 400, "Not a valid signature"),
    (
        "POST",
        "analysis_header",
        b'{"payload":{"a":NaN},"signature":"insert_analysis_header"}',
        None,
        400,
        "JSON",
    ),
    ("POST", "analysis_header", b'{"payload":{"a":1e999},"signature":"i"}', None, 400, "JSON"),
    ("POST", "analysis_header", {**HEADER, "provenance": {"a": 2**64}}, None, 400, "2**64"),
    ("POST", "analysis_header", {**HEADER, "provenance": "str"}, None, 400, "provenance"),
    ("POST", "analysis_header", {**HEADER, "uid": "x0", "more": 1}, None, 409, "immutable"),
    ("POST", "analysis_tail", {**HEADER, "analysis_header": "no", "exit_status": "s"}, None, 409, "'no'"),
    ("POST", "analysis_tail", {"uid": "x", "time": 1}, None, 400, "analysis_header"),
    ("POST", "data_reference", {"data_header": "no"}, BULK, 400, "data_references"),
    ("POST", "data_reference", {"data_header": "no", "data_references": [5]}, BULK, 400, "object"),
    ("POST", "analysis_header/search", b"[]", None, 400, ""),
    ("POST", "analysis_header/search", b'{"query":{},"nope":1}', None, 400, "nope"),
    ("POST", "analysis_header/search", b'{"query":{"a":{"$regex":"("}}}', None, 400, "malformed"),
    ("GET", "lineage?of=nope", None, None, 404, "nope"),
    ("GET", "lineage", None, None, 400, "of"),
    ("GET", "lineage?of=x&direction=sideways", None, None, 400, "upstream"),
    ("PUT", "analysis_header", b"{}", None, 405, ""),
    ("DELETE", "analysis_header", None, None, 405, ""),
    ("GET", "nope", None, None, 404, ""),
]


def test_every_failure_has_its_status_and_a_body_of_json(lab):
    with Documents(lab) as documents:
        documents.insert("analysis_header", [{"uid": "x0", "time": 1, "provenance": {}}])
        with running(Site([Mount("", routes(documents))], access=Access.with_key(KEY))) as url:
            for method, path, content, signature, status, words in SAYS:
                kind = path.split("?")[0]
                raw = path if "?" not in path else f"{kind}?{quote(path.partition('?')[2], safe='=&')}"
                body = content
                if content is not None and not isinstance(content, bytes):
                    body = json.dumps(
                        {"payload": content, "signature": signature or f"insert_{kind}"}
                    ).encode()
                media = {"content-type": "application/json"}
                found, headers, answer = send(
                    method, f"{url}/{raw}", body, **(media if body is not None else {})
                )
                assert found == status, (method, path, content, answer)
                assert headers["content-type"] == "application/json", path
                assert words in json.loads(answer)["detail"], (path, content, answer)
            assert len(json.loads(find(url, "analysis_header", {})[2])) == 1


def test_writing_needs_a_key_and_reading_too(lab):
    with Documents(lab) as documents:
        for access, reads, writes in (
            (Access.with_key(KEY), 401, 401),
            (Access.with_key(KEY, public=True), 200, 401),
            (Access.with_key(KEY, public=True, public_write=True), 200, 200),
        ):
            with running(Site([Mount("", routes(documents))], access=access)) as url:
                assert status_without_key(f"{url}/analysis_header/search", b"{}") == reads
                body = json.dumps(
                    {"payload": {"provenance": {}}, "signature": "insert_analysis_header"}
                ).encode()
                assert status_without_key(f"{url}/analysis_header", body) == writes
                assert status_without_key(f"{url}/is_connected") == 200


def status_without_key(url, body=None):
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_large_answers_are_the_stored_texts(lab):
    with Documents(lab) as documents:
        documents.insert(
            "analysis_header", [{"uid": "big", "time": 1, "provenance": {"n": 2**64 - 1, "f": 1e300}}]
        )
        with running(Site([Mount("", routes(documents))], access=Access.with_key(KEY))) as url:
            assert b'"n":18446744073709551615' in find(url, "analysis_header", {"uid": "big"})[2]


def test_the_log_of_inserts_is_folded_behind_an_answer_and_delays_none(lab, monkeypatch):
    monkeypatch.setattr("holdfast.database.connection._QUICK_S", 60.0)
    waited = []
    with Documents(lab) as documents:
        original = documents.insert

        def insert(*args, wait):
            waited.append(wait)
            return original(*args, wait=wait)

        monkeypatch.setattr(documents, "insert", insert)
        # A disk that stalls sends writes to threads; here it is the log that must not.
        monkeypatch.setattr("holdfast.http.pool._BRIEF_S", 60.0)
        with running(Site([Mount("", routes(documents))], access=Access.with_key(KEY))) as url:
            for number in range(300):
                assert insert_header(url, number) == 200
        assert documents.count("analysis_header", {}) == 300
    assert waited == [False] * 300


def insert_header(url, number):
    return insert(url, "analysis_header", {"uid": f"h{number}", "time": number, "provenance": {}})[0]
