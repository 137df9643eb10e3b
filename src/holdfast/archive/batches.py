"""Own one step of adding: files are copied and hashed in one pass, published, synced and recorded, or undone.

The order is: the file's own name as a link (of many who add one name exactly one makes it), the file named
by its uuid, everything synced, then the manifest. The bytes of one small file go into the manifest instead
of being synced. What dies in between `holdfast.archive.writers` collects.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from holdfast import files
from holdfast.archive.entries import Entry, Place
from holdfast.archive.manifest import Manifest
from holdfast.archive.settling import Window
from holdfast.archive.sources import Source
from holdfast.archive.verifying import bytes_path, check_bytes
from holdfast.archive.verifying import opened as opened_entry
from holdfast.database.archive import EntryRow
from holdfast.errors import (
    AlreadyExistsError,
    AlreadyPresentException,
    ConflictError,
    HashError,
    MissingFileError,
    NotFoundError,
    UnexpectedHashError,
)
from holdfast.hashing import Digest, copy_hashed, hash_all
from holdfast.types import PathLike

__all__ = ["Batch", "OccupiedError", "Wanted", "now", "present"]

T = TypeVar("T")
# What is read at once, and may lie torn under its uuid after a death; more goes through nameless files.
_SMALL_BYTES = 256 * 1024
# How often a directory may vanish, taken back by others who failed, before we give up.
_TRIES = 1000


class OccupiedError(Exception):
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
    """What was done for one file so far, to be taken back: under its own name, and under its uuid."""

    place: Place
    uuid: str
    named: str
    path: str
    row: EntryRow | None = None
    has_file: bool = False
    is_linked: bool = False
    content: bytes = b""
    made: list[str] = field(default_factory=list)


class Batch:
    """Files that enter an archive together, all or none, under the lock that adds share.

    Parameters
    ----------
    manifest : Manifest
        The archive's, open for writing.
    who : str
        Who adds.
    mark : str
        The mark of this writer.
    md5 : bool
        Take the md5 too.
    progress : callable, optional
        Called with the number of bytes copied so far.
    """

    def __init__(
        self, manifest: Manifest, who: str, mark: str, md5: bool, progress: Callable[[int], object] | None
    ) -> None:
        self._manifest, self._root, self._who, self._mark = manifest, manifest.root, who, mark
        self._unsettled = manifest.unsettled
        self._is_single = False
        self._window: Window | None = None
        self._algorithms = ("blake3", "sha256", "md5") if md5 else ("blake3", "sha256")
        self._progress = progress
        self._copied = 0
        self._published: list[_Published] = []
        self._contents: dict[str, _Published] = {}

    def run(self, wanted: Sequence[Wanted]) -> tuple[list[EntryRow], list[str]]:
        """Add the files.

        Parameters
        ----------
        wanted : sequence of Wanted
            At places of their own.

        Returns
        -------
        tuple of list of EntryRow and list of str
            What was recorded, and the head of the log after each.

        Raises
        ------
        OccupiedError
            Something stands at one of the places.
        AlreadyPresentException, ChangedError, HashError, InvalidInputError, NotFoundError, StorageError
            See `Archive.add_file`; nothing was added then.
        """
        self._is_single = len(wanted) == 1
        rows: list[EntryRow] = []
        heads: list[str] = []
        try:
            if self._is_single:
                self._add_alone(wanted[0])
            else:
                self._add_together(wanted)
            rows = [published.row for published in self._published if published.row is not None]
            heads = self._record(rows)
        except BaseException:
            self._take_back()
            raise
        finally:
            if self._window is not None:
                self._unsettled.end(self._window, len(heads))
        return rows, heads

    # -- durability ------------------------------------------------------------------------------------

    def _add_alone(self, wanted: Wanted) -> None:
        descriptor = self._publish(wanted)
        try:
            [published] = self._published
            if self._window is not None:
                return
            files.sync_new(descriptor, os.path.dirname(published.path))
        finally:
            os.close(descriptor)
        for directory in self._other_directories(published):
            files.sync_directory(directory)

    def _other_directories(self, published: _Published) -> set[str]:
        """Return the directories with names that the sync of the file may not take along."""
        of_file, of_name = os.path.dirname(published.path), os.path.dirname(published.named)
        if published.is_linked:  # its other names may lie elsewhere: the file system takes one of them along
            return {of_file, of_name}
        return {of_name} - {of_file}

    def _add_together(self, wanted: Sequence[Wanted]) -> None:
        with files.SyncPoint(self._root) as point:
            for each in wanted:
                os.close(self._publish(each))
            directories = {os.path.dirname(published.path) for published in self._published}
            directories |= {os.path.dirname(published.named) for published in self._published}
            point.wait([published.path for published in self._published], directories)

    # -- one file --------------------------------------------------------------------------------------

    def _publish(self, wanted: Wanted) -> int:
        """Copy a file under its names; return a descriptor of it, to be closed."""
        place, identity = wanted.place, wanted.uuid or uuid.uuid4().hex
        named = f"{self._root}/{place.path}"
        published = _Published(place, identity, named, f"{self._root}/{place.directory}/{identity}")
        self._published.append(published)
        with Source(wanted.path) as source:
            if source.size > _SMALL_BYTES:
                descriptor = self._copy_large(source, published, wanted)
            else:
                descriptor = self._copy_small(source, published, wanted)
        self._copied += source.size
        return descriptor

    def _copy_small(self, source: Source, published: _Published, wanted: Wanted) -> int:
        content = source.read()
        digests = hash_all(content, self._algorithms)
        published.row = row = self._row(source, published, wanted, digests)
        if self._progress is not None:
            self._progress(self._copied + source.size)
        if self._is_single and self._unsettled.takes(source.size):
            self._window, published.content = self._unsettled.begin(), content
        self._link_name(published)
        descriptor = self._linked_twin(published)
        if descriptor is None:
            descriptor = _made_file(published, lambda: files.create_new(published.path, content))
        self._contents.setdefault(row.blake3, published)
        return descriptor

    def _copy_large(self, source: Source, published: _Published, wanted: Wanted) -> int:
        self._refuse_early(published)
        with (
            self._in_directory(published, published.path, lambda: self._writer(published, source)) as out,
            source.stream() as stream,
        ):
            hasher = copy_hashed(
                stream, files.write_early(out), self._algorithms, lambda copied: self._tell(source, copied)
            )
            source.check_unchanged(hasher.size_bytes)
            published.row = self._row(source, published, wanted, hasher.digests())
            self._link_name(published)
            descriptor = self._linked_twin(published)
            if descriptor is not None:
                out.abort()
                return descriptor
            descriptor = os.dup(out.fd)
            try:
                _made_file(published, out.publish)
            except BaseException:
                os.close(descriptor)
                raise
        self._contents.setdefault(published.row.blake3, published)
        return descriptor

    def _writer(self, published: _Published, source: Source) -> files.AtomicWriter:
        return files.open_atomic(
            published.path, replace=False, durability="os", read_only=True, size_hint=source.size
        )

    def _tell(self, source: Source, copied: int) -> None:
        source.check_length(copied)
        if self._progress is not None:
            self._progress(self._copied + copied)

    def _refuse_early(self, published: _Published) -> None:
        """Refuse what would be refused anyhow, before much is copied."""
        if os.path.lexists(published.named):
            raise OccupiedError
        if self._manifest.find(published.place) is not None:
            raise present(published.place)

    def _row(
        self, source: Source, published: _Published, wanted: Wanted, digests: dict[str, Digest]
    ) -> EntryRow:
        _check_expected(digests, wanted)
        md5, place = digests.get("md5"), published.place
        return EntryRow(
            *(place.event, place.production, place.name, published.uuid, source.size),
            *(digests["blake3"].hex, digests["sha256"].hex, md5.hex if md5 else None),
            *(_plain(wanted.added_at or now()), _plain(wanted.origin or os.path.abspath(source.path))),
            _plain(wanted.who or self._who),
        )

    def _link_name(self, published: _Published) -> None:
        text, named = published.place.link_text(published.uuid), published.named
        try:
            self._in_directory(published, named, lambda: files.symlink_new(text, named, "os"))
        except AlreadyExistsError:
            raise OccupiedError from None

    def _in_directory(self, published: _Published, path: str, make: Callable[[], T]) -> T:
        """Make something at a path, and the directories above it that are missing."""
        for _ in range(_TRIES):
            try:
                return make()
            except NotFoundError:
                self._make_directories(published, os.path.dirname(path))
        return make()

    def _make_directories(self, published: _Published, deepest: str) -> None:
        missing, path = [], deepest
        while not os.path.isdir(path) and path != self._root:
            missing.append(path)
            path = os.path.dirname(path)
        published.made = missing + published.made
        files.make_directories(deepest)

    # -- equal contents --------------------------------------------------------------------------------

    def _linked_twin(self, published: _Published) -> int | None:
        """Give an intact file of the archive that has the same bytes one more name, if there is one."""
        row = published.row
        assert row is not None
        for entry in self._twins(row):
            try:
                with opened_entry(self._root, entry) as file:
                    check_bytes(file, entry)
                twin = bytes_path(self._root, entry)
            except (HashError, MissingFileError):
                continue
            published.is_linked = _made_file(published, partial(files.link_new, twin, published.path, "os"))
            if not published.is_linked:
                return None
            with files.os_errors(published.path, "read"):
                return os.open(published.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        return None

    def _twins(self, row: EntryRow) -> list[Entry]:
        staged = self._contents.get(row.blake3)
        if staged is not None and staged.row is not None:
            return [Entry.of_row(staged.row)]
        return list(filter(self._is_safe, self._manifest.by_content(row.blake3, row.size)))

    def _is_safe(self, twin: Entry) -> bool:
        """Tell whether a file is on the disk, or reaches it with ours at the latest."""
        if self._window is not None:
            return self._unsettled.vouches(self._window, twin.uuid)
        return self._unsettled.is_on_disk(twin.uuid)

    # -- the end ---------------------------------------------------------------------------------------

    def _record(self, rows: Sequence[EntryRow]) -> list[str]:
        try:
            if self._window is None:
                return self._manifest.record(rows)
            [published], [row] = self._published, rows
            names = (published.path, published.named)
            return [self._unsettled.record(self._window, row, published.content, self._mark, names)]
        except ConflictError:
            for published in self._published:
                if self._manifest.find(published.place) is not None:
                    raise present(published.place) from None
            raise

    def _take_back(self) -> None:
        for published in reversed(self._published):
            # If the manifest's own commit failed, only the manifest knows whether it took place.
            with contextlib.suppress(OSError):
                if published.has_file and self._is_recorded(published):
                    continue
                _unlink_if_ours(published)
                if published.has_file:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(published.path)
            _remove_empty(published.made)

    def _is_recorded(self, published: _Published) -> bool:
        with contextlib.suppress(NotFoundError):
            return self._manifest.by_uuid(published.uuid).place == published.place
        return False


def _made_file(published: _Published, make: Callable[[], T]) -> T:
    """Make the file under the uuid; only what stood there before is surely not ours to take back."""
    published.has_file = True
    try:
        return make()
    except AlreadyExistsError:
        published.has_file = False
        raise


def _plain(text: str) -> str:
    """Write what is no UTF-8, as in the name of a source, so that a database can hold it."""
    return text.encode("utf-8", "backslashreplace").decode()


def _remove_empty(directories: list[str]) -> None:
    for directory in directories:
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _unlink_if_ours(published: _Published) -> None:
    with contextlib.suppress(OSError):
        if os.readlink(published.named) == published.place.link_text(published.uuid):
            os.unlink(published.named)


def _check_expected(found: dict[str, Digest], wanted: Wanted) -> None:
    for digest in wanted.expected:
        actual = found.get(digest.algorithm, digest)
        if actual != digest:
            raise UnexpectedHashError(
                f"{os.fspath(wanted.path)} is not what it should be: expected {digest}, found {actual}; "
                "nothing was added, send or copy it again",
                expected=str(digest),
                found=str(actual),
            )


def present(place: Place) -> AlreadyPresentException:
    """Return the refusal of a name that the archive has."""
    return AlreadyPresentException(
        f"{place.path} is in the archive already and is never changed; add the new file under another "
        "name or as a new production"
    )


def now() -> str:
    """Return the present moment as the manifest writes it: ISO 8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
