"""Own the decision where the database of a directory lies; every face asks here.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as directory:
...     locate(directory).kind
'hidden'
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

from holdfast.config import state_directory
from holdfast.errors import NotFoundError
from holdfast.types import PathLike

__all__ = ["DATABASE_NAME", "HIDDEN_DIRECTORY", "Location", "locate"]

DATABASE_NAME = "catalog.db"
HIDDEN_DIRECTORY = ".holdfast"

Kind = Literal["repository", "hidden", "state", "given"]


@dataclass(frozen=True, slots=True)
class Location:
    """Say where the database of a directory lies.

    Parameters
    ----------
    directory : Path
        What asset locations are relative to.
    database : Path
        The database file, which may not exist yet.
    kind : {"repository", "hidden", "state", "given"}
        In the directory itself, in its hidden ``.holdfast``, in the user's state directory, or as given.
    """

    directory: Path
    database: Path
    kind: Kind

    @property
    def exists(self) -> bool:
        """Whether the database is there."""
        return self.database.exists()

    def beside(self, name: str) -> Path:
        """Return the path of another file of ours in the same place.

        Parameters
        ----------
        name : str
            For example ``"store.db"``.

        Returns
        -------
        Path
            Next to the database; in ``.holdfast`` of a repository.
        """
        if self.kind == "repository":
            return self.directory / HIDDEN_DIRECTORY / name
        return self.database.with_name(name)


def locate(directory: PathLike, database: PathLike | None = None) -> Location:
    """Say where the database of a directory lies; nothing is made.

    Parameters
    ----------
    directory : path-like
        A directory, or the ``catalog.db`` of a repository.
    database : path-like, optional
        Where the user wants it.

    Returns
    -------
    Location
        A repository's own database if there is one, else one in ``.holdfast``, else, where that cannot be
        written, one in the user's state directory.

    Raises
    ------
    NotFoundError
        When there is no such directory.
    """
    path = Path(os.path.abspath(directory))
    if path.is_file() and database is None:
        return _of_file(path)
    if not path.is_dir():
        raise NotFoundError(f"there is no directory {path}; make it, or check the path")
    if database is not None:
        return Location(path, Path(os.path.abspath(database)), "given")
    if (path / DATABASE_NAME).exists():
        return Location(path, path / DATABASE_NAME, "repository")
    hidden, state = path / HIDDEN_DIRECTORY / DATABASE_NAME, _in_state(path)
    if hidden.exists() or (_can_write(path) and not state.exists()):
        return Location(path, hidden, "hidden")
    return Location(path, state, "state")


def _of_file(path: Path) -> Location:
    if path.parent.name == HIDDEN_DIRECTORY:
        return Location(path.parent.parent, path, "hidden")
    return Location(path.parent, path, "repository" if path.name == DATABASE_NAME else "given")


def _in_state(path: Path) -> Path:
    # The name of the directory is for people, the digest of its real path tells it from others.
    real = os.path.realpath(path)
    return (
        state_directory()
        / f"{path.name or 'root'}-{sha256(real.encode(errors='surrogateescape')).hexdigest()[:16]}"
        / DATABASE_NAME
    )


def _can_write(path: Path) -> bool:
    hidden = path / HIDDEN_DIRECTORY
    return os.access(hidden if hidden.exists() else path, os.W_OK | os.X_OK)
