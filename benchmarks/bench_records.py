"""Records beside h5py, numpy and zarr 3 doing the same work: whole arrays, slices, small ones, appends.

Ours verifies every byte that it reads, the others none; durability is the same on both sides of a row.
"""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from measure import Row, Scale, back_to_back, milliseconds, original, rate, same, timed

from holdfast.records import Record

__all__ = ["rows"]

ROUNDS = 7
ZARR = """
import json, statistics, sys, time
import numpy as np, zarr
directory, rounds = sys.argv[1], int(sys.argv[2])
expected = np.load(directory + "/plain.npy")
array = zarr.open_array(directory + "/zarr", mode="r")
def timed(call):
    started = time.perf_counter(); value = call(); return time.perf_counter() - started, value
def slice_of_it():
    start = len(expected) // 2 + 5
    return zarr.open_array(directory + "/zarr", mode="r")[start : start + 131072]
reads = [timed(lambda: array[:]) for _ in range(rounds)]
slices = [timed(slice_of_it) for _ in range(rounds * 5)]
assert np.array_equal(reads[0][1], expected)
print(json.dumps({
    "read": statistics.median(t for t, _ in reads),
    "slice": statistics.median(t for t, _ in slices),
    "sum": float(slices[0][1].sum()),
}))
"""
MAKE_ZARR = """
import sys
import numpy as np, zarr
directory = sys.argv[1]
data = np.load(directory + "/plain.npy")
zarr.create_array(store=directory + "/zarr", data=data, chunks=(min(1 << 20, len(data)),), compressors=None)
"""


