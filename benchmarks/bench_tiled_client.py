"""The unmodified tiled client: our server against that client's floor, its time against canned answers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from measure import KEY, Row, Scale, child_environment, milliseconds, original, process, same, served

__all__ = ["rows"]

CANNED = Path(__file__).parent / "canned_server.py"
TIMING = """
import json, statistics, sys, time
import numpy as np
from tiled.client import from_uri
from tiled.queries import Key

rounds, key, *urls = int(sys.argv[1]), *sys.argv[2:]
clients = [from_uri(url, api_key=key) for url in urls]

def work(client):
    small, keys = client["small.npy"], client["keys"]
    hits = keys.search(Key("n") < 100)
    return {
        "small array read": lambda: small.read().tolist(),
        "getitem": lambda: client["small.npy"].shape,
        "list of 1,000 keys": lambda: list(keys),
        "search and 100 items": lambda: [(k, v.metadata["n"]) for k, v in hits.items()[:100]],
    }

works = [work(client) for client in clients]
answer = {}
for name in works[0]:
    same = [json.dumps(one[name](), default=str) for one in works]
    times = [[] for _ in works]
    for _ in range(rounds if "keys" not in name else max(rounds // 5, 2)):
        for mine, one in zip(times, works):
            started = time.perf_counter()
            one[name]()
            mine.append(time.perf_counter() - started)
    medians, best = list(map(statistics.median, times)), list(map(min, times))
    answer[name] = {"same": len(set(same)) == 1, "medians": medians, "best": best}
print(json.dumps(answer))
"""


def rows(scale: Scale) -> Iterator[Row]:
    """Give the rows of the table about the tiled client."""
    from holdfast.catalog import index

    tiled = original("tiled-0.2.20")
    if tiled is None:
        print("skipped: no environment of tiled 0.2.20; run scripts/originals tiled-0.2.20")
        return
    with tempfile.TemporaryDirectory() as name:
        directory = nodes(Path(name) / "nodes")
        index(directory)
        with served(directory) as ours, canned(ours) as floor:
            said = subprocess.run(
                [tiled, "-W", "ignore", "-c", TIMING, str(scale(200, 5)), KEY, ours, floor],
                capture_output=True, text=True, timeout=600, check=False,
            )  # fmt: skip
    if said.returncode:
        raise RuntimeError(f"the tiled client failed:\n{said.stderr[-3000:]}")
    for work, found in json.loads(said.stdout.strip().splitlines()[-1]).items():
        same(work, found["same"], True)
        mine, theirs = found["medians"]
        yield Row(
            f"tiled client: {work}",
            milliseconds(mine),
            f"its floor {milliseconds(theirs)}",
            mine / theirs,
            1.5,
        )


def canned(url: str) -> object:
    """Start the server that replays what `url` once answered."""
    return process([sys.executable, str(CANNED), url], child_environment())


def nodes(directory: Path) -> Path:
    """Write a small array and a container of 1,000 small nodes with metadata."""
    (directory / "keys").mkdir(parents=True)
    np.save(directory / "small.npy", np.arange(100.0).reshape(10, 10))
    for number in range(1000):
        (directory / "keys" / f"k{number:04d}.json").write_text(json.dumps({"n": number, "color": "red"}))
    return directory
