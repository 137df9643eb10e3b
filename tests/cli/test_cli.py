"""The roof: which commands there are, what they load, and how they end."""

from __future__ import annotations

import subprocess
import sys

import pytest

import holdfast
from holdfast import cli
from holdfast.cli import COMMANDS, run
from holdfast.errors import BulkError, HashError, NotFoundError
from served import environment


def test_help_lists_every_command_and_loads_no_face():
    code = (
        "import sys; from holdfast.cli import run; code = run(['--help']);"
        "print(sorted(m for m in sys.modules if m.startswith('holdfast.')), file=sys.stderr);"
        "print({'numpy', 'h5py', 'starlette', 'urllib3'} & set(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment())
    for name, (_, text) in COMMANDS.items():
        assert name in done.stdout
        assert text[:30] in done.stdout
    rooms, heavy = done.stderr.splitlines()
    assert heavy == "set()"
    assert not {"holdfast.catalog", "holdfast.database", "holdfast.http", "holdfast.app"} & set(
        rooms.split("'")
    )


def test_the_version_is_printed(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == holdfast.__version__


def test_an_unknown_command_ends_with_2(capsys):
    assert run(["nope"]) == 2
    assert "nope" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (NotFoundError("no entry 'x'; list them"), 3, ["holdfast: no entry 'x'; list them"]),
        (BulkError("2 failed", [HashError("a"), NotFoundError("b")]), 3, ["holdfast: a", "holdfast: b"]),
        (ExceptionGroup("1 failed", [HashError("a")]), 1, ["holdfast: a"]),
    ],
)
def test_errors_are_one_clear_line_and_an_exit_code(error, code, lines, capsys, monkeypatch):
    @cli.roof.command("fail")
    def fail():
        raise error

    monkeypatch.setitem(COMMANDS, "fail", ("test_cli_failing", "Fail."))
    module = type(sys)("test_cli_failing")
    module.app = cli.roof
    monkeypatch.setitem(sys.modules, "test_cli_failing", module)
    assert run(["fail"]) == code
    assert capsys.readouterr().err.splitlines() == lines
    monkeypatch.setenv("HOLDFAST_TRACEBACK", "1")
    with pytest.raises(type(error)):
        run(["fail"])


def test_main_exits_with_the_code(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["nope"])
    assert end.value.code == 2
