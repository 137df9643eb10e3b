"""Own the assets: the files and directories behind the nodes, as they are read.

>>> asset_row((1, "a.csv", 0, 3, 5, "pending", None, None, "data_uri", -1)).num is None
True
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from holdfast.database.connection import SqliteFile
from holdfast.database.paging import is_id
from holdfast.database.records import AssetRow, AssetState
from holdfast.errors import NotFoundError

__all__ = ["ASSET_COLUMNS", "MEMBER", "Assets", "asset_row"]

MEMBER = "member"
"""The parameter of the files in a directory that is one node; they may be many, so sources leave them out."""

ASSET_COLUMNS = "a.id, a.location, a.is_directory, a.size, a.mtime_ns, a.state, a.digest, a.digests"
"""The columns of an `AssetRow`, of ``assets a``, before parameter and number."""

_BATCH = 1000


def asset_row(row: tuple[Any, ...]) -> AssetRow:
    """Return an asset from the columns of a statement.

    Parameters
    ----------
    row : tuple
        `ASSET_COLUMNS`, and perhaps parameter and number.

    Returns
    -------
    AssetRow
        The asset.
    """
    parameter, num = (row[8], row[9]) if len(row) > 8 else ("", -1)
    return AssetRow._make((*row[:2], bool(row[2]), *row[3:8], parameter, None if num < 0 else num))


class Assets:
    """Read the assets of a database.

    Parameters
    ----------
    file : SqliteFile
        The database.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def get(self, asset: int) -> AssetRow:
        """Return the asset with an id; `NotFoundError` when there is none."""
        return self._one("a.id = ?", asset, f"no asset with id {asset}; list the assets anew")

    def by_location(self, location: str) -> AssetRow:
        """Return the asset at a relative location; `NotFoundError` when there is none."""
        return self._one("a.location = ?", location, f"no asset at {location!r}; index the directory again")

    def _one(self, test: str, value: object, message: str) -> AssetRow:
        select = f"SELECT {ASSET_COLUMNS} FROM assets a WHERE {test}"
        is_possible = isinstance(value, str) or is_id(value)
        row = self._file.one(select, (value,)) if is_possible else None
        if row is None:
            raise NotFoundError(message)
        return asset_row(row)

    def of_node(self, node: int) -> list[AssetRow]:
        """Return the assets of all data sources of a node, but not the files in a directory that is one."""
        with self._file.lease() as connection:
            rows = connection.execute(
                f"SELECT {ASSET_COLUMNS}, l.parameter, l.num FROM data_sources d "
                "JOIN data_source_assets l ON l.data_source = d.id JOIN assets a ON a.id = l.asset "
                "WHERE d.node = ? AND l.parameter <> ? ORDER BY d.id, l.parameter, l.num, a.id",
                (node, MEMBER),
            ).fetchall()
        return [asset_row(row) for row in rows]

    def is_behind(self, asset: int, node: int) -> bool:
        """Tell whether an asset is behind a node; costs the same for a node of many thousands."""
        statement = (
            "SELECT 1 FROM data_source_assets l JOIN data_sources d ON d.id = l.data_source "
            "WHERE l.asset = ? AND d.node = ? LIMIT 1"
        )
        with self._file.lease() as connection:
            return is_id(asset) and connection.execute(statement, (asset, node)).fetchone() is not None

    def is_member(self, asset: int) -> bool:
        """Tell whether a file is one of those in a directory that is one node."""
        select = "SELECT 1 FROM data_source_assets WHERE asset = ? AND parameter = ? LIMIT 1"
        with self._file.lease() as connection:
            return connection.execute(select, (asset, MEMBER)).fetchone() is not None

    def nodes(self, asset: int) -> list[int]:
        """Return the ids of the nodes that an asset is behind, ascending."""
        with self._file.lease() as connection:
            rows = connection.execute(
                "SELECT DISTINCT d.node FROM data_source_assets l "
                "JOIN data_sources d ON d.id = l.data_source WHERE l.asset = ? ORDER BY d.node",
                (asset,),
            ).fetchall()
        return [node for (node,) in rows]

    def each(self, state: AssetState | None = None, under: str = "") -> Iterator[AssetRow]:
        """Yield assets in the order of their locations, in batches, so that writers are not held up.

        Parameters
        ----------
        state : str, optional
            Only those in this state.
        under : str, default ""
            Only those at this location, or below it.

        Yields
        ------
        AssetRow
            Each asset.
        """
        test = (
            "(a.location = ?2 OR a.location >= ?2 || '/' AND a.location < ?2 || '0')" if under else "?2 = ''"
        )
        select = (
            f"SELECT {ASSET_COLUMNS} FROM assets a WHERE a.location > ?1 AND {test} "
            f"AND (?3 IS NULL OR a.state = ?3) ORDER BY a.location LIMIT {_BATCH}"
        )
        last = ""
        while True:
            with self._file.lease() as connection:
                rows = connection.execute(select, (last, under, state)).fetchall()
            yield from map(asset_row, rows)
            if len(rows) < _BATCH:
                return
            last = rows[-1][1]

    def pending(self, limit: int = _BATCH) -> list[AssetRow]:
        """Return files whose bytes are not known yet, oldest record first."""
        with self._file.lease() as connection:
            rows = connection.execute(
                f"SELECT {ASSET_COLUMNS} FROM assets a WHERE a.state <> 'verified' AND a.state = 'pending' "
                "AND a.is_directory = 0 ORDER BY a.id LIMIT ?",
                (limit,),
            ).fetchall()
        return [asset_row(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Return the number of files in each state."""
        with self._file.lease() as connection:
            rows = connection.execute(
                "SELECT state, count(*) FROM assets WHERE is_directory = 0 GROUP BY state"
            )
            return dict(rows.fetchall())

    def facts(self) -> dict[str, tuple[int, int | None, int | None, AssetState]]:
        """Return id, size, time and state of every asset by its location."""
        with self._file.lease() as connection:
            rows = connection.execute("SELECT location, id, size, mtime_ns, state FROM assets").fetchall()
        return {row[0]: row[1:] for row in rows}

    def digests(self, assets: Iterable[int]) -> dict[int, str | None]:
        """Return the digests of several assets by their ids."""
        statement = "SELECT id, digest FROM assets WHERE id IN (SELECT value FROM json_each(?))"
        with self._file.lease() as connection:
            return dict(connection.execute(statement, (repr(list(assets)),)).fetchall())

    def blocks(self, asset: int) -> bytes | None:
        """Return the 32-byte blake3 digests of the 256 KiB blocks of a file, or None where not known."""
        row = self._file.one("SELECT digests FROM block_digests WHERE asset = ?", (asset,))
        return None if row is None else bytes(row[0])
