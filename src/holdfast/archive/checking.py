"""Own the check of an archive: its log, its structure, its bytes, and the copy that the original reads.

It changes nothing; repairs are `holdfast.archive.repairing`'s.

>>> parts_of("3/7", 10), len(parts_of("10%", 50))
([2, 9], 5)
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import stat
from collections.abc import Callable, Iterator, Sequence

from holdfast import files
from holdfast.archive.chains import check_chain, check_head
from holdfast.archive.entries import Entry
from holdfast.archive.manifest import FOLDER, OWN, Manifest
from holdfast.archive.recovering import waiting
from holdfast.archive.verifying import bytes_path, check_bytes, name_path, opened
from holdfast.archive.writers import alone
from holdfast.archive.yamlfile import YAML
from holdfast.errors import (
    BusyError,
    HashError,
    HoldfastError,
    InvalidInputError,
    MissingFileError,
    UnreadableError,
)
from holdfast.reports import Finding, Report

__all__ = ["check", "parts_of"]

_PART = re.compile(r"(\d+)/(\d+)\Z")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)%\Z")
_WRITABLE = 0o222
_PATIENCE_S = 5.0


def check(
    manifest: Manifest,
    *,
    fast: bool = False,
    subset: str | None = None,
    head: str | None = None,
    progress: Callable[[int], object] | None = None,
) -> Report:
    """Verify an archive; see `Archive.check`.

    Parameters
    ----------
    manifest : Manifest
        The archive's.
    fast, subset, head, progress : optional
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
    entries = manifest.entries()
    chosen = set(parts_of(subset, len(entries)) if subset is not None else range(len(entries)))
    findings, notes = check_chain(manifest)
    if head is not None:
        more, said = check_head(manifest, head)
        findings += more
        notes += said
    findings += _check_yaml(manifest)
    reader = _Reader(progress)
    for number, entry in enumerate(entries):
        findings += _check_entry(manifest, entry, reader if number in chosen and not fast else None)
    findings += _extra(manifest, entries)
    notes += _waiting(manifest)
    checked = len(entries) if fast else len(chosen)
    return Report(checked, findings, notes)


def _waiting(manifest: Manifest) -> Iterator[str]:
    """Tell of what the next opening for writing mends; what it is now was found nevertheless."""
    unsynced, marks = manifest.unsynced, waiting(manifest)
    if unsynced is not None and marks:
        count = sum(map(unsynced.count, marks))
        yield (
            f"{count} files may not have reached the disk before their writer died; their bytes are in the "
            f"manifest, and 'holdfast archive check {manifest.root}' by somebody who may write there brings "
            "them back"
        )


def parts_of(subset: str, count: int) -> list[int]:
    """Choose a part of some numbered things.

    Parameters
    ----------
    subset : str
        ``10%``: so many at random, at least one. ``3/7``: the third of seven parts, which never overlap.
    count : int
        How many things there are.

    Returns
    -------
    list of int
        Numbers from 0, sorted.

    Raises
    ------
    InvalidInputError
        It is neither.
    """
    part, share = _PART.match(subset), _SHARE.match(subset)
    if part and 1 <= int(part[1]) <= int(part[2]):
        return list(range(int(part[1]) - 1, count, int(part[2])))
    if share and 0 < float(share[1]) <= 100:
        size = min(count, max(1, round(count * float(share[1]) / 100)))
        return sorted(random.sample(range(count), size))
    raise InvalidInputError(f"subset is {subset!r}; give a share such as '10%' or a part such as '3/7'")


class _Reader:
    """Reads and compares files, telling how far it is over all of them."""

    def __init__(self, progress: Callable[[int], object] | None) -> None:
        self._progress = progress
        self._done = 0

    def check(self, root: str, entry: Entry) -> Iterator[Finding]:
        recorded = str(entry.digests.get("blake3") or entry.main_digest)
        try:
            with opened(root, entry) as file:
                check_bytes(file, entry, (), self._tell)
                self._done += os.fstat(file.fileno()).st_size
        except MissingFileError:
            return
        except HashError as error:
            yield Finding("changed", entry.place.path, recorded, error.details.get("found"))
        except HoldfastError as error:
            yield Finding("changed", entry.place.path, recorded, error.message)

    def _tell(self, read: int) -> None:
        if self._progress is not None:
            self._progress(self._done + read)


