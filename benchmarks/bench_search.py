"""Finding one of 100,000 nodes through the in-process client."""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from measure import Row, Scale, milliseconds, same, timed

__all__ = ["rows"]


def rows(scale: Scale) -> Iterator[Row]:
    """Give the rows of the table about searching."""
    import holdfast as hf
    from holdfast.catalog import index
    from holdfast.queries import And, FullText, Key

    nodes, rounds = scale(100_000, 2_000), scale(50, 3)
    with tempfile.TemporaryDirectory() as name:
        directory = documents(Path(name) / "many", nodes)
        index(directory)
        with hf.from_catalog(directory) as client:

            def page(query: object, *order: tuple[str, int]) -> list[str]:
                found = client.search(query)
                return (found.sort(*order) if order else found).keys().head(100)

            numbers = itertools.cycle(range(100, nodes - 100, 997))  # no answer is asked for twice in a row
            work: dict[str, Callable[[int], tuple[list[str], list[str]]]] = {
                "equality, 1 hit": lambda n: (page(Key("n") == n), [key(n)]),
                "range, first page": lambda n: (
                    page(And(Key("n") > n, Key("n") < n + 50)),
                    [key(m) for m in range(n + 1, n + 50)],
                ),
                "sort and first page": lambda n: (
                    client.sort(("n", 1 if n % 2 else -1)).keys().head(100)[:2],
                    [key(0), key(1)] if n % 2 else [key(nodes - 1), key(nodes - 2)],
                ),
            }
            empty = median(lambda: page(Key("n") == -next(numbers)), rounds)
            for name_of_work, call in work.items():
                same(name_of_work, *call(next(numbers)))
                seconds = median(lambda call=call: call(next(numbers)), rounds)
                yield bar(f"{nodes:,} nodes: {name_of_work}", seconds, empty, 1)
            hits = nodes // 50
            same("full text", len(client.search(FullText("special"))), hits)
            whole = median(
                lambda: len(client.search(FullText("special"))) and page(FullText("special")), rounds
            )
            none = median(lambda: len(client.search(FullText("absent"))) or page(FullText("absent")), rounds)
            yield bar(f"{nodes:,} nodes: full text, {hits:,} hits", whole, none, 5)


def bar(work: str, seconds: float, empty: float, limit_ms: float) -> Row:
    more = (seconds - empty) * 1000
    return Row(
        work, milliseconds(seconds), f"empty search {milliseconds(empty)}", more, limit_ms, unit="ms more"
    )


def median(call: Callable[[], object], rounds: int) -> float:
    return statistics.median(timed(call) for _ in range(rounds))


def key(number: int) -> str:
    return f"n{number:06d}.json"


def documents(directory: Path, nodes: int) -> Path:
    """Write one small JSON object a node; every 50th says `special`, each other its kind of 49."""
    directory.mkdir()
    for number in range(nodes):
        words = f"a day of kind{number % 50}" if number % 50 else "a special day"
        value = {"n": number, "color": ("red", "green", "blue")[number % 3], "words": words}
        (directory / key(number)).write_text(json.dumps(value))
    return directory
