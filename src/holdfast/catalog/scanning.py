"""Scanning: what lies in a directory, found bit by bit while the rest goes on.

Owns the walk and what it leaves out; looks into no file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from holdfast.catalog.listing import is_listed
from holdfast.catalog.places import Places
from holdfast.formats.registry import entry_names
from holdfast.formats.sealed import is_log_name
from holdfast.formats.source import FileState

__all__ = ["Found", "Group", "look", "look_around", "scan"]

_RECORD_LOCK = "_holdfast.lock"
_RECORD_STAGING = "_transactions"
_DIGESTS = re.compile(r"_(?P<name>.+)\.[0-9a-f]{16}\.digests")


@dataclass(slots=True)
class Found:
    """A file or directory that lies there.

    Parameters
    ----------
    path : Path
        Where it is.
    location : str
        How it is recorded.
    key : tuple of str
        Its path in the catalog.
    is_directory : bool
        Whether it is one.
    state : FileState, optional
        Size and times; None where they could not be had.
    error : str
        Why it cannot be read; empty when it can.
    companion_of : str
        Location of the file that this one is a part of, which has no node of its own; mostly empty.
    member_of : str
        Location of the master file that names this one by what both are called; mostly empty.
    frames : tuple of Found
        The files of a numbered run, in order, for which this entry stands; mostly empty.
    entry : str
        Name of the file by which a directory is one node, which it is described and opened by; mostly empty.
    members : tuple of Found
        Every file in such a directory.
    """

    path: Path
    location: str
    key: tuple[str, ...]
    is_directory: bool
    state: FileState | None
    error: str = ""
    companion_of: str = ""
    member_of: str = ""
    frames: tuple[Found, ...] = ()
    entry: str = ""
    members: tuple[Found, ...] = ()

    @property
    def probed(self) -> Path:
        """The file that is looked into: itself, or that by which a directory is one node."""
        return self.path / self.entry if self.entry else self.path


Group = Callable[[list[Found]], list[Found]]
"""Takes the entries of a directory and puts those together that are one thing."""


@dataclass(slots=True)
class _Level:
    """A directory on the way down, with the real paths above it, by which circles are seen."""

    found: Found
    above: frozenset[str] = field(default_factory=frozenset)


def scan(places: Places, group: Group = list) -> Iterator[Found]:
    """Yield everything in the storage directory: a directory's entries by name, then those of each in it.

    Parameters
    ----------
    places : Places
        What is listed and what may be opened.
    group : callable
        Puts entries of a directory together; by default none.

    Notes
    -----
    A directory that is one node is yielded once, with all files in it, and nothing below it.

    Reserved names, files on their way, pipes, sockets and devices are left
    out. Links that stay inside are followed, links that lead outside are yielded with an error. A directory
    that vanishes meanwhile is passed over.
    """
    top = Found(
        places.storage, places.location(places.storage), (), is_directory=True, state=_state(places.storage)
    )
    yield top
    waiting = [_Level(top)]
    while waiting:
        level = waiting.pop()
        if level.found.entry:
            yield replace(level.found, members=tuple(_members(level, places)))
            continue
        above = level.above | {os.path.realpath(level.found.path)}
        found = [each for each in _entries(level.found, places) if not _is_above(each, above)]
        yield from group([each for each in found if not each.entry])
        waiting.extend(_Level(each, above) for each in reversed(found) if each.is_directory)


def _members(level: _Level, places: Places) -> Iterator[Found]:
    """Yield every file below a directory that is one node."""
    above = level.above | {os.path.realpath(level.found.path)}
    for each in _entries(level.found, places, is_inside=True):
        if not each.is_directory:
            yield each
        elif not _is_above(each, above):
            yield from _members(_Level(each, above), places)


def _is_above(found: Found, above: frozenset[str]) -> bool:
    """Whether a directory is one of those on the way down to it: a link in a circle."""
    return found.is_directory and os.path.realpath(found.path) in above


def look(places: Places, location: str) -> Found | None:
    """Return what lies at a recorded location; None when nothing does."""
    path = places.path(location)
    state = _state(path)
    key = places.key(location)
    if state is None or not key or not places.allows(path):
        return None
    found = Found(path, location, key, path.is_dir(), state)
    found.entry = _entry(path) if found.is_directory else ""
    if found.entry:
        found.members = tuple(_members(_Level(found), places))
    return found


def look_around(places: Places, location: str, group: Group) -> list[Found]:
    """Return the entries of the directory in which a recorded file lies."""
    path, key = places.path(location), places.key(location)
    if not key or not places.allows(path):
        return []
    above = location.rpartition("/")[0] or "."
    return group(_entries(Found(path.parent, above, key[:-1], is_directory=True, state=None), places))


def _entries(directory: Found, places: Places, *, is_inside: bool = False) -> list[Found]:
    """List a directory by name, or one inside a node; what vanished meanwhile is left out."""
    if directory.error:
        return []
    try:
        with os.scandir(directory.path) as entries:
            listed = sorted(
                (entry for entry in entries if is_listed(entry.name)), key=lambda entry: entry.name
            )
    except OSError:
        return []
    names = {entry.name for entry in listed}
    if is_inside:
        return [each for each in (_found(entry, directory, places) for entry in listed) if each is not None]
    # What describes the top as one node is none itself: the top is the catalog.
    left_out = () if directory.key else entry_names()
    found = [
        _found(entry, directory, places)
        for entry in listed
        if not _is_ours(entry.name, names) and entry.name not in left_out
    ]
    return [_marked(each, names) for each in found if each is not None]


def _entry(path: Path) -> str:
    """Return the name of the file by which a directory is one node; empty for all others."""
    return next((name for name in entry_names() if (path / name).is_file()), "")


def _is_ours(name: str, names: set[str]) -> bool:
    """Whether records keep a name for themselves beside what else lies there."""
    digests = _DIGESTS.fullmatch(name)
    if digests is not None:
        return digests["name"] in names
    return name == _RECORD_LOCK or (name == _RECORD_STAGING and _RECORD_LOCK in names)


def _marked(found: Found, names: set[str]) -> Found:
    """Mark the log of a sealed file as a part of that file, and a directory that is one node as such."""
    if found.is_directory:
        found.entry = "" if found.error else _entry(found.path)
        return found
    base = is_log_name(found.path.name)
    if base in names:
        found.companion_of = found.location[: len(found.location) - len(found.path.name)] + str(base)
    return found


def _found(entry: os.DirEntry[str], parent: Found, places: Places) -> Found | None:
    """Say what an entry is; None for what is no file or vanished."""
    name, error = entry.name, ""
    if any("\ud800" <= char <= "\udfff" for char in name):
        name = os.fsencode(name).decode("utf-8", "backslashreplace")
        error = f"the name {name!r} is not UTF-8; rename the file"
    elif entry.is_symlink() and not places.allows(Path(entry.path)):
        error = f"{name} leads outside the served directory; allow it with --allow-outside DIR"
    location = name if parent.location == "." else f"{parent.location}/{name}"
    key = (*parent.key, name)
    if error:
        return Found(Path(entry.path), location, key, is_directory=False, state=None, error=error)
    try:
        is_directory = entry.is_dir()
        if not is_directory and not entry.is_file():
            return None
        state = FileState.of(entry.stat())
    except OSError:
        return None
    if is_directory and not os.access(entry.path, os.R_OK | os.X_OK):
        error = f"{name} may not be read by this user"
    return Found(Path(entry.path), location, key, is_directory, state, error)


def _state(path: Path) -> FileState | None:
    try:
        return FileState.of(path.stat())
    except OSError:
        return None
