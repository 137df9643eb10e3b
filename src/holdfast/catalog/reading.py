"""Reading the data of nodes: which file it is in, and whether that is still the one that was indexed.

Owns that rule: size and time are compared at each read; where only the time differs the digest decides; files
at rest are verified block by block; files that are being written are read unverified.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from holdfast.catalog.leases import Lease, LeasedArray, LeasedAwkward, LeasedSparse, LeasedTable
from holdfast.catalog.opened import OpenFiles
from holdfast.catalog.places import Neighbours, Places
from holdfast.catalog.resting import is_recent, is_written
from holdfast.database import AssetRow, Database, SequenceRow
from holdfast.errors import (
    BusyError,
    ChangedError,
    HoldfastError,
    MissingFileError,
    NotFoundError,
    ReadOnlyError,
    StorageError,
)
from holdfast.formats.base import ArrayReader, Format, OpenFile
from holdfast.formats.registry import SEQUENCE_TYPE, get_format
from holdfast.formats.sequences import SequenceArray
from holdfast.formats.source import FileState, Source
from holdfast.formats.structures import ArrayStructure
from holdfast.hashing import BLOCK_BYTES, BlockDigests, Digest, hash_file

__all__ = ["Files"]

_FRAMES_AT_ONCE = 1000


class Files:
    """The files of a catalog, opened as its database allows; safe across threads and forks.

    Parameters
    ----------
    database : Database
        What is recorded of them.
    places : Places
        Where they lie.
    """

    def __init__(self, database: Database, places: Places) -> None:
        self._database = database
        self._places = places
        self._opened = OpenFiles()
        # Files whose bytes are the recorded ones though their time is another, where that cannot be recorded.
        self._compared: dict[str, FileState] = {}

    def path(self, asset: AssetRow) -> Path:
        """Return where an asset is.

        Raises
        ------
        MissingFileError, ForbiddenError
            It is absent or lies outside.
        """
        path = self._places.checked(asset.location)
        _state(path)
        return path

    def digests(self, asset: AssetRow) -> BlockDigests | None:
        """Return the recorded digests of a file; None as long as it was not read."""
        if asset.digest is None or asset.size is None:
            return None
        whole = Digest.parse(asset.digest)
        if asset.size <= BLOCK_BYTES:
            return BlockDigests(whole, asset.size, whole.raw if asset.size else b"")
        blocks = self._database.assets.blocks(asset.id)
        return None if blocks is None else BlockDigests(whole, asset.size, blocks)

    def source(self, asset: AssetRow, *, is_trusted: bool = True) -> Source:
        """Open the bytes of an asset, verified where its digests are known and `is_trusted`.

        Raises
        ------
        MissingFileError, ForbiddenError
            It is absent or lies outside.
        ChangedError
            It is not the file that was indexed.
        """
        path = self._places.checked(asset.location)
        trusted = self.trusted(asset, path, _state(path))

        def find(other: Path) -> BlockDigests | None:
            """Answer with the digests of another file; with this one's only if it is trusted."""
            return None if other == path and not is_trusted else self._digests_of(other)

        return Source(
            path,
            roots=self._places.roots,
            digests=trusted if is_trusted else None,
            find_digests=find,
            name=self._places.public(asset.location),
        )

    def array(self, asset: AssetRow, mimetype: str, parameters: Mapping[str, Any]) -> LeasedArray:
        """Open an array of an asset; close it, or use it in a ``with`` block.

        Raises
        ------
        MissingFileError, ForbiddenError, ChangedError
            As `source`.
        UnreadableError
            The file is damaged, or no format reads it.
        """
        lease = self._lease(asset, mimetype)
        with lease.closed_on_failure():
            return LeasedArray(lease.file.array(parameters), lease, asset)

    def sequence(self, row: SequenceRow) -> LeasedArray:
        """Return the array of a sequence; its files are opened when they are read, each by itself."""
        form = get_format(row.mimetype.removeprefix(SEQUENCE_TYPE))
        parameters = json.loads(row.parameters)
        neighbours = Neighbours(self._places)

        def frames(numbers: Sequence[int]) -> Iterator[AbstractContextManager[ArrayReader]]:
            """Look frames up, many at a time, and give what opens each."""
            for start in range(0, len(numbers), _FRAMES_AT_ONCE):
                part = numbers[start : start + _FRAMES_AT_ONCE]
                for asset in self._database.frames.numbered(row, part):
                    yield self._frame(asset, neighbours.find(asset.location), form, parameters)

        structure = ArrayStructure.from_json(json.loads(row.structure))
        return LeasedArray(SequenceArray(structure, frames, is_verified=row.is_verified), None, row.first)

    @contextmanager
    def _frame(
        self, asset: AssetRow, path: Path, form: Format, parameters: Mapping[str, Any]
    ) -> Iterator[ArrayReader]:
        """Open one file of a sequence; it is not kept open, for a slice goes through many."""
        digests = self.trusted(asset, path, _state(path))
        source = Source(path, digests=digests, name=self._places.public(asset.location))
        with form.open(source) as opened:
            yield opened.array(parameters)

    def table(self, asset: AssetRow, mimetype: str, parameters: Mapping[str, Any]) -> LeasedTable:
        """Open a table of an asset; close it, or use it in a ``with`` block.

        Raises
        ------
        MissingFileError, ForbiddenError, ChangedError, UnreadableError
            As `array`.
        """
        lease = self._lease(asset, mimetype)
        with lease.closed_on_failure():
            return LeasedTable(lease.file.table(parameters), lease, asset)

    def sparse(self, asset: AssetRow, mimetype: str, parameters: Mapping[str, Any]) -> LeasedSparse:
        """Open a sparse array of an asset; errors as those of `array`."""
        lease = self._lease(asset, mimetype)
        with lease.closed_on_failure():
            return LeasedSparse(lease.file.sparse(parameters), lease, asset)

    def awkward(self, asset: AssetRow, mimetype: str, parameters: Mapping[str, Any]) -> LeasedAwkward:
        """Open an awkward array of an asset; errors as those of `array`."""
        lease = self._lease(asset, mimetype)
        with lease.closed_on_failure():
            return LeasedAwkward(lease.file.awkward(parameters), lease, asset)

    def trusted(self, asset: AssetRow, path: Path, state: FileState) -> BlockDigests | None:
        """Return the digests that a file's bytes must have; None if they are not known, or it is growing.

        Parameters
        ----------
        asset : AssetRow
            What is recorded.
        path : Path
            The file.
        state : FileState
            Its size and times now.

        Raises
        ------
        ChangedError
            It is not the file that was indexed.
        """
        digests = self.digests(asset)
        if (asset.size, asset.mtime_ns) == (state.size, state.mtime_ns):
            return digests
        if digests is not None and asset.size == state.size and self._is_same(asset, path, state, digests):
            return digests
        if self.is_growing(asset, path, state):
            return None
        name = self._places.public(asset.location)
        raise ChangedError(f"{name} changed since it was indexed; index the directory again")

    def is_as_recorded(self, asset: AssetRow) -> bool:
        """Whether size and time of a file are those that were recorded."""
        try:
            state = _state(self._places.path(asset.location))
        except HoldfastError:
            return False
        return (asset.size, asset.mtime_ns) == (state.size, state.mtime_ns)

    def is_growing(self, asset: AssetRow, path: Path, state: FileState) -> bool:
        """Whether a file that is not as recorded is one that somebody writes."""
        # Documents of a directory that grows are replaced, mostly by others of the same size.
        is_more = state.size > (asset.size or 0) or self._database.assets.is_member(asset.id)
        is_fresh = is_recent(state) and asset.state in ("growing", "pending")
        return (is_fresh and is_more) or is_written(path)

    def close(self) -> None:
        """Close the files that nobody uses, the others when their last reader ends."""
        self._opened.close()

    def _lease(self, asset: AssetRow, mimetype: str) -> Lease:
        form = get_format(mimetype)
        file = self._entry(asset, form) if asset.is_directory else asset
        # A directory is verified when every file in it is: what is new cannot be told from what was lost.
        is_trusted = not asset.is_directory or asset.state == "verified"
        path = self._places.path(file.location)
        state = _state(path)
        is_settled = self._is_settled(file, path, state)
        # Times are too coarse to tell one state of a growing file from the next: it is opened anew each time.
        moment = None if is_settled or file.state == "pending" else object()
        token = (state, file.size, file.mtime_ns, file.digest, moment, is_trusted, form.change_token(path))

        def make() -> tuple[OpenFile, bool]:
            source = self.source(file, is_trusted=is_trusted)
            return form.open(source), source.is_verified

        return Lease(self._opened, self._opened.take((asset.location, mimetype), token, make))

    def _entry(self, asset: AssetRow, form: Format) -> AssetRow:
        """Return the file by which a directory is opened."""
        found = self.members(asset, form.entries)
        if not found:
            name = self._places.public(asset.location)
            raise MissingFileError(f"{name} has none of {', '.join(form.entries)}; index the directory again")
        return found[0]

    def members(self, asset: AssetRow, names: Iterable[str]) -> list[AssetRow]:
        """Return what is recorded of some files in a directory that is one node; others are left out."""
        found, prefix = [], "" if asset.location == "." else f"{asset.location}/"
        for name in names:
            try:
                found.append(self._database.assets.by_location(prefix + name))
            except NotFoundError:
                continue
        return found

    def _digests_of(self, path: Path) -> BlockDigests | None:
        """Return the digests of a file that another one names, if it is recorded and at rest."""
        try:
            asset = self._database.assets.by_location(self._places.location(path))
        except NotFoundError:
            return None
        if not path.exists() and self._database.assets.is_member(asset.id):
            raise MissingFileError(
                f"{self._places.public(asset.location)} is not there any more; restore it, or if it was "
                "removed on purpose, forget it with 'holdfast index --prune'"
            )
        return self.trusted(asset, path, _state(path))

    def _is_settled(self, asset: AssetRow, path: Path, state: FileState) -> bool:
        """Whether the bytes of a file are known to be the recorded ones."""
        if asset.digest is None or asset.size != state.size:
            return False
        if asset.mtime_ns == state.mtime_ns or self._compared.get(asset.location) == state:
            return True
        digests = self.digests(asset)
        return digests is not None and self._is_same(asset, path, state, digests)

    def _is_same(self, asset: AssetRow, path: Path, state: FileState, digests: BlockDigests) -> bool:
        """Whether the bytes of a file are the recorded ones; read once for each state of the file."""
        if self._compared.get(asset.location) == state:
            return True
        if hash_file(path)["blake3"] != digests.whole:
            return False
        self._compared[asset.location] = state
        self._note_time(asset, state, digests)
        return True

    def _note_time(self, asset: AssetRow, state: FileState, digests: BlockDigests) -> None:
        """Record the new time of a file that was only copied, so that nobody need hash it again."""
        try:
            self._database.write(
                lambda tx: tx.assets.settle(
                    asset.id,
                    size=state.size,
                    mtime_ns=state.mtime_ns,
                    digest=str(digests.whole),
                    blocks=digests.blocks if state.size > BLOCK_BYTES else None,
                )
            )
        except (ReadOnlyError, BusyError, StorageError):
            # It is a shortcut only; whoever may write takes it later.
            return


def _state(path: Path) -> FileState:
    try:
        return FileState.of(os.stat(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(
            f"{path.name} is not there any more; restore it, or index the directory again"
        ) from error
    except OSError as error:
        raise StorageError(f"{path.name} cannot be looked at: {error.strerror}") from error
