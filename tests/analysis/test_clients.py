import copy
import pickle
import threading
from datetime import UTC, datetime

import numpy as np
import pytest

from holdfast.analysis import AnalysisClient, LocalAnalysisClient
from holdfast.errors import (
    ConflictError,
    ImmutableDocumentError,
    InvalidInputError,
    NotFoundError,
)

X = {"source": "fit", "dtype": "number", "shape": []}
KEYS = {"x": X}
GOOD = [{"data": {"x": 1}}, {"data": {"x": 2}}]


def stream(client, **fields):
    header = client.insert_analysis_header(provenance={})
    return header, client.insert_data_reference_header(header, data_keys=KEYS, **fields)


def test_header_round_trip_keeps_every_field(client):
    fields = {
        "sample": {"id": 7, "name": 'é😀"\\\n;?'},
        "n": [1, 2.5, None, True],
        "big": 2**64 - 1,
        "small": -(2**63),
    }
    uid = client.insert_analysis_header("u1", 12.5, {"software": "fit"}, **fields)
    assert uid == "u1"
    assert client.find_analysis_header(uid="u1") == [
        {"uid": "u1", "time": 12.5, "provenance": {"software": "fit"}, **fields}
    ]


def test_uid_time_and_number_are_filled(client):
    before = datetime.now(UTC).timestamp()
    header, reference_header = stream(client)
    uids = [client.insert_data_reference(reference_header, data={"x": n}) for n in range(3)]
    found = client.find("data_reference", {}, sort=[("seq_num", 1)])
    assert [each["uid"] for each in found] == uids
    assert [each["seq_num"] for each in found] == [1, 2, 3]
    assert all(before <= each["time"] <= datetime.now(UTC).timestamp() for each in found)
    assert len(header) == 36


def test_headers_are_given_by_uid_or_as_documents(client):
    header = client.insert_analysis_header()
    (document,) = client.find_analysis_header(uid=header)
    reference_header = client.insert_data_reference_header(document, data_keys=KEYS)
    (stream_document,) = client.find_data_reference_header(analysis_header=header)
    client.insert_data_reference(stream_document, data={"x": 1})
    client.insert_analysis_tail(document, exit_status="success")
    assert client.find_data_reference()[0]["data_reference_header"] == reference_header
    assert client.find_analysis_tail(analysis_header=header)[0]["exit_status"] == "success"


def test_newest_come_first_and_equals_by_uid(client):
    for uid, time in (("b", 1), ("a", 2), ("c", 1), ("d", 3)):
        client.insert_analysis_header(uid, time, {})
    assert [each["uid"] for each in client.find_analysis_header()] == ["d", "a", "c", "b"]


def test_find_takes_order_part_and_fields(client):
    for n in range(6):
        client.insert_analysis_header(f"u{n}", n, {"n": n % 3, "m": n})
    found = client.find(
        "analysis_header", {"time": {"$gte": 1}}, sort=[("provenance.n", 1), ("time", -1)], skip=1, limit=2
    )
    assert [each["uid"] for each in found] == ["u4", "u1"]
    assert client.find("analysis_header", {}, limit=1, projection={"uid": 1, "provenance.m": 1}) == [
        {"uid": "u5", "provenance": {"m": 5}}
    ]
    assert client.find("analysis_header", {"uid": "u1"}, projection={"provenance": 0, "time": 0}) == [
        {"uid": "u1"}
    ]
    assert client.count("analysis_header", {"provenance.n": {"$in": [0, 1]}}) == 4
    assert client.find("analysis_header", {}, limit=0) == []


def test_keywords_are_always_fields(client):
    names = {"self": 1, "query": 2, "limit": 3, "kind": 4, "doc_type": 5, "kwargs": 6, "client": 7, "sort": 8}
    uid = client.insert_analysis_header(provenance={}, **names)
    (found,) = client.find_analysis_header(**names)
    assert found["uid"] == uid
    assert client.find_analysis_header(self=2) == []
    assert client.insert("analysis_header", **{**names, "doc_type": 9})
    assert client.find_analysis_header(doc_type=9)


def test_insert_takes_any_kind(client):
    header = client.insert("analysis_header", provenance={})
    tail = client.insert(
        "analysis_tail", analysis_header={"uid": header}, exit_status="fail", reason="because"
    )
    assert client.find_analysis_tail(uid=tail)[0]["reason"] == "because"
    for call in (
        lambda: client.insert("nope"),
        lambda: client.find("nope", {}),
        lambda: client.find("bulk", {}),
    ):
        with pytest.raises(KeyError):
            call()
    with pytest.raises(KeyError):
        client.count("nope", {})


