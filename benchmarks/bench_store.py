"""Key-value stores beside encore 0.8: the same work through the same methods, in paired rounds.

encore runs in its own environment (scripts/originals encore-0.8.0), in a process that waits for the next job;
each round does a job on both sides and compares the answers. On tmpfs, where there is one, and on disk.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3
from measure import DifferentAnswerError, Row, Scale, milliseconds, original, same, timed

__all__ = ["rows"]

ENCORE = "encore-0.8.0"

# What both sides run, word for word; `stores` holds the open stores by name.
JOBS = """
import io, time

def metadata(number):
    return {"n": number, "name": "run", "g": number % 10}

def pairs(count):
    return ((io.BytesIO(b"x" * 200), metadata(number)) for number in range(count))

def keys(count):
    return ["key%d" % number for number in range(count)]

def fill(store, count):
    for key, value in zip(keys(count), pairs(count)):
        store.set(key, value)

def fill_together(store, count):
    store.multiset(keys(count), pairs(count))
    return count

def get(store, count):
    total = 0
    for key in keys(count):
        value = store.get(key)
        with value.data as data:
            total += len(data.read()) + value.metadata["n"]
    return total

def query(store, count):
    return sum(found["n"] for key, found in store.query(g=3))

def glob(store, count):
    return len(list(store.glob("key12*")))

def foreign(store, count):
    store.set("foreign", (io.BytesIO(b"x"), {"n": count, "g": 3}))

def to_bytes(store, count):
    return len(store.to_bytes("large"))

def run(name, job, count):
    started = time.perf_counter()
    answer = globals()[job](stores[name], count)
    return [time.perf_counter() - started, answer]
"""
WORKER = (
    JOBS
    + """
import json, os, sys
from encore.storage.filesystem_store import FileSystemStore, init_shared_store
from encore.storage.sqlite_store import SqliteStore

def open_store(name, path, kind):
    os.makedirs(path)
    if kind == "files":
        init_shared_store(path)
        stores[name] = FileSystemStore(path)
    else:
        stores[name] = SqliteStore(path + "/values.db", "store")
    stores[name].connect()
    return [0, None]

def join_store(name, path, kind):
    stores[name] = FileSystemStore(path)
    stores[name].connect()
    return [0, None]

stores = {}
for line in sys.stdin:
    call, *arguments = json.loads(line)
    print(json.dumps(globals()[call](*arguments)), flush=True)
