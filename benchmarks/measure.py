"""What every benchmark shares: timing, rows of the table, the originals' environments."""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
KEY = "beef" * 16


@dataclass(frozen=True)
class Row:
    """One line of the table: what was done, how long it took, beside what, and the bar.

    `ratio` is what the bar limits; `limit` is the most (`at_most`) or the least (else) that it may be.
    """

    work: str
    ours: str
    reference: str
    ratio: float
    limit: float
    at_most: bool = True
    unit: str = "x"

    @property
    def met(self) -> bool:
        return self.ratio <= self.limit if self.at_most else self.ratio >= self.limit

    @property
    def bar(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g} {self.unit}"


@dataclass(frozen=True)
class Scale:
    """How much work: the table's own sizes, or small ones that only show that the answers agree."""

    quick: bool

    def __call__(self, full: int, quick: int) -> int:
        return quick if self.quick else full


class DifferentAnswerError(AssertionError):
    """Says that two sides of a comparison did not do the same work."""


def same(work: str, ours: object, theirs: object) -> None:
    """Compare answers before times; times of different answers mean nothing."""
    if ours != theirs:
        raise DifferentAnswerError(f"{work}: ours {ours!r:.200}, theirs {theirs!r:.200}")


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def best(call: Callable[[], object], rounds: int) -> float:
    """Return the best of several rounds, seconds: the noise of a shared machine only ever adds."""
    return min(timed(call) for _ in range(rounds))


def back_to_back(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """Time two calls in alternation; return the median of each, seconds."""
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    return statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


def rate(size_bytes: int, seconds: float) -> str:
    return f"{size_bytes / seconds / 1e9:.2f} GB/s"


def original(name: str) -> Path | None:
    """Return the Python of an original's environment (see scripts/originals), if it is there."""
    named = os.environ.get("HOLDFAST_ORIGINALS")
    home = Path(named) if named else Path.home() / ".cache" / "holdfast" / "originals"
    python = home / name / "bin" / "python"
    return python if python.exists() else None


def child_environment(**more: str) -> dict[str, str]:
    """Return the environment of our processes.

    An installed package has its bytecode compiled, as the originals' environments have theirs; ours runs from
    the sources, perhaps where none may be written beside them, and so compiles it once for each run.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ours = {"PYTHONPATH": str(SOURCE), "PYTHONPYCACHEPREFIX": _bytecode(), "HOLDFAST_API_KEY": KEY}
    return {**kept, **ours, **more}


@cache
def _bytecode() -> str:
    """Return the directory that holds the bytecode of this run."""
    directory = tempfile.mkdtemp(prefix="holdfast-bytecode-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@contextlib.contextmanager
def served(*arguments: object) -> Iterator[str]:
    """Run `holdfast serve` in a process of its own; give its address."""
    command = [sys.executable, "-m", "holdfast", "serve", *map(str, arguments), "--port", "0"]
    with process(command, child_environment()) as address:
        yield address


@contextlib.contextmanager
def process(command: list[str], environment: dict[str, str] | None = None) -> Iterator[str]:
    """Run a server until the block ends; give the address that it says."""
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    said: list[str] = []
    try:
        assert child.stdout is not None
        for line in child.stdout:
            said.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                break
        else:
            raise RuntimeError(f"{command[:4]} said no address:\n{''.join(said)}")
        with drained(child):
            yield found[0]
    finally:
        child.terminate()
        child.wait(timeout=30)


@contextlib.contextmanager
def drained(child: subprocess.Popen[str]) -> Iterator[None]:
    """Keep reading what a server says, so that it never waits for a full pipe."""
    import threading

    assert child.stdout is not None
    reader = threading.Thread(target=child.stdout.read, daemon=True)
    reader.start()
    yield
    child.terminate()
    reader.join(timeout=30)


def machine() -> str:
    """Say what the numbers were measured on and with."""
    packages = []
    for name in ("numpy", "h5py", "starlette", "uvicorn", "blake3"):
        with contextlib.suppress(PackageNotFoundError):
            packages.append(f"{name} {version(name)}")
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, {', '.join(packages)}"
    )
