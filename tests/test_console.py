"""The form of every command's output."""

import json
import re
import sys

import pytest

from holdfast import console
from holdfast.errors import BulkError, HashError, NotFoundError
from holdfast.events import ProgressEnd, ProgressStart, ProgressStep, bus
from holdfast.reports import Finding, Report


class Terminal:
    """A standard stream that says it is a terminal."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def isatty(self):
        return True


def test_rows_in_a_pipe_are_tab_separated(capsys):
    console.rows([{"key": "a", "shape": (2, 3), "n": None}], ("key", "shape", "n"))
    assert capsys.readouterr().out == "a\t2 x 3\t-\n"


def test_rows_as_json_print_everything(capsys):
    console.rows([{"key": "ä", "extra": [1]}], ("key",), as_json=True)
    assert json.loads(capsys.readouterr().out) == [{"key": "ä", "extra": [1]}]


def test_rows_on_a_terminal_are_a_table(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal(sys.stdout))
    console.rows([{"key": "[bold]a", "n": 5}], ("key", "n"))
    out = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)
    assert out.split() == ["key", "n", "[bold]a", "5"]


def test_control_characters_of_outside_names_never_reach_the_terminal(capsys):
    console.rows([{"key": "a\x1b[2Jb\nc"}], ("key",))
    assert capsys.readouterr().out == "a\\x1b[2Jb\\nc\n"


def test_fields_are_aligned(capsys):
    console.fields({"a": 1, "long": "x", "scalar": ()})
    assert capsys.readouterr().out == "a       1\nlong    x\nscalar  scalar\n"


def test_report_gives_the_exit_code(capsys):
    assert console.report(Report(2)) == 0
    assert console.report(Report(2, [Finding("changed", "a")]), as_json=True) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first == "checked 2, findings 0: ok"
    assert json.loads(second)["ok"] is False


def test_failure_prints_one_line_each_and_returns_the_highest_exit_code(capsys):
    group = BulkError("2 of 3 failed", [HashError("a is damaged"), NotFoundError("no b")])
    assert console.failure(group) == NotFoundError.exit_code
    assert capsys.readouterr().err == "holdfast: a is damaged\nholdfast: no b\n"


def test_failure_of_a_foreign_error_names_it(capsys):
    assert console.failure(KeyError("x")) == 1
    assert console.failure(ZeroDivisionError()) == 1
    assert capsys.readouterr().err == "holdfast: x\nholdfast: ZeroDivisionError\n"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1_234_567, "1.2 MB"), (5e15, "5.0 PB")]
)
def test_size_is_said_as_people_do(count, text):
    assert console.size(count) == text


def report_progress():
    bus.emit(ProgressStart(operation="index", steps=3))
    bus.emit(ProgressStart(operation="other", steps=9))
    for step in (1, 2, 3):
        bus.emit(ProgressStep(operation="index", step=step, steps=3))
    bus.emit(ProgressEnd(operation="index"))


def test_progress_elsewhere_than_on_a_terminal_is_a_line_at_the_end(capsys):
    with console.following("index"):
        report_progress()
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"index: 3 in 0\.\d s \(\d+/s\)", line)


def test_long_progress_is_a_line_every_few_seconds(capsys, monkeypatch):
    monkeypatch.setattr(console, "_SECONDS_BETWEEN_LINES", 0.0)
    with console.following("index", in_bytes=True):
        report_progress()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r"index: 1 B of 3 B in 0\.\d s \(.*/s, 0 s left\)", lines[0])


def test_progress_on_a_terminal_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal(sys.stderr))
    with console.following("index"):
        report_progress()
    assert "3/3" in capsys.readouterr().err


def test_nobody_listens_after_the_block(capsys):
    with console.following("index"):
        pass
    report_progress()
    assert capsys.readouterr().err == ""


def test_a_normal_end_means_all_steps(capsys):
    with console.following("check"):
        bus.emit(ProgressStart(operation="check", steps=3))
        bus.emit(ProgressStep(operation="check", step=1, steps=3))
        bus.emit(ProgressEnd(operation="check"))
    assert capsys.readouterr().err.startswith("check: 3 in ")