def test_documents_never_change(client):
    uid = client.insert_analysis_header(provenance={"a": 1}, owner="me")
    for call in (client.update_analysis_header, client.update_analysis_tail):
        with pytest.raises(NotImplementedError) as caught:
            call({}, {})
        assert isinstance(caught.value, ImmutableDocumentError)
    new = client.supersede(uid, provenance={"a": 2})
    (found,) = client.find_analysis_header(supersedes=uid)
    assert (found["uid"], found["provenance"], found["owner"]) == (new, {"a": 2}, "me")
    assert len(client.find_analysis_header()) == 2
    assert (new, uid) in {
        (edge.source.rsplit("/")[-1], edge.target.rsplit("/")[-1]) for edge in client.lineage(new).edges
    }
    with pytest.raises(NotFoundError):
        client.supersede("nope")


def test_tail_can_be_superseded_but_not_doubled(client):
    header = client.insert_analysis_header()
    tail = client.insert_analysis_tail(header, exit_status="success")
    with pytest.raises(ConflictError, match=tail):
        client.insert_analysis_tail(header, exit_status="fail")
    client.supersede(tail, exit_status="fail")
    assert client.find("analysis_tail", {"analysis_header": header}, limit=1)[0]["exit_status"] == "fail"


# -- identity ----------------------------------------------------------------------------------------------


def test_same_document_again_is_a_harmless_retry(client):
    header, reference_header = stream(client)
    for _ in range(2):
        client.insert_analysis_header("same", 1.0, {"a": 1})
        client.insert_data_reference(reference_header, "r", 1.0, {"x": 1}, {})
    assert client.count("analysis_header", {"uid": "same"}) == 1
    assert client.count("data_reference", {}) == 1
    for changed in ({"provenance": {"a": True}}, {"provenance": {"a": 1}, "more": 1}, {"provenance": {}}):
        with pytest.raises(ConflictError, match="same"):
            client.insert_analysis_header("same", 1.0, **changed)
    with pytest.raises(ConflictError):
        client.insert_data_reference(reference_header, "r", 1.0, {"x": 2}, {})
    assert header


def test_parents_must_exist(client):
    for call in (
        lambda: client.insert_analysis_tail("nope", exit_status="success"),
        lambda: client.insert_data_reference_header("nope", data_keys={}),
        lambda: client.insert_data_reference("nope", data={}),
        lambda: client.insert_bulk_data_reference("nope", [{"data": {}}]),
    ):
        with pytest.raises(ConflictError, match="'nope'"):
            call()


def test_lenient_client_takes_old_data_and_marks_orphans(lab):
    with LocalAnalysisClient(lab, strict=False) as client:
        client.insert_analysis_tail("gone", exit_status="success")
        client.insert_data_reference("gone", data={"anything": [1]})
        header = client.insert_analysis_header()
        client.insert_analysis_tail(header, exit_status="success")
        assert [each["analysis_header"] for each in client.orphans("analysis_tail")] == ["gone"]
        assert [each["data_reference_header"] for each in client.orphans("data_reference")] == ["gone"]
        assert client.orphans("analysis_header") == []


