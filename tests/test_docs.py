"""The documentation says what the code does: nothing missing, nothing left over."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from holdfast import config

TOP = Path(__file__).parent.parent
PAGES = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", TOP / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_setting_error_event_and_format_stands_in_the_docs(reference):
    assert reference.stale() == [], "run scripts/reference.py and commit what it writes"


def test_every_setting_that_the_docs_name_is_read():
    named = {name for page in PAGES for name in re.findall(r"HOLDFAST_[A-Z_]+", page.read_text())}
    assert named <= {*config.setting_names(), "HOLDFAST_ORIGINALS"}


def test_every_command_that_the_docs_name_is_there(reference):
    known = {path for path, _ in reference.commands()}
    words = {word for path in known for word in path.split()[:2]}
    for page in PAGES:
        for word in re.findall(r"`holdfast ([a-z-]+)", page.read_text()):
            assert word in words, f"{page.name} names `holdfast {word}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_decisions_have_numbers_of_their_own():
    numbers = [page.name[:3] for page in (TOP / "docs" / "design").glob("[0-9]*.md")]
    assert sorted(numbers) == sorted(set(numbers))
    assert all(number.isdigit() for number in numbers)
