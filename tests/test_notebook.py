"""The tour of the catalog: a notebook without outputs, that can fail, and runs from first to last cell."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from served import environment

TOP = Path(__file__).parent.parent
NOTEBOOK = TOP / "docs" / "tour.ipynb"


@pytest.fixture(scope="module")
def code() -> list[dict]:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_it_holds_no_outputs_and_is_small(code):
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert NOTEBOOK.stat().st_size < 40_000


def test_it_checks_what_it_shows(code):
    trees = [ast.parse("".join(cell["source"])) for cell in code]
    checked = [tree for tree in trees if any(isinstance(node, ast.Assert) for node in ast.walk(tree))]
    assert len(checked) >= 8


def test_it_is_linked_where_people_begin():
    for page in ("README.md", "docs/index.md"):
        assert "tour.ipynb" in (TOP / page).read_text()


@pytest.mark.slow
def test_it_runs_where_there_is_no_data_beside_the_checkout_and_says_so(tmp_path):
    pytest.importorskip("nbclient", reason="pip install 'holdfast[docs]'")
    done = subprocess.run(
        [sys.executable, TOP / "scripts" / "notebook", tmp_path],
        capture_output=True, text=True, timeout=280, check=False, env=environment(PATH=os.environ["PATH"]),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "stand in for it" in done.stdout
    assert "2 pictures" in done.stdout
