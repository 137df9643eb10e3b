"""Print the whole table of speed: what was done, ours, the reference, the ratio, the bar.

usage: python benchmarks/table.py [--quick] [--strict] [ROOM ...]

Answers are compared before times; a different answer ends the run with exit code 1. With `--quick` the work
is small and only the answers count; with `--strict` a missed bar gives exit code 1 too. Everything is made
in temporary directories.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from measure import Row, Scale, machine

ROOMS = ("start", "indexing", "tiled_client", "reading", "search", "download")
MORE_ROOMS = ("tiled", "against_tiled", "formats", "records", "store", "archive", "analysis")

GROUPS = {"tiled": ("against_tiled", "formats")}


def main() -> int:
    """Run the rooms that are named, all by default."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rooms", nargs="*", default=ROOMS, metavar="ROOM", help=" ".join(ROOMS + MORE_ROOMS))
    parser.add_argument("--quick", action="store_true", help="small work: compare the answers only")
    parser.add_argument("--strict", action="store_true", help="fail when a bar is missed")
    options = parser.parse_args()
    print(machine())
    rows: list[Row] = []
    for room in [each for name in options.rooms for each in GROUPS.get(name, (name,))]:
        for row in importlib.import_module(f"bench_{room}").rows(Scale(options.quick)):
            rows.append(row)
            show(row, options.quick)
    missed = [] if options.quick else [row.work for row in rows if not row.met]
    print(
        f"{len(rows)} rows, answers alike"
        + ("" if options.quick else f", {len(rows) - len(missed)} bars met")
    )
    for work in missed:
        print(f"missed: {work}")
    return 1 if missed and options.strict else 0


def show(row: Row, quick: bool) -> None:
    """Print one row at once: the whole table takes minutes."""
    verdict = "" if quick else ("ok" if row.met else "MISSED")
    print(
        f"{row.work:58} {row.ours:>14}   {row.reference:34} {row.ratio:8.3g} {row.bar:>14}  {verdict}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
