"""Each parser of ours under atheris, which looks for inputs that reach new lines, for a bounded time."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.targets import TARGETS

HERE = Path(__file__).parent
SECONDS = 6

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    """Fuzz every target; return the directory with what came of each."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip(
            "atheris is not installed, so only Hypothesis looks for faults: pip install 'holdfast[fuzz]', "
            "where there is a wheel for this Python"
        )
    directory = tmp_path_factory.mktemp("fuzz")
    roots = [str(HERE.parent.parent / "src"), str(HERE.parent)]
    done = subprocess.run(
        [sys.executable, HERE / "guided.py", str(SECONDS), directory, "planted", *TARGETS],
        capture_output=True,
        timeout=800,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return directory


def log(home: Path) -> str:
    return (home / "log").read_text(errors="replace")


def test_a_planted_fault_is_found(found):
    home = found / "planted"
    assert (home / "code").read_text() != "0"
    assert "KeyError" in log(home)
    assert [path.read_bytes()[:3] for path in home.glob("crash-*")] == [b"bug"]


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_gives_another_error_than_ours(found, name):
    home = found / name
    inputs = [path.read_bytes()[:300] for path in home.glob("*-*")]
    assert (home / "code").read_text() == "0", f"{inputs}\n{log(home)[-4000:]}"
    runs = re.search(r"stat::number_of_executed_units: ([0-9]+)", log(home))
    assert runs is not None, log(home)[-4000:]
    assert int(runs[1]) > 100
