"""Which rooms a request passes through, and how often control moves from module to module.

The floors say what may be imported; this says what happens. Tiled's own search moves 227 times.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import holdfast as hf
from holdfast.queries import Key

SOURCE = str(Path(hf.__file__).parent) + "/"
TILED_MOVES = 227


@dataclass
class Trace:
    """The modules that ran, in order, a module once for each time that control came to it."""

    modules: list[str] = field(default_factory=list)

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(SOURCE) or frame.f_code.co_name == "<module>":
            return
        module = name[len(SOURCE) :].removesuffix(".py").removesuffix("/__init__")
        if not self.modules or self.modules[-1] != module:
            self.modules.append(module)

    @property
    def rooms(self) -> list[str]:
        """The rooms in the order in which they were first entered."""
        return list(dict.fromkeys(module.split("/")[0] for module in self.modules))

    @property
    def moves(self) -> int:
        return len(self.modules)


def traced(call: Callable[[], object]) -> Trace:
    """Run a call once to load and open what it needs, then once under watch."""
    call()
    trace = Trace()
    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  # None ends it
    return trace


@pytest.fixture
def directory(tmp_path) -> Path:
    root = tmp_path / "lab"
    root.mkdir()
    for number in range(5):
        (root / f"n{number}.json").write_text(f'{{"n": {number}}}')
    np.save(root / "image.npy", np.arange(12.0).reshape(3, 4))
    hf.index(root)
    return root


GROUND = {
    "arraymemory", "buffers", "config", "errors", "events", "files", "hashing", "journal", "paths", "queries",
    "reports", "types",
}  # fmt: skip


def test_a_search_goes_from_the_client_over_the_wire_to_the_database(directory):
    with hf.from_catalog(directory) as client:
        query = Key("n") > 2
        trace = traced(lambda: list(client.search(query)))
    assert set(trace.rooms) <= GROUND | {"catalog", "http", "database", "app"}
    assert trace.rooms[0] == "catalog"
    assert trace.rooms.index("http") < trace.rooms.index("database")
    assert trace.moves < TILED_MOVES / 2, trace.modules


def test_a_small_read_touches_only_what_it_needs(directory):
    with hf.from_catalog(directory) as client:
        node = client["image.npy"]
        trace = traced(node.read)
    assert set(trace.rooms) <= GROUND | {"catalog", "http", "database", "app", "formats"}
    assert trace.moves < TILED_MOVES, trace.modules


def test_a_download_ends_with_the_files_and_their_facts(directory, tmp_path):
    numbers = iter(range(2))
    with hf.from_catalog(directory) as client:
        trace = traced(lambda: hf.download(client, tmp_path / f"taken{next(numbers)}"))
    assert set(trace.rooms) <= GROUND | {
        "catalog",
        "http",
        "database",
        "app",
        "formats",
        "storage",
        "console",
    }
    assert trace.rooms[0] == "catalog"


def test_a_record_write_is_written_by_the_format_and_published_by_files(tmp_path):
    record = hf.Record(tmp_path / "runs")
    numbers = iter(range(2))

    def write() -> None:
        record[f"run{next(numbers)}/image"] = np.arange(4.0)

    trace = traced(write)
    assert set(trace.rooms) <= GROUND | {"records", "formats", "storage", "database"}
    assert trace.rooms[0] == "records"
    assert "files" in trace.rooms
    assert trace.moves < TILED_MOVES / 2, trace.modules


def test_adding_to_the_archive_hashes_publishes_and_records_in_this_order(tmp_path):
    from holdfast.archive import Archive

    (tmp_path / "result.txt").write_text("42\n")
    archive = Archive.create(tmp_path / "archive", "results")
    numbers = iter(range(2))
    trace = traced(
        lambda: archive.add_file("event", "production", tmp_path / "result.txt", new_name=f"r{next(numbers)}")
    )
    assert set(trace.rooms) <= GROUND | {"archive", "database", "storage", "formats"}
    assert trace.rooms[0] == "archive"
    assert trace.rooms.index("files") < len(trace.rooms)
