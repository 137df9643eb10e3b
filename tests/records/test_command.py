"""Commands: run once among all who ask, stopped when killed, recorded with what they needed."""

import multiprocessing
import os
import signal

import numpy as np
import pytest
import yaml

import holdfast.records as cg
from holdfast.errors import BusyError, InvalidInputError, InvalidTypeError
from holdfast.records.command import create

FORK = multiprocessing.get_context("fork")


class Base(cg.Command):
    """Make something."""

    output_path = "made"

    def run(self):
        self.output["result"] = f"made of {self.conf.name}"


def kind(tmp_path, **members):
    return type(
        "Kind", (Base,), {"output_path": f"{tmp_path}/out/{{name}}", "__module__": __name__} | members
    )


def test_competing_processes_run_a_command_once_and_all_get_its_output(tmp_path):
    count = tmp_path / "count"

    def run(self):
        with open(count, "a") as file:
            file.write("run\n")
        self.output["result"] = np.arange(3)

    cls = kind(tmp_path, run=run)

    def ask():
        assert cg.require(cls(name="a"))["result"].tolist() == [0, 1, 2]

    workers = [FORK.Process(target=ask) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 6
    assert count.read_text() == "run\n"
    assert os.listdir(tmp_path / "out") == ["a"]


def test_who_will_not_wait_is_told_and_a_killed_command_is_stopped_and_can_run_again(tmp_path):
    parent, (told, tell) = os.getpid(), os.pipe()

    def run(self):
        self.output["half"] = 1
        if os.getpid() != parent:
            os.write(tell, b"begun")
            signal.pause()

    cls = kind(tmp_path, run=run)
    worker = FORK.Process(target=lambda: cls(name="a")())
    worker.start()
    assert os.read(told, 5) == b"begun"
    record = cg.Record(tmp_path / "out" / "a")
    assert cls(name="a").status == record.cmd_status == "running"
    with pytest.raises(BlockingIOError) as refusal:
        cg.require(cls(name="a"), wait=False)
    assert isinstance(refusal.value, BusyError)
    with pytest.raises(BusyError):
        cls(name="a")()
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert cls(name="a").status == record.cmd_status == "stopped"
    assert cg.require(cls(name="a"), wait=False)["half"] == 1
    assert record.cmd_status == "done"
    os.close(told)
    os.close(tell)


def test_dependencies_are_recorded(tmp_path):
    inner = type("Inner", (Base,), {"output_path": f"{tmp_path}/inner/{{name}}", "__module__": __name__})
    outer = kind(tmp_path, run=lambda self: self.output.update({"x": cg.require(inner(name="b"))["result"]}))
    record = cg.require(outer(name="a"))
    assert record["x"] == "made of b"
    found = yaml.safe_load((record.path / "_cmd-dependencies.yaml").read_text())
    assert found == [{"type": f"{__name__}|Inner", "name": "b"}]
    assert record.cmd_spec == {"type": f"{__name__}|Kind", "name": "a"}
    assert list(record) == ["x"]


def test_output_can_be_published_when_done(tmp_path):
    seen = []

    def run(self):
        seen.append(list(cg.Record(tmp_path / "out" / "a")))
        self.output["new"] = 2
        if self.conf.name == "bad":
            raise RuntimeError

    cls = kind(tmp_path, run=run, is_published_when_done=True)
    cg.Record(tmp_path / "out" / "a")["old"] = 1
    cls(name="a")()
    assert seen == [["old"]]
    assert list(cg.Record(tmp_path / "out" / "a")) == ["new"]
    assert cls(name="a").status == "done"
    with pytest.raises(RuntimeError):
        cls(name="bad")()
    assert cls(name="bad").status == "unbegun"
    assert os.listdir(tmp_path / "out") == ["a"]


@pytest.mark.parametrize("name", ["../x", "/etc", "a/../../b", ""])
def test_configurations_cannot_lead_elsewhere(tmp_path, name):
    with pytest.raises(InvalidInputError):
        kind(tmp_path)(name=name)


def test_configurations_are_json_values(tmp_path):
    command = kind(tmp_path)(name="a", step=np.int64(3), nested={"x": [1, None, True]})
    assert command.conf.nested.x == [1, None, True]
    assert command.spec == {
        "type": f"{__name__}|Kind",
        "name": "a",
        "step": 3,
        "nested": {"x": [1, None, True]},
    }
    with pytest.raises(InvalidTypeError):
        kind(tmp_path)(name="a", data=np.arange(3))
    with pytest.raises(InvalidInputError):
        kind(tmp_path)(name="a", type="x")
    with pytest.raises(InvalidInputError, match="name"):
        kind(tmp_path)(other=1)


def test_commands_are_found_by_their_spec():
    assert isinstance(create({"type": f"{__name__}|Base", "name": "a"}), Base)
    assert isinstance(create(f"{__name__}/Base"), Base)
    for wrong in ("os|getcwd", "nowhere|X", "plain", {"name": "a"}):
        with pytest.raises(InvalidInputError):
            create(wrong)
