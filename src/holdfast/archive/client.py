"""Own the archive behind a server: `RemoteArchive`, the same calls over HTTP, verified at both ends.

Fetched files are kept read-only in the user's state directory, by the archive's uid: what was interrupted is
resumed, what is there and still right is not fetched again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import msgspec

from holdfast import files, queries
from holdfast.archive.contract import Archive, Verify
from holdfast.archive.entries import Entry, Place, check_uuid
from holdfast.archive.expecting import check_expected, expected_digests
from holdfast.archive.sources import Source, tree
from holdfast.config import state_directory
from holdfast.database.archive import LogRow
from holdfast.errors import (
    ConflictError,
    HashError,
    InvalidInputError,
    NotAStoreError,
    NotFoundError,
    TransportError,
)
from holdfast.hashing import Digest, hash_bytes, hash_file, hash_stream
from holdfast.http.client import Connection
from holdfast.queries import Query
from holdfast.reports import Finding, Report
from holdfast.types import Json, PathLike

__all__ = ["RemoteArchive", "RemoteManifest"]

_WHOLE_BYTES = 4 * 1024 * 1024
_PART_BYTES = 32 * 1024 * 1024
_TRIES = 5


class RemoteArchive(Archive):
    """An archive that a server keeps; see `Archive`.

    Parameters
    ----------
    root : str
        Its address: ``http://host`` of an archive served alone, ``http://host/archive/NAME`` else.
    api_key : str, optional
        The key; ``HOLDFAST_API_KEY`` by default.

    Raises
    ------
    NotAStoreError
        There is no archive at the address.
    TransportError
        The server cannot be reached.
    """

    def __init__(self, root: PathLike, api_key: str | None = None) -> None:
        self._connection = Connection.to_url(os.fspath(root), api_key)
        self._about = self._ask("/")

    @classmethod
    def over(cls, connection: Connection) -> RemoteArchive:
        """Return the archive at the other end of a connection, which may lie within this process."""
        archive = cls.__new__(cls)
        archive._connection = connection
        archive._about = archive._ask("/")
        return archive

    def _ask(self, path: str) -> dict[str, Json]:
        try:
            about = msgspec.json.decode(self._connection.get_bytes(path))
        except NotFoundError as error:
            raise NotAStoreError(f"there is no archive at {self.root}: {error.message}") from error
        except msgspec.DecodeError as error:
            raise NotAStoreError(f"there is no archive at {self.root}; try /archive/NAME below it") from error
        if not isinstance(about, dict) or about.get("format") != "holdfast-archive":
            names = about.get("archives") if isinstance(about, dict) else None
            hint = f"; there are: {', '.join(names)}" if names else ""
            raise NotAStoreError(f"there is no archive at {self.root}{hint}")
        return about

    @property
    def root(self) -> str:
        """The archive's address, without the key."""
        return self._connection.address

    @property
    def name(self) -> str:
        """The archive's name."""
        return str(self._about["name"])

    @property
    def uid(self) -> str:
        """The archive's random identity."""
        return str(self._about["uid"])

    @property
    def manifest(self) -> RemoteManifest:
        """What the archive knows, in the original's views."""
        return RemoteManifest(self)

    def entries(self, event: str | None = None, production: str | None = None) -> list[Entry]:
        """Return the entries of an event or production, or all."""
        wanted = {"event": event, "production": production}
        return self._entries({name: value for name, value in wanted.items() if value is not None})

    def _entries(self, params: Mapping[str, str]) -> list[Entry]:
        return [Entry.of_dict(facts) for facts in self._connection.get_json("/entries", params)["entries"]]

    def entry(self, event: str, production: str, file: str) -> Entry:
        """Return one entry."""
        place = Place.of(event, production, file)
        found = Entry.of_dict(self._connection.get_json(f"/entries/{place.path}"))
        if found.place != place:
            raise HashError(f"the server answered {found.place.path} when asked for {place.path}")
        return found

    def by_uuid(self, uuid: str) -> Entry:
        """Return the entry with a uuid."""
        return Entry.of_dict(self._connection.get_json(f"/uuids/{uuid}"))

    def find(self, where: str | Mapping[str, Json] | Query | None = None) -> list[Entry]:
        """Return the entries for which a condition holds, found by the server."""
        if where is None or isinstance(where, str):
            return self._entries({} if where is None else {"where": where})
        query = queries.from_keywords(**where) if isinstance(where, Mapping) else where
        return self._entries({"where": msgspec.json.encode(queries.to_json(query)).decode()})

    def log(self) -> list[LogRow]:
        """Return the rows of the log."""
        return [LogRow(**row) for row in self._connection.get_json("/log")["rows"]]

    def head(self) -> str:
        """Return the digest that proves the log."""
        head = self._ask("/")["head"]
        if head is None:
            raise NotFoundError(f"the archive {self.root} has no log")
        return str(head)

    # -- out -----------------------------------------------------------------------------------------------

    def _fetch(self, entry: Entry, hash: str | None, verify: Verify) -> str:
        wanted = [] if hash is None else expected_digests(hash)
        path = os.path.join(state_directory(), "archives", self._kept_under(), entry.place.path)
        digest = entry.digests.get("blake3") or entry.main_digest
        if not self._is_kept(path, digest):
            files.make_directories(os.path.dirname(path))
            files.remove(path, missing_ok=True, durability="os")
            self._connection.fetch_file(f"/files/{entry.place.path}", path, digest=digest, size=entry.size)
            files.seal(path)
        unrecorded = [each.algorithm for each in wanted if each.algorithm not in entry.digests]
        if wanted:
            check_expected(entry, {**entry.digests, **hash_file(path, unrecorded)}, wanted)
        return path

    def _kept_under(self) -> str:
        """Return a name for what was fetched from here: nothing that a server says is trusted as a path."""
        try:
            return check_uuid(self.uid)
        except InvalidInputError:
            return hash_bytes(self.root.encode()).hex[:32]

    def _is_kept(self, path: str, digest: Digest) -> bool:
        return os.path.isfile(path) and hash_file(path, (digest.algorithm,))[digest.algorithm] == digest

    def _open(self, entry: Entry, hash: str | None) -> BinaryIO:
        return open(self._fetch(entry, hash, "full"), "rb")

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
        """Store a file; see `Archive.add_file`. A large one goes on where an earlier attempt broke off."""
        place = Place.of(
            event, production, os.path.basename(os.fspath(file)) if new_name is None else new_name
        )
        with Source(file) as source:
            origin = os.path.abspath(source.path)
            if source.size <= _WHOLE_BYTES:
                data = source.read()
                params = {"md5": "true" if md5 else "false", "origin": origin}
                answer = self._connection.upload(
                    "PUT", f"/files/{place.path}", data, params, digest=hash_bytes(data)
                )
                if progress is not None:
                    progress(len(data))
                return self._answered(answer, hash_bytes(data))
            digest = self._send(source, progress)
        [added] = self._register([(place, digest, origin)], md5)
        return added

    def add_tree(
        self,
        event: str,
        production: str,
        directory: PathLike,
        md5: bool = True,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> list[dict[str, Any]]:
        """Store all files of a directory; see `Archive.add_tree`."""
        wanted = []
        for name, path in tree(directory):
            place = Place.of(event, production, name)
            with Source(path) as source:
                wanted.append((place, self._send(source, progress), os.path.abspath(path)))
        return self._register(wanted, md5) if wanted else []

    def _register(self, wanted: list[tuple[Place, Digest, str]], md5: bool) -> list[dict[str, Any]]:
        entries = [
            {
                "event": place.event,
                "production": place.production,
                "name": place.name,
                "upload": digest.hex,
                "origin": origin,
            }
            for place, digest, origin in wanted
        ]
        answers = self._connection.send_json("POST", "/entries", {"entries": entries, "md5": md5})
        return [
            self._answered(answer, digest) for answer, (_, digest, _) in zip(answers, wanted, strict=True)
        ]

    def _answered(self, answer: dict[str, Any], sent: Digest) -> dict[str, Any]:
        sent.check(
            Digest.parse(f"blake3:{answer['digests']['blake3']}"), f"the server's copy of {answer['file']!r}"
        )
        return answer

    def _send(self, source: Source, progress: Callable[[int], object] | None) -> Digest:
        """Send a file in parts, each verified by the receiver, from where it says."""
        with source.stream() as stream:
            digest = hash_stream(stream, progress=source.check_length)["blake3"]
        source.check_unchanged(source.size)
        path, tries = f"/uploads/{digest.hex}", 0
        offset = int(self._connection.get_json(path)["offset"])
        while offset < source.size or source.size == 0:
            try:
                offset = self._send_part(source, path, offset)
                tries = 0
            except ConflictError as error:
                offset = int(error.details["offset"])
            except TransportError:
                tries += 1
                if tries == _TRIES:
                    raise
                offset = int(self._connection.get_json(path)["offset"])
            if progress is not None:
                progress(offset)
            if source.size == 0:
                break
        source.check_unchanged(source.size)
        return digest

    def _send_part(self, source: Source, path: str, offset: int) -> int:
        data = source.read_at(offset, _PART_BYTES)
        answer = self._connection.upload("PUT", path, data, {"offset": str(offset)}, digest=hash_bytes(data))
        return int(answer["offset"])

    # -- the handle ----------------------------------------------------------------------------------------

    def check(
        self,
        fast: bool = False,
        subset: str | None = None,
        head: str | None = None,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> Report:
        """Have the server verify the archive; see `Archive.check`."""
        params = {"fast": "true" if fast else "false", "subset": subset, "head": head}
        facts = self._connection.get_json(
            "/check", {name: value for name, value in params.items() if value is not None}
        )
        return Report(facts["checked"], [Finding(**each) for each in facts["findings"]], facts["notes"])

    def flush(self) -> None:
        """Do nothing: the server brings its manifest up to date by itself."""

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteArchive, (self.root,)

    def __repr__(self) -> str:
        return f"Archive({self.root!r})"


class RemoteManifest:
    """The original's views of a served archive's manifest.

    Parameters
    ----------
    archive : RemoteArchive
        Whose.
    """

    def __init__(self, archive: RemoteArchive) -> None:
        self._archive = archive

    @property
    def data(self) -> dict[str, Json]:
        """The whole manifest as the original's nested dictionaries."""
        events: dict[str, Json] = {}
        for entry in self._archive.entries():
            productions = events.setdefault(entry.place.event, {})
            productions.setdefault(entry.place.production, {})[entry.place.name] = dict(_original(entry))
        return {"name": self._archive.name, "events": events}

    def list_resources(self, event: str, production: str) -> dict[str, dict[str, str]]:
        """Return the files of a production: name to uuid and hash; `NotFoundError` if there are none."""
        place = Place.of(event, production, "x")
        found = self._archive.entries(place.event, place.production)
        if not found:
            raise NotFoundError(f"no production {production!r} of event {event!r} in {self._archive.root}")
        return {entry.place.name: dict(_original(entry)) for entry in found}

    def get_hash(self, uuid: str) -> str:
        """Return the hash that the original would know for a uuid."""
        return self._archive.by_uuid(uuid).main_digest.hex

    def get_uuid(self, event: str, production: str, filename: str) -> str:
        """Return the uuid of a file."""
        return self._archive.entry(event, production, filename).uuid


def _original(entry: Entry) -> Iterator[tuple[str, str]]:
    yield "uuid", entry.uuid
    yield "hash", entry.main_digest.hex
