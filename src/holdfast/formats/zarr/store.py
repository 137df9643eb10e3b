"""The files of a Zarr store: found by name below its directory, none outside it.

Owns the way from a key to an open file; knows nothing of arrays.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from holdfast.errors import ForbiddenError, UnreadableError
from holdfast.formats.source import FileState, Source
from holdfast.paths import is_below

__all__ = ["Store"]

_MAX_JSON_BYTES = 16 << 20


class Store:
    """A directory of files, each a metadata document or a chunk.

    Parameters
    ----------
    source : Source
        The file by which the directory was recognised; not closed.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.root = source.path.parent
        self.name = self.root.name

    def path(self, key: str) -> Path:
        """Return where the file of a key is."""
        return self.root.joinpath(*key.split("/"))

    def open(self, key: str, inside: set[Path] | None = None) -> Source | None:
        """Open the file of a key; None when there never was one.

        Parameters
        ----------
        key : str
            Its name, with slashes.
        inside : set of Path, optional
            Directories that were seen to lie in the store, for many files at once; added to.

        Raises
        ------
        MissingFileError
            It is on record and gone.
        ForbiddenError
            A link leads out of the store.
        ChangedError, UnreadableError
            It is not what was recorded, or no file.
        """
        path = self.path(key)
        try:
            is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            self.source.require(path)
            return None
        if is_link or inside is None or path.parent not in inside:
            self.check_inside(path, key)
            if inside is not None and not is_link:
                inside.add(path.parent)
        return self.source.related(path, f"{self.name}/{key}")

    def check_inside(self, path: Path, key: str) -> None:
        """Refuse what leads out of the store and of all that may be read."""
        if not any(is_below(path, root) for root in (self.root, *self.source.roots)):
            raise ForbiddenError(f"{self.name}/{key} leads outside the store; copy the file into it")

    def state(self, key: str) -> FileState | None:
        """Return size and times of a file; None when there is none."""
        try:
            return FileState.of(self.path(key).stat())
        except OSError:
            return None

    def json(self, key: str) -> dict[str, Any] | None:
        """Return a metadata document; None when there is none.

        Raises
        ------
        UnreadableError
            It is no JSON object, or larger than any such document.
        """
        source = self.open(key)
        if source is None:
            return None
        with source:
            if source.size > _MAX_JSON_BYTES:
                raise UnreadableError(
                    f"{source.name} has {source.size} bytes; more than {_MAX_JSON_BYTES >> 20} MiB is none"
                )
            return _parsed(bytes(source.read()), source.name)


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"{name} is no JSON: {str(error)[:100]}; restore it from a copy") from error
    if not isinstance(value, dict):
        raise UnreadableError(f"{name} is no JSON object but {type(value).__name__}; restore it from a copy")
    return value
