"""Where a download grows before it appears, and how it appears: in one step, or not at all."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath

from holdfast.catalog.client.session import Path
from holdfast.database import Database
from holdfast.errors import AlreadyExistsError, InvalidInputError
from holdfast.files import (
    exchange,
    is_temporary,
    link_new,
    lock,
    make_directories,
    open_atomic,
    publish_new,
    remove,
    remove_tree,
    symlink_new,
    sync_tree,
)
from holdfast.hashing import copy_hashed, hash_bytes
from holdfast.paths import is_reserved, local_path
from holdfast.types import PathLike

__all__ = ["DATA", "DATABASE", "MARK", "Staging", "link_or_copy", "staged"]

DATABASE = "catalog.db"
DATA = "data"
MARK = "downloaded"
"""The fact in a database that says: this is a download, and of what."""


class Staging:
    """Be the hidden directory beside the destination in which a download grows.

    Parameters
    ----------
    destination : Path
        What appears at the end; absolute, symbolic links followed.
    name : str
        What tells the catalog that is downloaded from others.

    Raises
    ------
    AlreadyExistsError
        When the destination holds anything but an earlier download of the same catalog.
    InvalidInputError
        When the destination cannot be replaced in one step.
    """

    def __init__(self, destination: FilePath, name: str) -> None:
        self.destination = destination
        self.path = destination.parent / f".{destination.name[:50]}.{hash_bytes(name.encode()).hex[:12]}.part"
        self.earlier = _earlier(destination, name)

    @property
    def data(self) -> FilePath:
        """The directory of the files."""
        return self.path / DATA

    @property
    def incoming(self) -> FilePath:
        """The directory of what has not arrived yet."""
        return self.path / "incoming"

    @property
    def database(self) -> FilePath:
        """The database."""
        return self.path / DATABASE

    def keep_only(self, places: Collection[Path]) -> None:
        """Remove what an interrupted attempt left and this one does not want.

        Parameters
        ----------
        places : collection of tuple of str
            The files that are wanted, below `data`.
        """
        wanted = {self.data.joinpath(*place) for place in places}
        for directory, below, names in os.walk(self.data, topdown=False):
            for name in names:
                if (path := FilePath(directory, name)) not in wanted:
                    remove(path, durability="os")
            for name in below:
                path = FilePath(directory, name)
                if not any(path.iterdir()):
                    remove_tree(path)

    def clear_database(self) -> None:
        """Remove the database of an interrupted attempt; the files stay."""
        for suffix in ("", "-wal", "-shm", "-journal"):
            remove(f"{self.database}{suffix}", missing_ok=True)

    def publish(self, dropped: Collection[str]) -> None:
        """Let the download appear under its name, whole.

        Parameters
        ----------
        dropped : collection of str
            Files of the earlier download, relative, that the source has no more; its others are kept.
        """
        remove_tree(self.incoming)
        if self.earlier is not None:
            _carry_over(self.earlier, self.path, dropped)
        sync_tree(self.path)
        if os.path.lexists(self.destination):
            exchange(self.path, self.destination)
            remove_tree(self.path)
        else:
            publish_new(self.path, self.destination)


@contextmanager
def staged(destination: PathLike, name: str) -> Iterator[Staging]:
    """Give the staging directory of a destination, for one download at a time.

    Parameters
    ----------
    destination : path-like
        Where the download shall appear.
    name : str
        What tells the catalog that is downloaded from others.

    Yields
    ------
    Staging
        What an interrupted attempt left is still in it. It stays when the block fails.

    Raises
    ------
    BusyError
        When another process downloads to the same destination.
    """
    staging = Staging(FilePath(os.path.realpath(local_path(destination))), name)
    make_directories(staging.data)
    with lock(staging.path, timeout_s=0):
        make_directories(staging.incoming)
        yield staging


def _earlier(destination: FilePath, name: str) -> FilePath | None:
    """Return the destination if it is an earlier download of this catalog, None if nothing is there."""
    if not os.path.lexists(destination):
        return None
    if os.path.ismount(destination):
        raise InvalidInputError(f"{str(destination)!r} is a mount point; give a directory inside it")
    if destination.is_dir() and not any(destination.iterdir()):
        return None
    database = destination / DATABASE
    if destination.is_dir() and database.is_file():
        with Database(database, read_only=True) as found:
            if found.fact(MARK) == name:
                return destination
    raise AlreadyExistsError(
        f"{str(destination)!r} exists and is no earlier download of this catalog; give another destination"
    )


def _carry_over(earlier: FilePath, staging: FilePath, dropped: Collection[str]) -> None:
    """Give the files of an earlier download a second name in the new one, the user's own included."""
    for directory, _, names in os.walk(earlier):
        below = os.path.relpath(directory, earlier)
        for name in names:
            relative = os.path.normpath(os.path.join(below, name))
            if is_temporary(name) or relative in dropped or (below == "." and is_reserved(name)):
                continue
            target = staging / relative
            make_directories(target.parent)
            if not os.path.lexists(target):
                _repeat(FilePath(directory, name), target)


def _repeat(source: FilePath, target: FilePath) -> None:
    if source.is_symlink():
        symlink_new(os.fspath(source.readlink()), target, durability="os")
    else:
        link_or_copy(source, target)


def link_or_copy(source: FilePath, target: FilePath) -> None:
    """Put a file at a second place: as a link where the file system has them, else as a copy.

    Parameters
    ----------
    source, target : Path
        A file, and a name that nothing has; the caller syncs it.
    """
    if not link_new(source, target, durability="os"):
        with open(source, "rb", buffering=0) as opened, open_atomic(target, durability="os") as out:
            copy_hashed(opened, out.write)
