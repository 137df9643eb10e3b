"""Recording: nodes gathered while files are looked into, written many at a time.

Owns the order of writing: a directory before what is in it, all of one batch in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import groupby

from holdfast.catalog.described import directory_node, directory_source, file_node, refused_node
from holdfast.catalog.scanning import Found
from holdfast.catalog.sequences import Write
from holdfast.catalog.stores import mark_stores, store_node
from holdfast.catalog.tree import Catalog
from holdfast.database import ROOT, NewNode, Transaction
from holdfast.errors import NotFoundError
from holdfast.formats.probe import Probed

__all__ = ["Recorder"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What is to be written: a file's node, a directory, or what `write` does."""

    key: tuple[str, ...]
    node: NewNode
    directory: Found | None = None
    was_file: bool = False
    write: Write | None = None


class Recorder:
    """What is to be written into a catalog, in the order in which it was taken.

    Parameters
    ----------
    catalog : Catalog
        Open for writing.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._ids: dict[tuple[str, ...], int] = {(): ROOT}
        self._entries: list[_Entry] = []
        self._rested: list[int] = []
        self._stores: list[str] = []

    def __len__(self) -> int:
        return len(self._entries)

    def put_directory(self, found: Found, *, was_file: bool) -> None:
        """Take a directory; `was_file` when a file was recorded in its place."""
        node = directory_node(found) if found.key else NewNode("", "container")
        self._entries.append(_Entry(found.key, node, found, was_file))

    def put_refused(self, found: Found) -> None:
        """Take something that is listed but never opened."""
        self._entries.append(_Entry(found.key, refused_node(found)))

    def put_file(self, found: Found, probed: Probed, *, is_growing: bool) -> None:
        """Take a file with what is in it."""
        node = file_node(found, probed, self._catalog.places, is_growing=is_growing)
        self._entries.append(_Entry(found.key, node))

    def put_store(self, found: Found, probed: Probed, growing: Collection[str]) -> None:
        """Take a directory that is one node, with the locations of those of its files that grow."""
        self._entries.append(_Entry(found.key, store_node(found, probed, self._catalog.places, growing)))
        self._stores.append(found.location)

    def put_run(self, found: Found, write: Write) -> None:
        """Take the files of a run, which know how they are written."""
        self._entries.append(_Entry(found.key, NewNode(found.key[-1], "array"), write=write))

    def put_rested(self, asset: int) -> None:
        """Take a file that was growing and did not change since."""
        self._rested.append(asset)

    def flush(self) -> tuple[int, int]:
        """Write everything taken so far; return how many files were added and updated."""
        entries, self._entries = [entry for entry in self._entries if self._is_new(entry)], []
        if not (entries or self._rested):
            return 0, 0
        with self._catalog.database.transaction() as tx:
            outcomes = self._write(tx, entries)
            self._write_rested(tx)
            mark_stores(tx, self._stores)
        self._rested, self._stores = [], []
        return outcomes.count("added"), len(outcomes) - outcomes.count("added")

    def _is_new(self, entry: _Entry) -> bool:
        """Whether something is to be written: for a directory, that it has no node yet."""
        if entry.directory is None or entry.was_file:
            return True
        return self._lookup(entry.key) is None if entry.key else self._lacks_source()

    def _lacks_source(self) -> bool:
        return not self._catalog.database.assets.of_node(ROOT)

    def _lookup(self, key: tuple[str, ...]) -> int | None:
        if key not in self._ids:
            try:
                self._ids[key] = self._catalog.database.nodes.lookup(key).id
            except NotFoundError:
                return None
        return self._ids[key]

    def _write(self, tx: Transaction, entries: list[_Entry]) -> list[str]:
        """Write runs of files and of directories that lie in one directory together."""
        outcomes: list[str] = []
        for (above, is_directory), run in groupby(
            entries, lambda each: (each.key[:-1], each.directory is not None)
        ):
            parent, group = self._lookup(above), list(run)
            if is_directory:
                self._write_directories(tx, parent, group)
            elif parent is not None:
                files = [entry.node for entry in group if entry.write is None]
                outcomes += [each.what for each in tx.nodes.sync(parent, files)]
                for write in (entry.write for entry in group if entry.write is not None):
                    outcomes += write(tx, parent)
        return outcomes

    def _write_directories(self, tx: Transaction, parent: int | None, group: list[_Entry]) -> None:
        # Asked again now that nobody else can write: another process may have been first.
        for entry in filter(self._is_new, group):
            if not entry.key and entry.directory is not None:
                tx.nodes.connect(ROOT, [directory_source(entry.directory)])
            elif parent is not None and entry.was_file:
                self._ids[entry.key] = tx.nodes.sync(parent, [entry.node])[0].id
            elif parent is not None:
                self._ids[entry.key] = tx.nodes.add(parent, [entry.node])[0]

    def _write_rested(self, tx: Transaction) -> None:
        """Take files out of growing: with their digests if these are known."""
        known = self._catalog.database.assets.digests(self._rested)
        tx.assets.mark([number for number, digest in known.items() if digest is not None], "verified")
        tx.assets.mark([number for number, digest in known.items() if digest is None], "pending")
