"""Where the originals' environments are, and how a test talks with one."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

TILED = ("0.2.20", "0.2.19", "0.2.16")
"""The releases of Tiled that must work with us, the newest first."""

CONVERSATION = Path(__file__).parent / "conversation.py"


class RefusedError(Exception):
    """What the original raised: the names of its classes, its message and its traceback."""

    def __init__(self, kinds: list[str], message: str, traceback: str) -> None:
        super().__init__(f"{kinds[0]}: {message}\n{traceback}")
        self.kinds, self.message = kinds, message


class Conversation:
    """One process of an original's Python that evaluates what it is told."""

    def __init__(self, python: Path, directory: Path) -> None:
        self.process = subprocess.Popen(
            [python, "-W", "ignore", CONVERSATION],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=directory,
            env={"PATH": os.environ["PATH"], "HOME": str(directory), "TILED_RETRY_ATTEMPTS": "1"},
        )

    def __call__(self, code: str, timeout_s: float = 60) -> Any:
        """Run `code` there; return the value of its last expression, or raise `RefusedError`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        watchdog = threading.Timer(timeout_s, self.process.kill)
        watchdog.start()
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        watchdog.cancel()
        assert line, f"the original died or took over {timeout_s} s at:\n{code}"
        answer = json.loads(line)
        if "kinds" in answer:
            raise RefusedError(**answer)
        return answer["value"]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def environment_of(name: str) -> Path:
    """Return the Python of an original's environment, or skip saying how to make it."""
    named = os.environ.get("HOLDFAST_ORIGINALS")
    home = Path(named) if named else Path.home() / ".cache" / "holdfast" / "originals"
    python = home / name / "bin" / "python"
    if not (home / name / "requirements.json").exists():
        pytest.skip(f"no environment of {name}; run: scripts/originals {name}")
    return python
