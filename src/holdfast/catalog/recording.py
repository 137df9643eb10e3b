"""Recording: nodes gathered while files are looked into, written many at a time.

Owns the order of writing: a directory before what is in it, all of one batch in one transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from holdfast.catalog.described import directory_node, directory_source, file_node, refused_node
from holdfast.catalog.scanning import Found
from holdfast.catalog.tree import Catalog
from holdfast.database import ROOT, NewNode, Transaction
from holdfast.errors import NotFoundError
from holdfast.formats.probe import Probed

__all__ = ["Recorder"]


class Recorder:
    """What is to be written into a catalog.

    Parameters
    ----------
    catalog : Catalog
        Open for writing.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._ids: dict[tuple[str, ...], int] = {(): ROOT}
        self._directories: dict[tuple[str, ...], tuple[Found, bool]] = {}
        self._files: dict[tuple[str, ...], NewNode] = {}
        self._rested: list[int] = []

    def __len__(self) -> int:
        return len(self._files)

    def put_directory(self, found: Found, *, was_file: bool) -> None:
        """Take a directory; `was_file` when a file was recorded in its place."""
        self._directories[found.key] = (found, was_file)

    def put_refused(self, found: Found) -> None:
        """Take something that is listed but never opened."""
        self._files[found.key] = refused_node(found)

    def put_file(self, found: Found, probed: Probed, *, is_growing: bool) -> None:
        """Take a file with what is in it."""
        self._files[found.key] = file_node(found, probed, self._catalog.places, is_growing=is_growing)

    def put_rested(self, asset: int) -> None:
        """Take a file that was growing and did not change since."""
        self._rested.append(asset)

    def flush(self) -> tuple[int, int]:
        """Write everything taken so far; return how many files were added and updated."""
        if not (self._files or self._directories or self._rested):
            return 0, 0
        directories, self._directories = self._sorted(self._directories.values()), {}
        if not (self._files or self._rested or any(self._is_new(*each) for each in directories)):
            return 0, 0
        with self._catalog.database.transaction() as tx:
            for found, was_file in directories:
                # Asked again now that nobody else can write: another process may have been first.
                if self._is_new(found, was_file):
                    self._write_directory(tx, found, was_file=was_file)
            outcomes = self._write_files(tx)
            self._write_rested(tx)
        self._files, self._rested = {}, []
        return outcomes.count("added"), len(outcomes) - outcomes.count("added")

    @staticmethod
    def _sorted(directories: Iterable[tuple[Found, bool]]) -> list[tuple[Found, bool]]:
        """Return directories each after the one it is in."""
        return sorted(directories, key=lambda item: len(item[0].key))

    def _is_new(self, found: Found, was_file: bool) -> bool:
        """Whether a directory has no node yet, or one that stands for a file."""
        return was_file or self._lookup(found.key) is None or (not found.key and self._lacks_source())

    def _lacks_source(self) -> bool:
        return not self._catalog.database.assets.of_node(ROOT)

    def _lookup(self, key: tuple[str, ...]) -> int | None:
        if key not in self._ids:
            try:
                self._ids[key] = self._catalog.database.nodes.lookup(key).id
            except NotFoundError:
                return None
        return self._ids[key]

    def _write_directory(self, tx: Transaction, found: Found, *, was_file: bool) -> None:
        if not found.key:
            tx.nodes.connect(ROOT, [directory_source(found)])
            return
        parent = self._parent(found.key)
        if parent is not None:
            node = directory_node(found)
            write = tx.nodes.sync(parent, [node])[0].id if was_file else tx.nodes.add(parent, [node])[0]
            self._ids[found.key] = write

    def _parent(self, key: tuple[str, ...]) -> int | None:
        return self._lookup(key[:-1])

    def _write_files(self, tx: Transaction) -> list[str]:
        grouped: dict[int, list[NewNode]] = defaultdict(list)
        for key in sorted(self._files):
            parent = self._parent(key)
            if parent is not None:
                grouped[parent].append(self._files[key])
        return [outcome.what for parent, nodes in grouped.items() for outcome in tx.nodes.sync(parent, nodes)]

    def _write_rested(self, tx: Transaction) -> None:
        """Take files out of growing: with their digests if these are known."""
        assets = self._catalog.database.assets
        known = assets.digests(self._rested)
        tx.assets.mark([number for number, digest in known.items() if digest is not None], "verified")
        tx.assets.mark([number for number, digest in known.items() if digest is None], "pending")
