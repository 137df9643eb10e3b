"""Starting Tiled's own server of a release, and the fixture that goes through the releases."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from originals.environments import TILED, environment_of
from served import drained


@pytest.fixture(scope="module", params=TILED)
def release(request) -> str:
    """Name a release of Tiled."""
    return str(request.param)


@contextlib.contextmanager
def tiled_serving(
    release: str, command: Sequence[object], done: str, cwd: Path | None = None
) -> Iterator[str]:
    """Run `tiled serve COMMAND` until the block ends; give its address when it has said `done`."""
    server = subprocess.Popen(
        [environment_of(f"tiled-{release}").parent / "tiled", "serve", *map(str, command), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
    )
    watchdog = threading.Timer(300, server.kill)
    watchdog.start()
    try:
        address = ready(server, done)
        with drained(server):
            yield address
    finally:
        watchdog.cancel()
        server.terminate()
        server.wait(timeout=30)


def ready(server: subprocess.Popen[str], done: str) -> str:
    """Read what a server says until it is ready; return its address."""
    assert server.stdout is not None
    said, address, is_done = [], "", False
    for line in server.stdout:
        said.append(line)
        address = address or "".join(re.findall(r"http://127\.0\.0\.1:\d+", line)[:1])
        is_done = is_done or done in line
        if address and is_done:
            return address
    raise AssertionError("Tiled did not start:\n" + "".join(said[-20:]))
