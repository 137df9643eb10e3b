"""Own the frames of sequences: arrays of many files, whose assets are numbered in order.

A sequence has one data source, whose assets share the parameter `FRAMES` and are numbered from 0 on. Reading
one frame of many thousands costs one look-up; so does adding one.

>>> FRAMES
'data_uris'
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from holdfast.database.asset_writing import AssetWriter
from holdfast.database.assets import ASSET_COLUMNS, asset_row
from holdfast.database.connection import SqliteFile
from holdfast.database.records import AssetRow, NewAsset, NewNode, Outcome
from holdfast.database.writing import NodeWriter
from holdfast.errors import ChangedError
from holdfast.types import Json

__all__ = ["FRAMES", "FrameReader", "FrameWriter", "Place", "SequenceRow"]

FRAMES = "data_uris"
"""The parameter of the assets that are frames, as Tiled has it."""

_BATCH = 1000


class SequenceRow(NamedTuple):
    """Hold the data source of a sequence without its frames; structure and parameters are JSON text.

    ``updated`` is when the node last changed: what has that time still has these frames.
    """

    source: int
    mimetype: str
    parameters: str
    structure: str
    updated: float
    first: AssetRow
    is_verified: bool


class Place(NamedTuple):
    """Say where an asset is used as the file, or a frame, of a node: what is recorded of the array there."""

    asset: int
    node: int
    key: str
    family: str
    mimetype: str
    parameters: str
    structure: str | None
    num: int


class FrameReader:
    """Read the frames of a database.

    Parameters
    ----------
    file : SqliteFile
        The database.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def is_sequence(self, node: int) -> bool:
        """Tell whether a node is a sequence."""
        with self._file.read() as connection:
            return _source(connection, node) is not None

    def of_node(self, node: int) -> SequenceRow | None:
        """Return the data source of a node that is a sequence; None for every other node."""
        with self._file.read() as connection:
            row = _source(connection, node)
            if row is None:
                return None
            first = connection.execute(f"{_SELECT} ORDER BY l.num LIMIT 1", (row[0], FRAMES)).fetchone()
            unknown = connection.execute(
                "SELECT 1 FROM data_source_assets l JOIN assets a ON a.id = l.asset "
                "WHERE l.data_source = ? AND l.parameter = ? AND (a.digest IS NULL OR a.state <> 'verified') "
                "LIMIT 1",
                (row[0], FRAMES),
            ).fetchone()
        return SequenceRow(*row, asset_row(first), unknown is None)

    def numbered(self, row: SequenceRow, numbers: Sequence[int]) -> list[AssetRow]:
        """Return the frames of a sequence with some numbers, in the order of the numbers given.

        Parameters
        ----------
        row : SequenceRow
            The sequence, as `of_node` returned it.
        numbers : sequence of int
            Numbers that it has, at most some thousands at once.

        Raises
        ------
        ChangedError
            It has other frames since, so that numbers mean others.
        """
        select = f"{_SELECT} AND l.num IN (SELECT value FROM json_each(?))"
        current = "SELECT n.time_updated FROM data_sources d JOIN nodes n ON n.id = d.node WHERE d.id = ?"
        with self._file.read() as connection:
            rows = connection.execute(select, (row.source, FRAMES, json.dumps(list(numbers)))).fetchall()
            updated = connection.execute(current, (row.source,)).fetchone()
        found = {each[9]: asset_row(each) for each in rows}
        if updated != (row.updated,) or len(found) < len(set(numbers)):
            raise ChangedError("the sequence changed while it was read; read it again")
        return [found[number] for number in numbers]

    def locations(self) -> set[str]:
        """Return the locations of all files that are frames."""
        with self._file.lease() as connection:
            rows = connection.execute(
                "SELECT a.location FROM data_source_assets l JOIN assets a ON a.id = l.asset "
                "WHERE l.parameter = ?",
                (FRAMES,),
            ).fetchall()
        return {location for (location,) in rows}

    def linked(self) -> dict[str, bool]:
        """Return the locations of all files that other files name, and whether each has a node of its own."""
        with self._file.lease() as connection:
            rows = connection.execute(
                "SELECT a.location, EXISTS (SELECT 1 FROM data_source_assets o "
                "WHERE o.asset = a.id AND o.parameter = 'data_uri') FROM (SELECT DISTINCT asset "
                "FROM data_source_assets WHERE parameter LIKE 'external:%' OR parameter LIKE 'virtual:%') l "
                "JOIN assets a ON a.id = l.asset WHERE a.is_directory = 0"
            ).fetchall()
        return {location: bool(has_node) for location, has_node in rows}

    def places(self, assets: Iterable[int]) -> dict[int, Place]:
        """Return, for files that are the own file or a frame of a node, what is recorded there.

        Parameters
        ----------
        assets : iterable of int
            Ids.
        """
        select = (
            "SELECT l.asset, n.id, n.key, n.family, d.mimetype, d.parameters, s.structure, l.num "
            "FROM json_each(?) j JOIN data_source_assets l ON l.asset = j.value "
            "JOIN data_sources d ON d.id = l.data_source JOIN nodes n ON n.id = d.node "
            "LEFT JOIN structures s ON s.id = d.structure WHERE l.parameter IN ('data_uri', ?) "
            "ORDER BY n.id DESC"
        )
        with self._file.lease() as connection:
            # A node inside a file comes after that of the file, which is what is asked for.
            rows = connection.execute(select, (json.dumps(list(assets)), FRAMES)).fetchall()
        return {row[0]: Place._make(row) for row in rows}


