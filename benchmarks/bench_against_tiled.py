"""The same work by Tiled 0.2.20's own server, database and client, in the same run.

Tiled's side runs in its own environment (scripts/originals tiled-0.2.20), on rows written into its database.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from bench_search import documents, median
from bench_start import start
from bench_tiled_client import TIMING, canned
from measure import KEY, Row, Scale, milliseconds, original, process, rate, same, served, timed

__all__ = ["rows"]

REGISTER = """
import asyncio, sys
from pathlib import Path
from tiled.catalog import from_uri
from tiled.client import Context, from_context
from tiled.client.register import register
from tiled.server.app import build_app
catalog = from_uri(sys.argv[1], readable_storage=[sys.argv[2]], init_if_not_exists=True)
with Context.from_app(build_app(catalog)) as context:
    asyncio.run(register(from_context(context), Path(sys.argv[2]), key_from_filename=lambda name: name))
"""
ROWS = """
import json, sqlite3, sys
database, parent, nodes = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = sqlite3.connect(database)
[above] = connection.execute("select id from nodes where key = ?", [parent]).fetchone()
connection.execute("delete from nodes where parent = ?", [above])
words = ("a special day", "a plain day")
rows = (
    (above, f"n{n:06d}.json", "container", json.dumps({
        "n": n, "color": ("red", "green", "blue")[n % 3], "words": words[n % 50 != 0],
    }), "[]")
    for n in range(nodes)
)
connection.executemany(
    "insert into nodes (parent, key, structure_family, metadata, specs) values (?, ?, ?, ?, ?)", rows
)
connection.commit()
"""
IN_PROCESS = """
import json, statistics, sys, time
from tiled.catalog import from_uri
from tiled.client import Context, from_context
from tiled.queries import FullText, Key
from tiled.server.app import build_app
database, directory, nodes, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def median(call):
    answer, times = call(), []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return [answer, statistics.median(times)]

