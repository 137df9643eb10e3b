"""`holdfast serve analysis` as a user starts it: with and without its switches."""

from __future__ import annotations

import json
import urllib.request

import pytest

from holdfast.analysis import AnalysisClient, LocalAnalysisClient
from holdfast.errors import AuthenticationError, ConflictError
from served import KEY, served

ORPHANS = {
    "analysis_tail": {"analysis_header": "gone", "exit_status": "success"},
    "data_reference_header": {
        "analysis_header": "gone",
        "data_keys": {"x": {"source": "fit", "dtype": "number", "shape": []}},
    },
    "data_reference": {"data_reference_header": "lost", "data": {"x": 1.0}, "timestamps": {"x": 1.0}},
}


@pytest.fixture
def lab(tmp_path):
    (tmp_path / "lab").mkdir()
    return tmp_path / "lab"


def orphan(client, kind):
    return client.insert(kind, uid=f"orphan-{kind}", time=1.0, **ORPHANS[kind])


def test_a_server_wants_parents_and_a_lenient_one_takes_and_marks_what_has_none(lab):
    with served("analysis", lab) as server, AnalysisClient(url=server.url, api_key=KEY) as client:
        for kind in ORPHANS:
            with pytest.raises(ConflictError, match=r"'gone'|'lost'"):
                orphan(client, kind)
            assert client.count(kind, {}) == 0
    with (
        served("analysis", lab, "--lenient") as server,
        AnalysisClient(url=server.url, api_key=KEY) as client,
    ):
        for kind in ORPHANS:
            assert orphan(client, kind) == f"orphan-{kind}"
            assert orphan(client, kind) == f"orphan-{kind}", "a retry is harmless here, too"
            assert client.count(kind, {}) == 1
        header = client.insert_analysis_header(uid="here", time=2.0, provenance={})
        client.insert_analysis_tail(header, uid="tail", time=3.0)
        bulk = [{"uid": f"r{n}", "time": n, "data": {"x": n}, "timestamps": {}} for n in range(3)]
        client.insert_bulk_data_reference("lost", bulk)
    with LocalAnalysisClient(lab) as local:
        assert [each["uid"] for each in local.orphans("analysis_tail")] == ["orphan-analysis_tail"]
        assert [each["uid"] for each in local.orphans("data_reference")] == [
            "orphan-data_reference",
            "r0",
            "r1",
            "r2",
        ]
        assert local.orphans("analysis_header") == []


def test_a_lenient_server_is_lenient_about_parents_only(lab):
    with (
        served("analysis", lab, "--lenient") as server,
        AnalysisClient(url=server.url, api_key=KEY) as client,
    ):
        header = client.insert_analysis_header(uid="here", time=2.0, provenance={})
        client.insert_analysis_tail(header, uid="tail", time=3.0)
        with pytest.raises(ConflictError, match="already has the tail"):
            client.insert_analysis_tail(header, uid="another", time=4.0)
        with pytest.raises(ConflictError, match="immutable"):
            client.insert_analysis_header(uid="here", time=2.0, provenance={"other": 1})


def post_as_the_original(url, payload):
    """Send what analysisstore's client sends: no key, no content type."""
    body = json.dumps({"payload": payload, "signature": "insert_analysis_header"}).encode()
    request = urllib.request.Request(f"{url}/analysis_header", body, {"content-type": ""})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status, answer.headers, json.loads(answer.read())


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "all faces"])
def test_anyone_may_write_and_read_where_the_user_said_so(lab, monkeypatch, alone):
    monkeypatch.delenv("HOLDFAST_API_KEY", raising=False)
    words = ["analysis", lab] if alone else [lab]
    with served(*words, "--public-write") as server:
        url = server.url if alone else server.url + "/analysis"
        status, headers, answer = post_as_the_original(url, {"uid": "a", "time": 1.0, "provenance": {}})
        assert (status, answer) == (200, {"status": True})
        assert headers["access-control-allow-origin"] == "*"
        with AnalysisClient(url=url) as client:
            client.insert_analysis_header(uid="b", time=2.0, provenance={})
            assert [each["uid"] for each in client.find_analysis_header()] == ["b", "a"]
        with AnalysisClient(url=url, api_key="beef" * 16) as client, pytest.raises(AuthenticationError):
            client.insert_analysis_header(provenance={})


def test_who_may_read_may_not_write(lab, monkeypatch):
    monkeypatch.delenv("HOLDFAST_API_KEY", raising=False)
    with served("analysis", lab, "--public") as server, AnalysisClient(url=server.url) as client:
        assert client.find_analysis_header() == []
        with pytest.raises(AuthenticationError, match="writing needs a key"):
            client.insert_analysis_header(provenance={})
    with served("analysis", lab) as server, AnalysisClient(url=server.url) as client:
        assert client.connection_status() is True
        with pytest.raises(AuthenticationError, match="reading needs a key"):
            client.find_analysis_header()
