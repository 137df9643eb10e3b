"""Own how bad files are replaced by good copies of another archive, and moved aside, never deleted."""

from __future__ import annotations

import os

from holdfast import files
from holdfast.archive.aside import set_aside
from holdfast.archive.contract import Archive
from holdfast.archive.entries import Entry
from holdfast.archive.manifest import Manifest
from holdfast.archive.verifying import bytes_path, name_path
from holdfast.errors import HoldfastError
from holdfast.hashing import copy_hashed
from holdfast.reports import Finding, Report
from holdfast.types import PathLike

__all__ = ["repair"]

_HEALED = ("missing", "changed", "permissions")


def repair(manifest: Manifest, report: Report, other: Archive | PathLike, who: str) -> list[str]:
    """Heal what a check found, as far as another archive has the same bytes.

    Parameters
    ----------
    manifest : Manifest
        The archive's.
    report : Report
        What its check found.
    other : Archive or path
        Where good copies may be.
    who : str
        Who does.

    Returns
    -------
    list of str
        What was done and what could not be.

    Raises
    ------
    NotAStoreError
        The other is no archive.
    """
    source = other if isinstance(other, Archive) else Archive(other)
    try:
        copies = {
            entry.digests["blake3"].hex: entry for entry in source.entries() if "blake3" in entry.digests
        }
        return list(_Healer(manifest, source, copies, who).heal(report.findings))
    finally:
        if source is not other:
            source.close()


class _Healer:
    """Replaces the files of one archive from another."""

    def __init__(self, manifest: Manifest, source: Archive, copies: dict[str, Entry], who: str) -> None:
        self._manifest, self._source, self._copies, self._who = manifest, source, copies, who

    def heal(self, findings: list[Finding]) -> list[str]:
        entries = {entry.place.path: entry for entry in self._manifest.recorded()}
        wanted = dict.fromkeys(finding.uri for finding in findings if finding.kind in _HEALED)
        return [self._heal(entries[uri]) for uri in wanted if uri in entries]

    def _heal(self, entry: Entry) -> str:
        copy = self._copies.get(entry.digests["blake3"].hex)
        if copy is None:
            return f"{entry.place.path}: the other archive has no copy of it"
        try:
            self._replace(entry, copy)
        except HoldfastError as error:
            return f"{entry.place.path}: not repaired: {error}"
        return f"{entry.place.path}: repaired"

    def _replace(self, entry: Entry, copy: Entry) -> None:
        root = self._manifest.root
        target = os.path.join(root, entry.place.directory, entry.uuid)
        files.make_directories(os.path.dirname(name_path(root, entry)))
        files.make_directories(os.path.dirname(target))
        with self._source.open_file(copy.place.event, copy.place.production, copy.place.name) as good:
            set_aside(root, bytes_path(root, entry))
            with files.open_atomic(target, replace=False, read_only=True) as out:
                found = copy_hashed(good, out.write).digests()["blake3"]
                entry.digests["blake3"].check(found, copy.place.path)
        self._relink(entry)
        facts = {"uuid": entry.uuid, "place": entry.place.path, "blake3": entry.digests["blake3"].hex}
        self._manifest.note("repair", {**facts, "who": self._who})

    def _relink(self, entry: Entry) -> None:
        named = name_path(self._manifest.root, entry)
        text = entry.place.link_text(entry.uuid)
        if os.path.islink(named) and os.readlink(named) == text:
            return
        set_aside(self._manifest.root, named)
        files.symlink_new(text, named)
