"""Sequences: slices of 40,000 TIFF files that are one array, beside tifffile reading the same files alone."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tifffile
from measure import KEY, Row, Scale, back_to_back, milliseconds, same, served, timed

__all__ = ["rows"]

SHAPE = (64, 64)


def rows(scale: Scale) -> Iterator[Row]:
    """Give the rows of the table about formats."""
    import holdfast as hf
    from holdfast.catalog import index

    count, rounds = scale(40_000, 200), scale(9, 1)
    with tempfile.TemporaryDirectory() as name:
        directory = frames(Path(name) / "run", count)
        summary = index(directory, sequences=True)
        same("frames", summary.added, count)
        seconds = timed(lambda: index(directory))
        work = f"index {count:,} TIFF frames again, nothing changed"
        yield Row(
            work, milliseconds(seconds), f"first {summary.seconds:.1f} s", seconds / summary.seconds, 0.2
        )
        with hf.from_catalog(directory) as client:
            yield from slices("in-process", client["frame_"], directory, count, rounds)
        with served(directory, "--digest", "never") as url, hf.from_uri(url, api_key=KEY) as client:
            # It lists the directory once behind its answers, which is another row's work.
            time.sleep(scale(15, 1))
            yield from slices("over loopback", client["frame_"], directory, count, rounds)


def slices(where: str, node: object, directory: Path, count: int, rounds: int) -> Iterator[Row]:
    """Read frames one behind the other, and a few pixels of frames far apart; each file is verified."""
    middle, far = count // 2, max(count // 100, 1)
    parts = {
        f"{100} frames of {count:,}": (slice(middle, middle + 100),),
        f"8 x 8 pixels of every {far}th frame": (slice(None, None, far), slice(8, 16), slice(8, 16)),
    }
    for work, part in parts.items():
        ours = reader(node, part)
        theirs = alone(directory, range(count)[part[0]], part[1:])
        same(work, bool(np.array_equal(ours(), theirs())), True)
        mine, other = back_to_back(ours, theirs, rounds)
        reference = f"tifffile, each file {milliseconds(other)}"
        yield Row(f"{work}, {where}", milliseconds(mine), reference, mine / other, 2)


def reader(node: object, part: tuple[slice, ...]) -> Callable[[], np.ndarray]:
    return lambda: node[part]  # type: ignore[index]


def alone(directory: Path, numbers: range, part: tuple[slice, ...]) -> Callable[[], np.ndarray]:
    """Read the same files with tifffile, whose names are known beforehand."""
    paths = [directory / f"frame_{number:05d}.tif" for number in numbers]
    return lambda: np.stack([tifffile.imread(path)[part] for path in paths])


def frames(directory: Path, count: int) -> Path:
    """Write numbered TIFF files, each different, with the headers that tifffile writes."""
    directory.mkdir()
    out, zero = io.BytesIO(), np.zeros(SHAPE, "<u2")
    tifffile.imwrite(out, zero, photometric="minisblack")
    template = out.getvalue()
    with tifffile.TiffFile(io.BytesIO(template)) as file:
        start = file.pages[0].dataoffsets[0]
    ramp = np.arange(zero.size, dtype="<u2").reshape(SHAPE)
    for number in range(count):
        data = template[:start] + (ramp + number % 50_000).tobytes() + template[start + zero.nbytes :]
        (directory / f"frame_{number:05d}.tif").write_bytes(data)
    return directory
