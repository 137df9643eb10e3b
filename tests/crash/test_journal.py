"""A transaction is done or undone as a whole, whichever system call its process dies at."""

import os
import tempfile
from pathlib import Path

import pytest

from crash.disks import cut_power, loop_disk
from crash.kills import kill_everywhere
from crash.operations import Operation
from holdfast import files
from holdfast.journal import Journal

pytestmark = [pytest.mark.slow, pytest.mark.privileged]

PREPARE = """
from holdfast import files
from holdfast.journal import Journal
from crash.test_journal import Move, transfer
"""


class Move:
    """Move an amount between two files: the classic that must never be half done."""

    def __init__(self, directory):
        self.directory = directory

    def finish(self, facts):
        for name in ("from", "to"):
            files_write(self.directory / name, facts[name])

    def undo(self, facts):
        for name in ("from", "to"):
            files_write(self.directory / name, facts["old_" + name])


def files_write(path, number):
    files.write_atomic(path, b"%d" % number)


def transfer(directory, amount):
    journal = Journal(directory / "journal", {"move": Move(directory)})
    old = {name: int((directory / name).read_bytes()) for name in ("from", "to")}
    new = {"from": old["from"] - amount, "to": old["to"] + amount}
    with journal.begin("move", {"old_from": old["from"], "old_to": old["to"]}) as transaction:
        files_write(directory / "from", new["from"])
        files_write(directory / "to", new["to"])
        transaction.facts.update(new)
        transaction.decide()


def start(directory):
    files_write(directory / "from", 100)
    files_write(directory / "to", 0)
    return directory


def balance(directory):
    journal = Journal(directory / "journal", {"move": Move(directory)})
    journal.recover()
    assert not journal.pending()
    if os.path.exists(directory / "journal"):
        files.sweep(directory / "journal", older_than_s=0)
        assert not os.listdir(directory / "journal")
    return int((directory / "from").read_bytes()), int((directory / "to").read_bytes())


def test_killed_transaction_is_done_or_undone(tmp_path):
    def verify(directory, outcome):
        left, right = balance(directory)
        assert (left, right) in ({(70, 30)} if outcome.acks else {(70, 30), (100, 0)})

    operation = Operation("transfer(directory, 30); ack('moved')", PREPARE)
    kills = kill_everywhere(operation, lambda: start(Path(tempfile.mkdtemp(dir=tmp_path))), verify)
    assert kills >= 30


def test_killed_recovery_is_recovered(tmp_path):
    def make():
        directory = start(Path(tempfile.mkdtemp(dir=tmp_path)))
        child = os.fork()
        if child == 0:
            journal = Journal(directory / "journal", {"move": Move(directory)})
            facts = {"old_from": 100, "old_to": 0, "from": 70, "to": 30}
            journal.begin("move", facts).decide()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        return directory

    def verify(directory, outcome):
        assert balance(directory) == (70, 30)

    body = "Journal(directory / 'journal', {'move': Move(directory)}).recover()"
    assert kill_everywhere(Operation(body, PREPARE), make, verify) >= 10


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut_keeps_the_balance(tmp_path, kind):
    body = """
    from crash.test_journal import start
    start(directory)
    for number in range(1000):
        transfer(directory, 1 if number % 2 else -1)
        ack(number)
    """

    def verify(directory, outcome):
        left, right = balance(directory)
        assert left + right == 100

    with loop_disk(tmp_path, kind) as disk:
        for acks in (1, 2, 7, 30):
            cut_power(disk, Operation(body, PREPARE), verify, acks=acks, flush_journal=acks % 2 == 0)
