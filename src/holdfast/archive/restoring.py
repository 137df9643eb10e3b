"""Own how files are written anew from bytes that the manifest kept, because the disk may not have them.

It does not decide which: a power cut may have torn them, or a failing disk not taken them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from holdfast import files
from holdfast.archive.aside import set_aside
from holdfast.archive.entries import Entry
from holdfast.archive.verifying import check_bytes, name_path, opened
from holdfast.database.unsynced import UnsyncedRow
from holdfast.errors import HashError, MissingFileError
from holdfast.hashing import hash_bytes

if TYPE_CHECKING:
    from holdfast.archive.manifest import Manifest

__all__ = ["has_bytes", "is_intact", "restore"]


def restore(manifest: Manifest, rows: Iterable[UnsyncedRow]) -> list[int]:
    """Write files and their names anew and wait until all are on the disk.

    Parameters
    ----------
    manifest : Manifest
        The archive's, open for writing.
    rows : iterable of UnsyncedRow
        The bytes that it kept.

    Returns
    -------
    list of int
        Numbers of the rows that are not needed any more: of all but those that are damaged like their files.

    Raises
    ------
    StorageError, StorageFullError, ReadOnlyError
        The files are not on the disk, and have to be written once more.

    Notes
    -----
    Also what looks intact is written: a disk that failed says so once only, perhaps to a writer that died,
    and what is read then comes from the system's memory. A file with other bytes is moved aside.
    """
    root = manifest.root
    kept = [_Kept(row.seq, manifest.by_uuid(row.uuid), row.content) for row in rows]
    able = [each for each in kept if each.is_good or is_intact(root, each.entry)]
    if able:
        # Shared with those who add, so that nobody collects what is half done.
        with files.lock(os.path.join(root, ".manifest"), shared=True):
            _restore(manifest, able)
    return [each.seq for each in able]


class _Kept(NamedTuple):
    seq: int
    entry: Entry
    content: bytes

    @property
    def is_good(self) -> bool:
        """Whether the bytes are what was recorded; a damaged database may have others."""
        return has_bytes(self.entry, self.content)


def has_bytes(entry: Entry, content: bytes) -> bool:
    """Tell whether some bytes are an entry's."""
    return hash_bytes(content) == entry.digests["blake3"]


def _restore(manifest: Manifest, kept: Sequence[_Kept]) -> None:
    made: dict[str, Entry] = {}
    paths: list[str] = []
    directories: set[str] = set()
    with files.SyncPoint(manifest.root) as point:
        for each in kept:
            path, named = _path(manifest.root, each.entry), name_path(manifest.root, each.entry)
            for directory in (os.path.dirname(path), os.path.dirname(named)):
                files.make_directories(directory)
                directories.add(directory)
            same = made.setdefault(each.entry.digests["blake3"].hex, each.entry)
            if each.is_good:
                twins = [same] if same is not each.entry else _settled_twins(manifest, each.entry)
                _make_file(manifest.root, each, path, twins)
            _make_name(manifest.root, each.entry, named)
            paths.append(path)
        point.wait(paths, directories)


def _make_file(root: str, kept: _Kept, path: str, twins: Sequence[Entry]) -> None:
    if os.path.lexists(path) and not is_intact(root, kept.entry):
        set_aside(root, path)
    if not _link_twin(root, kept.entry, twins):
        # Who reads the present file goes on reading it.
        with files.open_atomic(path, durability="os", read_only=True) as out:
            out.write(kept.content)


def _settled_twins(manifest: Manifest, entry: Entry) -> list[Entry]:
    """Return entries with the same bytes that are on the disk for certain."""
    unsynced = manifest.open_for_writing().unsynced
    alike = manifest.by_content(entry.digests["blake3"].hex, entry.size or 0)
    return [twin for twin in alike if not unsynced.has(twin.uuid)]


def is_intact(root: str, entry: Entry) -> bool:
    """Tell whether an entry's file is there and has its bytes.

    Parameters
    ----------
    root : str
        The archive.
    entry : Entry
        Any.

    Returns
    -------
    bool
        What can be read now; not whether it is on the disk.
    """
    try:
        with opened(root, entry) as file:
            check_bytes(file, entry)
    except (HashError, MissingFileError):
        return False
    return True


def _path(root: str, entry: Entry) -> str:
    return os.path.join(root, entry.place.directory, entry.uuid)


def _link_twin(root: str, entry: Entry, twins: Iterable[Entry]) -> bool:
    """Give a file that has the bytes one more name, as the add did."""
    for twin in twins:
        if is_intact(root, twin):
            files.remove(_path(root, entry), missing_ok=True, durability="os")
            return files.link_new(_path(root, twin), _path(root, entry), "os")
    return False


def _make_name(root: str, entry: Entry, named: str) -> None:
    text = entry.place.link_text(entry.uuid)
    if os.path.islink(named) and os.readlink(named) == text:
        return
    set_aside(root, named)
    files.symlink_new(text, named, "os")
