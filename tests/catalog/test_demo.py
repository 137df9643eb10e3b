"""The whole circle, as the demo walks it."""

from __future__ import annotations

import re

import pytest

from catalog.lab import write_lab
from holdfast.catalog import from_catalog
from holdfast.catalog.demo import write_data
from holdfast.cli import run


def test_the_demo_walks_the_circle_on_the_data_that_it_brings(capsys, tmp_path):
    assert run(["demo", "--to", str(tmp_path / "stuff"), "--no-serve"]) == 0
    said = capsys.readouterr().out
    typed = re.findall(r"^\$ holdfast (\w+)", said, re.MULTILINE)
    assert typed == ["index", "serve", "ls", "search", "download", "check", "serve"]
    assert re.search(r"http://127\.0\.0\.1:\d+\s*\Z", said)
    assert "sunspots" in said
    assert "sun/cycles.h5" in from_catalog(tmp_path / "stuff")


def test_the_demo_walks_on_a_users_own_directory_and_leaves_it_alone(capsys, tmp_path):
    lab = write_lab(tmp_path / "lab")
    before = {path: path.stat().st_mtime_ns for path in lab.rglob("*")}
    assert run(["demo", str(lab), "--to", str(tmp_path / "stuff"), "--no-serve"]) == 0
    assert {path: path.stat().st_mtime_ns for path in lab.rglob("*")} == before
    assert "runs/scan.nxs" in from_catalog(tmp_path / "stuff")


@pytest.mark.parametrize("content", [{}, {"a.txt": "text"}], ids=["empty", "no array"])
def test_the_demo_says_when_there_is_nothing_to_slice(capsys, tmp_path, content):
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    assert run(["demo", str(tmp_path), "--to", str(tmp_path.parent / "stuff"), "--no-serve"]) == 3
    assert "no array" in capsys.readouterr().err


def test_the_data_of_the_demo_is_small_and_names_its_source(tmp_path):
    write_data(tmp_path / "lab")
    files = [path for path in (tmp_path / "lab").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    notes = [path.read_text() for path in files if path.suffix == ".json"]
    assert len(notes) == 2
    assert all("NOAA" in note and "public domain" in note for note in notes)
