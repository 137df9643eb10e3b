"""The catalog: a directory's nodes, their data and their files, read through one noun.

Owns opening a catalog and finding things in it; how it is filled stands in `indexing`, HTTP in ``routes``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from holdfast.catalog.known import Known
from holdfast.catalog.leases import LeasedArray, LeasedAwkward, LeasedSparse, LeasedTable
from holdfast.catalog.listing import Entry, children_of, manifest
from holdfast.catalog.places import Places
from holdfast.catalog.reading import Files
from holdfast.database import (
    FRAMES,
    ROOT,
    AssetRow,
    Database,
    NodeRow,
    Page,
    SequenceRow,
    SourceRow,
    locate,
)
from holdfast.errors import HoldfastError, InvalidInputError, NotFoundError
from holdfast.formats.registry import get_format
from holdfast.formats.source import Source
from holdfast.formats.structures import TableStructure
from holdfast.hashing import BlockDigests
from holdfast.paths import local_path
from holdfast.queries import Query
from holdfast.types import PathLike

__all__ = ["OWN_FILE", "Catalog", "InFile"]

OWN_FILE = "data_uri"
"""The parameter of the asset that is a node's own file; those of linked files start with their kind."""

_OWN = frozenset({OWN_FILE, FRAMES})

Where = NodeRow | Sequence[str]


class InFile(NamedTuple):
    """Where the data of a node is: its family, a file, its media type, and what finds it in there."""

    family: str
    asset: AssetRow
    mimetype: str
    parameters: dict[str, Any]


Place = InFile | SequenceRow