"""
)


def rows(scale: Scale) -> Iterator[Row]:
    """Give the rows of the table about stores."""
    python = original(ENCORE)
    if python is None:
        print(f"no environment of {ENCORE}; run: scripts/originals {ENCORE}", file=sys.stderr)
        return
    for place, directory in places():
        with tempfile.TemporaryDirectory(dir=directory) as top, Encore(python) as encore:
            yield from small_values(scale, Path(top), place, encore)
            yield from large_values(scale, Path(top), place, encore)


def places() -> list[tuple[str, str]]:
    """Return a directory on tmpfs, where there is one, and one on disk."""
    found = [("disk", tempfile.gettempdir())]
    return [("tmpfs", "/dev/shm"), *found] if os.path.isdir("/dev/shm") else found


class Encore:
    """The other side: a process with encore's stores."""

    def __init__(self, python: Path) -> None:
        command = [str(python), "-W", "ignore", "-c", WORKER]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, *call: Any) -> tuple[float, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        seconds, answer = json.loads(self._process.stdout.readline())
        return seconds, answer

    def __enter__(self) -> Encore:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate()


class Ours:
    """Our side, in this process."""

    def __init__(self, stores: dict[str, Any]) -> None:
        self._names: dict[str, Any] = {"stores": stores}
        exec(JOBS, self._names)

    def __call__(self, name: str, job: str, count: int) -> tuple[float, Any]:
        seconds, answer = self._names["run"](name, job, count)
        return seconds, answer


def small_values(scale: Scale, top: Path, place: str, encore: Encore) -> Iterator[Row]:
    """Set, get, query and glob values of 200 bytes."""
    rounds, count, many = scale(7, 1), scale(2000, 50), scale(5000, 100)
    with opened(top) as stores:
        ours = Ours(stores)
        for kind in ("files", "sqlite"):
            encore("open_store", kind, str(top / f"encore-{kind}"), kind)
        encore("join_store", "beside", str(top / "files"), "files")
        for name, least in (("files", 0.7), ("sqlite", 2.0)):
            found = [fresh_sets(ours, stores, encore, (top, name), count, number) for number in range(rounds)]
            yield faster(f"{place}: set {count} values, {name}, os", found, least)
        for name in ("files, durable", "sqlite, durable"):
            durable = [ours(name, "fill", count)[0] for _ in range(2)]
            print(f"{place}: set {count} values, {name}: {milliseconds(min(durable))}")
        for side, name in ((ours, "files"), (ours, "sqlite"), (encore_run(encore), "files")):
            side(name, "fill", many)
        for name, least in (("files", 1.0), ("sqlite", 3.0)):
            found = rounds_of(ours, encore, (name, "files"), "get", count, rounds)
            yield faster(f"{place}: get {count} values, verified, {name}", found, least)
        print(f"{place}: {bare_gets(stores['sqlite'].path, encore, count, rounds)}")
        for job in ("query", "glob"):
            for name, least in (("files", 5.0), ("sqlite", 50.0)):
                seen = foreign_change(ours, encore)
                found = rounds_of(ours, encore, (name, "files"), job, many, rounds, before=seen)
                yield faster(f"{place}: {job} of {many} keys, {name}", found, least)
        found = rounds_of(ours, encore, ("sqlite", "sqlite"), "fill_together", scale(1000, 20), rounds)
        yield faster(f"{place}: multiset of {scale(1000, 20)}, sqlite", found, 5.0)


def fresh_sets(
    ours: Ours, stores: dict[str, Any], encore: Encore, where: tuple[Path, str], count: int, number: int
) -> tuple[float, float]:
    """Set values in new stores on both sides; return the seconds of each."""
    from holdfast.store import FileSystemStore, SQLiteStore, init_shared_store

    top, name = where
    path = top / f"fresh-{name}-{number}"
    path.mkdir()
    init_shared_store(path)
    fresh = FileSystemStore(path, durability="os") if name == "files" else SQLiteStore(path / "v.db", "os")
    encore("open_store", "fresh", str(top / f"encore-{name}-{number}"), "files")
    stores["fresh"] = fresh
    (mine, answer), (theirs, other) = ours("fresh", "fill", count), encore("run", "fresh", "fill", count)
    same("set", answer, other)
    del stores["fresh"]
    fresh.disconnect()
    return mine, theirs


@contextlib.contextmanager
def opened(top: Path) -> Iterator[dict[str, Any]]:
    """Open our stores, the quick ones and the durable ones."""
    from holdfast.store import FileSystemStore, SQLiteStore, init_shared_store

    stores: dict[str, Any] = {}
    for name, durability in (("files", "os"), ("files, durable", "sync")):
        path = top / name.replace(", ", "-")
        path.mkdir()
        init_shared_store(path)
        stores[name] = FileSystemStore(path, durability=durability)
    stores["sqlite"] = SQLiteStore(top / "ours.db", durability="os")
    stores["sqlite, durable"] = SQLiteStore(top / "durable.db")
    for store in stores.values():
        store.connect()
    yield stores
    for store in stores.values():
        store.disconnect()


def bare_gets(path: str, encore: Encore, count: int, rounds: int) -> str:
    """Say what any store in SQLite can do at most: the module alone, a digest, and the same streams."""
    query = "SELECT metadata, digest, data FROM entries WHERE key = ?"
    pairs = []
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for _ in range(rounds):
            started, total = time.perf_counter(), 0
            for number in range(count):
                text, digest, data = connection.execute(query, (f"key{number}",)).fetchone()
                if blake3(data).digest() != digest:
                    raise DifferentAnswerError(f"key{number}")
                with io.BytesIO(data) as stream:
                    total += len(stream.read()) + msgspec.json.decode(text)["n"]
            mine = time.perf_counter() - started
            theirs, other = encore("run", "files", "get", count)
            same("get from bare sqlite3", total, other)
            pairs.append((mine, theirs))
    ratio = statistics.median(theirs / mine for mine, theirs in pairs)
    seconds = statistics.median(mine for mine, _ in pairs)
    return f"get {count} values, floor: sqlite3, blake3 and json alone {milliseconds(seconds)}, {ratio:.3g} x"


def encore_run(encore: Encore) -> Callable[[str, str, int], tuple[float, Any]]:
    return lambda name, job, count: encore("run", name, job, count)


def foreign_change(ours: Ours, encore: Encore) -> Callable[[int], None]:
    """Let encore change a key of our directory, and the others theirs alike, before each round."""

    def change(number: int) -> None:
        encore("run", "beside", "foreign", number)
        encore("run", "files", "foreign", number)
        ours("sqlite", "foreign", number)

    return change


def rounds_of(
    ours: Ours,
    encore: Encore,
    names: tuple[str, str],
    job: str,
    count: int,
    rounds: int,
    before: Callable[[int], None] = lambda number: None,
) -> list[tuple[float, float]]:
    """Do a job on both sides, in alternation; return the pairs of seconds."""
    pairs = []
    for number in range(rounds):
        before(number)
        (mine, answer), (theirs, other) = ours(names[0], job, count), encore("run", names[1], job, count)
        same(f"{job} {names}", answer, other)
        pairs.append((mine, theirs))
    return pairs


def faster(work: str, pairs: list[tuple[float, float]], least: float) -> Row:
    """Return the row that says how many times faster ours is: the median of the rounds' ratios."""
    ratio = statistics.median(theirs / mine for mine, theirs in pairs)
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Row(work, milliseconds(mine), f"{milliseconds(theirs)} encore 0.8", ratio, least, at_most=False)


def large_values(scale: Scale, top: Path, place: str, encore: Encore) -> Iterator[Row]:
    """Move one large value in and out."""
    from holdfast.store import FileSystemStore, init_shared_store

    size, rounds = scale(256 << 20, 4 << 20), scale(7, 1)
    source, copied, target = top / "source", top / "copied", top / "target"
    with open(source, "wb") as file:
        file.writelines(os.urandom(1 << 20) for _ in range(size >> 20))
    (top / "large").mkdir()
    init_shared_store(top / "large")
    store = FileSystemStore(top / "large", durability="os")
    for work, call, wrote in (
        ("from_file", lambda: store.from_file("large", source), Path(store.path, "large.data")),
        ("to_file", lambda: store.to_file("large", target), target),
    ):
        pairs = []
        for _ in range(rounds):
            for path in (copied, target):
                path.unlink(missing_ok=True)
            if work == "from_file" and store.exists("large"):
                store.delete("large")
            mine = timed(call)
            pairs.append((mine, timed(lambda: subprocess.run(["cp", source, copied], check=True))))
            same(work, wrote.stat().st_size, size)
        same(work, subprocess.run(["cmp", source, wrote], check=False).returncode, 0)
        ratio = statistics.median(mine / theirs for mine, theirs in pairs)
        mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        yield Row(
            f"{place}: {work} of {size >> 20} MB",
            milliseconds(mine),
            f"{milliseconds(theirs)} cp",
            ratio,
            1.5,
        )
    for path in (copied, target):
        path.unlink(missing_ok=True)
    encore("join_store", "large", store.path, "files")
    ours = Ours({"large": store})
    found = rounds_of(ours, encore, ("large", "large"), "to_bytes", 1, rounds)
    yield faster(f"{place}: to_bytes of {size >> 20} MB", found, 2.0)
    store.disconnect()
