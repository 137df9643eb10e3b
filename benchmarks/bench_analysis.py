"""Analysis documents against the original server in its mongomock mode (no MongoDB is to be had here).

The original keeps documents in memory only; ours are on disk when an insert returns.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from measure import KEY, Row, Scale, original, process, same, served, timed

__all__ = ["rows"]

HERE = Path(__file__).parent
NAME = "analysisstore-0.0.6"
TURNS = 5
KEYS = {"x": {"source": "fit", "dtype": "number", "shape": []}}


def rows(scale: Scale) -> Iterator[Row]:
    """Give the rows of the table about analysis documents."""
    yield from local(scale(3000, 50))
    python = original(NAME)
    if python is None:
        print(f"no environment of {NAME}: make it with scripts/originals")
        return
    yield from inserting(scale, python)
    yield from finding(scale, python)


# -- inserting ---------------------------------------------------------------------------------------------


def inserting(scale: Scale, python: Path) -> Iterator[Row]:
    """Compare inserts: one by one, through a stream, in bulk."""
    from holdfast.analysis import AnalysisClient

    one, many = scale(1000, 20), scale(20_000, 1000)
    with (
        tempfile.TemporaryDirectory() as directory,
        served("analysis", directory) as url,
        process([str(python), str(HERE / "analysisstore_server.py"), "0"]) as theirs,
    ):
        reference = one / work(python, theirs, "headers", one)
        yield unmodified(python, url, Path(directory) / "page", one, reference)
        with AnalysisClient(url=url, api_key=KEY) as client:
            ours = one / timed(
                lambda: [client.insert_analysis_header(provenance={"n": n}) for n in range(one)]
            )
            yield times("headers one by one, our client", ours, reference, 4, one)
            with client.analysis(provenance={}) as run:
                stream = run.stream("fit", KEYS)
                seconds = timed(lambda: fill(stream, many))
            same("stream", client.count("data_reference", {"data_reference_header": stream.uid}), many)
        theirs_one = one / work(python, theirs, "references", one)
        yield times("data references through the stream", many / seconds, theirs_one, 50, one)
        some = scale(2000, 1000)
        bulk, theirs_bulk = (some / work(python, each, "bulk", some) for each in (url, theirs))
        yield times("bulk of 500, unmodified client", bulk, theirs_bulk, 2, some)


def unmodified(python: Path, url: str, page: Path, count: int, reference: float) -> Row:
    """Compare with servers that only answer, turn by turn, as the disk is not always as quick; medians."""
    canned = [sys.executable, str(HERE / "canned_status.py")]
    with process(canned) as at_floor, process([*canned, str(page)]) as at_synced:
        turns = [
            [count / work(python, each, "headers", count) for each in (at_floor, at_synced, url)]
            for _ in range(TURNS)
        ]
    floor, synced, ours = map(median, zip(*turns, strict=True))
    return Row(
        "headers one by one, unmodified client, durable",
        f"{ours:.0f}/s",
        f"floor {floor:.0f}/s, with one fsync {synced:.0f}/s, original {reference:.0f}/s "
        f"({ours / reference:.2g} x, N={count})",
        median(ours / floor for floor, _, ours in turns),
        0.75,
        at_most=False,
    )


def fill(stream: object, count: int) -> None:
    """Add references and wait until they are kept."""
    for n in range(count):
        stream.add({"x": float(n)}, {"x": 1.0})
    stream.flush()


def times(what: str, ours: float, theirs: float, limit: float, count: int) -> Row:
    """Compare two rates."""
    rival = f"original 0.0.6 {theirs:.0f}/s (N={count})"
    return Row(what, f"{ours:.0f}/s", rival, ours / theirs, limit, at_most=False)


def work(python: Path, url: str, what: str, count: int) -> float:
    """Let the unmodified client work; return its seconds."""
    return float(said(python, url, what, count)["seconds"])


def said(python: Path, url: str, what: str, count: int) -> dict[str, float]:
    port = url.rstrip("/").rsplit(":", 1)[1]
    command = [
        str(python),
        str(HERE / "analysisstore_work.py"),
        f"key:{KEY}@127.0.0.1",
        port,
        what,
        str(count),
    ]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout)


# -- finding -----------------------------------------------------------------------------------------------


def finding(scale: Scale, python: Path) -> Iterator[Row]:
    """Compare finds: a uid and everything among 20,000, a nested field among 100,000."""
    some, many = scale(20_000, 500), scale(100_000, 1000)
    with (
        filled(some) as url,
        process([str(python), str(HERE / "analysisstore_server.py"), str(some)]) as theirs,
    ):
        yield found(
            f"find one uid among {some:,}", {"uid": f"h{some // 2:06d}"}, (python, url, theirs), (200, 20), 15
        )
        yield found(f"return {some:,} documents", {}, (python, url, theirs), (3, 1), 10)
    with (
        filled(many) as url,
        process([str(python), str(HERE / "analysisstore_server.py"), str(many)]) as theirs,
    ):
        query = {"provenance.sample.name": f"s{many // 2}"}
        yield found(f"find by a nested field among {many:,}", query, (python, url, theirs), (200, 3), 100)


def found(
    what: str, query: dict[str, object], sides: tuple[Path, str, str], rounds: tuple[int, int], limit: float
) -> Row:
    """Compare one query; the first answer of each side is compared and not timed."""
    from holdfast.analysis import AnalysisClient

    python, url, theirs = sides
    text = json.dumps(query)
    reference = said(python, theirs, text, rounds[1])
    with AnalysisClient(url=url, api_key=KEY) as client:
        same(what, len(client.find("analysis_header", query)), reference["count"])
        seconds = timed(lambda: [client.find("analysis_header", query) for _ in range(rounds[0])]) / rounds[0]
    original_seconds = reference["seconds"] / rounds[1]
    return Row(
        what,
        f"{seconds * 1000:.3g} ms",
        f"original 0.0.6 {original_seconds * 1000:.3g} ms",
        original_seconds / seconds,
        limit,
        at_most=False,
    )


class filled:
    """Serve a directory that holds as many headers as the original's server."""

    def __init__(self, count: int) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._count = count

    def __enter__(self) -> str:
        from holdfast.analysis import Documents

        with Documents(self._directory.name) as documents:
            for start in range(0, self._count, 5000):
                stop = min(self._count, start + 5000)
                documents.insert("analysis_header", [header(n) for n in range(start, stop)])
        self._server = served("analysis", self._directory.name)
        return self._server.__enter__()

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)
        self._directory.cleanup()


