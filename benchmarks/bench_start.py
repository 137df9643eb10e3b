"""How soon it is there: the import, and the first answer of a server on a directory never seen before."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from measure import Row, Scale, back_to_back, child_environment, milliseconds, same, served

__all__ = ["rows"]


def rows(scale: Scale) -> Iterator[Row]:
    """Give the rows of the table about starting."""
    yield import_time(scale(15, 3))
    yield first_answer(scale(100_000, 500), scale(3, 1))


def import_time(rounds: int) -> Row:
    """Time `import holdfast` against the start of a bare interpreter."""

    def python(code: str) -> None:
        subprocess.run([sys.executable, "-c", code], check=True, env=child_environment())

    ours, bare = back_to_back(lambda: python("import holdfast"), lambda: python("pass"), rounds)
    return Row("import holdfast", milliseconds(ours), f"bare Python {milliseconds(bare)}", ours / bare, 3)


def first_answer(files: int, rounds: int) -> Row:
    """Time `holdfast serve` from its start to its first answer: many new files against an empty directory."""
    full, empty = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            many = small_files(Path(name) / "many", files)
            none = small_files(Path(name) / "none", 0)
            empty.append(start(none))
            full.append(start(many))
    ours, reference = min(full), min(empty)
    work = f"serve {files:,} new files, to the first answer"
    return Row(
        work, f"{ours:.2f} s", f"empty directory {reference:.2f} s", ours - reference, 1, unit="s more"
    )


def small_files(directory: Path, files: int) -> Path:
    """Write small text files, 1,000 a directory."""
    directory.mkdir()
    for number in range(files):
        if number % 1000 == 0:
            (directory / f"d{number // 1000:03d}").mkdir()
        (directory / f"d{number // 1000:03d}" / f"f{number:06d}.txt").write_bytes(b"%d" % number)
    return directory


def start(directory: Path) -> float:
    """Return the seconds from starting the server to an answer about the root."""
    started = time.perf_counter()
    with served(directory, "--public") as url:
        deadline = started + 120
        while time.perf_counter() < deadline:
            try:
                with urllib.request.urlopen(url + "/api/v1/metadata/", timeout=30) as answer:
                    same("first answer", answer.status, 200)
                return time.perf_counter() - started
            except urllib.error.URLError:
                time.sleep(0.002)
    raise TimeoutError("no answer within 120 s")
