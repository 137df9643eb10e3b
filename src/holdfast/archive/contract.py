"""Own what every archive can do, wherever it lies: the class `Archive`, local or behind a server.

>>> import tempfile
>>> with Archive.create(tempfile.mkdtemp(), "Example") as archive:
...     archive.name, len(archive.entries())
('Example', 0)
"""

# Both kinds override each method that has a docstring only; a test compares. Decorating these as abstract
# would make every Archive(...) of a user an error to type checkers.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, Self

from holdfast import queries
from holdfast.archive.entries import Entry
from holdfast.errors import InvalidInputError
from holdfast.events import Event
from holdfast.paths import is_url
from holdfast.types import Json, PathLike

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.database.archive import LogRow
    from holdfast.queries import Query
    from holdfast.reports import Report

__all__ = ["AddedEvent", "Archive", "ManifestViews", "Verify"]

Verify = Literal["full", "cached"]
# The noun and the client do not know each other; this is where a target's form chooses.
_KINDS = {
    False: ("holdfast.archive.archive", "LocalArchive"),
    True: ("holdfast.archive.client", "RemoteArchive"),
}


@dataclass(eq=False)
class AddedEvent(Event):
    """Say that an entry was added to an archive, durably; ``source`` is the archive."""

    entry: Entry | None = None


class ManifestViews(Protocol):
    """What the original's users ask a manifest."""

    @property
    def data(self) -> dict[str, Json]:
        """The whole manifest as nested dictionaries."""
        ...

    def list_resources(self, event: str, production: str) -> dict[str, dict[str, str]]:
        """Return the files of a production: name to uuid and hash."""
        ...

    def get_hash(self, uuid: str) -> str:
        """Return the hash that the original would know for a uuid."""
        ...

    def get_uuid(self, event: str, production: str, filename: str) -> str:
        """Return the uuid of a file."""
        ...


