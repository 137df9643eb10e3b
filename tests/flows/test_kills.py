"""kill -9 at any moment: the next run just works, nothing is lost, nothing half-made is shown."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import holdfast as hf
from flows.wire import ask
from served import KEY, environment, holdfast, served

pytestmark = pytest.mark.slow
FILES = 120


@pytest.fixture
def directory(tmp_path) -> Path:
    root = tmp_path / "lab"
    for number in range(FILES):
        (root / f"d{number % 10}").mkdir(parents=True, exist_ok=True)
        np.save(root / f"d{number % 10}" / f"a{number:03d}.npy", np.full(20_000, number))
    return root


def killed_after(seconds: float, *arguments: object) -> int:
    """Run a command and kill it with all its children; return its exit code."""
    command = [sys.executable, "-m", "holdfast", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(HOLDFAST_API_KEY=KEY),
        start_new_session=True,
    )
    time.sleep(seconds)  # the moment of the crash, not a wait for something
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait(timeout=30)


def duration(*arguments: object) -> float:
    started = time.monotonic()
    done = holdfast(*arguments)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - started


def everything_is_there(root: Path) -> None:
    with hf.from_catalog(root) as client:
        for number in range(FILES):
            assert client[f"d{number % 10}/a{number:03d}.npy"][0] == number
    report = hf.check(root)
    assert report.ok, list(report.findings)


def test_an_index_killed_anywhere_is_completed_by_the_next(directory, tmp_path):
    import shutil

    whole = tmp_path / "whole"
    shutil.copytree(directory, whole)
    longest = duration("index", whole)
    chance = random.Random(1)
    killed = 0
    for _ in range(10):
        shutil.rmtree(directory / ".holdfast", ignore_errors=True)
        for _ in range(2):
            killed += killed_after(chance.uniform(0, longest), "index", directory) == -signal.SIGKILL
        assert holdfast("index", directory).returncode == 0
        everything_is_there(directory)
    assert killed >= 5


def test_a_download_killed_anywhere_is_resumed_and_shows_nothing_half_made(directory, tmp_path):
    assert holdfast("index", directory).returncode == 0
    chance = random.Random(2)
    with served(directory, timeout_s=300) as server:
        longest = duration("download", server.url, tmp_path / "whole", "--api-key", KEY)
        for round_number in range(8):
            target = tmp_path / f"taken{round_number}"
            killed_after(chance.uniform(0.2, longest), "download", server.url, target, "--api-key", KEY)
            if target.exists():
                assert (target / "catalog.db").exists()
                assert hf.check(target).ok
            resumed = holdfast("download", server.url, target, "--api-key", KEY)
            assert resumed.returncode == 0, resumed.stderr
            everything_is_there(target)
            left = {path.name for path in tmp_path.iterdir() if path.name.startswith((".", "taken"))}
            assert left == {f"taken{number}" for number in range(round_number + 1)}


def test_a_server_killed_while_it_lists_and_digests_starts_again(directory):
    for seconds in (0.3, 0.6, 0.9, 1.5):
        killed_after(seconds, "serve", directory, "--port", "0")
    with served(directory, "--watch", "1", timeout_s=120) as server:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            count = ask(server.url, "/api/v1/search/d3?fields=count").json()
            if count.get("meta", {}).get("count") == FILES // 10:
                break
    assert holdfast("index", directory).returncode == 0
    everything_is_there(directory)
