"""The same work by Tiled 0.2.20's own server, database and client, in the same run.

Tiled's side runs in its own environment (scripts/originals tiled-0.2.20), on rows written into its database.
Both sides take turns, and the best of several rounds counts: the noise of a shared machine only ever adds.
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
from bench_indexing import laboratory
from bench_search import documents
from bench_start import start
from bench_tiled_client import TIMING, canned
from measure import KEY, Row, Scale, milliseconds, original, process, rate, same, served, timed

__all__ = ["rows"]

REGISTER = """
import asyncio, json, sys, time
from pathlib import Path
from tiled.catalog import from_uri
from tiled.client import Context, from_context
from tiled.client.register import register
from tiled.server.app import build_app
catalog = from_uri(sys.argv[1], readable_storage=[sys.argv[2]], init_if_not_exists=True)
with Context.from_app(build_app(catalog)) as context:
    client = from_context(context)
    started = time.perf_counter()
    asyncio.run(register(client, Path(sys.argv[2]), key_from_filename=lambda name: name))
    print(json.dumps([time.perf_counter() - started, sorted(client)]))
"""
CATALOGUE = """
import asyncio, sys
from pathlib import Path
from tiled.catalog import from_uri
from tiled.client import Context, from_context
from tiled.client.register import register
from tiled.server.app import build_app
catalog = from_uri(sys.argv[1], readable_storage=[sys.argv[2]], init_if_not_exists=True)
with Context.from_app(build_app(catalog)) as context:
    client = from_context(context)
    for name in ("small.npy", "large.npy"):
        file = Path(sys.argv[2]) / name
        asyncio.run(register(client, file, overwrite=False, key_from_filename=lambda name: name))
    for name in ("keys", "many"):
        client.create_container(name)
"""
ROWS = """
import json, sqlite3, sys
database, parent, nodes = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = sqlite3.connect(database)
[above] = connection.execute("select id from nodes where key = ?", [parent]).fetchone()
connection.execute("delete from nodes where parent = ?", [above])
rows = (
    (above, f"n{n:06d}.json", "container", json.dumps({
        "n": n, "color": ("red", "green", "blue")[n % 3],
        "words": f"a day of kind{n % 50}" if n % 50 else "a special day",
    }), "[]")
    for n in range(nodes)
)
connection.executemany(
    "insert into nodes (parent, key, structure_family, metadata, specs) values (?, ?, ?, ?, ?)", rows
)
connection.commit()
"""
IN_PROCESS = """
import json, sys, time
from tiled.catalog import from_uri
from tiled.client import Context, from_context
from tiled.queries import FullText, Key
from tiled.server.app import build_app
database, directory, nodes, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def best(call):
    answers, times, until = [], [], time.perf_counter() + 15
    for number in range(1, rounds + 1):
        started = time.perf_counter()
        answers.append(call(number))
        times.append(time.perf_counter() - started)
        if time.perf_counter() > until and number > 2:
            break
    return [answers, min(times)]