class Catalog:
    """An indexed directory; safe across threads and forks, pickled by address.

    Parameters
    ----------
    directory : path-like
        The directory, or the path of its ``catalog.db``.
    readable_storage : sequence of path-like, optional
        Where its files lie; by default where the database says.
    database : path-like, optional
        Where its database lies, if not where `holdfast.database.locate` finds it.
    allow_outside : sequence of path-like
        Further directories that links may lead to.
    read_only : bool
        Never write to the database; so too where it lies on something that cannot be written.
    create : bool
        Make the database when there is none.

    Raises
    ------
    NotFoundError
        There is no such directory, or it was not indexed.

    Attributes
    ----------
    database : Database
        The facts.
    places : Places
        Where files lie and how they are recorded.
    """

    def __init__(
        self,
        directory: PathLike,
        *,
        readable_storage: Sequence[PathLike] | None = None,
        database: PathLike | None = None,
        allow_outside: Sequence[PathLike] = (),
        read_only: bool = False,
        create: bool = False,
    ) -> None:
        location = locate(local_path(directory), database)
        if not create and not location.exists:
            raise NotFoundError(
                f"{location.directory} is not indexed; run 'holdfast index {location.directory}'"
            )
        read_only = read_only or not _is_writable(location.database)
        self._arguments = (directory, readable_storage, database, allow_outside, read_only)
        self.database = Database(location.database, read_only=read_only, create=create)
        self.places = Places.of(location, self.database, readable_storage, allow_outside)
        self._files = Files(self.database, self.places)
        self._known: Known[Place | None] = Known(self.database.change)

    @classmethod
    def open(cls, target: PathLike, **options: Any) -> Catalog:
        """Open a catalog; the same as calling the class."""
        return cls(target, **options)

    @property
    def uid(self) -> str:
        """Random name of the catalog, kept by downloads."""
        return self.database.uid

    @property
    def directory(self) -> Path:
        """What recorded locations count from."""
        return self.places.base

    @property
    def roots(self) -> tuple[Path, ...]:
        """The directories that files may be opened in; the first is the one whose files are listed."""
        return self.places.roots

    # -- nodes -----------------------------------------------------------------------------------------

    def node(self, path: Sequence[str]) -> NodeRow:
        """Return the node at a path; a column of a table is an array node below it, with id 0.

        Raises
        ------
        NotFoundError
            There is no such node.
        """
        try:
            return self.database.nodes.lookup(path)
        except NotFoundError:
            column = self._column(path)
            if column is None:
                raise
            return column

    def current(self, row: NodeRow) -> NodeRow:
        """Return a node as its file is now: what grows has another shape than when it was listed.

        Parameters
        ----------
        row : NodeRow
            What `node` returned.
        """
        if self.are_as_recorded(self.data_files(row)):
            return row
        try:
            with self.array(row) if row.family == "array" else self.table(row) as reader:
                return row._replace(structure=json.dumps(reader.structure.to_json()))
        except HoldfastError:
            # Reading it says what is wrong.
            return row

    def data_files(self, row: NodeRow) -> list[AssetRow]:
        """Return the files whose growth changes the shape of a node; none for a sequence."""
        if row.family not in ("array", "table") or self.is_column(row):
            return []
        if row.family == "array" and self.database.frames.is_sequence(row.id):
            return []
        sources = self.database.nodes.sources([row.id]).get(row.id, [])
        return [
            file
            for source in sources
            for asset in source.assets
            if _may_grow(asset)
            for file in (self._layout(source, asset) if asset.is_directory else [asset])
        ]

    def _layout(self, source: SourceRow, directory: AssetRow) -> list[AssetRow]:
        """Return the files of a directory that say what shape an array in it has."""
        names = get_format(source.mimetype or "").layout_files(json.loads(source.parameters))
        return self._files.members(directory, names)

    def are_as_recorded(self, assets: Iterable[AssetRow]) -> bool:
        """Tell whether files have the sizes and times that were recorded."""
        return all(self._files.is_as_recorded(asset) for asset in assets)

    def search(self, where: Where, query: Query | None = None, **options: Any) -> Page:
        """Return one page of the nodes in a container; options as those of `Nodes.search`."""
        return self.database.nodes.search(self._id(where), query, **options)

    def count(self, where: Where, query: Query | None = None, *, deep: bool = False) -> int:
        """Return the exact number of hits in a container."""
        return self.database.nodes.count(self._id(where), query, deep=deep)

    def distinct(self, where: Where, query: Query | None = None, **options: Any) -> dict[str, object]:
        """Return the different values of fields; options as those of `Nodes.distinct`."""
        return self.database.nodes.distinct(self._id(where), query, **options)

    def sources(self, rows: Iterable[NodeRow]) -> dict[int, list[SourceRow]]:
        """Return the data sources of nodes by their ids, with the files: a node's own, then linked ones.

        What is said of a file that is being written is what it is now.
        """
        found = self.database.nodes.sources([row.id for row in rows if row.id])
        return {node: [self._refreshed(source) for source in sources] for node, sources in found.items()}

    def path_of(self, row: NodeRow) -> tuple[str, ...]:
        """Return the keys from the root to a node."""
        if self.is_column(row):
            return (*self.database.nodes.path(row.parent), row.key)
        return self.database.nodes.path(row.id)

    @staticmethod
    def is_column(row: NodeRow) -> bool:
        """Whether a node is a column of the table that is its parent."""
        return row.id == 0

    def _id(self, where: Where) -> int:
        return where.id if isinstance(where, NodeRow) else self.node(where).id

    def _row(self, where: Where) -> NodeRow:
        return where if isinstance(where, NodeRow) else self.node(where)

    def _column(self, path: Sequence[str]) -> NodeRow | None:
        if len(path) < 2:
            return None
        try:
            table = self.database.nodes.lookup(path[:-1])
        except NotFoundError:
            return None
        if (
            table.family != "table"
            or path[-1] not in TableStructure.from_json(json.loads(table.structure or "{}")).columns
        ):
            return None
        with self.table(table) as reader:
            structure = reader.column(path[-1]).structure
        text = json.dumps(structure.to_json())
        return table._replace(
            id=0,
            parent=table.id,
            key=path[-1],
            family="array",
            specs="[]",
            metadata="{}",
            structure=text,
            children=0,
        )

    # -- data ------------------------------------------------------------------------------------------

    def array(self, where: Where) -> LeasedArray:
        """Open the array of a node; close it, or use it in a ``with`` block.

        Raises
        ------
        InvalidInputError
            The node is no array.
        MissingFileError, ForbiddenError, ChangedError, HashError, UnreadableError
            Its file is absent, outside, not the one that was indexed, or damaged.
        """
        return self._array(where, self._placed(where, "array"))

    def table(self, where: Where) -> LeasedTable:
        """Open the table of a node; close it, or use it in a ``with`` block.

        Raises
        ------
        InvalidInputError
            The node is no table.
        MissingFileError, ForbiddenError, ChangedError, HashError, UnreadableError
            As `array`.
        """
        return self._files.table(*self._in_file(where, "table")[1:])

    def sparse(self, where: Where) -> LeasedSparse:
        """Open the sparse array of a node; as `array`."""
        return self._files.sparse(*self._in_file(where, "sparse")[1:])

    def awkward(self, where: Where) -> LeasedAwkward:
        """Open the awkward array of a node; as `array`."""
        return self._files.awkward(*self._in_file(where, "awkward")[1:])

    def array_or_sparse(self, where: Where) -> LeasedArray | LeasedSparse:
        """Open the array of a node, an ordinary or a sparse one; as `array`."""
        place = self._placed(where, "array", "sparse")
        if isinstance(place, InFile) and place.family == "sparse":
            return self._files.sparse(*place[1:])
        return self._array(where, place)

    def _array(self, where: Where, place: Place | None) -> LeasedArray:
        if place is None:
            return self._column_array(self._row(where))
        return (
            self._files.sequence(place) if isinstance(place, SequenceRow) else self._files.array(*place[1:])
        )

    def _in_file(self, where: Where, family: str) -> InFile:
        place = self._placed(where, family)
        if isinstance(place, InFile):
            return place
        raise InvalidInputError(f"a column of a table is of family array, not {family}")

    def _placed(self, where: Where, *families: str) -> Place | None:
        """Return where the data of a node is: looked up once for a path; None for a column of a table."""
        if isinstance(where, NodeRow):
            return self._place(where, families)
        return self._known.get((families, tuple(where)), lambda: self._place(self.node(where), families))

    def _place(self, row: NodeRow, families: tuple[str, ...]) -> Place | None:
        if self.is_column(row):
            return None
        sequence = self.database.frames.of_node(row.id) if row.family == "array" in families else None
        if sequence is not None:
            return sequence
        source, asset = self._own_file(row, families)
        return InFile(row.family, asset, source.mimetype or "", json.loads(source.parameters))

    def _column_array(self, row: NodeRow) -> LeasedArray:
        table = self.table(self.database.nodes.get(row.parent))
        with ExitStack() as stack:
            stack.callback(table.close)
            array = LeasedArray(table.column(row.key), table.lease, table.asset)
            stack.pop_all()
            return array

    def _own_file(self, row: NodeRow, families: tuple[str, ...]) -> tuple[SourceRow, AssetRow]:
        """Return the data source of a node, and the file it is in."""
        if row.family not in families:
            raise InvalidInputError(
                f"{'/'.join(self.path_of(row))!r} is of family {row.family}, not {' or '.join(families)}"
            )
        for source in self.database.nodes.sources([row.id]).get(row.id, []):
            for asset in source.assets:
                if asset.parameter == OWN_FILE:
                    return source, asset
        raise NotFoundError(f"{'/'.join(self.path_of(row))!r} has no file; index the directory again")

    # -- files -----------------------------------------------------------------------------------------

    def asset(self, number: int) -> AssetRow:
        """Return an asset by its id.

        Raises
        ------
        NotFoundError
            There is none.
        """
        return self._now(self.database.assets.get(number))

    def asset_path(self, asset: AssetRow) -> Path:
        """Return where an asset is.

        Raises
        ------
        MissingFileError, ForbiddenError
            It is absent or lies outside.
        """
        return self._files.path(asset)

    def open_asset(self, asset: AssetRow) -> Source:
        """Open the bytes of a file, verified where its digests are known.

        Raises
        ------
        MissingFileError, ForbiddenError, ChangedError
            It is absent, outside, or not the one that was indexed.
        """
        return self._files.source(asset)

    def digests(self, asset: AssetRow) -> BlockDigests | None:
        """Return the digests of a file; None while they are pending."""
        return self._files.digests(asset)

    def manifest(self, asset: AssetRow) -> list[Entry]:
        """Return every file below a directory, sorted by name; what leads outside is left out."""
        return manifest(self.database, self.places, asset)

    def member(self, directory: AssetRow, parts: Sequence[str]) -> AssetRow | None:
        """Return what is recorded of a file below a directory; None where nothing is."""
        found = self._files.members(directory, ["/".join(parts)])
        return found[0] if found and not found[0].is_directory else None

    def children_of(self, asset: AssetRow) -> list[AssetRow]:
        """Return the files and directories one level below a directory, sorted by name."""
        return children_of(self.database, self.places, asset)

    def _refreshed(self, source: SourceRow) -> SourceRow:
        own = [asset for asset in source.assets if asset.parameter in _OWN]
        linked = [asset for asset in source.assets if asset.parameter not in _OWN]
        return source._replace(assets=[self._now(asset) for asset in (*own, *linked)])

    def _now(self, asset: AssetRow) -> AssetRow:
        """Say of a file that is being written what it is now; its digest, if it changed, is not known yet."""
        if asset.state != "growing" or asset.is_directory:
            return asset
        try:
            status = self.places.path(asset.location).stat()
        except OSError:
            return asset
        if (status.st_size, status.st_mtime_ns) == (asset.size, asset.mtime_ns):
            return asset
        return asset._replace(size=status.st_size, mtime_ns=status.st_mtime_ns, digest=None, digests=None)

    # -- life ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the database and all files that nobody uses."""
        self._files.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, self._arguments

    def __repr__(self) -> str:
        return f"<Catalog {self.places.storage}: {self.database.nodes.get(ROOT).children} entries>"


def _may_grow(asset: AssetRow) -> bool:
    """Whether a file may get more rows than were listed: a node's own, or one that holds its data."""
    return asset.parameter == OWN_FILE or asset.parameter.startswith("storage:")


def _is_writable(database: Path) -> bool:
    """Whether a database that is there can be written; one that is not there is made."""
    return not database.exists() or (os.access(database, os.W_OK) and os.access(database.parent, os.W_OK))


def _reopened(
    directory: PathLike,
    readable_storage: Sequence[PathLike] | None,
    database: PathLike | None,
    allow_outside: Sequence[PathLike],
    read_only: bool,
) -> Catalog:
    return Catalog(
        directory,
        readable_storage=readable_storage,
        database=database,
        allow_outside=allow_outside,
        read_only=read_only,
    )
