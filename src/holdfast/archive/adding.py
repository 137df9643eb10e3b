"""Own the way in: copy and hash in one pass, publish without replacing, record, leave no trace of failure.

The order is: file named by its uuid, its own name as a link (of many who add one name exactly one makes it),
bytes and directory synced, then the manifest. What dies in between `holdfast.archive.writers` collects.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from holdfast import files
from holdfast.archive import writers
from holdfast.archive.aside import set_aside
from holdfast.archive.entries import Entry, Place
from holdfast.archive.manifest import Manifest
from holdfast.archive.sources import Source, opened
from holdfast.archive.verifying import bytes_path, check_bytes
from holdfast.archive.verifying import opened as opened_entry
from holdfast.database.archive import EntryRow
from holdfast.errors import (
    AlreadyExistsError,
    AlreadyPresentException,
    HashError,
    InvalidInputError,
    MissingFileError,
    NotFoundError,
    UnexpectedHashError,
)
from holdfast.hashing import Digest, MultiHasher, copy_hashed
from holdfast.types import PathLike

__all__ = ["Adder", "Wanted", "now"]

_ALONE_S = 60.0
# How long somebody who lost the race for a name looks for the winner's record before asking to be alone.
_LOOKS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


class _OccupiedError(Exception):
    """Something stands at a place, and the manifest does not say what."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file to add.

    Parameters
    ----------
    place : Place
        Where to.
    path : path
        Where from.
    origin : str
        What is recorded as that; the absolute path by default.
    uuid, added_at, who : str
        What another archive recorded, for an import; made anew if empty.
    expected : tuple of Digest
        What the bytes must be.
    """

    place: Place
    path: PathLike
    origin: str = ""
    uuid: str = ""
    added_at: str = ""
    who: str = ""
    expected: tuple[Digest, ...] = ()


@dataclass(slots=True)
class _Published:
    """What one add did so far, to be taken back."""

    row: EntryRow
    place: Place
    directories: list[str] = field(default_factory=list)


class Adder:
    """Adds files to one archive.

    Parameters
    ----------
    manifest : Manifest
        The archive's.
    writer : Writer
        The mark of this process.
    who : str
        Who adds.
    """

    def __init__(self, manifest: Manifest, writer: writers.Writer, who: str) -> None:
        self._manifest = manifest
        self._root = manifest.root
        self._writer = writer
        self._who = who

    def add(
        self, wanted: Sequence[Wanted], *, md5: bool = True, progress: Callable[[int], object] | None = None
    ) -> tuple[list[EntryRow], list[str]]:
        """Add files, all or none.

        Parameters
        ----------
        wanted : sequence of Wanted
            The files.
        md5 : bool, optional
            Take the md5 too.
        progress : callable, optional
            Called with the number of bytes copied so far.

        Returns
        -------
        tuple of list of EntryRow and list of str
            What was recorded, and the head of the log after each.

        Raises
        ------
        AlreadyPresentException, ChangedError, HashError, InvalidInputError, NotFoundError, StorageError
            See `Archive.add_file`; nothing was added then.
        """
        _refuse_twins(wanted)
        self._manifest.open_for_writing()
        self._writer.mark()
        while True:
            try:
                with writers.adding(self._root):
                    return _Batch(self._manifest, self._who, md5, progress).run(wanted)
            except _OccupiedError:
                for each in wanted:
                    self._clear(each.place)

    def _clear(self, place: Place) -> None:
        """Say what stands at a place, or remove what a dead writer left there."""
        path = os.path.join(self._root, place.path)
        if not os.path.lexists(path):
            return
        for pause in _LOOKS_S:
            self._refuse_known(place)
            time.sleep(pause)
        with writers.alone(self._root, _ALONE_S):
            self._refuse_known(place)
            left = writers.left_behind(path, self._manifest.knows)
            if left is None:
                raise AlreadyPresentException(
                    f"cannot add {place.path}: something that no manifest knows is there already; choose "
                    "another name, or see 'holdfast archive check'"
                )
            files.remove(path, missing_ok=True)
            set_aside(self._root, os.path.join(self._root, place.directory, left))

    def _refuse_known(self, place: Place) -> None:
        if self._manifest.find(place) is not None:
            raise _present(place)


class _Batch:
    """One call of `Adder.add`, under the shared lock."""

    def __init__(
        self, manifest: Manifest, who: str, md5: bool, progress: Callable[[int], object] | None
    ) -> None:
        self._manifest, self._root, self._who = manifest, manifest.root, who
        self._algorithms = ("blake3", "sha256", "md5") if md5 else ("blake3", "sha256")
        self._progress = progress
        self._copied = 0
        self._published: list[_Published] = []
        self._contents: dict[tuple[str, int], Entry] = {}
        self._directories: set[str] = set()

    def run(self, wanted: Sequence[Wanted]) -> tuple[list[EntryRow], list[str]]:
        try:
            for each in wanted:
                self._publish(each)
            self._settle()
            rows = [published.row for published in self._published]
            return rows, self._manifest.record(rows)
        except BaseException:
            self._take_back()
            raise

    def _settle(self) -> None:
        """Wait for the disk: content and names go in the same commit of a journalling file system.

        Until the manifest says so they are nothing: what a power cut leaves of them is moved aside.
        """
        for published in self._published:
            files.sync_file(os.path.join(self._root, published.place.directory, published.row.uuid))
        for directory in self._directories:
            files.sync_directory(directory)

    def _publish(self, wanted: Wanted) -> None:
        place = wanted.place
        if self._manifest.find(place) is not None:
            raise _present(place)
        if os.path.lexists(os.path.join(self._root, place.path)):
            raise _OccupiedError
        with opened(wanted.path) as source:
            made = self._made_directories(os.path.join(self._root, os.path.dirname(place.path)))
            row = EntryRow(
                *(place.event, place.production, place.name, wanted.uuid or uuid.uuid4().hex, source.size),
                *("", "", None, _plain(wanted.added_at or now())),
                *(_plain(wanted.origin or os.path.abspath(source.path)), _plain(wanted.who or self._who)),
            )
            self._published.append(_Published(row, place, made))
            digests = self._copy(source, row.uuid, wanted)
        hexes = {name: digest.hex for name, digest in digests.items()}
        row = row._replace(blake3=hexes["blake3"], sha256=hexes["sha256"], md5=hexes.get("md5"))
        self._published[-1].row = row
        self._contents[row.blake3, row.size] = Entry.of_row(row)
        self._link(place, row.uuid)

    def _made_directories(self, deepest: str) -> list[str]:
        missing, path = [], deepest
        while not os.path.isdir(path) and path != self._root:
            missing.append(path)
            path = os.path.dirname(path)
        try:
            files.make_directories(deepest)
        except BaseException:
            _remove_empty(missing)
            raise
        return missing

    def _copy(self, source: Source, identity: str, wanted: Wanted) -> dict[str, Digest]:
        target = os.path.join(self._root, wanted.place.directory, identity)
        before = self._copied
        with self._opened(target, source.size) as out:
            hasher = copy_hashed(
                source.file, out.write, self._algorithms, lambda copied: self._tell(source, before, copied)
            )
            source.check_unchanged(hasher.size_bytes)
            digests = _checked(hasher, wanted)
            twin = self._twin(digests["blake3"], source.size)
            if twin is not None and files.link_new(twin, target, "os"):
                out.abort()
        self._copied = before + source.size
        return digests

    def _opened(self, target: str, size: int) -> files.AtomicWriter:
        while True:
            try:
                return files.open_atomic(
                    target, replace=False, durability="os", read_only=True, size_hint=size
                )
            except NotFoundError:
                # Somebody who failed took back the directory that he had made.
                if os.path.isdir(os.path.dirname(target)):
                    raise
                files.make_directories(os.path.dirname(target))

    def _tell(self, source: Source, before: int, copied: int) -> None:
        source.check_length(copied)
        if self._progress is not None:
            self._progress(before + copied)

    def _twin(self, digest: Digest, size: int) -> str | None:
        """Return an intact file of the archive that has the same bytes."""
        staged = self._contents.get((digest.hex, size))
        for entry in [staged] if staged else self._manifest.by_content(digest.hex, size):
            try:
                with opened_entry(self._root, entry) as file:
                    check_bytes(file, entry)
                return bytes_path(self._root, entry)
            except (HashError, MissingFileError):
                continue
        return None

    def _link(self, place: Place, identity: str) -> None:
        path = os.path.join(self._root, place.path)
        try:
            files.symlink_new(place.link_text(identity), path, "os")
        except AlreadyExistsError:
            raise _OccupiedError from None
        self._directories |= {os.path.join(self._root, place.directory), os.path.dirname(path)}

    def _take_back(self) -> None:
        for published in reversed(self._published):
            # If the manifest's own commit failed, only the manifest knows whether it took place.
            with contextlib.suppress(OSError):
                if self._manifest.knows(published.row.uuid):
                    continue
                _unlink_if_ours(os.path.join(self._root, published.place.path), published)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._root, published.place.directory, published.row.uuid))
            _remove_empty(published.directories)


def _refuse_twins(wanted: Sequence[Wanted]) -> None:
    places = Counter(each.place for each in wanted)
    for place, count in places.items():
        if count > 1:
            raise InvalidInputError(f"{place.path} is given {count} times; give each file a name of its own")


def _plain(text: str) -> str:
    """Write what is no UTF-8, as in the name of a source, so that a database can hold it."""
    return text.encode("utf-8", "backslashreplace").decode()


def _remove_empty(directories: list[str]) -> None:
    for directory in directories:
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _unlink_if_ours(path: str, published: _Published) -> None:
    with contextlib.suppress(OSError):
        if os.readlink(path) == published.place.link_text(published.row.uuid):
            os.unlink(path)


def _checked(hasher: MultiHasher, wanted: Wanted) -> dict[str, Digest]:
    found = hasher.digests()
    for digest in wanted.expected:
        actual = found.get(digest.algorithm, digest)
        if actual != digest:
            raise UnexpectedHashError(
                f"{os.fspath(wanted.path)} is not what it should be: expected {digest}, found {actual}; "
                "nothing was added, send or copy it again",
                expected=str(digest),
                found=str(actual),
            )
    return found


def _present(place: Place) -> AlreadyPresentException:
    return AlreadyPresentException(
        f"{place.path} is in the archive already and is never changed; add the new file under another "
        "name or as a new production"
    )


def now() -> str:
    """Return the present moment as the manifest writes it: ISO 8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
