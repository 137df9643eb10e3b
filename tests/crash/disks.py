"""Disks that fill up, turn read-only or lose power: file systems in files, mounted by root."""

import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from crash.machine import need_mounts
from crash.operations import Operation, Outcome

__all__ = ["LoopDisk", "cut_power", "loop_disk", "small_disk"]

_SHUTDOWN = 0x8004587D
_DROP_JOURNAL, _FLUSH_JOURNAL = 2, 1


class LoopDisk:
    """A mounted file system whose power can be cut."""

    def __init__(self, place: Path, kind: str, size_mb: int) -> None:
        name, *options = kind.split()
        self.image, self.path, self.kind = place / "image", place / "mount", name
        self.path.mkdir(parents=True)
        with open(self.image, "wb") as file:
            file.truncate(max(size_mb, 320 if name == "xfs" else 16) << 20)
        _run(f"mkfs.{name}", "-q", *options, str(self.image))
        self._mount()

    def _mount(self) -> None:
        _run("mount", "-o", "loop", str(self.image), str(self.path))

    def cut(self, *, flush_journal: bool = False, process: "subprocess.Popen[str] | None" = None) -> None:
        """Lose power: what was not synced is gone. The process dies; the disk comes back."""
        descriptor = os.open(self.path, os.O_RDONLY)
        flag = _FLUSH_JOURNAL if flush_journal else _DROP_JOURNAL
        fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", flag))
        os.close(descriptor)
        if process is not None:
            process.kill()
            process.wait()
        self.close()
        self._mount()

    def remount(self, option: str) -> None:
        """Mount again with an option: ``ro`` or ``rw``."""
        _run("mount", "-o", f"remount,{option}", str(self.path))

    def close(self) -> None:
        """Unmount."""
        _unmount(self.path)


@contextmanager
def loop_disk(place: Path, kind: str = "ext4", size_mb: int = 32) -> Iterator[LoopDisk]:
    """Make and mount a file system in a file below `place`; skip where that cannot be done.

    Options of its maker may follow its name.
    """
    need_mounts(kind.split()[0])
    disk = LoopDisk(place, kind, size_mb)
    try:
        yield disk
    finally:
        disk.close()


@contextmanager
def small_disk(place: Path, size: str = "1m") -> Iterator[Path]:
    """Mount a tmpfs of some size below `place`, to be filled up."""
    need_mounts()
    path = place / "small"
    path.mkdir(parents=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))
    try:
        yield path
    finally:
        _unmount(path)


def cut_power(
    disk: LoopDisk,
    operation: Operation,
    verify: Callable[[Path, Outcome], None],
    *,
    acks: int = 1,
    flush_journal: bool = False,
) -> int:
    """Run an operation that goes on and on, cut the power after `acks` acknowledgements, verify.

    Returns
    -------
    int
        How many acknowledgements were there before the cut: all that `verify` may rely on.
    """
    directory = disk.path / f"run-{time.monotonic_ns()}"
    directory.mkdir()
    _run("sync", "-f", str(disk.path))
    process = operation.start(directory)
    try:
        seen = [process.stdout.readline().rstrip("\n") for _ in range(acks)]
        assert all(seen), f"the operation ended after {seen}"
        # On xfs an fsync after the shutdown may claim success: only what was read before it counts.
        disk.cut(flush_journal=flush_journal, process=process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    verify(directory, Outcome(seen, -9))
    return len(seen)


def _unmount(path: Path) -> None:
    for _ in range(50):
        if (
            subprocess.run(["umount", str(path)], capture_output=True, check=False, timeout=30).returncode
            == 0
        ):
            return
        time.sleep(0.05)  # a killed process may still be closing its files
    _run("umount", "-l", str(path))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
