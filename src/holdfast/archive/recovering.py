"""Own what is done for writers that died before their files were surely on the disk.

The bytes are in the manifest; whoever may write brings the files back from there. See design 012.
"""

from __future__ import annotations

from holdfast import files
from holdfast.archive.entries import Entry
from holdfast.archive.manifest import Manifest
from holdfast.archive.restoring import has_bytes, restore
from holdfast.archive.writers import is_alive, marks_folder

__all__ = ["bytes_of", "recover", "waiting"]

_PATIENCE_S = 60.0


def waiting(manifest: Manifest) -> list[str]:
    """Return the writers that died and whose files may not be on the disk.

    Parameters
    ----------
    manifest : Manifest
        The archive's.

    Returns
    -------
    list of str
        Their marks; nothing is written.
    """
    unsynced = manifest.unsynced
    writers = unsynced.writers() if unsynced is not None else []
    return [mark for mark in writers if not is_alive(manifest.root, mark)]


def bytes_of(manifest: Manifest, entry: Entry) -> bytes | None:
    """Return an entry's bytes if its writer died before its file was surely on the disk.

    Parameters
    ----------
    manifest : Manifest
        The archive's.
    entry : Entry
        One of its entries.

    Returns
    -------
    bytes or None
        What was recorded; None for an entry that has only its file.
    """
    unsynced = manifest.unsynced
    if unsynced is None or entry.is_foreign or not waiting(manifest):
        return None
    content = unsynced.content(entry.uuid)
    return content if content is not None and has_bytes(entry, content) else None


def recover(manifest: Manifest) -> int:
    """Bring the files of dead writers to the disk from their bytes in the manifest.

    Parameters
    ----------
    manifest : Manifest
        The archive's, which may be written.

    Returns
    -------
    int
        How many files there were.

    Raises
    ------
    StorageError, StorageFullError
        The disk does not take them; the bytes stay in the manifest.
    BusyError
        Somebody else has been doing this for a minute.
    """
    if not waiting(manifest):
        return 0
    database, folder = manifest.open_for_writing(), marks_folder(manifest.root)
    files.make_directories(folder)
    count = 0
    # One after the other: whoever comes second must not touch what the first has synced.
    with files.lock(folder, timeout_s=_PATIENCE_S):
        for mark in waiting(manifest):
            rows = database.unsynced.rows_of(mark)
            database.unsynced.forget(restore(manifest, rows))
            count += len(rows)
    manifest.yaml.mark_behind()
    return count
