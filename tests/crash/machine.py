"""What crash tests need of the machine; a test that cannot run skips with the reason."""

import functools
import os
import shutil
import subprocess

import pytest

__all__ = ["need_mounts", "need_strace"]


def need_strace():
    """Skip unless system calls can be injected here."""
    if reason := _strace_fault():
        pytest.skip(reason)


def need_mounts(kind="ext4"):
    """Skip unless a file system of this kind can be made in a file and mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    for program in (f"mkfs.{kind}", "mount", "umount"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("this kernel has no loop devices")


@functools.cache
def _strace_fault():
    if shutil.which("strace") is None:
        return "strace is not installed"
    command = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "inject=mkdir:error=EIO",
        "mkdir",
        "/proc/crash",
    ]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return "" if "Input/output" in tried.stderr else f"strace cannot inject faults here: {tried.stderr[:200]}"
