"""Own the writing of assets, inside one transaction.

>>> num_column(None), num_column(3)
(-1, 3)
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.database.records import ASSET_STATES, AssetState, NewAsset, NewSource
from holdfast.errors import InvalidInputError, NotFoundError

__all__ = ["AssetWriter", "num_column"]

# What is known of a file's bytes is kept unless the file changed or more is known now.
_ASSET = (
    "INSERT INTO assets (location, is_directory, size, mtime_ns, state, digest, digests) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (location) DO UPDATE SET "
    "is_directory = excluded.is_directory, size = excluded.size, mtime_ns = excluded.mtime_ns, "
    "state = excluded.state, digest = excluded.digest, digests = excluded.digests "
    "WHERE excluded.digest IS NOT NULL OR assets.size IS NOT excluded.size "
    "OR assets.mtime_ns IS NOT excluded.mtime_ns OR assets.is_directory <> excluded.is_directory "
    "OR assets.state = 'missing'"
)


def num_column(num: int | None) -> int:
    """Return the stored form of an asset's number; primary keys hold no NULL."""
    return -1 if num is None else num


class AssetWriter:
    """Write assets in the caller's transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a writing transaction.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def record(self, assets: Sequence[NewAsset]) -> list[int]:
        """Record files; one that is known keeps its id, and its digest unless size or time differ.

        Parameters
        ----------
        assets : sequence of NewAsset
            The files.

        Returns
        -------
        list of int
            Their ids, in order.
        """
        if not assets:
            return []
        self._connection.executemany(_ASSET, [_columns(asset) for asset in assets])
        locations = json.dumps([asset.location for asset in assets], ensure_ascii=False)
        select = "SELECT location, id FROM assets WHERE location IN (SELECT value FROM json_each(?))"
        known = dict(self._connection.execute(select, (locations,)))
        ids = [int(known[asset.location]) for asset in assets]
        pairs = zip(ids, assets, strict=True)
        blocks = [(number, asset.blocks) for number, asset in pairs if asset.blocks is not None]
        self._connection.executemany("INSERT OR REPLACE INTO block_digests VALUES (?, ?)", blocks)
        return ids

    def connect(self, sources: Sequence[tuple[int, Sequence[NewAsset]]]) -> None:
        """Record the files of data sources and put them behind these.

        Parameters
        ----------
        sources : sequence of (int, sequence of NewAsset)
            Ids of data sources with their files.
        """
        flat = [(source, asset) for source, assets in sources for asset in assets]
        ids = self.record([asset for _, asset in flat])
        rows = [
            (source, number, asset.parameter, num_column(asset.num))
            for (source, asset), number in zip(flat, ids, strict=True)
        ]
        insert = "INSERT OR IGNORE INTO data_source_assets (data_source, asset, parameter, num) "
        insert += "VALUES (?, ?, ?, ?)"
        self._connection.executemany(insert, rows)

    def is_same(self, node: int, sources: Sequence[NewSource]) -> bool:
        """Tell whether a node's data sources are recorded with the same files and parameters."""
        rows = self._connection.execute(
            "SELECT d.id, d.family, s.structure, d.mimetype, d.parameters, d.properties, d.management "
            "FROM data_sources d LEFT JOIN structures s ON s.id = d.structure WHERE d.node = ? ORDER BY d.id",
            (node,),
        ).fetchall()
        stored = [
            (family, _loaded(structure), mimetype, json.loads(parameters), json.loads(properties), management,
             self._places(number))
            for number, family, structure, mimetype, parameters, properties, management in rows
        ]  # fmt: skip
        return stored == [
            (new.family, _loaded(json.dumps(new.structure)), new.mimetype, dict(new.parameters),
             dict(new.properties), new.management, _places_of(new))
            for new in sources
        ]  # fmt: skip

    def _places(self, source: int) -> list[tuple[str, int, str]]:
        rows = self._connection.execute(
            "SELECT l.parameter, l.num, a.location FROM data_source_assets l JOIN assets a ON a.id = l.asset "
            "WHERE l.data_source = ?",
            (source,),
        )
        return sorted(rows.fetchall())

    def settle(
        self,
        asset: int,
        *,
        size: int,
        mtime_ns: int,
        digest: str | None,
        digests: Mapping[str, str] | None = None,
        blocks: bytes | None = None,
        state: AssetState = "verified",
    ) -> None:
        """Write what is known of a file's bytes.

        Parameters
        ----------
        asset : int
            Its id.
        size, mtime_ns : int
            Size in bytes and time of modification in nanoseconds, as they were before and after reading.
        digest : str or None
            ``blake3:…``.
        digests : mapping of str to str, optional
            Further digests by algorithm.
        blocks : bytes, optional
            32-byte digests of its 256 KiB blocks.
        state : str, default "verified"
            One of `ASSET_STATES`.

        Raises
        ------
        NotFoundError
            When there is no such asset.
        """
        changed = self._connection.execute(
            "UPDATE assets SET size = ?, mtime_ns = ?, digest = ?, digests = ?, state = ? WHERE id = ?",
            (size, mtime_ns, digest, _json(digests), _checked(state), asset),
        )
        if changed.rowcount == 0:
            raise NotFoundError(f"no asset with id {asset}; list the assets anew")
        if blocks is not None:
            self._connection.execute("INSERT OR REPLACE INTO block_digests VALUES (?, ?)", (asset, blocks))

    def mark(self, assets: Iterable[int], state: AssetState) -> None:
        """Set the state of assets; what was recorded of their bytes stays.

        Parameters
        ----------
        assets : iterable of int
            Ids.
        state : str
            One of `ASSET_STATES`.
        """
        rows = [(_checked(state), asset) for asset in assets]
        self._connection.executemany("UPDATE assets SET state = ? WHERE id = ?", rows)

    def reopen(self, locations: Sequence[str]) -> None:
        """Forget what is known of directories as a whole; what is known of the files in them stays."""
        self._connection.execute(
            "UPDATE assets SET state = 'pending', digest = NULL WHERE is_directory = 1 "
            "AND location IN (SELECT value FROM json_each(?))",
            (json.dumps(list(locations), ensure_ascii=False),),
        )

    def remove_unused(self) -> int:
        """Forget the assets that are behind no node any more; return how many."""
        unused = "NOT EXISTS (SELECT 1 FROM data_source_assets l WHERE l.asset = assets.id)"
        return self._connection.execute(f"DELETE FROM assets WHERE {unused}").rowcount


def _columns(asset: NewAsset) -> tuple[Any, ...]:
    return (
        asset.location,
        asset.is_directory,
        asset.size,
        asset.mtime_ns,
        _checked(asset.state),
        asset.digest,
        _json(asset.digests),
    )


def _json(digests: Mapping[str, str] | None) -> str | None:
    return json.dumps(dict(digests)) if digests else None


def _loaded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _checked(state: str) -> str:
    if state not in ASSET_STATES:
        raise InvalidInputError(
            f"unknown state {state!r:.40} of an asset; use one of {', '.join(ASSET_STATES)}"
        )
    return state


def _places_of(new: NewSource) -> list[tuple[str, int, str]]:
    return sorted((asset.parameter, num_column(asset.num), asset.location) for asset in new.assets)
