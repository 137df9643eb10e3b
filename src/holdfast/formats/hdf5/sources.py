"""Where the data of virtual and externally stored data sets comes from.

Owns finding these files before HDF5 reads: it answers with fill values for what it does not find. It unpacks
what it finds there, too, so their packed chunks are looked at first.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import h5py
from h5py import h5d, h5i, h5s

from holdfast.errors import ForbiddenError, HoldfastError, MissingFileError, NotFoundError, UnreadableError
from holdfast.formats.hdf5.links import FileSet, OpenedFile, Place, hdf5_errors, locate
from holdfast.formats.hdf5.packed import PackedChunks
from holdfast.formats.slicing import Axis

__all__ = ["KnownSources", "check_sources", "find_sources"]

KnownSources: TypeAlias = dict[tuple[Path, bytes], PackedChunks | None]
"""The packed chunks of sources, by file and name in it; None for one that is not packed."""

_PATTERN = "%b"
_MAX_NESTED = 8


def check_sources(
    files: FileSet, place: Place, axes: Sequence[Axis], known: KnownSources, depth: int = _MAX_NESTED
) -> None:
    """Make sure that every source which a slice of a virtual data set needs is there and may be unpacked.

    Parameters
    ----------
    files : FileSet
        Where files are found.
    place : Place
        The data set.
    axes : sequence of Axis
        The slice.
    known : dict
        What earlier calls found of the sources' chunks, and this one adds to.
    depth : int
        How deep virtual data sets of virtual data sets are followed.

    Raises
    ------
    MissingFileError, ForbiddenError
        A source file is absent or lies outside.
    UnreadableError
        Virtual data sets that are made of each other, or a chunk of a source that would unpack to more
        than a chunk.
    """
    if not depth:
        raise UnreadableError(f"{place.opened.name}: virtual data sets are made of each other")
    for mapping in _mappings(place):
        if _PATTERN in mapping.name:
            _check_end(place, mapping.name)
        elif not _is_touched(mapping.target, axes):
            continue
        for actual in _expanded(mapping.name, place):
            found = _find_source(files, place, actual, mapping.dataset)
            if isinstance(found.object, h5d.DatasetID):
                taken = _narrowed(mapping, axes, found.object.shape or ())
                if all(axis.count for axis in taken):
                    check_sources(files, found, taken, known, depth - 1)
                    _check_packed(found, taken, known)


def _check_packed(place: Place, axes: Sequence[Axis], known: KnownSources) -> None:
    with hdf5_errors(place.opened):
        key = place.opened.path, h5i.get_name(place.object)
        if key not in known:
            known[key] = PackedChunks.of(place, h5py.Dataset(place.object).dtype)
        packed = known[key]
        if packed is not None:
            packed.check(axes)


def find_sources(files: FileSet, place: Place, depth: int = _MAX_NESTED) -> None:
    """Notice every file that a data set's data lies in, also absent ones; `FileSet.linked` has them.

    Parameters
    ----------
    files : FileSet
        Where files are found.
    place : Place
        The data set.
    depth : int
        How deep virtual data sets of virtual data sets are followed.
    """
    with hdf5_errors(place.opened):
        created = place.object.get_create_plist()
        stored = [created.get_external(n)[0] for n in range(created.get_external_count())]
    for raw in stored:
        _notice(files, place, os.fsdecode(raw), "storage")
    for name, dataset in sorted({(each.name, each.dataset) for each in _mappings(place)}):
        try:
            actuals = list(_expanded(name, place))
        except ForbiddenError:
            # Reading says so.
            continue
        for actual in actuals:
            opened = _notice(files, place, actual, "virtual")
            if opened is not None and depth:
                _find_nested(files, opened, dataset, depth)


def _find_nested(files: FileSet, opened: OpenedFile, dataset: str, depth: int) -> None:
    try:
        found = files.find(dataset, files.top(opened))
        if isinstance(found.object, h5d.DatasetID):
            find_sources(files, found, depth - 1)
    except HoldfastError:
        # Reading says what is wrong; here the files are listed as far as they are found.
        return


def _notice(files: FileSet, place: Place, name: str, kind: str) -> OpenedFile | None:
    try:
        if kind == "virtual":
            return place.opened if name == "." else files.open_named(place.opened, name, kind)
        files.locate(place.opened, name, kind)
    except HoldfastError:
        return None
    return None


class _Mapping(NamedTuple):
    """One part of a virtual data set: what of which source goes where."""

    name: str
    dataset: str
    source: h5s.SpaceID
    target: h5s.SpaceID


def _mappings(place: Place) -> list[_Mapping]:
    with hdf5_errors(place.opened):
        created = place.object.get_create_plist()
        if created.get_layout() != h5d.VIRTUAL:
            return []
        return [
            _Mapping(
                created.get_virtual_filename(n),
                created.get_virtual_dsetname(n),
                created.get_virtual_srcspace(n),
                created.get_virtual_vspace(n),
            )
            for n in range(created.get_virtual_count())
        ]


def _expanded(name: str, place: Place) -> Iterator[str]:
    """Yield the names of a numbered series, as far as its files are there; any other name as it is."""
    if _PATTERN not in name:
        yield name
        return
    for number in itertools.count():
        actual = name.replace(_PATTERN, str(number))
        try:
            locate(actual, place.opened.source)
        except MissingFileError:
            return
        yield actual


def _check_end(place: Place, name: str) -> None:
    """Refuse a series that HDF5 would go on with in the working directory, where it looks last."""
    end = len(list(_expanded(name, place)))
    after = name.replace(_PATTERN, str(end))
    if Path(after).exists():
        raise ForbiddenError(
            f"{place.opened.name} names the series {name!r}; {after!r} is not beside it but in the working "
            "directory of this process, where it is not read"
        )


def _find_source(files: FileSet, place: Place, name: str, dataset: str) -> Place:
    opened = place.opened if name == "." else files.open_named(place.opened, name, "virtual")
    try:
        return files.find(dataset, files.top(opened))
    except MissingFileError:
        raise
    except NotFoundError as error:
        raise MissingFileError(
            f"{place.opened.name} needs {dataset!r} of {opened.name}, which has no such data set"
        ) from error


def _is_touched(space: h5s.SpaceID, axes: Sequence[Axis]) -> bool:
    """Whether the box around a mapping meets the box around a slice."""
    bounds = _bounds(space)
    return bounds is None or all(
        axis.count and a < axis.high and axis.low < b for (a, b), axis in zip(bounds, axes, strict=False)
    )


def _narrowed(mapping: _Mapping, axes: Sequence[Axis], shape: tuple[int, ...]) -> list[Axis]:
    """Return a box of a source that holds all that a slice takes of it; all of it where that is not plain."""
    source, target = _bounds(mapping.source), _bounds(mapping.target)
    if source is None or len(source) != len(shape):
        return [Axis(0, 1, length) for length in shape]
    box = [(low, min(high, length)) for (low, high), length in zip(source, shape, strict=True)]
    if target is not None and _is_box(mapping.source, source) and _is_box(mapping.target, target):
        long = [n for n, (low, high) in enumerate(source) if high - low > 1]
        beside = [
            (low, high, axis) for (low, high), axis in zip(target, axes, strict=False) if high - low > 1
        ]
        if [source[n][1] - source[n][0] for n in long] == [high - low for low, high, _ in beside]:
            for n, (low, high, axis) in zip(long, beside, strict=True):
                shift = source[n][0] - low
                box[n] = max(axis.low, low) + shift, min(axis.high + shift, high + shift, box[n][1])
    return [Axis(low, 1, max(0, high - low)) for low, high in box]


def _is_box(space: h5s.SpaceID, bounds: list[tuple[int, int]]) -> bool:
    return bool(space.get_select_npoints() == math.prod(high - low for low, high in bounds))


def _bounds(space: h5s.SpaceID) -> list[tuple[int, int]] | None:
    """Return the box around what is selected, first and one more than last; None if it has no end."""
    try:
        low, high = space.get_select_bounds()
    except (RuntimeError, ValueError):
        return None
    return [(a, b + 1) for a, b in zip(low, high, strict=True)]
