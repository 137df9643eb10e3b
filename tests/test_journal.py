"""Transactions finish or are undone, by their own process or the next one."""

import json
import os
import threading
from pathlib import Path

import pytest

from holdfast.errors import HashError, InvalidInputError, NewerFormatError, StorageError
from holdfast.hashing import hash_bytes
from holdfast.journal import Journal


class Recorder:
    """A participant that writes down what it is asked."""

    def __init__(self, failing=()):
        self.calls = []
        self.failing = list(failing)

    def finish(self, facts):
        self._take("finish", facts)

    def undo(self, facts):
        self._take("undo", facts)

    def _take(self, verb, facts):
        if verb in self.failing:
            self.failing.remove(verb)
            raise RuntimeError(verb)
        self.calls.append((verb, facts))


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def journal(tmp_path, recorder):
    return Journal(tmp_path / "journal", {"move": recorder})


def left(journal):
    return os.listdir(journal.directory)


def test_decided_transaction_is_finished_once(journal, recorder):
    with journal.begin("move", {"a": 1}) as transaction:
        assert not recorder.calls
        transaction.decide()
    assert recorder.calls == [("finish", {"a": 1})]
    assert not left(journal)
    assert journal.recover() == 0


def test_undecided_transaction_is_undone(journal, recorder):
    with journal.begin("move", {"a": 1}):
        pass
    assert recorder.calls == [("undo", {"a": 1})]
    assert not left(journal)


def test_exception_undoes_and_goes_on(journal, recorder):
    def broken():
        with journal.begin("move", {"a": 1}):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        broken()
    assert recorder.calls == [("undo", {"a": 1})]


def test_facts_may_grow_until_the_decision(journal, recorder):
    with journal.begin("move", {"a": 1}) as transaction:
        transaction.facts["b"] = "ü\udc80"
        transaction.decide()
        [entry] = journal.pending()
        assert (entry.kind, entry.decided, entry.facts) == ("move", True, {"a": 1, "b": "ü\udc80"})
    assert recorder.calls == [("finish", {"a": 1, "b": "ü\udc80"})]


def test_living_transaction_is_left_alone_by_others(journal, recorder):
    other = Journal(journal.directory, {"move": recorder})
    with journal.begin("move", {"a": 1}) as transaction:
        assert other.recover() == 0
        transaction.facts["b"] = 2
        transaction.decide()
        assert other.recover() == 0
    assert len(recorder.calls) == 1


@pytest.mark.parametrize(("decided", "verb"), [(True, "finish"), (False, "undo")])
def test_dead_process_is_recovered(journal, recorder, decided, verb):
    child = os.fork()
    if child == 0:
        transaction = journal.begin("move", {"a": 1})
        transaction.facts["b"] = 2
        if decided:
            transaction.decide()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    [entry] = journal.pending()
    assert entry.decided is decided
    assert journal.recover() == 1
    assert recorder.calls == [(verb, {"a": 1, "b": 2} if decided else {"a": 1})]
    assert not left(journal)


def test_forked_child_does_not_settle_its_parents_transaction(journal, recorder):
    with journal.begin("move", {"a": 1}) as transaction:
        child = os.fork()
        if child == 0:
            transaction.__exit__(None, None, None)
            os._exit(0 if not recorder.calls else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert len(left(journal)) == 1
        transaction.decide()
    assert recorder.calls == [("finish", {"a": 1})]


def test_failing_participant_leaves_the_entry_for_the_next_opening(tmp_path):
    recorder = Recorder(failing=["finish"])
    journal = Journal(tmp_path, {"move": recorder})

    def decided():
        with journal.begin("move", {}) as transaction:
            transaction.decide()

    with pytest.raises(RuntimeError, match="finish"):
        decided()
    assert journal.recover() == 1
    assert recorder.calls == [("finish", {})]


def test_posted_entries_are_drained_in_order(journal, recorder):
    for number in range(5):
        journal.post("move", {"n": number})
    assert not recorder.calls
    assert journal.drain(limit=2) == 2
    assert journal.recover() == 3
    assert [facts["n"] for _, facts in recorder.calls] == list(range(5))


def test_drain_stops_at_a_failure_and_keeps_the_entry(tmp_path):
    recorder = Recorder(failing=["finish"])
    journal = Journal(tmp_path, {"move": recorder})
    for number in range(2):
        journal.post("move", {"n": number})
    with pytest.raises(RuntimeError):
        journal.drain()
    assert journal.drain() == 2
    assert [facts["n"] for _, facts in recorder.calls] == [0, 1]


def test_two_drains_finish_each_entry_once(journal, recorder):
    for number in range(20):
        journal.post("move", {"n": number})
    others = [Journal(journal.directory, {"move": recorder}) for _ in range(3)]
    threads = [threading.Thread(target=other.drain) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(facts["n"] for _, facts in recorder.calls) == list(range(20))


def test_unknown_kind_is_refused_before_anything_is_written(journal):
    for verb in (journal.begin, journal.post):
        with pytest.raises(InvalidInputError, match="move"):
            verb("other", {})
    assert not os.path.exists(journal.directory)


def test_damaged_entry_is_an_error_that_names_it(journal):
    journal.post("move", {"n": 1})
    [name] = left(journal)
    path = Path(journal.directory, name)
    content = path.read_bytes()
    for place in range(len(content) - 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(HashError, match=name):
            journal.recover()


def test_entry_of_a_newer_release_is_refused(journal):
    journal.post("move", {})
    [name] = left(journal)
    text = json.dumps({"format": "holdfast-journal", "version": 2, "kind": "move", "facts": {}}).encode()
    Path(journal.directory, name).write_bytes(str(hash_bytes(text)).encode() + b"\n" + text + b"\n")
    with pytest.raises(NewerFormatError, match=name):
        journal.recover()


def test_journal_of_nothing_has_nothing(journal):
    assert journal.pending() == []
    assert journal.recover() == 0


def test_a_decision_whose_sync_failed_is_undone_and_found_by_nobody(journal, recorder):
    def fails():
        with journal.begin("move", {"a": 1}):
            [name] = left(journal)
            path = Path(journal.directory, name)
            path.rename(path.with_suffix(".decided"))
            raise StorageError("the directory's fsync failed")

    with pytest.raises(StorageError):
        fails()
    assert recorder.calls == [("undo", {"a": 1})]
    assert left(journal) == []
    assert journal.recover() == 0