with Context.from_app(build_app(from_uri(database, readable_storage=[directory]))) as context:
    client = from_context(context)
    small, many = client["small.npy"], client["many"]
    print(json.dumps({
        "small read": best(lambda n: small.read().tolist()),
        "equality": best(lambda n: list(many.search(Key("n") == nodes // 2 + n).keys().head(100))),
        "range": best(lambda n: list(many.search(Key("n") > nodes - 50 - n).keys().head(100))),
        "sort": best(lambda n: len(list(many.sort(("n", -1)).keys()[n : n + 100]))),
        "full text": best(lambda n: len(many.search(FullText(f"kind{n}")))),
    }))
"""
LARGE = """
import json, statistics, sys, time
from tiled.client import from_uri
nodes = [from_uri(url, api_key=sys.argv[1])["large.npy"] for url in sys.argv[2:]]
found = [[0.0, 1e9] for _ in nodes]
for _ in range(4):
    for answer, node in zip(found, nodes):
        started = time.perf_counter()
        answer[0] = float(node.read().sum())
        answer[1] = min(answer[1], time.perf_counter() - started)
print(json.dumps(found))
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
        directory, database = home / "lab", home / "lab.db"
        yield indexing(tiled, directory, database, (scale(300, 6), scale(500, 6), scale(500, 8)))
        yield start_of_a_server(tiled, directory, database)
        directory = site(home / "site", scale(100_000, 5000), scale(256 << 20, 4 << 20))
        database = tiled.catalogue(directory, home / "site.db")
        tiled.run(ROWS, database, "keys", 1000)
        tiled.run(ROWS, database, "many", scale(100_000, 5000))
        yield from in_process(tiled, directory, database, scale(100_000, 5000), scale(20, 2))
        with (
            served(directory) as ours,
            tiled.serving(database, directory) as theirs,
            canned(ours) as floor,
        ):
            yield from with_their_client(tiled, (ours, theirs, floor), scale(100, 3))
            yield from large_reads(tiled, directory, (ours, theirs, floor))


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

    def register(self, directory: Path, database: Path) -> tuple[float, list[str]]:
        """Register a directory in a new database; return the seconds that took, and the keys."""
        seconds, keys = json.loads(self.run(REGISTER, database, directory))
        return seconds, keys

    def catalogue(self, directory: Path, database: Path) -> Path:
        """Make a database with the arrays of a directory, and containers for rows to be written."""
        self.run(CATALOGUE, database, directory)
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


def indexing(tiled: Tiled, directory: Path, database: Path, counts: tuple[int, int, int]) -> Row:
    """Index small files of three kinds in a running process, digests included; register them with Tiled."""
    import holdfast as hf
    from holdfast.catalog import index

    csv, tiff, hdf5 = counts
    with tempfile.TemporaryDirectory() as warm:
        index(laboratory(Path(warm) / "lab", 2, 2, 2))  # the process is running: libraries are loaded
    files = len(list(laboratory(directory, csv, tiff, hdf5).iterdir()))
    mine = timed(lambda: index(directory))
    theirs, keys = tiled.register(directory, database)
    with hf.from_catalog(directory) as client:
        same("index: keys", sorted(client), keys)
    return Row(
        f"index {csv} CSV, {tiff} TIFF, {hdf5} HDF5, digests included", f"{files / mine:,.0f} files/s",
        f"tiled register {files / theirs:.0f} files/s", theirs / mine, 50, at_most=False,
    )  # fmt: skip


def start_of_a_server(tiled: Tiled, directory: Path, database: Path) -> Row:
    """Time both servers from their start to the first answer, on a directory that they know."""
    files = len(list(directory.iterdir())) - 1  # one is its database
    mine, theirs = [], []
    for _ in range(3):
        mine.append(start(directory))
        theirs.append(started(tiled, database, directory))
    work = f"serve {files:,} indexed files, to the first answer"
    return Row(
        work, f"{min(mine):.2f} s", f"Tiled {min(theirs):.2f} s", min(theirs) / min(mine), 5, at_most=False
    )


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
    """Compare the in-process clients on a small read and on searches of many nodes, each one a new one."""
    import holdfast as hf
    from holdfast.queries import FullText, Key

    theirs = json.loads(tiled.run(IN_PROCESS, database, directory, nodes, rounds))
    with hf.from_catalog(directory) as client:
        small, many = client["small.npy"], client["many"]
        calls: dict[str, tuple[Callable[[int], object], float]] = {
            "small read": (lambda n: small.read().tolist(), 50),
            "equality": (lambda n: many.search(Key("n") == nodes // 2 + n).keys().head(100), 20),
            "range": (lambda n: many.search(Key("n") > nodes - 50 - n).keys().head(100), 20),
            # Tiled sorts numbers as text: only how many there are is the same.
            "sort": (lambda n: len(many.sort(("n", -1)).keys()[n : n + 100]), 20),
            "full text": (lambda n: len(many.search(FullText(f"kind{n}"))), 200),
        }
        for work, (call, limit) in calls.items():
            answers, seconds = theirs[work]
            mine, times = [], []
            for number in range(1, len(answers) + 1):
                began = time.perf_counter()
                mine.append(call(number))
                times.append(time.perf_counter() - began)
            same(work, mine, answers)
            name = f"in-process: {work}" if work == "small read" else f"{nodes:,} nodes: {work}"
            yield Row(
                name, milliseconds(min(times)), f"Tiled {milliseconds(seconds)}", seconds / min(times), limit,
                at_most=False,
            )  # fmt: skip


def with_their_client(tiled: Tiled, urls: tuple[str, str, str], rounds: int) -> Iterator[Row]:
    """Time the unmodified tiled client against both servers, and against answers replayed from memory."""
    for work, found in json.loads(tiled.run(TIMING, rounds, KEY, *urls)).items():
        same(work, found["same"], True)
        mine, theirs, floor = found["best"]
        name, ours = f"tiled client: {work}", milliseconds(mine)
        # No server is faster than the client alone: how far its floor is from Tiled stands beside the bar.
        reference = f"Tiled {milliseconds(theirs)} (floor {theirs / floor:.3g} x)"
        yield Row(name, ours, reference, theirs / mine, 8, at_most=False)
        yield Row(name, ours, f"its floor {milliseconds(floor)}", mine / floor, 1.5)


def large_reads(tiled: Tiled, directory: Path, urls: tuple[str, str, str]) -> Iterator[Row]:
    """Read the large array: our pair against theirs, and their client against its floor."""
    import holdfast as hf

    size = (directory / "large.npy").stat().st_size
    (total, with_ours), (other, with_theirs), (_, at_floor) = json.loads(tiled.run(LARGE, KEY, *urls))
    same("large read", total, other)
    with hf.from_uri(urls[0], api_key=KEY) as client:
        node = client["large.npy"]
        same("large read, our client", float(node.read().sum()), total)
        mine = min(timed(node.read) for _ in range(5))
    work = f"{size >> 20} MB array over loopback"
    yield Row(
        f"{work}, our pair, verified", rate(size, mine), f"Tiled's pair {rate(size, with_theirs)}",
        with_theirs / mine, 10, at_most=False,
    )  # fmt: skip
    yield Row(
        f"{work}, tiled client", rate(size, with_ours), f"its floor {rate(size, at_floor)}",
        with_ours / at_floor, 1.15,
    )  # fmt: skip