def rows(scale: Scale) -> Iterator[Row]:
    """Give the rows of the table."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("HOLDFAST_BENCH_DIR")) as place:
        directory = Path(place)
        data = np.random.default_rng(5).random(scale(32 << 20, 1 << 17))
        yield from large(directory, data)
        yield from slices(directory, data)
        yield from small(directory, scale(300, 20))
        yield from appends(directory, scale(2000, 30))
        yield from together(directory, scale(5000, 30))
        yield listing(directory, scale(10_000, 100))


def large(directory: Path, data: np.ndarray) -> Iterator[Row]:
    record = Record(directory / "record", durability="os")
    np.save(directory / "plain.npy", data)

    def write_ours() -> None:
        record["data"] = data

    def write_h5py() -> None:
        with h5py.File(directory / "plain.h5", "w") as file:
            file["data"] = data

    ours, theirs = back_to_back(write_ours, write_h5py, ROUNDS)
    yield Row(
        "write 256 MB, digests included, os",
        rate(data.nbytes, ours),
        f"h5py {rate(data.nbytes, theirs)}",
        theirs / ours,
        0.8,
        False,
    )
    same("read 256 MB", True, np.array_equal(record["data"], data))
    ours, theirs = back_to_back(lambda: record["data"], lambda: np.load(directory / "plain.npy"), ROUNDS)
    bar = 0.5 if os.getloadavg()[0] < 1 else 0.35
    yield Row(
        "read 256 MB, verified",
        rate(data.nbytes, ours),
        f"np.load {rate(data.nbytes, theirs)}",
        theirs / ours,
        bar,
        False,
    )
    zarr = zarr_times(directory)
    if zarr is not None:
        ours = statistics.median(timed(lambda: record["data"]) for _ in range(ROUNDS))
        yield Row(
            "read 256 MB, verified",
            rate(data.nbytes, ours),
            f"zarr 3 {rate(data.nbytes, zarr['read'])}",
            zarr["read"] / ours,
            2,
            False,
        )


def zarr_times(directory: Path) -> dict[str, float] | None:
    python = original("zarr-3")
    if python is None:
        return None
    if not (directory / "zarr").exists():
        subprocess.run([python, "-c", MAKE_ZARR, directory], check=True)
    done = subprocess.run(
        [python, "-c", ZARR, directory, str(ROUNDS)], check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def slices(directory: Path, data: np.ndarray) -> Iterator[Row]:
    record, start = Record(directory / "record"), len(data) // 2 + 5
    wanted = slice(start, start + 131_072)

    def ours() -> np.ndarray:
        with record.open("data") as view:
            return view[wanted]

    def theirs() -> np.ndarray:
        with h5py.File(directory / "plain.h5") as file:
            return file["data"][wanted]

    same("slice", ours().tobytes(), theirs().tobytes())
    one, other = back_to_back(ours, theirs, ROUNDS * 5)
    yield Row(
        "1 MiB slice out of 256 MB, verified",
        milliseconds(one),
        f"h5py {milliseconds(other)}",
        one / other,
        2,
    )
    zarr = zarr_times(directory)
    if zarr is not None:
        same("slice in zarr", float(ours().sum()), zarr["sum"])
        one = statistics.median(timed(ours) for _ in range(ROUNDS * 5))
        yield Row(
            "1 MiB slice out of 256 MB, verified",
            milliseconds(one),
            f"zarr 3 {milliseconds(zarr['slice'])}",
            zarr["slice"] / one,
            4,
            False,
        )


def small(directory: Path, count: int) -> Iterator[Row]:
    for durability, bar in (("os", 1.2), ("sync", 0.5)):
        pair = SmallArrays(directory / f"small-{durability}", durability, count)
        ours, theirs = back_to_back(pair.write_ours, pair.write_h5py, 5)
        each = f"{ours / count * 1e6:.0f} us"
        reference = f"h5py {theirs / count * 1e6:.0f} us"
        yield Row(f"write 1 KB arrays, {durability}", each, reference, theirs / ours, bar, False)
        ours, theirs = back_to_back(pair.overwrite_ours, pair.overwrite_h5py, 5)
        each = f"{ours / count * 1e6:.0f} us"
        reference = f"h5py {theirs / count * 1e6:.0f} us"
        yield Row(
            f"write 1 KB arrays over old ones, {durability}", each, reference, theirs / ours, bar, False
        )
    ours, theirs = back_to_back(pair.read_ours, pair.read_h5py, 5)
    each, reference = f"{ours / count * 1e6:.0f} us", f"h5py {theirs / count * 1e6:.0f} us"
    yield Row("read 1 KB arrays, verified", each, reference, theirs / ours, 2, False)


class SmallArrays:
    """Write small arrays into a new directory at each call, over the latest ones, and read those."""

    def __init__(self, directory: Path, durability: str, count: int) -> None:
        self._directory, self._count, self._is_synced = directory, count, durability == "sync"
        self._record = Record(directory / "ours", durability=durability)
        self._plain, self._calls = directory / "plain", 0
        self._row = np.arange(128.0)

    def write_ours(self) -> None:
        self._calls += 1
        self.overwrite_ours()

    def overwrite_ours(self) -> None:
        for number in range(self._count):
            self._record[f"{self._calls}/e{number}"] = self._row

    def write_h5py(self) -> None:
        (self._plain / str(self._calls)).mkdir(parents=True)
        self.overwrite_h5py()

    def overwrite_h5py(self) -> None:
        for number in range(self._count):
            path = self._plain / str(self._calls) / f"e{number}.h5"
            with h5py.File(path, "w") as file:
                file["data"] = self._row
            if self._is_synced:
                synced(path)

    def read_ours(self) -> list[np.ndarray]:
        return [self._record[f"{self._calls}/e{number}"] for number in range(self._count)]

    def read_h5py(self) -> list[np.ndarray]:
        return [read_plain(self._plain / str(self._calls) / f"e{number}.h5") for number in range(self._count)]


def synced(path: Path) -> None:
    for each in (path, path.parent):
        descriptor = os.open(each, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def read_plain(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["data"][()]


def appends(directory: Path, count: int) -> Iterator[Row]:
    row = np.arange(128.0)
    for durability, bar in (("group", 10.0), ("sync", 2.5)):
        record = Record(directory / f"appends-{durability}", durability=durability)
        plain = Locked(directory / f"appends-{durability}.h5", is_synced=durability == "sync")

        def ours() -> None:
            for _ in range(count):
                record.append("rows", row)  # noqa: B023

        def theirs() -> None:
            for _ in range(count // 10):
                plain.append(row)  # noqa: B023

        one, other = back_to_back(ours, theirs, 5)
        one, other = one / count, other / (count // 10)
        record.close()
        same("rows", (count * 5, 128), record["rows"].shape)
        yield Row(
            f"append 1 KB rows, {durability}",
            f"{one * 1e6:.0f} us",
            f"h5py under a lock {other * 1e6:.0f} us",
            other / one,
            bar,
            False,
        )


class Locked:
    """Append to an HDF5 file the way that is safe: lock, open, append, close, and sync where asked."""

    def __init__(self, path: Path, *, is_synced: bool) -> None:
        self._path, self._is_synced = path, is_synced
        self._lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR)
        with h5py.File(path, "w") as file:
            file.create_dataset("data", (0, 128), "f8", maxshape=(None, 128), chunks=(32, 128))

    def append(self, row: np.ndarray) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        with h5py.File(self._path, "r+", locking=False) as file:
            data = file["data"]
            data.resize(len(data) + 1, 0)
            data[-1] = row
        if self._is_synced:
            descriptor = os.open(self._path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        fcntl.flock(self._lock, fcntl.LOCK_UN)


def together(directory: Path, count: int) -> Iterator[Row]:
    for durability in ("group", "sync"):
        name = f"together-{durability}"
        pairs = [
            (
                seconds_of(directory / f"{name}-1-{n}", durability, 1, 4 * count),
                seconds_of(directory / f"{name}-4-{n}", durability, 4, count),
            )
            for n in range(3)
        ]
        one, four = (statistics.median(times) for times in zip(*pairs, strict=True))
        alone, with_others = 4 * count / one, 4 * count / four
        for workers in (1, 4):
            same("rows", 4 * count + workers, len(Record(directory / f"{name}-{workers}-0")["rows"]))
        yield Row(
            f"append 1 KB rows, {durability}, 4 processes",
            f"{with_others:.0f} rows/s",
            f"1 process {alone:.0f} rows/s",
            with_others / alone,
            1,
            False,
        )


def seconds_of(directory: Path, durability: str, workers: int, count: int) -> float:
    """Return how long processes append together, from a common start until the last row is acknowledged."""
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(workers + 1)
    arguments = (directory, durability, count, barrier)
    children = [fork.Process(target=append_many, args=arguments) for _ in range(workers)]
    for child in children:
        child.start()
    barrier.wait()
    started = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - started
    for child in children:
        child.join()
    return seconds


def append_many(directory: Path, durability: str, count: int, barrier: Any) -> None:
    row = np.arange(128.0)
    with Record(directory, durability=durability) as record:
        record.append("rows", row)
        barrier.wait()
        for _ in range(count):
            record.append("rows", row)
        barrier.wait()


def listing(directory: Path, count: int) -> Row:
    record = Record(directory / "many", durability="os")
    record["e0"] = 1
    source = (record.path / "e0.h5").read_bytes()
    for number in range(1, count):
        (record.path / f"e{number}.h5").write_bytes(source)

    def scan() -> list[str]:
        with os.scandir(record.path) as entries:
            return [entry.name for entry in entries]

    same("names", count, len(list(record)))
    ours, theirs = back_to_back(lambda: list(record), scan, 21)
    return Row(
        f"list {count:,} entries", milliseconds(ours), f"os.scandir {milliseconds(theirs)}", ours / theirs, 3
    )
