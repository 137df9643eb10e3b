"""Own how files that the database does not know are taken in: verified, sealed, recorded and logged.

>>> sorted(name for name in __all__)
['adopt', 'begin_anew', 'rebuild']
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator

from holdfast import files
from holdfast.archive.adding import now
from holdfast.archive.aside import set_aside
from holdfast.archive.entries import Entry, Place
from holdfast.archive.manifest import DATABASE, FOLDER, OWN, Manifest
from holdfast.archive.verifying import bytes_path, check_bytes, name_path, opened
from holdfast.archive.yamlfile import YAML
from holdfast.archive.yamlform import parsed, written
from holdfast.database.archive import EntryRow, ManifestDatabase
from holdfast.errors import (
    AlreadyExistsError,
    HashError,
    InvalidInputError,
    MissingFileError,
    NotAStoreError,
    NotFoundError,
    ReadOnlyError,
    UnreadableError,
)
from holdfast.hashing import hash_file
from holdfast.reports import Finding, Report

__all__ = ["adopt", "begin_anew", "rebuild"]

_UUID = re.compile(r"[0-9a-f]{32}\Z")


def adopt(manifest: Manifest, who: str) -> Report:
    """Verify the foreign entries of an archive and record those that are what the YAML says.

    Parameters
    ----------
    manifest : Manifest
        The archive's, with a log.
    who : str
        Who does.

    Returns
    -------
    Report
        The others as findings ``missing`` or ``changed``.

    Raises
    ------
    ReadOnlyError
        The archive cannot be written.
    """
    findings, rows = [], []
    foreign = manifest.foreign()
    for entry in foreign:
        try:
            rows.append(_row(manifest.root, entry, who))
        except MissingFileError as error:
            findings.append(Finding("missing", entry.place.path, str(entry.main_digest), str(error)))
        except HashError as error:
            found = error.details.get("found")
            findings.append(Finding("changed", entry.place.path, str(entry.main_digest), found))
    if rows:
        manifest.record(rows, action="adopt", who=who)
        manifest.flush()
    return Report(len(foreign), findings, [f"{len(rows)} entries were adopted"])


def _row(root: str, entry: Entry, who: str) -> EntryRow:
    with opened(root, entry) as file:
        size = os.fstat(file.fileno()).st_size
        found = check_bytes(file, entry, ("blake3", "sha256", "md5"))
        files.sync_file(file.fileno())
    path = bytes_path(root, entry)
    with contextlib.suppress(ReadOnlyError):  # somebody else's file is still verified
        files.seal(path)
    named = name_path(root, entry)
    if not os.path.lexists(named):  # before 2023 the original had the uuid only
        files.make_directories(os.path.dirname(named))
        files.symlink_new(entry.place.link_text(entry.uuid), named)
    place = entry.place
    digests = (found["blake3"].hex, found["sha256"].hex, found["md5"].hex)
    return EntryRow(
        *(place.event, place.production, place.name, entry.uuid, size), *digests, *(now(), YAML, who)
    )


def begin_anew(manifest: Manifest, who: str) -> Report:
    """Begin a new log for an archive that lost its own, and take in what the YAML knows."""
    manifest.begin_log("rebuild", who=who)
    return adopt(manifest, who)


def rebuild(root: str, who: str) -> Report:
    """Make the manifests of an archive anew from what is left; see `LocalArchive.rebuild`.

    Parameters
    ----------
    root : str
        The archive.
    who : str
        Who does.

    Returns
    -------
    Report
        As of `adopt`.

    Raises
    ------
    AlreadyExistsError, NotAStoreError
        There is nothing to rebuild.
    """
    if not os.path.isdir(os.path.join(root, FOLDER)):
        raise NotAStoreError(
            f"{root} is no archive: it has no {FOLDER}; make one with 'holdfast archive init'"
        )
    _set_aside_database(root)
    _restore_yaml(root)
    manifest = Manifest(root)
    try:
        return begin_anew(manifest, who)
    finally:
        manifest.close()


def _set_aside_database(root: str) -> None:
    path = os.path.join(root, FOLDER, DATABASE)
    try:
        ManifestDatabase(path, read_only=True).close()
    except NotFoundError:
        return
    except UnreadableError:
        for suffix in ("", "-wal", "-shm", "-journal"):
            set_aside(root, path + suffix)
        return
    raise AlreadyExistsError(f"the manifest {path} is whole; there is nothing to rebuild")


def _restore_yaml(root: str) -> None:
    path = os.path.join(root, FOLDER, YAML)
    if os.path.exists(path):
        try:
            with open(path, "rb") as file:
                parsed(file.read(), path)
        except UnreadableError:
            set_aside(root, path)
        else:
            return
    entries = sorted(_found(root), key=lambda entry: entry.place.path.split("/", 2))
    # The new uid says that there was a log once.
    listed = [entry.listed for entry in entries]
    files.write_atomic(path, written(os.path.basename(root), listed, uuid.uuid4().hex, len(listed)))


def _found(root: str) -> Iterator[Entry]:
    """Find entries by the files alone: names that lead to a uuid, and files under their own names."""
    paths = list(_paths(root))
    linked = {os.path.realpath(path) for path in paths if os.path.islink(path)}
    for path in paths:
        parts = os.path.relpath(path, os.path.realpath(root)).split("/", 2)
        if len(parts) < 3 or path in linked or not os.path.isfile(path):
            continue
        with contextlib.suppress(InvalidInputError):
            yield _entry_of(path, Place.of(*parts))


def _paths(root: str) -> Iterator[str]:
    top = os.path.realpath(root)
    for directory, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not (directory == top and name in OWN)]
        yield from (os.path.join(directory, name) for name in names if not files.is_temporary(name))


def _entry_of(path: str, place: Place) -> Entry:
    target = os.path.basename(os.readlink(path)) if os.path.islink(path) else ""
    identity = target if _UUID.match(target) else uuid.uuid4().hex
    if _UUID.match(place.name) and not target:
        identity = place.name  # its own name is lost
    return Entry(place, identity, hash_file(path, ("md5",)), is_foreign=True)
