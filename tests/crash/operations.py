"""A program that does one operation in a process of its own, to be killed, cut off or refused.

`prepare` and `body` are Python text. Both see `directory` (a Path); `body` tells what it holds for done with
`ack("text")`. Kills and faults strike only in `body`.
"""

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Operation", "Outcome"]

_FRAME = """\
import os, pathlib, sys
directory = pathlib.Path(sys.argv[1])
def ack(text):
    os.write(1, (str(text) + "\\n").encode())
def _mark(name):
    try:
        os.mkdir("/proc/crash-" + name)
    except OSError:
        pass
{prepare}
_mark("begin")
{body}
_mark("end")
"""


@dataclass(frozen=True)
class Outcome:
    """How an operation ended: what it acknowledged, its exit code (negative: a signal), its error text."""

    acks: list[str]
    code: int
    error: str = ""


@dataclass(frozen=True)
class Operation:
    """Python text to run elsewhere."""

    body: str
    prepare: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, directory: Path) -> list[str]:
        """Return the command line."""
        source = _FRAME.format(prepare=textwrap.dedent(self.prepare), body=textwrap.dedent(self.body))
        return [sys.executable, "-c", source, str(directory)]

    def variables(self) -> dict[str, str]:
        """Return an environment in which each run makes the same system calls."""
        path = os.pathsep.join(filter(None, sys.path))
        fixed = {"PYTHONHASHSEED": "0", "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        return {**os.environ, **fixed, **self.environment}

    def run(self, directory: Path, before: list[str] | None = None, timeout_s: float = 60) -> Outcome:
        """Run to the end, behind a command such as strace if given."""
        done = subprocess.run(
            [*(before or []), *self.command(directory)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=self.variables(),
        )
        return Outcome(done.stdout.split("\n")[:-1], done.returncode, done.stderr)

    def start(self, directory: Path) -> "subprocess.Popen[str]":
        """Start, with its acknowledgements on a pipe."""
        return subprocess.Popen(
            self.command(directory), stdout=subprocess.PIPE, text=True, env=self.variables()
        )
