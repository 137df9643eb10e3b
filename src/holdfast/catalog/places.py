"""Places: where the files of a catalog lie, and how they are named in its database.

Owns the way between a recorded location and a path, and what may be opened; reads no files.

>>> places = Places(Path("/srv/stuff"), Path("/srv/stuff/data"), "data", (Path("/srv/stuff/data"),))
>>> places.location(Path("/srv/stuff/data/a/b.csv")), places.key("data/a/b.csv")
('data/a/b.csv', ('a', 'b.csv'))
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.database import Database, Location
from holdfast.errors import ForbiddenError, InvalidInputError
from holdfast.paths import is_below
from holdfast.types import PathLike

__all__ = ["STORAGE_FACT", "Neighbours", "Places"]

STORAGE_FACT = "storage"
"""The database's own note of the directory, relative to it, whose files it lists: ``data`` or ``.``."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files of a catalog lie.

    Parameters
    ----------
    base : Path
        What recorded locations count from.
    storage : Path
        The directory whose files are listed.
    prefix : str
        `storage` as locations spell it, ``data`` for a repository; empty when it is the base.
    roots : tuple of Path
        Directories that files may be opened in; `storage` is the first.
    """

    base: Path
    storage: Path
    prefix: str
    roots: tuple[Path, ...]

    @classmethod
    def of(
        cls,
        location: Location,
        database: Database | None,
        readable_storage: Sequence[PathLike] | None = None,
        allow_outside: Sequence[PathLike] = (),
    ) -> Places:
        """Say where the files of a directory lie.

        Parameters
        ----------
        location : Location
            What `holdfast.database.locate` answered.
        database : Database, optional
            Its database, which may have a note about it.
        readable_storage : sequence of path-like, optional
            Where the user says they lie; the first stands for the storage directory.
        allow_outside : sequence of path-like
            Further directories that links may lead to.
        """
        default = "data" if location.kind == "repository" else "."
        note = (database.fact(STORAGE_FACT) if database is not None else None) or default
        prefix = "" if note == "." else note
        given = [Path(os.path.abspath(path)) for path in readable_storage or ()]
        storage = given[0] if given else location.directory / prefix
        further = [Path(os.path.abspath(path)) for path in allow_outside]
        return cls(location.directory, storage, prefix, (storage, *given[1:], *further))

    def location(self, path: Path) -> str:
        """Return how a file is recorded: relative to the base, with slashes; outside it, absolute."""
        relative = _relative(path, self.storage)
        if relative is None:
            return Path(os.path.abspath(path)).as_posix()
        return "/".join(part for part in (self.prefix, relative) if part) or "."

    def path(self, location: str) -> Path:
        """Return where a recorded file is, by name alone.

        Raises
        ------
        InvalidInputError
            The location climbs out of the directory.
        """
        if location.startswith("/"):
            return Path(location)
        parts = () if location == "." else tuple(location.split("/"))
        if ".." in parts or "\0" in location:
            raise InvalidInputError(f"the recorded location {location!r} leads out of {self.base}")
        if self.prefix and parts[:1] == (self.prefix,):
            return self.storage.joinpath(*parts[1:])
        return (self.base if self.prefix else self.storage).joinpath(*parts)

    def checked(self, location: str) -> Path:
        """Return where a recorded file is, with all links followed.

        Raises
        ------
        ForbiddenError
            It lies outside the directories that may be read.
        """
        path = self.path(location)
        if not self.allows(path):
            name = self.public(location)
            raise ForbiddenError(
                f"{name} leads outside the served directory; allow it with --allow-outside DIR"
            )
        return path

    def allows(self, path: Path) -> bool:
        """Whether a path, with all links followed, lies where files may be read."""
        return any(is_below(path, root) for root in self.roots)

    def key(self, location: str) -> tuple[str, ...]:
        """Return the path in the catalog of the file at a location inside the storage; empty for its top."""
        parts = () if location == "." else tuple(location.split("/"))
        return parts[1:] if self.prefix and parts[:1] == (self.prefix,) else parts

    def public(self, location: str) -> str:
        """Return a location as clients see it: relative to the storage; outside it, the name alone."""
        return location.rsplit("/", 1)[-1] if location.startswith("/") else "/".join(self.key(location))


class Neighbours:
    """The way to many files of one directory, whose links are followed once.

    Parameters
    ----------
    places : Places
        What may be opened.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._above: str | None = None
        self._directory = places.storage

    def find(self, location: str) -> Path:
        """Return where a recorded file is; a link among them is followed as `Places.checked` does.

        Raises
        ------
        ForbiddenError
            It lies outside the directories that may be read.
        """
        above, _, name = location.rpartition("/")
        if above != self._above:
            self._directory = self._places.checked(above or ".")
            self._above = above
        path = Path(f"{self._directory}/{name}")
        return self._places.checked(location) if path.is_symlink() else path


def _relative(path: Path, top: Path) -> str | None:
    """Return the path below a directory, by name or else with links followed; None when it is not there."""
    for one, other in (
        (os.path.abspath(path), os.path.abspath(top)),
        (os.path.realpath(path), os.path.realpath(top)),
    ):
        if one == other:
            return ""
        if one.startswith(other.rstrip("/") + "/"):
            return one[len(other.rstrip("/")) + 1 :]
    return None
