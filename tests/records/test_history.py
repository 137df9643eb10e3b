"""Histories of eight processes on the same entries: every acknowledged operation is there, exactly once.

Each process writes what it did and saw, with the times of the machine's one monotonic clock; the histories
are then compared with what a single careful writer could have done.
"""

import contextlib
import json
import multiprocessing
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from holdfast.errors import NotFoundError
from holdfast.records import Record

APPENDERS = 3


class History:
    """Write lines of JSON with the times before and after each operation."""

    def __init__(self, directory, name):
        self._path = Path(directory, f"{name}.jsonl")
        self._lines = []

    def __call__(self, facts, call, *arguments, **options):
        begin = time.monotonic_ns()
        result = call(*arguments, **options)
        self._lines.append(facts | {"result": result, "begin": begin, "end": time.monotonic_ns()})

    def close(self):
        self._path.write_text("\n".join(map(json.dumps, self._lines)))


def append_rows(record, history, until, worker):
    number = 0
    while time.monotonic() < until:
        key = f"{worker}/{number}"
        row = np.array([worker, number])
        facts = {"row": [worker, number]}
        history(facts, record.append, "rows", row, idempotency_key=key)
        if number % 5 == 0:
            # A client that lost the answer asks again: the same row, not another one.
            history(facts, record.append, "rows", row, idempotency_key=key)
        number += 1


def append_to_chaos(record, history, until, worker):
    number = 0
    while time.monotonic() < until:
        history({"row": number}, record.append, "chaos", np.array([1, number]))
        number += 1


def fold(record, history, until, worker):
    while time.monotonic() < until:
        history({}, record.compact, "rows")
        with contextlib.suppress(NotFoundError):
            history({}, record.compact, "chaos")


def overwrite(record, history, until, worker):
    number = 0
    while number < 2 or time.monotonic() < until:
        number += 1
        if number % 7 == 0:
            history({"what": "delete", "number": number}, record.__delitem__, "chaos")
        base = np.array([[0, number]] * 3)
        history({"what": "write", "number": number}, record.__setitem__, "chaos", base)
        record["dir"] = {"a": number, "deep": {"b": [number] * 5}}
        with record.transaction():
            record["t/a"] = number
            record["t/b"] = np.full(3, number)
        record["copy"] = record["dir"]


def read_rows(record, history, until, worker):
    while time.monotonic() < until:
        history({"what": "tail"}, lambda: record["rows"].tolist()[-50:])
        history({"what": "plain"}, _plain_length, record.path / "rows.h5")


def _plain_length(path):
    with h5py.File(path, "r") as file:
        rows = file["data"][()]
    assert len({tuple(row) for row in rows.tolist()}) == len(rows)
    return len(rows)


def read_others(record, history, until, worker):
    seen = dict.fromkeys(("dir/a", "dir/deep/b", "t/a", "t/b", "copy/a"), 0)
    while time.monotonic() < until:
        for key in seen:
            value = np.ravel(record[key])
            assert len(set(value.tolist())) == 1, (key, value)
            assert value[0] >= seen[key], (key, value, seen[key])
            seen[key] = int(value[0])
        try:
            history({"what": "chaos"}, lambda: record["chaos"].tolist())
        except NotFoundError:
            continue


def run(directory, act, name, durability, until, worker):
    history = History(directory, name)
    with Record(directory / "record", durability=durability) as record:
        act(record, history, until, worker)
    history.close()


def histories(directory, prefix):
    texts = [path.read_text() for path in sorted(directory.glob(f"{prefix}*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.mark.parametrize("seconds", [1.0, pytest.param(30.0, marks=pytest.mark.slow)])
def test_histories_of_eight_processes_have_a_possible_order(tmp_path, seconds):
    record = Record(tmp_path / "record")
    record["dir"] = record["copy"] = {"a": 0, "deep": {"b": [0]}}
    record["t"] = {"a": 0, "b": [0]}
    record.append("rows", np.array([99, 0]))
    until = time.monotonic() + seconds
    actors = [(append_rows, f"rows-{n}", ("sync", "group", "os")[n], n) for n in range(APPENDERS)]
    actors += [
        (append_to_chaos, "append", "group", 3),
        (fold, "fold", "sync", 4),
        (overwrite, "overwrite", "os", 5),
    ]
    actors += [(read_rows, "read", "sync", 6), (read_others, "others", "sync", 7)]
    fork = multiprocessing.get_context("fork")
    workers = [
        fork.Process(target=run, args=(tmp_path, act, name, durability, until, worker))
        for act, name, durability, worker in actors
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(seconds + 60)
    assert [worker.exitcode for worker in workers] == [0] * 8
    _check_rows(tmp_path, record["rows"].tolist())
    _check_chaos(tmp_path, record["chaos"].tolist())
    assert record.check().ok


def _check_rows(directory, final):
    assert len({tuple(row) for row in final}) == len(final)
    place = {tuple(row): index for index, row in enumerate(final)}
    appends = histories(directory, "rows-")
    assert appends
    for each in appends:
        assert place[tuple(each["row"])] == each["result"]
    assert len(final) == 1 + len({tuple(each["row"]) for each in appends})
    first = {}
    for each in sorted(appends, key=lambda each: each["begin"]):
        first.setdefault(tuple(each["row"]), each)
    ordered = sorted(first.values(), key=lambda each: each["end"])
    highest = 0
    ends = iter(ordered)
    ended = next(ends)
    for each in sorted(first.values(), key=lambda each: each["begin"]):
        while ended is not None and ended["end"] < each["begin"]:
            highest = max(highest, ended["result"])
            ended = next(ends, None)
        assert each["result"] >= highest, "an append overtook one that had ended"
    for read in histories(directory, "read"):
        if read["what"] == "tail":
            positions = [place[tuple(row)] for row in read["result"]]
            assert positions == list(range(positions[0], positions[0] + len(positions)))
            acknowledged = [each["result"] for each in ordered if each["end"] < read["begin"]]
            assert positions[-1] >= max(acknowledged, default=0)


def _check_chaos(directory, final):
    writes = [each for each in histories(directory, "overwrite") if each["what"] == "write"]
    last = writes[-1]
    numbers = [number for kind, number in final if kind == 0]
    assert numbers == [last["number"]] * 3
    rows = [number for kind, number in final if kind == 1]
    assert rows == sorted(set(rows))
    appends = histories(directory, "append")
    after = {each["row"] for each in appends if each["begin"] > last["end"]}
    before = {each["row"] for each in appends if each["end"] < last["begin"]}
    assert after <= set(rows)
    assert not before & set(rows)
    for read in histories(directory, "others"):
        bases = {number for kind, number in read["result"] if kind == 0}
        assert len(bases) <= 1, "two versions in one read"
