"""Own the check of a store directory: every file against what was recorded of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from holdfast import files
from holdfast.database.store_index import UNREADABLE, IndexRow, StoreIndex
from holdfast.errors import NotFoundError
from holdfast.hashing import BlockDigests, hash_blocks
from holdfast.reports import Finding, Report
from holdfast.store.directory import StoreDirectory
from holdfast.store.inputs import encode_metadata
from holdfast.store.names import DATA, METADATA, key_of
from holdfast.store.staging import blocks_of
from holdfast.store.survey import Survey, agrees, is_text, is_trusted

__all__ = ["check_directory"]


def check_directory(directory: StoreDirectory, index: StoreIndex, survey: Survey) -> Report:
    """Verify all files of a store.

    Parameters
    ----------
    directory : StoreDirectory
        The files.
    index : StoreIndex
        What was recorded, brought up to date with the metadata files.
    survey : Survey
        What settles what a key is.

    Returns
    -------
    Report
        See `FileSystemStore.check`.
    """
    findings, notes, checked = list(_strangers(directory)), [], 0
    for key in list(index.keys("*")):
        checked += 1
        base = directory.base(key)
        row, _ = survey.settle(key, base, with_data=True)
        if row is None:
            continue
        if row.digest is None and row.size >= 0:
            row = _digested(row, base, index, directory)
            notes.append(f"{key}: written by another program, digested now")
        findings += _faults(row, base, directory)
    for row in index.unreadable():
        checked += 1
        findings.append(Finding("unreadable", row.key, "a JSON object in UTF-8", row.text))
    return Report(checked, findings, notes)


def _strangers(directory: StoreDirectory) -> Iterator[Finding]:
    """Yield what has the form of a store's file and is no part of a key."""
    for parent in [directory.root, *directory.escaped_directories()]:
        names = set(os.listdir(parent))
        prefix = parent[len(directory.root) + 1 :]
        for name in sorted(names):
            if not is_text(name):
                yield Finding("extra", ascii(name), "a name in UTF-8", ascii(name))
            elif name.endswith(DATA) and name.removesuffix(DATA) + METADATA not in names:
                stem = "/".join(part for part in (prefix, name.removesuffix(DATA)) if part)
                yield Finding("extra", key_of(stem), "metadata beside the data", "none")


def _faults(row: IndexRow, base: str, directory: StoreDirectory) -> Iterator[Finding]:
    if row.size < 0:
        yield Finding("missing", row.key, "a data file", "none")
        return
    if row.state == UNREADABLE or not agrees(row, directory.look(base)) or not is_trusted(row):
        return  # another program is at work: nothing is recorded of this moment
    found = _hashed(base, directory)
    if row.digest is not None and found is not None and found.whole.raw != row.digest:
        yield Finding("changed", row.key, f"blake3:{row.digest.hex()}", str(found.whole))
    read = directory.read_text(base)
    if read is not None and not _says(read[0], row.text):
        yield Finding("changed", row.key + METADATA, row.text, ascii(read[0].decode(errors="replace")))


def _says(raw: bytes, text: str) -> bool:
    import json

    try:
        return encode_metadata(json.loads(raw)) == text
    except ValueError:
        return False


def _hashed(base: str, directory: StoreDirectory) -> BlockDigests | None:
    try:
        with files.os_errors(base + DATA, "read"), open(directory.open_data(base), "rb", 0) as file:
            return hash_blocks(file)
    except NotFoundError:
        return None


def _digested(row: IndexRow, base: str, index: StoreIndex, directory: StoreDirectory) -> IndexRow:
    found = _hashed(base, directory)
    if found is None or found.size_bytes != row.size:
        return row
    row = row._replace(digest=found.whole.raw, blocks=blocks_of(found))
    index.learn(row, row)
    return row