class Archive:
    """Files that are stored once, never changed, and verified on the way in and out.

    Parameters
    ----------
    root : path or str
        The archive's directory, or the ``http://`` address of a served one.
    api_key : str, optional
        The key for a server; ``HOLDFAST_API_KEY`` by default.

    Raises
    ------
    NotAStoreError
        The directory is no archive.
    UnreadableError
        Its manifest is damaged.
    TransportError
        The server cannot be reached.

    Notes
    -----
    A context manager; safe across threads and forks; pickled by address, never with its key.

    References
    ----------
    Seed 2: the original is ``asimov.storage.Store``.
    """

    def __new__(cls, root: PathLike = "", api_key: str | None = None) -> Self:
        """Choose the local archive or the client by the form of `root`."""
        if cls is not Archive:
            return super().__new__(cls)
        if not os.fspath(root):
            raise InvalidInputError("an archive needs its root: Archive('path/to/archive')")
        module, name = _KINDS[is_url(root)]
        kind: type[Self] = getattr(import_module(module), name)
        return object.__new__(kind)

    @staticmethod
    def create(root: PathLike, name: str) -> Archive:
        """Make a new archive.

        Parameters
        ----------
        root : path
            A directory that is empty or does not exist; its parent must exist.
        name : str
            The archive's name.

        Returns
        -------
        Archive
            Ready for use.

        Raises
        ------
        AlreadyExistsError
            The directory is not empty, or is an archive.
        NotFoundError
            The parent does not exist.
        """
        module, kind = _KINDS[False]
        made: Archive = getattr(import_module(module), kind).make(root, name)
        return made

    @property
    def root(self) -> str:
        """Where it lies: a directory, or an address without its key."""

    @property
    def manifest(self) -> ManifestViews:
        """What it knows, as the original's users ask it."""

    # -- what there is ---------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The archive's name."""

    @property
    def uid(self) -> str:
        """The archive's random identity; empty for one that the original made."""

    def entries(self, event: str | None = None, production: str | None = None) -> list[Entry]:
        """Return the entries of an event or production, or all, sorted by their names, foreign ones too."""

    def entry(self, event: str, production: str, file: str) -> Entry:
        """Return one entry; `NotFoundError` says which of its names is unknown."""

    def by_uuid(self, uuid: str) -> Entry:
        """Return the entry with a uuid; `NotFoundError` if there is none."""

    def log(self) -> list[LogRow]:
        """Return the rows of the append-only log, oldest first."""

    def head(self) -> str:
        """Return the digest ``sha256:…`` that proves the whole log, if it is kept elsewhere."""

    def find(self, where: str | Mapping[str, Json] | Query | None = None) -> list[Entry]:
        """Return the entries for which a condition holds.

        Parameters
        ----------
        where : str, mapping or Query, optional
            A condition such as ``'size > 5 and production == "Prod0"'``, values that fields must have, or a
            query. Fields: ``event production name uuid size md5 sha256 blake3 added_at origin who foreign``.

        Returns
        -------
        list of Entry
            Sorted by their names.

        Raises
        ------
        InvalidInputError
            The condition cannot be read.
        """
        query = _query(where)
        return [entry for entry in self.entries() if query.matches(_fields(entry))]

    # -- in ------------------------------------------------------------------------------------------------

    def add_file(
        self,
        event: str,
        production: str,
        file: PathLike,
        new_name: str | None = None,
        md5: bool = True,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> dict[str, Any]:
        """Store a file: copied, hashed in the same pass, made read-only, recorded.

        Parameters
        ----------
        event, production : str
            What the file relates to; ``shared`` is the production of files that several use.
        file : path
            A regular file; a link is followed.
        new_name : str, optional
            Its name in the archive, or a relative path such as ``sub/b``; by default the file's own.
        md5 : bool, optional
            Take the md5 too, by which the original verifies. Without it large files go in four times faster.
        progress : callable, optional
            Called with the number of bytes that were copied so far.

        Returns
        -------
        dict
            ``file`` (its name), ``uuid`` (32 hexadecimal digits), ``hash`` (md5, or sha256 without md5),
            ``size`` (bytes), ``digests`` (hexadecimal by algorithm), ``head`` (of the log after it).

        Raises
        ------
        AlreadyPresentException
            The archive has a file of that name there; it is unchanged.
        ChangedError
            The file changed while it was read.
        InvalidInputError
            A name is not acceptable, or it is not a regular file.
        NotFoundError
            There is no such file.
        StorageFullError, ReadOnlyError
            The archive cannot be written. Nothing of the file stays behind.

        Events
        ------
        AddedEvent
            When it is durable.
        """

    def add_tree(
        self,
        event: str,
        production: str,
        directory: PathLike,
        md5: bool = True,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> list[dict[str, Any]]:
        """Store all files of a directory under their paths below it: all or none.

        Parameters
        ----------
        event, production : str
            What the files relate to.
        directory : path
            Where they lie.
        md5 : bool, optional
            As for `add_file`.
        progress : callable, optional
            Called with the number of bytes that were copied so far.

        Returns
        -------
        list of dict
            As `add_file` returns it, one for each file, sorted by path.

        Raises
        ------
        AlreadyPresentException, ChangedError, InvalidInputError, NotFoundError, StorageFullError
            As for `add_file`; nothing was added then.
        """

    # -- out -----------------------------------------------------------------------------------------------

    def fetch_file(
        self, event: str, production: str, file: str, hash: str | None = None, *, verify: Verify = "full"
    ) -> str:
        """Return the path of a file that was verified just now.

        Parameters
        ----------
        event, production, file : str
            Its names.
        hash : str, optional
            A digest that it must have, too: in any case, bare or as ``md5:``, ``sha256:`` or ``blake3:``.
        verify : {"full", "cached"}, optional
            ``cached`` trusts a file that was verified by this object, and whose inode, size and times are
            the same since.

        Returns
        -------
        str
            The file; read-only.

        Raises
        ------
        NotFoundError
            There is no such entry.
        MissingFileError
            There is one, and its file is gone.
        HashError
            Its bytes are not those that were recorded; `UnexpectedHashError`: not those that were expected.
        MalformedHashError
            The expected digest cannot be read; a `HashError` and an `InvalidInputError`.
        """
        return self._fetch(self.entry(event, production, file), hash, verify)

    def fetch_uuid(self, uuid: str, hash: str | None = None, *, verify: Verify = "full") -> str:
        """Return the path of the file with a uuid, verified; otherwise as `fetch_file`."""
        return self._fetch(self.by_uuid(uuid), hash, verify)

    def open_file(self, event: str, production: str, file: str, hash: str | None = None) -> BinaryIO:
        """Return a file, open for reading at its start: what was verified is what is read.

        Parameters
        ----------
        event, production, file, hash : str
            As for `fetch_file`.

        Returns
        -------
        binary file
            Whoever replaces the file under its name meanwhile does not change what this reads.

        Raises
        ------
        NotFoundError, MissingFileError, HashError, InvalidInputError
            As for `fetch_file`.
        """
        return self._open(self.entry(event, production, file), hash)

    def _fetch(self, entry: Entry, hash: str | None, verify: Verify) -> str:
        """Return the path of an entry's verified file."""

    def _open(self, entry: Entry, hash: str | None) -> BinaryIO:
        """Return an entry's verified file."""

    def check(
        self,
        fast: bool = False,
        subset: str | None = None,
        head: str | None = None,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> Report:
        """Verify the archive.

        Parameters
        ----------
        fast : bool, optional
            Look at structure, sizes and permissions only, at no byte of the files.
        subset : str, optional
            Read a part of the files: ``10%`` at random, or ``3/7``, the third of seven parts.
        head : str, optional
            An earlier `head`, kept elsewhere: the log must contain it.
        progress : callable, optional
            Called with the number of bytes that were read so far.

        Returns
        -------
        Report
            Findings of kind ``missing``, ``extra``, ``changed``, ``permissions``, ``foreign``, ``log``.

        Raises
        ------
        InvalidInputError
            `subset` or `head` cannot be read.
        """

    # -- the handle ----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Bring ``manifest.yaml`` up to date."""

    def close(self) -> None:
        """Bring everything to rest; a closed archive may not be used again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _query(where: str | Mapping[str, Json] | Query | None) -> Query:
    if where is None:
        return queries.Everything()
    if isinstance(where, str):
        return queries.parse(where)
    if isinstance(where, Mapping):
        return queries.from_keywords(**where)
    return where


def _fields(entry: Entry) -> dict[str, Json]:
    facts = entry.to_dict()
    return {**facts, **facts.pop("digests")}
