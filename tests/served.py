"""Start the real `holdfast serve` as a user does, in its own process, and stop it again."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KEY = "f00d" * 16
SOURCE = Path(__file__).parent.parent / "src"


@dataclass(frozen=True)
class Served:
    """A running server: where it is, what opens it, and its process."""

    url: str
    key: str
    process: subprocess.Popen[str]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a child that imports this checkout and no setting of the caller."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return {**kept, "PYTHONPATH": str(SOURCE), "PYTHONWARNINGS": "default", **more}


def holdfast(*arguments: object, timeout_s: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command line once and return what it said."""
    command = [sys.executable, "-m", "holdfast", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment(**settings)
    )


@contextlib.contextmanager
def served(*arguments: object, timeout_s: float = 60, **settings: str) -> Iterator[Served]:
    """Run `holdfast serve ARGUMENTS --port 0` until the block ends; the key it accepts is `KEY`."""
    command = [sys.executable, "-m", "holdfast", "serve", *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(HOLDFAST_API_KEY=KEY, **settings),
        start_new_session=True,
    )
    watchdog = threading.Timer(timeout_s, process.kill)
    watchdog.start()
    try:
        url = address(process)
        with drained(process):
            yield Served(url, KEY, process)
            stop(process)
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.kill()
            process.wait(timeout=15)


@contextlib.contextmanager
def drained(process: subprocess.Popen[str]) -> Iterator[None]:
    """Keep reading what a server says, so that it never waits for a full pipe; end it with the block."""
    assert process.stdout is not None
    reader = threading.Thread(target=process.stdout.read, daemon=True)
    reader.start()
    try:
        yield
    finally:
        process.terminate()
        reader.join(timeout=15)
        process.stdout.close()


def address(process: subprocess.Popen[str]) -> str:
    """Read the output up to the line that names the address."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            return found[0]
    raise AssertionError("the server said no address:\n" + "".join(said))


def stop(process: subprocess.Popen[str]) -> None:
    """Stop a server as Ctrl-C does, and be sure that it went."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=15)
        raise AssertionError("the server did not stop within 15 s of SIGINT") from None