# -- validation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda c, s: c.insert_analysis_header(provenance="str"), "analysis_header.provenance"),
        (lambda c, s: c.insert_analysis_header(time="yesterday"), "analysis_header.time"),
        (lambda c, s: c.insert_analysis_header(time=True), "analysis_header.time"),
        (lambda c, s: c.insert_analysis_header(uid=5), "analysis_header.uid"),
        (lambda c, s: c.insert_analysis_header(uid=""), "analysis_header.uid"),
        (lambda c, s: c.insert_analysis_header(scan_id="5"), "analysis_header.scan_id"),
        (lambda c, s: c.insert_analysis_tail(s[0], exit_status=5), "analysis_tail.exit_status"),
        (lambda c, s: c.insert_analysis_tail(s[0], analysis_status="x"), "analysis_status"),
        (lambda c, s: c.insert("analysis_tail", analysis_header=s[0]), "exit_status"),
        (lambda c, s: c.insert_data_reference_header(s[0], data_keys={"x": {}}), "data_keys.x"),
        (lambda c, s: c.insert_data_reference_header(s[0], data_keys={"x": {**X, "dtype": "f8"}}), "x.dtype"),
        (lambda c, s: c.insert_data_reference_header(s[0], data_keys={"x": X | {"shape": [1.5]}}), "shape.0"),
        (lambda c, s: c.insert_data_reference(s[1], data={"y": 1}), "unknown"),
        (lambda c, s: c.insert_data_reference(s[1], data={}), "missing"),
        (lambda c, s: c.insert_data_reference(s[1], data={"x": "text"}), "data.x"),
        (lambda c, s: c.insert_data_reference(s[1], data={"x": True}), "data.x"),
        (lambda c, s: c.insert_data_reference(s[1], data={"x": 1}, seq_num="1"), "seq_num"),
        (lambda c, s: c.insert_data_reference(s[1], data={"x": 1}, timestamps={"x": "y"}), "stamps.x"),
        (lambda c, s: c.insert_analysis_header(provenance={"a": float("nan")}), "provenance.a"),
        (lambda c, s: c.insert_analysis_header(a=np.float64("inf")), "a"),
        (lambda c, s: c.insert_analysis_header(a=2**64), "2\\*\\*64"),
        (lambda c, s: c.insert_analysis_header(a=-(2**63) - 1), "2\\*\\*63"),
        (lambda c, s: c.insert_analysis_header(a=b"x"), "bytes"),
        (lambda c, s: c.insert_analysis_header(a={1, 2}), "set"),
        (lambda c, s: c.insert_analysis_header(a={1: 2}), "key"),
        (lambda c, s: c.insert_analysis_header(a="\x00"), "NUL"),
        (lambda c, s: c.insert_analysis_header(provenance={"used": [5]}), "provenance.used.0"),
        (lambda c, s: c.insert_analysis_header(provenance={"used": [{"uri": "a", "digest": "x"}]}), "digest"),
        (lambda c, s: c.insert_analysis_header(provenance={"used": [{"uri": "a", "rows": [3, 1]}]}), "rows"),
        (lambda c, s: c.insert_analysis_header(provenance={"derived_from": [5]}), "derived_from.0"),
        (lambda c, s: c.insert_bulk_data_reference(s[1], [*GOOD, {"data": {"x": "no"}}]), "document 3 of 3"),
        (lambda c, s: c.insert_bulk_data_reference(s[1], [5]), "data reference"),
        (lambda c, s: c.insert_bulk_data_reference(s[1], [], chunk_size=0), "chunk_size"),
        (lambda c, s: c.find("analysis_header", {"$where": "1"}), "where"),
        (lambda c, s: c.find("analysis_header", {"a": {"$near": 1}}), "near"),
        (lambda c, s: c.find("analysis_header", {}, sort=[("a", 5)]), "direction"),
        (lambda c, s: c.find("analysis_header", {}, limit=-1), "limit"),
        (lambda c, s: c.find("analysis_header", {}, skip="x"), "skip"),
        (lambda c, s: c.find("analysis_header", {}, projection={"a": 1, "b": 0}), "projection"),
        (lambda c, s: c.find("analysis_header", {}, projection={"a": []}), "projection"),
        (lambda c, s: c.find("analysis_header", {}, projection=[["a"]]), "projection"),
        (lambda c, s: c.find("analysis_header", {}, projection=[{}, "a"]), "projection"),
        (lambda c, s: c.find("analysis_header", {}, projection="a"), "projection"),
        (lambda c, s: c.find("analysis_header", {"a": {"$regex": "("}}), "malformed"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_or_asked_is_refused_with_its_place(client, call, where):
    header = client.insert_analysis_header(provenance={"a": "text"}, a="text")
    reference_header = client.insert_data_reference_header(header, data_keys=KEYS)
    before = [client.count(kind, {}) for kind in ("analysis_header", "data_reference")]
    with pytest.raises((InvalidInputError, ConflictError), match=where):
        call(client, (header, reference_header))
    assert [client.count(kind, {}) for kind in ("analysis_header", "data_reference")] == before


def test_over_long_and_deep_documents_are_refused(client):
    deep = 1
    for _ in range(150):
        deep = [deep]
    with pytest.raises(InvalidInputError, match="deep"):
        client.insert_analysis_header(provenance={"deep": deep})
    with pytest.raises(InvalidInputError):
        client.insert_analysis_header(provenance={"long": "x" * (17 << 20)})


def test_hostile_pattern_runs_out_of_time(client):
    client.insert_analysis_header(owner="a" * 60)
    with pytest.raises(InvalidInputError, match="simpler"):
        client.find_analysis_header(owner={"$regex": "(a|a)*b|(a*)*c$"})


def test_links_and_null_are_welcome_as_data(client):
    _, reference_header = stream(client)
    client.insert_data_reference(reference_header, data={"x": None})
    client.insert_data_reference(reference_header, data={"x": {"uri": "records/run1", "rows": [0, 5]}})
    assert len(client.find_data_reference()) == 2


# -- bulk --------------------------------------------------------------------------------------------------


def test_bulk_takes_generators_numpy_and_dates_and_leaves_them_alone(client):
    _, reference_header = stream(client)
    given = [
        {"data": {"x": np.float64(n)}, "note": np.arange(3), "at": datetime(2026, 1, 2, tzinfo=UTC)}
        for n in range(7)
    ]
    before = copy.deepcopy(given)
    uids = client.insert_bulk_data_reference(reference_header, (each for each in given), chunk_size=3, run=4)
    assert repr(given) == repr(before)
    found = client.find("data_reference", {}, sort=[("seq_num", 1)])
    assert [each["uid"] for each in found] == uids
    assert [each["seq_num"] for each in found] == list(range(1, 8))
    assert found[0]["note"] == [0, 1, 2]
    assert found[0]["at"].startswith("2026-01-02T")
    assert {each["run"] for each in found} == {4}
    assert client.insert_bulk_data_reference(reference_header, []) == []


def test_each_chunk_is_kept_as_a_whole_or_not_at_all(client):
    _, reference_header = stream(client)
    data = [{"data": {"x": n}} for n in range(5)]
    data[3] = {"data": {"x": "text"}}
    with pytest.raises(InvalidInputError, match=r"document 2 of 2.*data\.x.*2 documents"):
        client.insert_bulk_data_reference(reference_header, data, chunk_size=2)
    assert sorted(each["data"]["x"] for each in client.find_data_reference()) == [0, 1]


def test_time_may_be_a_datetime(client):
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    uid = client.insert_analysis_header(time=moment, provenance={"at": moment})
    (found,) = client.find_analysis_header(uid=uid)
    assert found["time"] == moment.timestamp()
    assert found["provenance"]["at"] == "2026-01-02T03:04:05+00:00"


# -- whole analyses ----------------------------------------------------------------------------------------


def test_analysis_inserts_its_documents_in_order(client):
    with client.analysis(provenance={"software": "fit"}, owner="me") as run:
        fit = run.stream("fit", data_keys=KEYS)
        uids = [fit.add(data={"x": n}) for n in range(1203)]
        assert run.stream("fit") is fit
    (header,) = client.find_analysis_header(uid=run.uid)
    (tail,) = client.find_analysis_tail(analysis_header=run.uid)
    found = client.find("data_reference", {"data_reference_header": fit.uid}, sort=[("seq_num", 1)])
    assert header["owner"] == "me"
    assert tail["exit_status"] == "success"
    assert [each["uid"] for each in found] == uids


def test_failed_analysis_has_a_tail_that_says_why(client):
    def fail():
        with client.analysis(provenance={}) as run:
            run.stream("fit", data_keys=KEYS).add(data={"x": 1})
            raise ValueError("no fit")

    with pytest.raises(ValueError, match="no fit"):
        fail()
    (tail,) = client.find_analysis_tail()
    assert (tail["exit_status"], tail["reason"]) == ("fail", "ValueError: no fit")
    assert client.count("data_reference", {}) == 1


def test_references_that_are_refused_fail_the_analysis(client):
    def fail():
        with client.analysis() as run:
            run.stream("fit", data_keys=KEYS).add(data={"x": "text"})

    with pytest.raises(InvalidInputError):
        fail()
    assert client.find_analysis_tail()[0]["exit_status"] == "fail"


def test_many_threads_share_a_client(client):
    def insert():
        for _ in range(10):
            client.insert_analysis_header()

    threads = [threading.Thread(target=insert) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.count("analysis_header", {}) == 60


def test_local_client_pickles_by_path(local):
    local.insert_analysis_header("a")
    with pickle.loads(pickle.dumps(local)) as again:
        assert again.find_analysis_header(uid="a")
    assert local.connection_status()


def test_connection_status_says_whether_a_server_answers(remote, url):
    assert remote.connection_status() is True
    with AnalysisClient({"host": "127.0.0.1", "port": 9}, timeout_s=2) as nobody:
        assert nobody.connection_status() is False
    with AnalysisClient(url=f"{url}/elsewhere") as other, pytest.raises(NotFoundError):
        other.connection_status()


def test_addresses_are_those_of_the_original(url):
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    with AnalysisClient({"host": f"key:{'f00d' * 16}@{host}", "port": port}) as client:
        assert client.aheader_url == f"http://{host}:{port}/analysis_header"
        assert client.atail_url.endswith("/analysis_tail")
        assert client.dref_header_url.endswith("/data_reference_header")
        assert client.dref_url.endswith("/data_reference")
        document = {"uid": "a", "time": 1.0, "provenance": {}}
        answer = client.post(client.aheader_url, {"payload": document, "signature": "insert_analysis_header"})
        assert answer == {"status": True}
        query = {"payload": {"uid": "a"}, "signature": "find_analysis_header"}
        assert client.get(client.aheader_url, query) == [document]
        with pytest.raises(InvalidInputError):
            client.get("http://elsewhere/analysis_header", query)
        assert "f00d" not in repr(client)
        assert b"f00d" not in pickle.dumps(client)


@pytest.mark.parametrize("arguments", [{}, {"config": {"host": "a"}}, {"config": {}, "url": "http://a"}])
def test_client_needs_one_address(arguments):
    with pytest.raises(InvalidInputError):
        AnalysisClient(**arguments)
