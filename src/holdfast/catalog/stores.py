"""Directories that are one node: their files as assets, and what is known of them all.

Owns how such a directory is recorded and when it counts as verified; looks into none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial

from holdfast.catalog.described import file_node
from holdfast.catalog.places import Places
from holdfast.catalog.scanning import Found
from holdfast.database import MEMBER, AssetRow, AssetState, Database, NewAsset, NewNode, Transaction
from holdfast.formats.probe import Probed
from holdfast.hashing import hash_listing

__all__ = ["mark_stores", "settle_stores", "store_node"]


def store_node(found: Found, probed: Probed, places: Places, growing: Collection[str]) -> NewNode:
    """Return the node of a directory with everything below it; its files are assets of the node alone.

    Parameters
    ----------
    found : Found
        The directory.
    probed : Probed
        What is in it.
    places : Places
        How locations are spelled.
    growing : collection of str
        Locations of files that may still be written.
    """
    members = [_member(each, growing) for each in found.members if not each.error]
    states = [each.state for each in found.members if each.state is not None]
    own = NewAsset(
        found.location,
        is_directory=True,
        size=sum(state.size for state in states),
        mtime_ns=max((state.mtime_ns for state in states), default=0),
    )
    node = file_node(found, probed, places, is_growing=False)
    return _with_assets(node, own, members)


def _member(found: Found, growing: Collection[str]) -> NewAsset:
    assert found.state is not None
    return NewAsset(
        found.location,
        size=found.state.size,
        mtime_ns=found.state.mtime_ns,
        state="growing" if found.location in growing else "pending",
        parameter=MEMBER,
    )


def _with_assets(node: NewNode, own: NewAsset, members: Sequence[NewAsset]) -> NewNode:
    """Put a directory behind a node and all below it, and its files behind the node."""
    return replace(
        node,
        sources=[replace(source, assets=[own, *members]) for source in node.sources],
        children=[_with_assets(child, own, ()) for child in node.children],
    )


def mark_stores(tx: Transaction, locations: Sequence[str]) -> None:
    """Say that directories were recorded anew; `settle_stores` finds out whether their files are known."""
    if locations:
        tx.assets.reopen(locations)


def settle_stores(database: Database) -> None:
    """Give every directory whose files are all known its digest; those with files that grow are growing."""
    waiting = [
        asset for state in ("pending", "growing") for asset in _directories(database.assets.each(state))
    ]
    for asset in waiting:
        members = [each for each in database.assets.each(under=asset.location) if not each.is_directory]
        known = [(each.location[len(asset.location) + 1 :], each.digest) for each in members if each.digest]
        states = {each.state for each in members}
        state: AssetState = "growing" if "growing" in states else "pending"
        if states == {"verified"} and len(known) == len(members):
            database.write(partial(_settle, asset, members, known))
        elif asset.state != state:
            database.write(partial(_mark, asset, state))


def _directories(assets: Iterable[AssetRow]) -> list[AssetRow]:
    return [asset for asset in assets if asset.is_directory]


def _mark(asset: AssetRow, state: AssetState, tx: Transaction) -> None:
    tx.assets.mark([asset.id], state)


def _settle(
    asset: AssetRow, members: Sequence[AssetRow], known: Sequence[tuple[str, str]], tx: Transaction
) -> None:
    tx.assets.settle(
        asset.id,
        size=sum(each.size or 0 for each in members),
        mtime_ns=max((each.mtime_ns or 0 for each in members), default=0),
        digest=str(hash_listing(known)),
    )