with Context.from_app(build_app(from_uri(database, readable_storage=[directory]))) as context:
    client = from_context(context)
    small, many = client["small.npy"], client["many"]
    print(json.dumps({
        "small read": median(lambda: small.read().tolist()),
        "equality": median(lambda: list(many.search(Key("n") == nodes // 2).keys().head(100))),
        "range": median(lambda: list(many.search(Key("n") > nodes - 50).keys().head(100))),
        "sort": median(lambda: len(list(many.sort(("n", -1)).keys().head(100)))),
        "full text": median(lambda: len(many.search(FullText("special")))),
    }))
"""
LARGE = """
import json, statistics, sys, time
from tiled.client import from_uri
times = []
for url in sys.argv[2:]:
    node = from_uri(url, api_key=sys.argv[1])["large.npy"]
    mine = []
    for _ in range(3):
        started = time.perf_counter()
        total = float(node.read().sum())
        mine.append(time.perf_counter() - started)
    times.append([total, min(mine)])
print(json.dumps(times))
"""


def rows(scale: Scale) -> Iterator[Row]:
    """Give the rows of the comparison."""
    python = original("tiled-0.2.20")
    if python is None:
        print("skipped: no environment of tiled 0.2.20; run scripts/originals tiled-0.2.20")
        return
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        tiled = Tiled(python, home)
        yield start_of_a_server(tiled, home, scale(1000, 20))
        directory = site(home / "site", scale(100_000, 300), scale(256 << 20, 4 << 20))
        database = tiled.catalogue(directory, home / "site.db")
        tiled.run(ROWS, database, "keys", 1000)
        tiled.run(ROWS, database, "many", scale(100_000, 300))
        yield from in_process(tiled, directory, database, scale(100_000, 300), scale(20, 2))
        with served(directory) as ours, tiled.serving(database, directory) as theirs:
            yield from with_their_client(tiled, ours, theirs, scale(60, 3))
            yield from large_reads(tiled, directory, ours, theirs)


class Tiled:
    """Tiled in its own environment."""

    def __init__(self, python: Path, home: Path) -> None:
        self._python = python
        self._home = home

    def run(self, code: str, *arguments: object) -> str:
        """Run a script of Tiled's side; return the last line that it prints."""
        done = subprocess.run(
            [self._python, "-W", "ignore", "-c", code, *map(str, arguments)],
            capture_output=True, text=True, timeout=900, check=False, cwd=self._home,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"Tiled's side failed:\n{done.stderr[-3000:]}")
        return (done.stdout.strip().splitlines() or [""])[-1]

    def catalogue(self, directory: Path, database: Path) -> Path:
        """Register a directory in a new database."""
        self.run(REGISTER, database, directory)
        return database

    def serving(self, database: Path, directory: Path) -> contextlib.AbstractContextManager[str]:
        """Run `tiled serve catalog`."""
        program = str(self._python.parent / "tiled")
        return process(
            [
                program,
                "serve",
                "catalog",
                str(database),
                "-r",
                str(directory),
                "--api-key",
                KEY,
                "--port",
                "0",
            ]
        )


def site(directory: Path, many: int, size: int) -> Path:
    """Write a small and a large array, 1,000 nodes and many nodes; index them with Holdfast."""
    from holdfast.catalog import index

    directory.mkdir()
    np.save(directory / "small.npy", np.arange(100.0).reshape(10, 10))
    np.save(directory / "large.npy", np.random.default_rng(0).random(size // 8).reshape(-1, 1024))
    documents(directory / "keys", 1000)
    documents(directory / "many", many)
    index(directory)
    return directory


def start_of_a_server(tiled: Tiled, home: Path, files: int) -> Row:
    """Time both servers from their start to the first answer, on a directory that they know."""
    from holdfast.catalog import index

    directory = home / "started"
    directory.mkdir()
    for number in range(files):
        np.save(directory / f"a{number:04d}.npy", np.full(4, number))
    index(directory)
    database = tiled.catalogue(directory, home / "started.db")
    mine = min(start(directory) for _ in range(3))
    theirs = min(started(tiled, database, directory) for _ in range(2))
    work = f"serve {files:,} indexed files, to the first answer"
    return Row(work, f"{mine:.2f} s", f"Tiled {theirs:.2f} s", theirs / mine, 5, at_most=False)


def started(tiled: Tiled, database: Path, directory: Path) -> float:
    began = time.perf_counter()
    with tiled.serving(database, directory) as url:
        request = urllib.request.Request(
            f"{url}/api/v1/metadata/", headers={"Authorization": f"Apikey {KEY}"}
        )
        while time.perf_counter() - began < 60:
            try:
                with urllib.request.urlopen(request, timeout=30):
                    return time.perf_counter() - began
            except urllib.error.URLError:
                time.sleep(0.005)
    raise TimeoutError("no answer from Tiled within 60 s")


def in_process(tiled: Tiled, directory: Path, database: Path, nodes: int, rounds: int) -> Iterator[Row]:
    """Compare the in-process clients on a small read and on searches of many nodes."""
    import holdfast as hf
    from holdfast.queries import FullText, Key

    theirs = json.loads(tiled.run(IN_PROCESS, database, directory, nodes, rounds))
    with hf.from_catalog(directory) as client:
        small, many = client["small.npy"], client["many"]
        calls: dict[str, tuple[Callable[[], object], float]] = {
            "small read": (lambda: small.read().tolist(), 50),
            "equality": (lambda: many.search(Key("n") == nodes // 2).keys().head(100), 20),
            "range": (lambda: many.search(Key("n") > nodes - 50).keys().head(100), 20),
            "sort": (lambda: len(many.sort(("n", -1)).keys().head(100)), 20),  # theirs sorts numbers as text
            "full text": (lambda: len(many.search(FullText("special"))), 200),
        }
        for work, (call, limit) in calls.items():
            answer, seconds = theirs[work]
            same(work, call(), answer)
            mine = median(call, rounds * 5)
            name = f"in-process: {work}" if work == "small read" else f"{nodes:,} nodes: {work}"
            yield Row(
                name,
                milliseconds(mine),
                f"Tiled {milliseconds(seconds)}",
                seconds / mine,
                limit,
                at_most=False,
            )


def with_their_client(tiled: Tiled, ours: str, theirs: str, rounds: int) -> Iterator[Row]:
    """Time the unmodified tiled client against both servers."""
    for work, found in json.loads(tiled.run(TIMING, rounds, KEY, ours, theirs)).items():
        same(work, found["same"], True)
        mine, other = found["medians"]
        yield Row(
            f"tiled client: {work}",
            milliseconds(mine),
            f"Tiled {milliseconds(other)}",
            other / mine,
            8,
            at_most=False,
        )


def large_reads(tiled: Tiled, directory: Path, ours: str, theirs: str) -> Iterator[Row]:
    """Read the large array: our pair against theirs, and their client against its floor."""
    import holdfast as hf

    size = (directory / "large.npy").stat().st_size
    with canned(ours) as floor:
        (total, with_ours), (other, with_theirs), (_, at_floor) = json.loads(
            tiled.run(LARGE, KEY, ours, theirs, floor)
        )
    same("large read", total, other)
    with hf.from_uri(ours, api_key=KEY) as client:
        node = client["large.npy"]
        same("large read, our client", float(node.read().sum()), total)
        mine = min(timed(node.read) for _ in range(3))
    work = f"{size >> 20} MB array over loopback"
    yield Row(
        f"{work}, our pair, verified", rate(size, mine), f"Tiled's pair {rate(size, with_theirs)}",
        with_theirs / mine, 10, at_most=False,
    )  # fmt: skip
    yield Row(
        f"{work}, tiled client",
        rate(size, with_ours),
        f"its floor {rate(size, at_floor)}",
        with_ours / at_floor,
        1.15,
    )