def _check_entry(manifest: Manifest, entry: Entry, reader: _Reader | None) -> Iterator[Finding]:
    path = bytes_path(manifest.root, entry)
    if entry.is_foreign and manifest.has_log:
        yield Finding("foreign", entry.place.path, None, str(entry.main_digest))
    try:
        found = os.lstat(path)
    except OSError:
        yield Finding("missing", entry.place.path, str(entry.digests.get("blake3") or entry.main_digest))
        return
    if found.st_mode & _WRITABLE and stat.S_ISREG(found.st_mode):
        mode = stat.S_IMODE(found.st_mode)
        yield Finding("permissions", entry.place.path, f"{mode & ~_WRITABLE:04o}", f"{mode:04o}")
    if reader is not None:
        yield from reader.check(manifest.root, entry)
    else:
        yield from _check_size(entry, found)
    yield from _check_link(manifest.root, entry, path)


def _check_size(entry: Entry, found: os.stat_result) -> Iterator[Finding]:
    if not stat.S_ISREG(found.st_mode):
        yield Finding("changed", entry.place.path, "a regular file", f"mode {found.st_mode:o}")
    elif entry.size is not None and found.st_size != entry.size:
        yield Finding("changed", entry.place.path, f"{entry.size} bytes", f"{found.st_size} bytes")


def _check_link(root: str, entry: Entry, path: str) -> Iterator[Finding]:
    named = name_path(root, entry)
    if named == path or (entry.is_foreign and not os.path.lexists(named)):
        return
    expected = entry.place.link_text(entry.uuid)
    try:
        found = os.readlink(named)
    except FileNotFoundError:
        yield Finding("missing", entry.place.path, f"link to {expected}")
    except OSError:
        yield Finding("changed", entry.place.path, f"link to {expected}", "no link")
    else:
        if found != expected:
            yield Finding("changed", entry.place.path, f"link to {expected}", f"link to {found}")


def _extra(manifest: Manifest, entries: Sequence[Entry]) -> Iterator[Finding]:
    extra = list(_unclaimed(manifest.root, entries))
    if extra:
        # What somebody is just adding is published before it is recorded: wait for it, and look again.
        with contextlib.suppress(BusyError):
            alone(manifest.root, _PATIENCE_S).release()
        still = set(_unclaimed(manifest.root, manifest.entries()))  # new ones are the next adds'
        extra = [path for path in extra if path in still]
    return (Finding("extra", path) for path in extra)


def _unclaimed(root: str, entries: Sequence[Entry]) -> Iterator[str]:
    claimed = {f"{entry.place.directory}/{entry.uuid}" for entry in entries}
    claimed |= {entry.place.path for entry in entries}
    for directory, folders, names in os.walk(root):
        if directory == root:
            folders[:] = [name for name in folders if name not in OWN]
        links = [name for name in folders if os.path.islink(os.path.join(directory, name))]
        for name in sorted(names + links):
            path = os.path.relpath(os.path.join(directory, name), root)
            if path not in claimed and not files.is_temporary(name):
                yield path


def _check_yaml(manifest: Manifest) -> Iterator[Finding]:
    """Compare the YAML with the database: it may be behind, never otherwise different."""
    if not manifest.has_log:
        return
    where = f"{FOLDER}/{YAML}"
    try:
        text = manifest.yaml.text() if manifest.yaml.exists() else None
    except UnreadableError as error:
        yield Finding("changed", where, "a manifest", error.message)
        return
    if text is None:
        yield Finding("missing", where, "a manifest")
        return
    yield from (Finding("foreign", where, None, refused) for refused in text.refused)
    recorded = {entry.place: entry for entry in manifest.recorded()}
    for listed in text.entries:
        known = recorded.get(listed.place)
        if known is not None and (listed.uuid, listed.main_digest) != (known.uuid, known.main_digest):
            found = f"{listed.main_digest} uuid {listed.uuid}"
            yield Finding(
                "changed", f"{where}: {listed.place.path}", f"{known.main_digest} uuid {known.uuid}", found
            )
