"""Where the data of virtual and externally stored data sets comes from.

Owns finding these files before HDF5 reads: it answers with fill values for what it does not find.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from h5py import h5d, h5s

from holdfast.errors import ForbiddenError, HoldfastError, MissingFileError, NotFoundError, UnreadableError
from holdfast.formats.hdf5.links import FileSet, OpenedFile, Place, hdf5_errors, locate
from holdfast.formats.slicing import Axis

__all__ = ["check_sources", "find_sources"]

_PATTERN = "%b"
_MAX_NESTED = 8


def check_sources(files: FileSet, place: Place, axes: Sequence[Axis], depth: int = _MAX_NESTED) -> None:
    """Make sure that every source which a slice of a virtual data set needs is there.

    Raises
    ------
    MissingFileError, ForbiddenError
        A source file is absent or lies outside.
    UnreadableError
        Virtual data sets that are made of each other.
    """
    if not depth:
        raise UnreadableError(f"{place.opened.name}: virtual data sets are made of each other")
    for name, dataset, space in _virtual_sources(place):
        if _PATTERN in name:
            _check_end(place, name)
        elif not _is_touched(space, axes):
            continue
        for actual in _expanded(name, place):
            found = _find_source(files, place, actual, dataset)
            if isinstance(found.object, h5d.DatasetID):
                whole = [Axis(0, 1, length) for length in found.object.shape or ()]
                check_sources(files, found, whole, depth - 1)


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
    for name, dataset in sorted({(name, dataset) for name, dataset, _ in _virtual_sources(place)}):
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


def _virtual_sources(place: Place) -> list[tuple[str, str, h5s.SpaceID]]:
    with hdf5_errors(place.opened):
        created = place.object.get_create_plist()
        if created.get_layout() != h5d.VIRTUAL:
            return []
        return [
            (created.get_virtual_filename(n), created.get_virtual_dsetname(n), created.get_virtual_vspace(n))
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
    try:
        low, high = space.get_select_bounds()
    except (RuntimeError, ValueError):
        return True
    return all(
        axis.count and a < axis.high and axis.low <= b for a, b, axis in zip(low, high, axes, strict=False)
    )
