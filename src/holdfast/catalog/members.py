"""Members: the data files of a master file, which are assets of its nodes and have none of their own.

Owns which files are members; `runs` says which may be by what they are called, the master itself which are.

Notes
-----
Detectors write a master file of a few kilobytes with links to numbered data files. With sequences, one that
its master names is listed with it alone; one that it does not name is a file as every other.
"""

from __future__ import annotations

from typing import Protocol

from holdfast.catalog.scanning import Found
from holdfast.catalog.tree import Catalog

__all__ = ["Counts", "Members"]


class Counts(Protocol):
    """Where the numbers go."""

    added: int


class Members:
    """The members of one round.

    Parameters
    ----------
    catalog : Catalog
        Open for writing.
    is_used : bool
        Whether there are members, or may be some; else nothing is asked of the database.
    """

    def __init__(self, catalog: Catalog, *, is_used: bool) -> None:
        self._catalog = catalog
        self._linked = catalog.database.frames.linked() if is_used else {}
        self._seen: list[Found] = []
        self._new: dict[str, Found] = {}

    def take(self, found: Found, *, is_known: bool) -> bool:
        """Take a file that is called like a member; return whether it is one, or is not known at all yet.

        Parameters
        ----------
        found : Found
            The file.
        is_known : bool
            Whether it is recorded.
        """
        if found.location in self._linked:
            self._seen.append(found)
            return True
        if not is_known:
            self._new[found.location] = found
        return not is_known

    def lacks_node(self, found: Found) -> bool:
        """Whether a file was a member, and is to have a node of its own now."""
        return self._linked.get(found.location) is False

    def settle(self, counts: Counts) -> list[Found]:
        """Remove the own nodes of members, now that all masters are known; return the files that are none."""
        linked = self._catalog.database.frames.linked() if self._new else self._linked
        others = [found for location, found in self._new.items() if location not in linked]
        counts.added += len(self._new) - len(others)
        members = [*self._seen, *self._new.values()]
        owners = [found for found in members if linked.get(found.location)]
        if owners:
            self._remove_nodes(owners)
        return others

    def _remove_nodes(self, members: list[Found]) -> None:
        database = self._catalog.database
        assets = [database.assets.by_location(found.location).id for found in members]
        places = database.frames.places(assets).values()
        with database.transaction() as tx:
            tx.nodes.discard((place.node, place.key) for place in places if place.num < 0)
