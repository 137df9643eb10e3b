"""Own the archive that lies in a directory here: `LocalArchive`.

How files come in, go out and are checked is in the modules beside; this one joins them.

>>> import tempfile
>>> archive = LocalArchive.make(tempfile.mkdtemp(), "Example")
>>> archive.close()
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, BinaryIO

from holdfast import files
from holdfast.archive import adopting, checking, recovering, repairing, sources, writers
from holdfast.archive.adding import Adder, Wanted
from holdfast.archive.contract import AddedEvent, Archive, Verify
from holdfast.archive.entries import Entry, Place
from holdfast.archive.manifest import FOLDER, Manifest
from holdfast.archive.verifying import Verifier
from holdfast.database.archive import EntryRow, LogRow
from holdfast.errors import (
    AlreadyExistsError,
    HashError,
    HoldfastError,
    InvalidInputError,
    MissingFileError,
    ReadOnlyError,
    UnexpectedHashError,
)
from holdfast.events import bus
from holdfast.paths import local_path
from holdfast.reports import Report
from holdfast.types import PathLike

__all__ = ["LocalArchive", "user"]


class LocalArchive(Archive):
    """An archive in a directory; see `Archive`.

    Parameters
    ----------
    root : path
        The directory.
    api_key : None
        Only servers have keys.
    """

    def __init__(self, root: PathLike, api_key: str | None = None) -> None:
        if api_key is not None:
            raise InvalidInputError("a directory needs no api_key; leave it out")
        self._root = os.path.abspath(local_path(root))
        self._manifest = Manifest(self._root)
        self._writer = writers.Writer(self.root)
        self._verifier = Verifier(self.root)

    @classmethod
    def make(cls, root: PathLike, name: str) -> LocalArchive:
        """Make a new archive; see `Archive.create`."""
        if not isinstance(name, str) or not name or not name.isprintable():
            raise InvalidInputError(f"an archive needs a name of printable text, not {name!r}; give one")
        path = os.path.abspath(local_path(root))
        with files.os_errors(path, "make an archive in"):
            made = _made_root(path)
            try:
                Manifest.create(path, name, who=user()).close()
            except BaseException:
                if made:
                    os.rmdir(path)
                raise
        return cls(path)

    @classmethod
    def rebuild(cls, root: PathLike) -> Report:
        """Make the manifests of an archive that lost them anew, from its files.

        Parameters
        ----------
        root : path
            The archive's directory.

        Returns
        -------
        Report
            How many files were taken in, and which could not be, for they are not what the YAML says.

        Raises
        ------
        AlreadyExistsError
            The database is there and can be read: nothing is lost.
        NotAStoreError
            The directory is no archive.
        """
        return adopting.rebuild(os.path.abspath(local_path(root)), user())

    @property
    def root(self) -> str:
        """The directory."""
        return self._root

    @property
    def manifest(self) -> Manifest:
        """What it knows."""
        return self._manifest

    @property
    def name(self) -> str:
        """The archive's name."""
        return self.manifest.name

    @property
    def uid(self) -> str:
        """The archive's random identity."""
        return self.manifest.uid

    def entries(self, event: str | None = None, production: str | None = None) -> list[Entry]:
        """Return the entries of an event or production, or all."""
        return self.manifest.entries(event, production)

    def entry(self, event: str, production: str, file: str) -> Entry:
        """Return one entry."""
        return self.manifest.get(Place.of(event, production, file))

    def by_uuid(self, uuid: str) -> Entry:
        """Return the entry with a uuid."""
        return self.manifest.by_uuid(uuid)

    def log(self) -> list[LogRow]:
        """Return the rows of the log."""
        return self.manifest.log()

    def head(self) -> str:
        """Return the digest that proves the log."""
        return f"sha256:{self.manifest.head()}"

    def add_file(
        self,
        event: str,
        production: str,
        file: PathLike,
        new_name: str | None = None,
        md5: bool = True,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> dict[str, Any]:
        """Store a file; see `Archive.add_file`."""
        name = os.path.basename(os.fspath(file)) if new_name is None else new_name
        [added] = self.add_all([Wanted(Place.of(event, production, name), file)], md5=md5, progress=progress)
        return added

    def add_tree(
        self,
        event: str,
        production: str,
        directory: PathLike,
        md5: bool = True,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> list[dict[str, Any]]:
        """Store all files of a directory; see `Archive.add_tree`."""
        top = os.path.abspath(os.fspath(directory))
        found = sources.tree(top)
        if not found:
            return []
        first = Place.of(event, production, found[0][0])
        wanted = [Wanted(first.beside(name), path, origin=path) for name, path in found]
        return self.add_all(wanted, md5=md5, progress=progress)

    def add_all(
        self,
        wanted: Iterable[Wanted],
        *,
        md5: bool = True,
        who: str | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> list[dict[str, Any]]:
        """Store files from anywhere at any places, all or none, with one commit.

        Parameters
        ----------
        wanted : iterable of Wanted
            The files.
        md5 : bool, optional
            As for `add_file`.
        who : str, optional
            Who adds; the user of this process by default.
        progress : callable, optional
            Called with the number of bytes copied so far.

        Returns
        -------
        list of dict
            As `add_file` returns it.

        Raises
        ------
        AlreadyPresentException, ChangedError, InvalidInputError, NotFoundError, StorageFullError
            As for `add_file`; nothing was added then.
        """
        self._begin_writing()
        adder = Adder(self.manifest, self._writer, who or user())
        rows, heads = adder.add(list(wanted), md5=md5, progress=progress)
        if bus.has_listeners(AddedEvent):
            for row in rows:
                bus.emit(AddedEvent(source=self, entry=Entry.of_row(row)))
        return [_told(row, head) for row, head in zip(rows, heads, strict=True)]

    def _begin_writing(self) -> None:
        if self._writer.is_marked:
            return
        files.require_writer(self.root, "add")
        if not self._may_write():
            raise ReadOnlyError(f"cannot add to {self.root}: it may not be written; ask its owner")
        if not self.manifest.has_log:
            if self.manifest.is_log_lost:
                adopting.begin_anew(self.manifest, user())
            else:
                self.manifest.begin_log("create", who=user())
        self.collect()

    def _may_write(self) -> bool:
        return os.access(os.path.join(self.root, FOLDER), os.W_OK)

    def collect(self) -> list[str]:
        """Bring recorded files of writers that died to the disk, and remove what else they left behind.

        Returns
        -------
        list of str
            Paths below the root: files that were published and not recorded.

        Raises
        ------
        StorageError, StorageFullError
            The disk does not take the recorded files; their bytes stay in the manifest.
        """
        recovering.recover(self.manifest)
        return writers.collect(self.root, self.manifest.knows)

    def adopt(self) -> Report:
        """Take in, after verifying them, the entries that only the YAML manifest knows.

        Returns
        -------
        Report
            How many there were, and which are not what the YAML says.

        Raises
        ------
        ReadOnlyError
            The archive cannot be written.
        """
        if not self.manifest.has_log:
            self.manifest.begin_log("rebuild" if self.manifest.is_log_lost else "create", who=user())
        return adopting.adopt(self.manifest, user())

    def _fetch(self, entry: Entry, hash: str | None, verify: Verify) -> str:
        try:
            return self._verifier.path(entry, hash, verify)
        except (MissingFileError, HashError) as error:
            if self._waiting_bytes(entry, error) is None:
                raise
            if not self._may_write():
                raise _unrecovered(self.root, entry, error) from error
        recovering.recover(self.manifest)
        return self._verifier.path(entry, hash, verify)

    def _open(self, entry: Entry, hash: str | None) -> BinaryIO:
        try:
            return self._verifier.open(entry, hash)
        except (MissingFileError, HashError) as error:
            content = self._waiting_bytes(entry, error)
            if content is None:
                raise
            if not self._may_write():
                return self._verifier.in_memory(entry, content, hash)
        recovering.recover(self.manifest)
        return self._verifier.open(entry, hash)

    def _waiting_bytes(self, entry: Entry, error: HoldfastError) -> bytes | None:
        """Return what the manifest kept of an entry whose file is damaged, if its writer died."""
        if isinstance(error, UnexpectedHashError):
            return None
        return recovering.bytes_of(self.manifest, entry)

    def check(
        self,
        fast: bool = False,
        subset: str | None = None,
        head: str | None = None,
        *,
        repair_from: Archive | PathLike | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Report:
        """Verify the archive; see `Archive.check`.

        Parameters
        ----------
        fast, subset, head : optional
            As for `Archive.check`.
        repair_from : Archive or path, optional
            Another archive: bad and missing files are replaced by its copies with the same digest, and moved
            aside into ``.manifest/aside``. The report is of the state afterwards.
        progress : callable, optional
            As for `Archive.check`.

        Returns
        -------
        Report
            What is wrong.

        Raises
        ------
        InvalidInputError
            `subset` or `head` cannot be read.
        """
        is_left = writers.is_interrupted(self.root) or recovering.waiting(self.manifest)
        if is_left and self._may_write():
            self.collect()
        report = checking.check(self.manifest, fast=fast, subset=subset, head=head, progress=progress)
        if repair_from is None or report.ok:
            return report
        self._begin_writing()
        notes = repairing.repair(self.manifest, report, repair_from, user())
        after = checking.check(self.manifest, fast=fast, subset=subset, head=head, progress=progress)
        return Report(after.checked, after.findings, [*notes, *after.notes])

    def flush(self) -> None:
        """Bring ``manifest.yaml`` up to date."""
        self.manifest.flush()

    def close(self) -> None:
        """Bring everything to rest.

        Raises
        ------
        StorageError, StorageFullError
            The disk does not take it; what was added is in the manifest, and the next opening goes on.
        """
        try:
            self.manifest.close()
        finally:
            self._writer.close()

    def __del__(self) -> None:
        if hasattr(self, "_verifier"):
            with contextlib.suppress(HoldfastError, OSError):  # nobody is left to be told
                self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return LocalArchive, (self.root,)

    def __repr__(self) -> str:
        return f"Archive({self.root!r})"


def _unrecovered(root: str, entry: Entry, error: HoldfastError) -> HoldfastError:
    return type(error)(
        f"the file of {entry.place.path} did not reach the disk before its writer died; its bytes are in the "
        f"manifest: open_file gives them, and 'holdfast archive check {root}' by somebody who may write "
        "there brings the file back",
        **error.details,
    )


def _made_root(path: str) -> bool:
    """Make the directory of a new archive, or make sure that it is empty."""
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise InvalidInputError(f"cannot make an archive in {path}: it is a file") from None
        present = os.listdir(path)
        if present:
            what = "it is one already" if FOLDER in present else f"it is not empty ({present[0]}, …)"
            raise AlreadyExistsError(
                f"cannot make an archive in {path}: {what}; name an empty directory"
            ) from None
        return False
    files.sync_directory(os.path.dirname(path))
    return True


def _told(row: EntryRow, head: str) -> dict[str, Any]:
    digests = {"blake3": row.blake3, "sha256": row.sha256}
    if row.md5 is not None:
        digests["md5"] = row.md5
    return {
        "file": row.name,
        "uuid": row.uuid,
        "hash": row.md5 or row.sha256,
        "size": row.size,
        "digests": digests,
        "head": f"sha256:{head}",
    }


def user() -> str:
    """Return who runs this process: the user's name, or number where it has none."""
    return _user_of(os.geteuid())


@lru_cache(maxsize=8)
def _user_of(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
