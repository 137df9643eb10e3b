"""Probe workers: answers, and files that crash, hang or exhaust them."""

import os
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from holdfast.formats.probe import Job, probe_file
from holdfast.formats.workers import ProbePool
from holdfast.hashing import hash_blocks
from trap_plugin import trap_plugin


@pytest.fixture
def pool(tmp_path_factory):
    with trap_plugin(tmp_path_factory.mktemp("site") / "packages"):
        made = ProbePool(workers=2, timeout_s=5)
        yield made
        made.close()


def test_every_file_gets_an_answer_whatever_the_others_do(pool, tmp_path):
    kinds = ["crash", "fine", "exit", "raise", "memory", "surrogate", *["fine"] * 30]
    jobs = []
    for number, kind in enumerate(kinds):
        path = tmp_path / f"{number}.trap"
        path.write_text("TRAP" + kind)
        jobs.append(Job(path))
    found = {int(job.path.stem): probed for job, probed in pool.map(jobs)}
    assert len(found) == len(kinds)
    for number, kind in enumerate(kinds):
        failure = found[number].failure
        assert (failure is None) == (kind in ("fine", "surrogate")), (kind, failure)
    assert found[5].description.root.metadata == {"a": "\\ud800"}
    assert "signal 6" in found[0].failure.message
    assert "exit code 3" in found[2].failure.message
    assert "ZeroDivisionError" in found[3].failure.message


def test_a_file_that_hangs_is_given_up(tmp_path):
    pool = ProbePool(workers=1, timeout_s=1.5)
    for name, kind in [("a", "hang"), ("b", "fine"), ("c", "hang")]:
        (tmp_path / f"{name}.trap").write_text("TRAP" + kind)
    began = time.monotonic()
    with trap_plugin(tmp_path / "packages"):
        found = dict(pool.map([Job(tmp_path / f"{name}.trap") for name in "abc"]))
        pool.close()
    codes = {job.path.stem: probed.failure and probed.failure.code for job, probed in found.items()}
    assert codes == {"a": "time-limit", "b": None, "c": "time-limit"}
    assert time.monotonic() - began < 30


@pytest.fixture
def mixed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(3)
    (tmp_path / "b.csv").write_text("x,y\n1,2\n")
    (tmp_path / "c.csv").write_text("x,y\n1\n")
    (tmp_path / "empty.h5").write_bytes(b"")
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("hello")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder.h5").mkdir()
    return tmp_path


def test_answers_are_those_of_this_process_and_carry_digests(pool, mixed):
    paths = sorted([*mixed.iterdir(), mixed / "absent"])
    found = {job.path: probed for job, probed in pool.map(Job(path, is_hashed=True) for path in paths)}
    assert set(found) == set(paths)
    for path, probed in found.items():
        assert probed == probe_file(path, is_hashed=True)
        if path.is_file():
            with open(path, "rb") as file:
                assert probed.digests() == hash_blocks(file)
    assert {path.name for path, probed in found.items() if probed.failure is None} == {
        "a.h5",
        "b.csv",
        os.fsdecode(b"caf\xe9.txt"),
    }


def test_an_abandoned_run_leaves_no_process(pool, mixed):
    before = children()
    for _ in pool.map(Job(mixed / "b.csv") for _ in range(200)):
        break
    pool.close()
    assert children() == before


def test_a_forked_worker_keeps_nothing_open(tmp_path, mixed):
    before = children()
    pool = ProbePool(workers=1)
    with open(tmp_path / "held", "wb"):
        list(pool.map([Job(mixed / "b.csv")]))
        for child in children() - before:
            held = {os.readlink(f"/proc/{child}/fd/{fd}") for fd in os.listdir(f"/proc/{child}/fd")}
            assert not any("held" in target for target in held)
    pool.close()
    assert children() == before


def state(child):
    return Path(f"/proc/{child}/stat").read_text().split()[2]


def children():
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_a_worker_that_was_killed_while_it_waited_is_replaced(mixed):
    pool = ProbePool(workers=2)
    before = children()
    for _ in range(3):
        found = [probed.failure for _, probed in pool.map([Job(mixed / "b.csv")] * 3)]
        assert found == [None] * 3
        for child in children() - before:
            os.kill(int(child), signal.SIGKILL)
            # Its threads end one by one, and its pipes with the last of them.
            while len(os.listdir(f"/proc/{child}/task")) > 1 or state(child) != "Z":
                os.sched_yield()
    pool.close()
    assert children() == before