_SELECT = (
    f"SELECT {ASSET_COLUMNS}, l.parameter, l.num FROM data_source_assets l JOIN assets a ON a.id = l.asset "
    "WHERE l.data_source = ? AND l.parameter = ?"
)


def _source(connection: sqlite3.Connection, node: int) -> tuple[int, str, str, str, float] | None:
    row: tuple[int, str, str, str, float] | None = connection.execute(
        "SELECT d.id, d.mimetype, d.parameters, s.structure, n.time_updated FROM data_sources d "
        "JOIN structures s ON s.id = d.structure JOIN nodes n ON n.id = d.node "
        "WHERE d.node = ? AND d.family = 'array' AND EXISTS "
        "(SELECT 1 FROM data_source_assets l WHERE l.data_source = d.id AND l.parameter = ?) LIMIT 1",
        (node, FRAMES),
    ).fetchone()
    return row


class FrameWriter:
    """Write sequences in the caller's transaction.

    Parameters
    ----------
    connection : sqlite3.Connection
        In a writing transaction.
    nodes : NodeWriter
        Writes their nodes.
    assets : AssetWriter
        Writes their files.
    """

    def __init__(self, connection: sqlite3.Connection, nodes: NodeWriter, assets: AssetWriter) -> None:
        self._connection, self._nodes, self._assets = connection, nodes, assets

    def sync(
        self, parent: int, new: NewNode, frames: Sequence[int | NewAsset], *, is_described: bool
    ) -> Outcome:
        """Bring a sequence to what its files are now; frames that stay cost nothing.

        Parameters
        ----------
        parent : int
            The container.
        new : NewNode
            The node, with one data source without assets.
        frames : sequence of (int or NewAsset)
            All frames in order: the ids of those that are recorded as they are, what is new of the others.
        is_described : bool
            Whether the metadata is all that the first file says; else what the file said before stays.

        Returns
        -------
        Outcome
            The id of the node, and whether it was added or updated.
        """
        [described] = new.sources
        node, source = self._found(parent, new.key)
        if source is None:
            if node is not None:
                # Something else had this key, and lies there no more.
                self._nodes.remove(node, recursive=True)
            outcome = Outcome(self._nodes.add(parent, [new])[0], "added")
            _, source = self._found(parent, new.key)
        else:
            assert node is not None
            kept = {} if is_described else self._origin(node)
            self._nodes.describe(node, replace(new, metadata={**kept, **new.metadata}))
            self._nodes.describe_source(source, described)
            outcome = Outcome(node, "updated")
        assert source is not None
        self._put(source, frames)
        return outcome

    def _found(self, parent: int, key: str) -> tuple[int | None, int | None]:
        """Return the ids of a node and of its data source, if that can be a sequence's."""
        row = self._connection.execute(
            "SELECT n.id, min(d.id), count(d.id), min(d.family), n.children FROM nodes n "
            "LEFT JOIN data_sources d ON d.node = n.id WHERE n.parent = ? AND n.key = ? GROUP BY n.id",
            (parent, key),
        ).fetchone()
        if row is None:
            return None, None
        return row[0], row[1] if row[2:] == (1, "array", 0) else None

    def _origin(self, node: int) -> dict[str, Json]:
        """Return the metadata that the first file gave."""
        select = "SELECT coalesce(origin, metadata) FROM nodes WHERE id = ?"
        origin: dict[str, Json] = json.loads(self._connection.execute(select, (node,)).fetchone()[0])
        return origin

    def _put(self, source: int, frames: Sequence[int | NewAsset]) -> None:
        """Put frames behind a data source in their order, writing only what differs."""
        fresh = [frame for frame in frames if not isinstance(frame, int)]
        recorded = iter(self._assets.record(fresh))
        ids = [frame if isinstance(frame, int) else next(recorded) for frame in frames]
        wanted = {(FRAMES, number, asset) for number, asset in enumerate(ids)}
        select = "SELECT parameter, num, asset FROM data_source_assets WHERE data_source = ?"
        present = set(self._connection.execute(select, (source,)))
        self._connection.executemany(
            "DELETE FROM data_source_assets "
            "WHERE data_source = ? AND parameter = ? AND num = ? AND asset = ?",
            [(source, *gone) for gone in present - wanted],
        )
        self._connection.executemany(
            "INSERT INTO data_source_assets (data_source, parameter, num, asset) VALUES (?, ?, ?, ?)",
            [(source, *new) for new in sorted(wanted - present)],
        )
