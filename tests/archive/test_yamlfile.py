"""When the YAML is written: soon, and never so often that adding becomes quadratic."""

import threading

import pytest

from holdfast.archive import lifetimes, yamlfile
from holdfast.archive.yamlfile import State, YamlFile


@pytest.fixture
def timers(monkeypatch):
    """Collect what is to be done later, instead of waiting for it."""
    waiting = []

    def later(seconds, method):
        assert 0 < seconds <= 1
        waiting.append(method)
        return threading.Timer(3600, method)  # never started

    monkeypatch.setattr(lifetimes, "later", later)
    return waiting


@pytest.fixture
def manifest(tmp_path):
    listed = [("S1", "Prod0", f"f{number:04}", "a" * 32, "b" * 32) for number in range(1000)]
    made = YamlFile(str(tmp_path), lambda: State("Test", listed, "", ()), lambda signature, foreign: None)
    made.mark_behind()
    made.flush()
    return made


def add(manifest, count):
    """Say that entries were added; tell whether the file was written at once."""
    before = manifest.signature()
    manifest.fall_behind(count, lambda: 1000)
    return manifest.signature() != before


def run(manifest, timers):
    """Let the next timer end; tell whether the file was written."""
    before = manifest.signature()
    timers.pop(0)()
    return manifest.signature() != before


def test_many_adds_are_one_writing(manifest, timers):
    assert not any(add(manifest, 1) for _ in range(10))
    assert len(timers) == 1
    assert run(manifest, timers)
    assert not timers


def test_where_writing_takes_long_a_fiftieth_of_the_entries_may_be_behind(manifest, timers, monkeypatch):
    monkeypatch.setattr(yamlfile, "_LONG_S", 0.0)
    add(manifest, 3)
    add(manifest, 3)
    assert not run(manifest, timers)  # six of 1,000, and somebody goes on adding
    assert run(manifest, timers)  # nobody does any more
    add(manifest, 3)
    add(manifest, 20)
    assert run(manifest, timers)  # a fiftieth
    assert not timers


def test_flush_does_not_wait(manifest, timers):
    add(manifest, 3)
    before = manifest.signature()
    manifest.flush()
    assert manifest.signature() != before
    assert not run(manifest, timers)  # nothing is left to be written