def header(n: int) -> dict[str, object]:
    provenance = {"n": n, "sample": {"name": f"s{n}"}}
    return {"uid": f"h{n:06d}", "time": n, "provenance": provenance, "owner": f"o{n % 50}"}


# -- local -------------------------------------------------------------------------------------------------


def local(count: int) -> Iterator[Row]:
    """Insert without a server, each header durable by itself."""
    from holdfast.analysis import LocalAnalysisClient

    fields = {f"field{n}": n for n in range(9)}
    with tempfile.TemporaryDirectory() as directory, LocalAnalysisClient(directory) as client:
        fsync = one_fsync(Path(directory) / "probe")
        seconds = timed(
            lambda: [client.insert_analysis_header(provenance={}, **fields) for _ in range(count)]
        )
    rate = count / seconds
    yield Row(
        "local client, durable single inserts, 12 fields",
        f"{rate:.0f}/s",
        f"one fsync takes {fsync * 1000:.2f} ms",
        rate,
        1500,
        at_most=False,
        unit="/s",
    )


def one_fsync(path: Path, rounds: int = 100) -> float:
    """Return the seconds that one small synced append takes here."""
    with path.open("wb", buffering=0) as file:

        def append() -> None:
            file.write(b"x" * 4096)
            os.fdatasync(file.fileno())

        append()
        return timed(lambda: [append() for _ in range(rounds)]) / rounds
