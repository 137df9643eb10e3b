"""Own what an archive knows: the SQLite manifest as the truth, the YAML manifest for the original.

Entries that only the YAML knows are foreign: served, but not vouched for. Files are published elsewhere.

>>> import tempfile
>>> manifest = Manifest.create(tempfile.mkdtemp(), "Example", who="me")
>>> manifest.data
{'name': 'Example', 'events': {}}
>>> manifest.close()
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Hashable, Sequence

from holdfast import files
from holdfast.archive import lifetimes
from holdfast.archive.entries import Entry, Place, check_uuid
from holdfast.archive.settling import Unsettled
from holdfast.archive.yamlfile import YAML, State, YamlFile, without_known
from holdfast.archive.yamlform import is_untouched, parsed, written
from holdfast.database.archive import EntryRow, LogRow, ManifestDatabase
from holdfast.database.unsynced import UnsyncedContents
from holdfast.errors import InvalidInputError, NotAStoreError, NotFoundError, UnreadableError
from holdfast.types import Json, PathLike

__all__ = ["DATABASE", "FOLDER", "OWN", "Manifest"]

FOLDER, DATABASE = ".manifest", "manifest.db"
OWN = frozenset({FOLDER, ".holdfast"})
"""Folders at the top that hold no entries."""

_NO_LOG = "the archive {} has no log: it begins with the first file that is added or adopted here"


class Manifest:
    """The two manifests of one archive. Opening writes nothing.

    Parameters
    ----------
    root : path
        The archive's directory.

    Raises
    ------
    NotAStoreError
        The directory is no archive.
    UnreadableError, NewerFormatError
        Its manifest is damaged, or of a newer release.

    Notes
    -----
    Safe across threads, processes and forks. The YAML is at most one second behind while a writer lives.

    Attributes
    ----------
    root : str
        The archive's directory.
    yaml : YamlFile
        The copy for the original.
    unsettled : Unsettled
        Files that this process added and that may not be on the disk yet.
    """

    def __init__(self, root: PathLike) -> None:
        self.root = os.fspath(root)
        self._guard = threading.RLock()
        self._is_writable = self._is_closed = False
        self._retired: list[ManifestDatabase] = []
        self._foreign: tuple[Hashable, tuple[Entry, ...]] | None = None
        if not os.path.isdir(self._path()):
            raise NotAStoreError(
                f"{self.root} is no archive: it has no {FOLDER}; make one with 'holdfast archive init'"
            )
        self.unsettled = Unsettled(self)
        self.yaml = YamlFile(self._path(), self._state, self._remember, self._settle)
        self._database = self._open_database(read_only=True)
        if self._database is None:
            self.yaml.text()
        lifetimes.watch(self)

    def _names_of_text(self) -> tuple[str, str]:
        text = self.yaml.text()
        return text.name, text.uid

    @classmethod
    def create(cls, root: PathLike, name: str, *, who: str) -> Manifest:
        """Make the manifests of a new archive in a directory that has none.

        Parameters
        ----------
        root : path
            An existing directory.
        name : str
            The archive's name.
        who : str
            Who makes it.

        Returns
        -------
        Manifest
            Open for writing.
        """
        with files.build_directory(os.path.join(root, FOLDER)) as staging:
            uid = secrets.token_hex(16)
            ManifestDatabase.create(staging / DATABASE, name, uid, who=who).close()
            (staging / YAML).write_bytes(written(name, (), uid))
        return cls(root)

    def _path(self, *names: str) -> str:
        return os.path.join(self.root, FOLDER, *names)

    def _open_database(self, *, read_only: bool) -> ManifestDatabase | None:
        try:
            return ManifestDatabase(self._path(DATABASE), read_only=read_only)
        except NotFoundError:
            return None

    # -- what it says ----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The archive's name."""
        return self._database.name if self._database else self._names_of_text()[0]

    @property
    def uid(self) -> str:
        """The archive's random identity; empty for one that the original made."""
        return self._database.uid if self._database else self._names_of_text()[1]

    @property
    def has_log(self) -> bool:
        """Whether there is a database; the original's stores have none."""
        return self._database is not None

    @property
    def is_log_lost(self) -> bool:
        """Whether there was a database once and there is none now."""
        return self._database is None and bool(self.uid)

    def find(self, place: Place) -> Entry | None:
        """Return the entry at a place, or None."""
        row = self._database.get(place.event, place.production, place.name) if self._database else None
        if row is not None:
            return Entry.of_row(row)
        return next((entry for entry in self.foreign() if entry.place == place), None)

    def get(self, place: Place) -> Entry:
        """Return the entry at a place.

        Parameters
        ----------
        place : Place
            Its names.

        Returns
        -------
        Entry
            What is known of it.

        Raises
        ------
        NotFoundError
            There is none; says which part of the place is unknown.
        """
        entry = self.find(place)
        if entry is None:
            raise self._unknown(place)
        return entry

    def _unknown(self, place: Place) -> NotFoundError:
        of_event = self.entries(place.event)
        if not of_event:
            return NotFoundError(
                f"no event {place.event!r} in archive {self.root}; list() shows what there is"
            )
        names = [entry.place.name for entry in of_event if entry.place.production == place.production]
        if not names:
            return NotFoundError(
                f"no production {place.production!r} of event {place.event!r} in {self.root}"
            )
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        return NotFoundError(
            f"no file {place.name!r} in {place.directory} of {self.root}; there are: {shown}"
        )

    def by_uuid(self, uuid: str) -> Entry:
        """Return the entry with a uuid, in any of its forms; `NotFoundError` if there is none."""
        try:
            digits = check_uuid(uuid)
        except InvalidInputError as error:
            raise NotFoundError(f"no file with uuid {uuid!r} in archive {self.root}") from error
        row = self._database.by_uuid(digits) if self._database else None
        if row is not None:
            return Entry.of_row(row)
        for entry in self.foreign():
            if entry.uuid == digits:
                return entry
        raise NotFoundError(f"no file with uuid {digits} in archive {self.root}")

    def knows(self, uuid: str) -> bool:
        """Tell whether an entry has a uuid."""
        try:
            self.by_uuid(uuid)
        except NotFoundError:
            return False
        return True

    def by_content(self, blake3: str, size: int) -> list[Entry]:
        """Return the latest recorded entries that have the same bytes, three at most."""
        rows = self._database.by_content(blake3, size) if self._database else []
        return [Entry.of_row(row) for row in rows]

    def entries(self, event: str | None = None, production: str | None = None) -> list[Entry]:
        """Return the entries of an event or production, or all, sorted by their names, foreign ones too."""
        found = self.recorded(event, production)
        foreign = [
            entry
            for entry in self.foreign()
            if event in (None, entry.place.event) and production in (None, entry.place.production)
        ]
        return sorted(found + foreign, key=_order) if foreign else found

    def recorded(self, event: str | None = None, production: str | None = None) -> list[Entry]:
        """Return the entries that the database knows."""
        rows = self._database.entries(event, production) if self._database else []
        return [Entry.of_row(row) for row in rows]

    def foreign(self) -> tuple[Entry, ...]:
        """Return the entries that only the YAML knows, as the file is now."""
        signature = self.yaml.signature()
        with self._guard:
            if self._foreign is None or self._foreign[0] != signature:
                self._foreign = (signature, self._foreign_in(self.yaml.content()) if signature else ())
            return self._foreign[1]

    def _state(self) -> State:
        """Return what the YAML should say: nothing that only the database keeps from a power cut."""
        self._settle()
        listed = self._database.listed() if self._database else []
        foreign = self.foreign()
        if foreign:
            listed = sorted([*listed, *(entry.listed for entry in foreign)])
        return State(self.name, listed, self.uid, foreign)

    def _remember(self, signature: Hashable, foreign: tuple[Entry, ...]) -> None:
        with self._guard:
            self._foreign = (signature, foreign)

    def _foreign_in(self, content: bytes) -> tuple[Entry, ...]:
        if self._database is None:
            return parsed(content, self.yaml.path).entries
        if is_untouched(content):
            return ()
        try:
            return without_known(parsed(content, self.yaml.path).entries, self.recorded())
        except UnreadableError:  # the database knows all that matters; `check` tells
            return ()

    # -- the original's views ---------------------------------------------------------------------------

    @property
    def data(self) -> dict[str, Json]:
        """The whole manifest as the original's nested dictionaries."""
        events: dict[str, Json] = {}
        for entry in self.entries():
            productions = events.setdefault(entry.place.event, {})
            productions.setdefault(entry.place.production, {})[entry.place.name] = _original(entry)
        return {"name": self.name, "events": events}

    def list_resources(self, event: str, production: str) -> dict[str, dict[str, str]]:
        """Return the files of a production: name to ``{"uuid", "hash"}``.

        Parameters
        ----------
        event, production : str
            Their names.

        Returns
        -------
        dict
            As the original gives it; the hash is md5, or sha256 where md5 was refused.

        Raises
        ------
        NotFoundError
            Unknown event or production.
        """
        place = Place.of(event, production, "x")
        found = self.entries(place.event, place.production)
        if not found:
            raise self._unknown(place)
        return {entry.place.name: _original(entry) for entry in found}

    def get_hash(self, uuid: str) -> str:
        """Return the hash that the original would know for a uuid."""
        return self.by_uuid(uuid).main_digest.hex

    def get_uuid(self, event: str, production: str, filename: str) -> str:
        """Return the uuid of a file."""
        return self.get(Place.of(event, production, filename)).uuid

    # -- the log ---------------------------------------------------------------------------------------

    def head(self) -> str:
        """Return the hash of the log's last row; `NotFoundError` where there is no log."""
        if self._database is None:
            raise NotFoundError(_NO_LOG.format(self.root))
        return self._database.head()

    def log(self) -> list[LogRow]:
        """Return the rows of the log; none where there is no log."""
        return self._database.log() if self._database else []

    def snapshot(self) -> tuple[list[LogRow], list[Entry]]:
        """Return the log and the recorded entries as they are at one moment."""
        if self._database is None:
            return [], []
        rows, entries = self._database.snapshot()
        return rows, [Entry.of_row(row) for row in entries]

    # -- writing ---------------------------------------------------------------------------------------

    def record(self, rows: Sequence[EntryRow], *, action: str = "add", who: str | None = None) -> list[str]:
        """Record entries whose files are published, all or none.

        Parameters
        ----------
        rows : sequence of EntryRow
            The entries.
        action : {"add", "adopt"}, optional
            How they came.
        who : str, optional
            Who acts, if not who added them.

        Returns
        -------
        list of str
            The head of the log after each.

        Raises
        ------
        ConflictError
            A name or uuid is there already.
        """
        database = self._writable()
        heads = database.add(rows, action, who)
        if action != "add":
            self._foreign = None
        self.yaml.fall_behind(len(rows), database.count)
        return heads

    def note(self, action: str, facts: dict[str, Json]) -> str:
        """Log an action that adds no entry; return the head after it."""
        return self._writable().note(action, facts)

    def begin_log(self, action: str, *, who: str) -> None:
        """Make the database of an archive that has none.

        Parameters
        ----------
        action : {"create", "rebuild"}
            Whether the original made the archive, or its log was lost.
        who : str
            Who does.
        """
        with files.lock(self._path(), timeout_s=60):
            if not os.path.exists(self._path(DATABASE)):
                name, uid = self._names_of_text()
                if uid:
                    # From here the file says itself that a database may not know what it lists.
                    foreign = [entry.listed for entry in self.foreign()]
                    files.write_atomic(self.yaml.path, written(name, foreign, uid, len(foreign)))
                hidden = self._path(f"{DATABASE}.new")
                files.remove(hidden, missing_ok=True)
                uid = uid or secrets.token_hex(16)
                ManifestDatabase.create(hidden, name, uid, who=who, action=action).close()
                files.publish_new(hidden, self._path(DATABASE))
        self._writable()
        self._foreign = None

    @property
    def unsynced(self) -> UnsyncedContents | None:
        """The bytes of entries whose files may not be on the disk yet; None where there is no database."""
        return self._database.unsynced if self._database else None

    def open_for_writing(self) -> ManifestDatabase:
        """Return the database, open for writing; `ReadOnlyError` where that cannot be."""
        return self._writable()

    def _writable(self) -> ManifestDatabase:
        with self._guard:
            if not self._is_writable:
                opened = self._open_database(read_only=False)
                if opened is None:
                    raise NotFoundError(_NO_LOG.format(self.root))
                if self._database is not None:
                    self._retired.append(self._database)  # another thread may be reading from it
                self._database, self._is_writable = opened, True
            assert self._database is not None
            return self._database

    def _settle(self) -> None:
        if self._is_writable and os.path.isdir(self._path()):
            self.unsettled.settle()

    def flush(self) -> None:
        """Bring files to the disk and the YAML up to date.

        Raises
        ------
        StorageError, StorageFullError
            They cannot be written; the old YAML is intact, and the database knows everything.
        """
        self._settle()
        if self._is_writable and not self.yaml.exists():
            self.yaml.mark_behind()
        self.yaml.flush()

    def close(self) -> None:
        """Bring the YAML up to date and lay the database to rest."""
        if self._is_closed:
            return
        self._is_closed = True
        lifetimes.forget(self)
        try:
            self.flush()
        finally:
            for database in (*self._retired, self._database):
                if database is not None:
                    database.close()

    def leave_to_parent(self) -> None:
        """Forget, in a forked child, what the parent will write."""
        self._guard = threading.RLock()
        self.unsettled.leave_to_parent()
        self.yaml.leave_to_parent()


def _order(entry: Entry) -> tuple[str, str, str]:
    return entry.place.event, entry.place.production, entry.place.name


def _original(entry: Entry) -> dict[str, str]:
    return {"uuid": entry.uuid, "hash": entry.main_digest.hex}
