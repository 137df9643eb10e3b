"""Directories as assets: what is in them, one level down or all of it.

Owns listing files for manifests and ZIPs; reads none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.catalog.places import Places
from holdfast.database import AssetRow, Database
from holdfast.errors import InvalidInputError, MissingFileError
from holdfast.files import is_temporary
from holdfast.paths import is_reserved

__all__ = ["Entry", "children_of", "is_listed", "manifest"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file below a directory.

    Parameters
    ----------
    name : str
        Relative to the directory, with slashes.
    path : Path
        Where it is.
    size, mtime_ns : int
        Size in bytes and time of modification in ns.
    asset : AssetRow, optional
        What is recorded of it, if it is.
    """

    name: str
    path: Path
    size: int
    mtime_ns: int
    asset: AssetRow | None


def is_listed(name: str) -> bool:
    """Whether a name in a directory is anybody's but ours: not reserved, not a file on its way."""
    return not is_reserved(name) and not is_temporary(name)


def manifest(database: Database, places: Places, asset: AssetRow) -> list[Entry]:
    """Return every file below a directory, sorted by name.

    Raises
    ------
    InvalidInputError
        The asset is a file.
    MissingFileError, ForbiddenError
        The directory is absent or lies outside.
    """
    top = _directory(places, asset)
    known = {each.location: each for each in database.assets.each(under=_under(asset))}
    return [
        Entry(name, Path(entry.path), status.st_size, status.st_mtime_ns, known.get(_below(asset, name)))
        for name, entry, status in sorted(_files(places, top, ""), key=lambda item: item[0].encode())
    ]


def children_of(database: Database, places: Places, asset: AssetRow) -> list[AssetRow]:
    """Return the recorded files and directories one level below a directory, sorted by name.

    Raises
    ------
    InvalidInputError
        The asset is a file.
    """
    if not asset.is_directory:
        raise InvalidInputError(f"{asset.location} is a file; read its bytes")
    depth = 0 if asset.location == "." else asset.location.count("/") + 1
    return [
        each
        for each in database.assets.each(under=_under(asset))
        if each.location.count("/") == depth
        and not each.location.startswith("/")
        and each.location not in (asset.location, ".")
    ]


def _under(asset: AssetRow) -> str:
    return "" if asset.location == "." else asset.location


def _below(asset: AssetRow, name: str) -> str:
    return name if asset.location == "." else f"{asset.location}/{name}"


def _directory(places: Places, asset: AssetRow) -> Path:
    if not asset.is_directory:
        raise InvalidInputError(f"{asset.location} is a file; read its bytes")
    path = places.checked(asset.location)
    if not path.is_dir():
        name = places.public(asset.location)
        raise MissingFileError(f"{name} is not there any more; restore it, or index the directory again")
    return path


def _files(
    places: Places, directory: Path, prefix: str
) -> Iterator[tuple[str, os.DirEntry[str], os.stat_result]]:
    """Walk a directory without following links to directories; files behind links inside are listed."""
    try:
        entries = list(os.scandir(directory))
    except OSError:
        # It vanished, or may not be read: the rest is listed.
        return
    for entry in entries:
        if not is_listed(entry.name) or not _is_text(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(places, Path(entry.path), f"{prefix}{entry.name}/")
        elif not entry.is_symlink() or places.allows(Path(entry.path)):
            try:
                if entry.is_file():
                    yield f"{prefix}{entry.name}", entry, entry.stat()
            except OSError:
                continue


def _is_text(name: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in name)
