"""The unmodified AnalysisClient against our server, and our client against the original's protocol.

The numbers are those of the checklist in which the original's behaviour was written down.
"""

import os
import signal

import pytest

from originals.environments import RefusedError
from served import served

pytestmark = pytest.mark.originals

START = """
from analysisstore.client.commands import AnalysisClient
c = AnalysisClient({"host": "key:%s@127.0.0.1", "port": "%s"})
def refused(call):
    import requests
    try:
        return call() and None
    except requests.HTTPError as error:
        return [error.response.status_code, error.response.json()["detail"]]
"""


@pytest.fixture(scope="module", params=["alone", "prefix"])
def server(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("lab")
    face = ["analysis"] if request.param == "alone" else []
    with served(*face, directory) as found:
        port = found.url.rstrip("/").rsplit(":", 1)[1]
        yield found, port if request.param == "alone" else f"{port}/analysis"


@pytest.fixture(scope="module")
def ask(server, original):
    found, port = server
    conversation = original("analysisstore-0.0.6")
    conversation(START % (found.key, port))
    return conversation


def test_connection_and_round_trips(ask):
    assert ask("c.connection_status()") is True
    fields = {"note": "é&b=c+d \"q\" 'it' \\ \n ; ? 😀", "nested": {"a": [1, None]}}
    assert ask(f"c.insert_analysis_header('h', 1.5, {{'a': 1}}, **{fields!r})") == "h"
    assert ask(f"c.find_analysis_header(note={fields['note']!r})") == [
        {"uid": "h", "time": 1.5, "provenance": {"a": 1}, **fields}
    ]
    keys = {"x": {"source": "fit", "dtype": "number", "shape": []}}
    assert ask(f"c.insert_data_reference_header({{'uid': 'h'}}, 's', 2, {keys!r})") == "s"
    assert ask("c.find_data_reference_header(uid='s')[0]['data_keys']") == keys
    assert ask("c.insert_data_reference('s', 'r', 3, {'x': 1}, {'x': 2})") == {"status": True}
    assert ask("c.find_data_reference(uid='r')[0]['data_reference_header']") == "s"
    assert ask("c.insert_analysis_tail({'uid': 'h'}, 't', 5, 'success')") == "t"
    assert ask("c.find('analysis_tail', {'analysis_header': 'h'})[0]['exit_status']") == "success"
    assert ask("c.find_analysis_tail(uid='nope')") == []
    assert ask("[sorted(each) for each in c.find_analysis_header(uid='h')]") == [
        ["nested", "note", "provenance", "time", "uid"]
    ]


def test_bulk_and_order(ask):
    ask("c.insert_analysis_header('hb', 1, {}); c.insert_data_reference_header('hb', 'sb', 1, {})")
    ask("refs = [{'uid': f'b{n}', 'time': n % 5, 'data': {'x': n}, 'timestamps': {}} for n in range(700)]")
    assert ask("c.bulk_data_reference_insert('sb', refs)") == [f"b{n}" for n in range(700)]
    found = ask("[(d['time'], d['uid']) for d in c.find_data_reference(data_reference_header='sb')]")
    assert len(found) == 700
    assert found == sorted(found, reverse=True)


FILTERS = [
    ({"n": 5}, "b"), ({"l": 2}, "ab"), ({"l": [1, 2]}, "a"), ({"s": {"x": 1}}, "a"), ({"s.x": 1}, "a"),
    ({"l.0": 1}, "a"), ({"n": {"$gt": 1}}, "bc"), ({"n": {"$gte": 5}}, "bc"), ({"n": {"$lt": 5}}, "a"),
    ({"n": {"$lte": 5}}, "ab"), ({"n": {"$ne": 5}}, "acd"), ({"n": {"$in": [1, 7]}}, "ac"),
    ({"n": {"$nin": [1, 7]}}, "bd"), ({"n": {"$exists": False}}, "d"), ({"t": {"$regex": "^re"}}, "a"),
    ({"$or": [{"n": 1}, {"n": 7}]}, "ac"), ({"$and": [{"n": {"$gt": 0}}, {"l": 2}]}, "ab"),
    ({"n": {"$not": {"$gt": 5}}}, "abd"), ({"l": {"$all": [1, 2]}}, "a"), ({"l": {"$size": 3}}, "b"),
    ({"n": None}, "d"), ({"flag": False}, "a"), ({"zero": 0}, "a"),
]  # fmt: skip


def test_operators_mean_what_they_mean_in_mongodb(ask):
    documents = {
        "a": {"n": 1, "l": [1, 2], "s": {"x": 1}, "t": "red", "flag": False, "zero": 0},
        "b": {"n": 5, "l": [2, 3, 4], "s": {"x": 2}, "t": "blue", "zero": False},
        "c": {"n": 7, "l": [], "t": "ared", "flag": 0},
        "d": {"l": None},
    }
    for uid, fields in documents.items():
        ask(f"c.insert_analysis_header({uid!r}, 1, {{}}, group='ops', **{fields!r})")
    for query, expected in FILTERS:
        found = ask(f"[d['uid'] for d in c.find('analysis_header', {{'group': 'ops', **{query!r}}})]")
        assert sorted(found) == sorted(expected), query


def test_5000_uids_in_one_query(ask):
    assert ask("len(c.find_analysis_header(uid={'$in': ['h'] + [f'{n:036d}' for n in range(5000)]}))") == 1


def test_what_the_original_took_or_answered_500_is_400_or_409(ask):
    say = lambda call: ask(f"refused(lambda: {call})")  # noqa: E731
    assert say("c.insert_analysis_header(None, None, {'filled': 1})") is None
    assert isinstance(ask("c.find_analysis_header(**{'provenance.filled': 1})[0]['time']"), float)
    assert say("c.insert_analysis_header('same', 1, {})") is None
    assert say("c.insert_analysis_header('same', 1, {})") is None
    assert say("c.insert_analysis_header('same', 1, {'other': 1})")[0] == 409
    assert say("c.insert_analysis_tail('nope', 'x', 1, 'success')")[0] == 409
    assert say("c.insert_analysis_tail('same', 't1', 1, 'success')") is None
    assert say("c.insert_analysis_tail('same', 't2', 1, 'success')")[0] == 409
    status, message = say("c.insert_analysis_header('x', 'yesterday', {})")
    assert (status, "analysis_header.time" in message) == (400, True)
    for call in (
        "c.find_analysis_header(a={'$near': 1})",
        "c.find('analysis_header', {'$where': '1'})",
        "c.insert_analysis_header('x', 1, 'str')",
        "c.insert_analysis_header('x', 1, {'a': 2**64})",
        "c.post(c.aheader_url, {'payload': {'self': 1}, 'signature': 'insert_analysis_header'})",
        "c.post(c.aheader_url, {'payload': 5, 'signature': 'insert_analysis_header'})",
        "c.post(c.aheader_url, {'payload': {}, 'signature': 'nope'})",
        "c.post(c.aheader_url, {'payload': {}})",
        "c.post(c.aheader_url, {'signature': 'insert_analysis_header'})",
        "c.get(c.aheader_url, {'payload': {}, 'signature': 'find_analysis_tail'})",
        "c.get(c.aheader_url, {'payload': {}})",
        "c.get(c.aheader_url, {'signature': 'find_analysis_header'})",
    ):
        assert say(call)[0] == 400, call
    assert ask("c.bulk_data_reference_insert('same', [])") == []
    with pytest.raises(RefusedError) as caught:
        ask("c.find('nope', {})")
    assert "KeyError" in caught.value.kinds


def test_documents_are_there_after_a_kill(tmp_path, original):
    with served("analysis", tmp_path) as found:
        conversation = original("analysisstore-0.0.6")
        conversation(START % (found.key, found.url.rstrip("/").rsplit(":", 1)[1]))
        conversation("done = []")
        conversation("for n in range(50): done.append(c.insert_analysis_header(f'k{n}', n, {}))")
        os.kill(found.process.pid, signal.SIGKILL)
        found.process.wait(timeout=30)
        acknowledged = conversation("done")
    with served("analysis", tmp_path) as found:
        conversation(START % (found.key, found.url.rstrip("/").rsplit(":", 1)[1]))
        assert len(acknowledged) == 50
        assert conversation("len(c.find_analysis_header())") == 50
