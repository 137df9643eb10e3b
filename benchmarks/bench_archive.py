"""The archive against asimov 0.8.0's Store and against ``cp`` and ``md5sum``, the same job in the same run.

asimov's side runs in its own environment (scripts/originals asimov-0.8.0); without it its rows are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import Row, Scale, child_environment, milliseconds, original, rate, same, timed

from holdfast.archive import Archive

__all__ = ["rows"]

ORIGINAL = """
import hashlib, json, os, sys, time
from asimov.storage import Store
root, what, *rest = sys.argv[1:]

def timed(call, rounds=1):
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        value = call()
        times.append(time.perf_counter() - started)
    return value, sorted(times)[len(times) // 2]

def added(paths):
    store = Store(root)
    return [store.add_file("S1", "Prod0", path)["hash"] for path in paths]

if what == "add":
    Store.create(root, "Benchmark")
    paths = [os.path.join(rest[0], name) for name in sorted(os.listdir(rest[0]))]
    answer, seconds = timed(lambda: added(paths))
elif what == "open":
    answer, seconds = timed(lambda: Store(root).manifest.data["name"], 3)
else:
    store = Store(root)
    answer, seconds = timed(lambda: store.fetch_file("S1", "Prod0", rest[0]), int(rest[1]))
    answer = hashlib.md5(open(answer, "rb").read()).hexdigest()
print(json.dumps([answer, seconds]))
"""
PEAK = """
import re, sys
from pathlib import Path
from holdfast.archive import Archive

def peak_kib():
    # Not getrusage: that remembers what this process was before it became Python.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

archive = Archive(sys.argv[1])
archive.add_file("S0", "Prod0", sys.argv[2])
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
idle = peak_kib()
archive.add_file("S0", "Prod0", sys.argv[3])
print(peak_kib() - idle)
"""
MIB = 1024 * 1024


def rows(scale: Scale) -> Iterator[Row]:
    """Give the rows of the table about the archive."""
    python = original("asimov-0.8.0")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        yield from small_files(scale, home / "small", python)
        yield from many_entries(scale, home / "many", python)
        yield from one_large_file(scale, home / "large", python)


def asimov(python: Path, *arguments: object) -> tuple[Any, float]:
    """Have the original do a job; return its answer and its seconds, measured in its own process."""
    command = [str(python), "-W", "ignore", "-c", ORIGINAL, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=3000)
    answer, seconds = json.loads(done.stdout)
    return answer, seconds


def write_files(directory: Path, count: int, size: int) -> list[Path]:
    directory.mkdir(parents=True)
    paths = [directory / f"f{number:05d}" for number in range(count)]
    for path in paths:
        path.write_bytes(os.urandom(size))
    return paths


def small_files(scale: Scale, home: Path, python: Path | None) -> Iterator[Row]:
    """2,000 files of 1 KB: one by one, beside what a careful script does by hand, and as a tree."""
    count = scale(2000, 50)
    paths = write_files(home / "source", count, 1000)
    os.sync()
    with Archive.create(home / "store", "Benchmark") as archive:
        (home / "copies").mkdir()
        ours, by_hand, hashes = 0.0, 0.0, []
        for start in range(0, count, 50):
            chunk = paths[start : start + 50]
            ours += timed(
                lambda chunk=chunk: hashes.extend(
                    archive.add_file("S1", "Prod0", path)["hash"] for path in chunk
                )
            )
            by_hand += timed(lambda chunk=chunk: copy_durably(chunk, home / "copies"))
        same("add: hashes", hashes, [hashlib.md5(path.read_bytes()).hexdigest() for path in paths])
        work = f"add {count} files of 1 KB one by one, each durable"
        yield Row(
            work,
            milliseconds(ours / count),
            f"cp + md5 + 3 fsyncs {milliseconds(by_hand / count)}",
            ours / by_hand,
            1.5,
        )
        if python is not None:
            theirs, seconds = asimov(python, home / "asimov", "add", home / "source")
            same("add: hashes of the original", hashes, theirs)
            yield Row(
                work,
                milliseconds(ours / count),
                f"asimov {milliseconds(seconds / count)}",
                seconds / ours,
                100,
                False,
            )
        yield trees(scale, home, archive, count)


def trees(scale: Scale, home: Path, archive: Archive, count: int) -> Row:
    """Whole directories of contents that the archive does not have, beside ``cp`` and ``md5sum``.

    The disk is at rest before each: neither side waits for what was written before it.
    """
    tree, plain = [], []
    for number in range(scale(3, 1)):
        paths = write_files(home / f"tree{number}", count, 1000)
        os.sync()
        added: list[dict[str, Any]] = []
        tree.append(
            timed(
                lambda number=number, added=added: added.extend(
                    archive.add_tree("S2", f"Prod{number}", home / f"tree{number}")
                )
            )
        )
        os.sync()
        plain.append(timed(lambda number=number: copy_and_sum(home, number)))
        expected = [hashlib.md5(path.read_bytes()).hexdigest() for path in paths]
        same("tree: hashes", [each["hash"] for each in added], expected)
    return Row(
        f"add_tree of {count} such files",
        milliseconds(min(tree)),
        f"cp + md5sum, not durable {milliseconds(min(plain))}",
        min(tree) / min(plain),
        6,
    )


def copy_durably(paths: list[Path], target: Path) -> None:
    """Copy, hash and sync by hand: the file, its name, and a line of a log."""
    for path in paths:
        content = path.read_bytes()
        with open(target / path.name, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        descriptor = os.open(target, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        with open(target / "log", "a") as log:
            log.write(f"{hashlib.md5(content).hexdigest()}  {path.name}\n")
            log.flush()
            os.fsync(log.fileno())


def copy_and_sum(home: Path, number: int) -> None:
    target = home / f"plain{number}"
    subprocess.run(["cp", "-r", home / f"tree{number}", target], check=True)
    listed = [str(path) for path in sorted(target.iterdir())]
    subprocess.run(["md5sum", *listed], check=True, stdout=subprocess.DEVNULL)


def many_entries(scale: Scale, home: Path, python: Path | None) -> Iterator[Row]:
    """10,000 entries: what the next add, a fetch and an opening cost."""
    count, rounds = scale(10_000, 200), scale(200, 20)
    write_files(home / "tree", count - rounds, 100)
    paths = write_files(home / "more", 2 * rounds, 1000)
    with (
        Archive.create(home / "big", "Benchmark") as big,
        Archive.create(home / "little", "Benchmark") as little,
    ):
        big.add_tree("S1", "Prod0", home / "tree")
        for path in paths[:20]:
            little.add_file("S0", "Prod0", path)
        costs = [
            (
                timed(lambda path=path: big.add_file("S2", "Prod0", path)),
                timed(lambda path=path: little.add_file("S2", "Prod0", path)),
            )
            for path in paths[:rounds]
        ]
        late, early = (statistics.median(pair[side] for pair in costs) for side in (0, 1))
        yield Row(
            f"the {count}th add over the 100th",
            milliseconds(late),
            f"the 100th {milliseconds(early)}",
            late / early,
            1.2,
        )
        name = f"f{count // 2:05d}"
        answer = hashlib.md5(Path(big.fetch_file("S1", "Prod0", name)).read_bytes()).hexdigest()
        fetched = statistics.median(timed(lambda: big.fetch_file("S1", "Prod0", name)) for _ in range(rounds))
    opened = statistics.median(timed(lambda: Archive(home / "big").close()) for _ in range(5))
    if python is None:
        return
    theirs, seconds = asimov(python, home / "big", "fetch", name, 20)
    same("fetch of one of many", answer, theirs)
    yield Row(
        f"fetch one of {count} small files",
        milliseconds(fetched),
        f"asimov {milliseconds(seconds)}",
        seconds / fetched,
        20,
        False,
    )
    theirs, seconds = asimov(python, home / "big", "open")
    same("open: name", theirs, "Benchmark")
    yield Row(
        f"open a store of {count}",
        milliseconds(opened),
        f"asimov {milliseconds(seconds)}",
        seconds / opened,
        20,
        False,
    )


def one_large_file(scale: Scale, home: Path, python: Path | None) -> Iterator[Row]:
    """One file of 1 GiB: in, out, and the memory that takes."""
    size = scale(1024, 8) * MIB
    home.mkdir()
    source = home / "source" / "big"
    source.parent.mkdir()
    with open(source, "wb") as file:
        file.writelines(os.urandom(MIB) for _ in range(size // MIB))
    with open(source, "rb") as file:
        expected = hashlib.file_digest(file, "md5").hexdigest()
    rounds = scale(2, 1)
    added, quick, copied, fetched, theirs_added, theirs_fetched = [], [], [], [], [], []
    for number in range(rounds):
        with Archive.create(home / f"store{number}", "Benchmark") as archive:
            started = time.perf_counter()
            same("large file: md5", archive.add_file("S1", "Prod0", source)["hash"], expected)
            added.append(time.perf_counter() - started)
            fetched.append(timed(lambda archive=archive: archive.fetch_file("S1", "Prod0", "big")))
        if python is not None:
            [answer], seconds = asimov(python, home / f"asimov{number}", "add", source.parent)
            same("large file: md5 of the original", answer, expected)
            theirs_added.append(seconds)
            theirs_fetched.append(asimov(python, home / f"asimov{number}", "fetch", "big", 1)[1])
            shutil.rmtree(home / f"asimov{number}")
        with Archive.create(home / f"quick{number}", "Benchmark") as archive:
            quick.append(timed(lambda archive=archive: archive.add_file("S1", "Prod0", source, md5=False)))
        copied.append(timed(lambda: subprocess.run(["cp", source, home / "copy"], check=True)))
        for name in (f"store{number}", f"quick{number}"):
            shutil.rmtree(home / name)
        (home / "copy").unlink()
    label = f"{size // MIB} MiB"
    if python is not None:
        yield Row(
            f"add one {label} file, three digests, durable",
            rate(size, min(added)),
            f"asimov, not durable {rate(size, min(theirs_added))}",
            min(theirs_added) / min(added),
            1.3,
            False,
        )
        yield Row(
            f"fetch one {label} file, verified",
            rate(size, min(fetched)),
            f"asimov {rate(size, min(theirs_fetched))}",
            min(theirs_fetched) / min(fetched),
            8,
            False,
        )
    yield Row(
        f"add one {label} file without md5, durable",
        rate(size, min(quick)),
        f"cp {rate(size, min(copied))}",
        min(quick) / min(copied),
        4,
    )
    yield memory(home, source, label)


def memory(home: Path, source: Path, label: str) -> Row:
    Archive.create(home / "memory", "Benchmark").close()
    (home / "tiny").write_bytes(b"tiny")
    command = [sys.executable, "-c", PEAK, str(home / "memory"), str(home / "tiny"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=child_environment())
    extra = int(done.stdout) / 1024
    return Row(
        f"peak memory adding {label}, above idle",
        f"{extra:.0f} MiB",
        "asimov 1,040 MB",
        extra,
        64,
        unit="MiB",
    )
