"""What was recorded and lies there no more.

Owns marking it missing, and removing its nodes when asked to.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable
from typing import Protocol

from holdfast.catalog.tree import Catalog
from holdfast.database import ROOT, AssetRow, Transaction
from holdfast.errors import NotFoundError

__all__ = ["Counts", "Vanished"]


class Counts(Protocol):
    """Where the numbers go."""

    missing: int
    pruned: int


class Vanished:
    """The recorded locations that were not seen.

    Parameters
    ----------
    catalog : Catalog
        Open for writing.
    locations : set of str
        Everything recorded.
    """

    def __init__(self, catalog: Catalog, locations: set[str]) -> None:
        self._catalog = catalog
        self._unseen = locations
        self._sorted: list[str] | None = None

    def seen(self, location: str) -> None:
        """Say that something lies there."""
        self._unseen.discard(location)

    def is_any_below(self, location: str) -> bool:
        """Whether something below a location was not seen."""
        if self._sorted is None:
            self._sorted = sorted(self._unseen)
        first = bisect_left(self._sorted, f"{location}/")
        # "0" comes right behind "/".
        last = bisect_left(self._sorted, f"{location}0")
        return any(each in self._unseen for each in self._sorted[first:last])

    def among(self, locations: Iterable[str]) -> list[str]:
        """Return those of some locations that were not seen."""
        return [location for location in locations if location in self._unseen]

    def mark(self, counts: Counts, *, prune: bool) -> None:
        """Mark as missing what is gone; with `prune`, remove its nodes."""
        database = self._catalog.database
        gone = [
            database.assets.by_location(location)
            for location in sorted(self._unseen)
            if self._is_gone(location)
        ]
        fresh = [asset.id for asset in gone if asset.state != "missing"]
        # A linked file that was never there has no size: its node says so, nothing vanished.
        counts.missing += sum(asset.is_directory or asset.size is not None for asset in gone)
        if not (fresh or (prune and gone)):
            return
        with database.transaction() as tx:
            tx.assets.mark(fresh, "missing")
            if prune:
                counts.pruned += sum(self._remove(tx, asset) for asset in gone)
                tx.assets.remove_unused()

    def _is_gone(self, location: str) -> bool:
        return not os.path.lexists(self._catalog.places.path(location))

    def _remove(self, tx: Transaction, asset: AssetRow) -> int:
        """Remove the node of a file or directory, if it is one of its own and not gone already."""
        key = self._catalog.places.key(asset.location)
        if asset.location.startswith("/") or not key:
            return 0
        try:
            node = self._catalog.database.nodes.lookup(key)
            return tx.nodes.remove(node.id, recursive=True) if node.id != ROOT else 0
        except NotFoundError:
            # A file that only others lead to has no node, and one in a removed directory went with it.
            return self._remove_sequence(tx, asset)

    def _remove_sequence(self, tx: Transaction, frame: AssetRow) -> int:
        """Remove the sequence of a file: it would be none any more if other files of it were there."""
        place = self._catalog.database.frames.places([frame.id]).get(frame.id)
        return tx.nodes.discard([(place.node, place.key)]) if place is not None and place.num >= 0 else 0
