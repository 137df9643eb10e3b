"""Runs: files of one directory that are numbered like the frames of one measurement.

Owns what names say; looks into no file. Whether such files are of one shape and type, and whether a master
file names those that are called like its data files, is found out later.

>>> split_name("scan_0007.TIF", {".tif": "tiff"})
('scan_', 7, 'tiff')
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from holdfast.catalog.scanning import Found
from holdfast.paths import is_reserved

__all__ = ["SEQUENCES_FACT", "UNNAMED", "grouped", "masters_marked", "number_of", "split_name"]

SEQUENCES_FACT = "sequences"
"""The database's own note of whether runs are one array each: ``yes`` or ``no``."""

UNNAMED = "_unnamed"
"""The key of a run whose names are numbers only, as Tiled has it."""

_MASTER_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".cxi")
_MASTER_ENDINGS = ("_master", "_vds", "")
# A longer number is a name, such as a time or an identifier.
_NAME = re.compile(r"(?P<prefix>.*?)(?P<number>[0-9]{1,18})(?P<suffix>\.[A-Za-z0-9]+)", re.DOTALL)


def split_name(name: str, formats: Mapping[str, str]) -> tuple[str, int, str] | None:
    """Return prefix, number and format of a numbered file; None for every other name.

    Parameters
    ----------
    name : str
        Name of the file.
    formats : mapping of str to str
        Names of formats by lower-case suffix.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    form = formats.get(match["suffix"].lower())
    return None if form is None else (match["prefix"], int(match["number"]), form)


def number_of(name: str) -> int:
    """Return the number of a file of a run, or of one that has none: 0."""
    match = _NAME.fullmatch(name)
    return int(match["number"]) if match is not None else 0


def masters_marked(entries: Sequence[Found]) -> list[Found]:
    """Mark the numbered HDF5 files beside a master file that is called like them.

    Parameters
    ----------
    entries : sequence of Found
        Everything in one directory.

    Notes
    -----
    ``x_data_000001.h5`` belongs to ``x_master.h5`` as Eiger detectors write them; areaDetector and Odin write
    ``x_000001.h5`` beside ``x_vds.h5`` or ``x.nxs``.
    """
    formats = dict.fromkeys(_MASTER_SUFFIXES, "hdf5")
    masters = {
        found.path.stem: found
        for found in entries
        if found.path.suffix.lower() in _MASTER_SUFFIXES and not (found.is_directory or found.error)
    }
    for found in entries:
        parts = _parts(found, formats)
        if parts is not None:
            base = parts[0].removesuffix("data_").rstrip("_-.")
            names = (f"{base}{ending}" for ending in _MASTER_ENDINGS)
            master = next((masters[name] for name in names if name in masters), None)
            if base and master is not None and master is not found:
                found.member_of = master.location
    return list(entries)


def grouped(entries: Sequence[Found], formats: Mapping[str, str]) -> list[Found]:
    """Put the files of each run into one entry, in the order of their numbers, and mark members of masters.

    Parameters
    ----------
    entries : sequence of Found
        Everything in one directory.
    formats : mapping of str to str
        Names of the formats of frames by suffix.

    Returns
    -------
    list of Found
        Single files as they are; a run where its first file was, named after what its files have in common.
    """
    runs: dict[tuple[str, str], list[tuple[int, str, Found]]] = {}
    for found in entries:
        parts = _parts(found, formats)
        if parts is not None:
            runs.setdefault((parts[0], parts[2]), []).append((parts[1], found.key[-1], found))
    runs = {key: run for key, run in runs.items() if len(run) > 1}
    if not runs:
        return masters_marked(entries)
    in_run = {id(found): key for key, run in runs.items() for _, _, found in run}
    taken = {found.key[-1] for found in entries if id(found) not in in_run}
    placed: dict[tuple[str, str], None] = {}
    result: list[Found] = []
    for found in entries:
        key = in_run.get(id(found))
        if key is None:
            result.append(found)
        elif key not in placed:
            placed[key] = None
            frames = [each for _, _, each in sorted(runs[key], key=lambda item: item[:2])]
            result.append(_run(key[0], frames, taken))
    return masters_marked(result)


def _parts(found: Found, formats: Mapping[str, str]) -> tuple[str, int, str] | None:
    if found.is_directory or found.error or found.companion_of:
        return None
    parts = split_name(found.key[-1], formats)
    if parts is None or parts[0] in (".", "..") or is_reserved(parts[0]):
        return None
    return parts


def _run(prefix: str, frames: list[Found], taken: set[str]) -> Found:
    """Return the entry of a run; a key that another entry has is made longer by the suffix of the files."""
    first, suffix = frames[0], frames[0].path.suffix
    name = prefix or UNNAMED
    while name in taken:
        name += suffix
    taken.add(name)
    above = first.location[: len(first.location) - len(first.key[-1])]
    return replace(
        first,
        path=first.path.with_name(name),
        location=f"{above}{prefix}*{suffix}",
        key=(*first.key[:-1], name),
        state=None,
        frames=tuple(frames),
    )
