"""Bring files: in parallel, each verified, what is already there taken over, all failures together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path as FilePath
from threading import Event

from holdfast.catalog.client.assets import fetch_asset
from holdfast.catalog.client.session import Path, Session
from holdfast.catalog.downloads.placing import Wanted
from holdfast.catalog.downloads.staging import link_or_copy
from holdfast.errors import (
    AuthenticationError,
    BulkError,
    HashError,
    HoldfastError,
    MissingFileError,
    StorageFullError,
    TransportError,
)
from holdfast.files import link_new, make_directories, os_errors, remove, replace
from holdfast.hashing import BlockDigests, hash_blocks, hash_bytes
from holdfast.paths import join

__all__ = ["Arrived", "Transfer", "transfer"]

# What makes every further file fail too: going on would only repeat it.
_HOPELESS = (AuthenticationError, StorageFullError, TransportError)


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file that is there, as it was read back.

    Parameters
    ----------
    digests : BlockDigests
        Of the file as it lies here.
    mtime_ns : int
        Time of its last change, nanoseconds since the epoch.
    is_verified : bool
        Whether the source had recorded a digest and this is it.
    """

    digests: BlockDigests
    mtime_ns: int
    is_verified: bool


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bring files of one catalog into a directory.

    Parameters
    ----------
    session : Session
        The source.
    target : Path
        The directory, ``data`` of a download; the caller syncs it.
    incoming : Path
        A directory on the same file system for what has not arrived yet.
    earlier : Path or None
        The same directory of an earlier download, from which unchanged files are taken.
    advance : callable
        Takes the number of bytes that were added.
    """

    session: Session
    target: FilePath
    incoming: FilePath
    earlier: FilePath | None
    advance: Callable[[int], object]

    def bring(self, places: Sequence[Path], wanted: Wanted) -> Arrived:
        """Bring one file to all its places, verified, or raise."""
        first, *others = places
        path = join(self.target, first)
        make_directories(path.parent)
        arrived = self._present(path, first, wanted)
        if arrived is None:
            arrived = self._fetched(path, wanted)
        else:
            self.advance(arrived.digests.size_bytes)
        for place in others:
            _repeat(path, join(self.target, place))
        return arrived

    def _present(self, path: FilePath, place: Path, wanted: Wanted) -> Arrived | None:
        """Take what an interrupted or an earlier download left, if it is what the source has now."""
        if wanted.asset.digest is None:
            remove(path, missing_ok=True, durability="os")
            return None
        if not path.is_file() and self.earlier is not None:
            before = join(self.earlier, place)
            if before.is_file() and not before.is_symlink():
                link_new(before, path, durability="os")
        if not path.is_file():
            return None
        try:
            return _checked(path, wanted)
        except HashError:
            remove(path, durability="os")
            return None

    def _fetched(self, path: FilePath, wanted: Wanted) -> Arrived:
        asset = wanted.asset
        if asset.state == "missing":
            raise MissingFileError(f"the file {asset.location!r} is missing at {self.session.address}")
        # Beside the data, so that no name of a half-arrived file meets a name of the catalog.
        incoming = (
            self.incoming
            / f"{hash_bytes(f'{asset.id} {wanted.relative}'.encode()).hex[:12]}-{path.name[:40]}"
        )
        fetch_asset(
            self.session,
            wanted.node,
            asset,
            incoming,
            relative=wanted.relative,
            progress=self.advance,
            durability="os",
        )
        replace(incoming, path, durability="os")
        if asset.modified_ns is not None:
            os.utime(path, ns=(asset.modified_ns, asset.modified_ns))
        return _checked(path, wanted)


def transfer(job: Transfer, files: Mapping[Path, Wanted], workers: int) -> dict[Path, Arrived]:
    """Bring all files; one that has several places travels once.

    Parameters
    ----------
    job : Transfer
        From where to where.
    files : mapping of path to Wanted
        What to bring, by path below the directory.
    workers : int
        How many at a time.

    Returns
    -------
    dict of path to Arrived
        The facts of each file.

    Raises
    ------
    BulkError
        All failures together; what arrived stays for the next attempt.
    """
    arrived: dict[Path, Arrived] = {}
    failures: list[Exception] = []
    stopped = Event()

    def bring(places: Sequence[Path]) -> None:
        """Bring one file, unless a failure ended the whole."""
        if stopped.is_set():
            return
        try:
            with os_errors("/".join(places[0]), "write"):
                facts = job.bring(places, files[places[0]])
        except HoldfastError as error:
            failures.append(error)
            if isinstance(error, _HOPELESS):
                stopped.set()
        else:
            arrived.update(dict.fromkeys(places, facts))

    with ThreadPoolExecutor(workers, thread_name_prefix="download") as pool:
        try:
            list(pool.map(bring, _places(files)))
        except BaseException:
            stopped.set()
            raise
    if failures:
        text = f"{len(files) - len(arrived)} of {len(files)} files did not arrive"
        raise BulkError(f"{text}; the same download goes on where this one stopped", failures)
    return arrived


def _places(files: Mapping[Path, Wanted]) -> list[list[Path]]:
    """Return the places of each file that travels."""
    found: dict[tuple[int, str], list[Path]] = {}
    for place, wanted in files.items():
        found.setdefault((wanted.asset.id, wanted.relative), []).append(place)
    return list(found.values())


def _repeat(path: FilePath, other: FilePath) -> None:
    """Put a file at its next place, where an interrupted attempt may have put it already."""
    make_directories(other.parent)
    remove(other, missing_ok=True, durability="os")
    link_or_copy(path, other)


def _checked(path: FilePath, wanted: Wanted) -> Arrived:
    """Read a file back as it lies here and compare it with what the source recorded."""
    with open(path, "rb", buffering=0) as source:
        digests = hash_blocks(source)
        mtime_ns = os.fstat(source.fileno()).st_mtime_ns
    expected = wanted.asset.digest
    if expected is not None:
        expected.check(digests.whole, f"file {wanted.asset.location!r}")
    return Arrived(digests, mtime_ns, expected is not None)
