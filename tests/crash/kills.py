"""Kill an operation before each of its system calls, or let each of them fail (strace)."""

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from crash.machine import need_strace
from crash.operations import Operation, Outcome

__all__ = ["CALLS", "Point", "fail_everywhere", "kill_everywhere", "points", "run_with_fault"]

CALLS = tuple(
    """
    open openat creat close write pwrite64 writev pwritev read pread64 lseek fsync fdatasync syncfs
    sync_file_range rename renameat renameat2 link linkat unlink unlinkat mkdir mkdirat rmdir
    symlink symlinkat truncate ftruncate fallocate chmod fchmod fchmodat chown fchown fchownat
    setxattr fsetxattr utimensat flock fcntl copy_file_range sendfile statfs
    """.split()
)
"""The calls between which what lies on a disk, or a lock, can differ."""

_LINE = re.compile(r"(?:(?P<thread>\d+)\s+)?(?P<name>\w+)\(")


@dataclass(frozen=True)
class Point:
    """The `number`-th call of this name in its thread, counted from the start of the process."""

    name: str
    number: int
    text: str = ""

    def fault(self, what: str) -> str:
        """Return the fault in strace's words: ``signal=KILL`` or ``error=EIO``."""
        return f"{self.name}:{what}:when={self.number}"


def points(operation: Operation, directory: Path, calls: Iterable[str] = CALLS) -> list[Point]:
    """Run the operation once, undisturbed, and return its calls.

    Raises AssertionError when it does not reach its end.
    """
    need_strace()
    with tempfile.NamedTemporaryFile("r", suffix=".strace") as log:
        outcome = operation.run(directory, _strace(log.name, calls))
        assert outcome.code == 0, outcome.error
        return list(_between_marks(log.read().splitlines()))


def _between_marks(lines):
    counts, inside = Counter(), False
    for line in lines:
        if "crash-begin" in line or "crash-end" in line:
            inside = "crash-begin" in line
        found = _LINE.match(line)
        if found is None or "resumed>" in line.split("(")[0]:
            continue
        counts[found["thread"], found["name"]] += 1
        if inside and "crash-begin" not in line and " write(1, " not in line:
            yield Point(found["name"], counts[found["thread"], found["name"]], line)


def _strace(log: str, calls: Iterable[str], fault: str | None = None) -> list[str]:
    traced = ",".join(sorted({*calls, "mkdir"}))
    command = ["strace", "-f", "-qq", "-s", "60", "-o", log, "-e", f"trace={traced}"]
    return command if fault is None else [*command, "-e", f"inject={fault}"]


def run_with_fault(operation: Operation, directory: Path, fault: str) -> Outcome:
    """Run the operation with one fault in strace's words, such as ``fsync:error=EIO:when=1``."""
    need_strace()
    return operation.run(directory, _strace("/dev/null", CALLS, fault))


def kill_everywhere(
    operation: Operation,
    make: Callable[[], Path],
    verify: Callable[[Path, Outcome], None],
    calls: Iterable[str] = CALLS,
) -> int:
    """Kill the operation before each of its system calls, each time in a fresh directory.

    Parameters
    ----------
    operation : Operation
        What is killed.
    make : callable
        Returns a fresh directory in the state from which the operation starts.
    verify : callable
        Takes the directory and what was acknowledged before the kill; raises AssertionError.
    calls : iterable of str, optional
        Names of system calls.

    Returns
    -------
    int
        The number of kills.
    """
    return _everywhere(operation, make, verify, calls, "signal=KILL")


def fail_everywhere(
    operation: Operation,
    make: Callable[[], Path],
    verify: Callable[[Path, Outcome], None],
    calls: Iterable[str],
    error: str = "EIO",
) -> int:
    """Let each call of some names fail once with an error; otherwise as `kill_everywhere`."""
    return _everywhere(operation, make, verify, calls, f"error={error}")


def _everywhere(operation, make, verify, calls, what) -> int:
    calls = tuple(calls)
    found = list(dict.fromkeys((point.name, point.number) for point in points(operation, make(), calls)))
    assert found, "the operation makes none of these calls"
    for name, number in found:
        point = Point(name, number)
        directory = make()
        outcome = operation.run(directory, _strace("/dev/null", calls, point.fault(what)))
        try:
            verify(directory, outcome)
        except AssertionError as error:
            error.add_note(f"with {point.fault(what)}; acknowledged {outcome.acks}; {outcome.error[-2000:]}")
            raise
    return len(found)
