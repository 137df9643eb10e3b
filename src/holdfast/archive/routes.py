"""Own the addresses of a served archive: list, find, fetch, check, and add with a key.

It does not verify or publish: the archive does. Alone an archive answers at ``/``; the whole server has each
archive of its directory at ``/archive/NAME``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from holdfast import queries
from holdfast.archive.adding import Wanted
from holdfast.archive.archive import LocalArchive
from holdfast.archive.entries import Entry, Place
from holdfast.archive.manifest import FOLDER
from holdfast.archive.parameters import (
    AddParams,
    CheckParams,
    EntriesParams,
    FileParams,
    NewEntries,
    NewEntry,
    NoParams,
    OffsetParams,
)
from holdfast.archive.uploads import Staged, Uploads
from holdfast.errors import (
    AlreadyPresentException,
    BusyError,
    HashError,
    InvalidInputError,
    MissingFileError,
    NotFoundError,
    StorageFullError,
)
from holdfast.hashing import Digest
from holdfast.http.ranges import etag_of
from holdfast.http.receive import Received
from holdfast.http.reply import Reply, file_reply, json_reply
from holdfast.http.request import Request
from holdfast.http.routing import Context, Route, Upload

__all__ = ["Archives", "mount", "routes"]

_CREATED = 201
_FILE = "/{event}/{production}/{name:path}"
_READ_ERRORS = (NotFoundError, MissingFileError, HashError, InvalidInputError)
_ADD_ERRORS = (AlreadyPresentException, HashError, InvalidInputError, StorageFullError, BusyError)


def mount(context: Context) -> list[Route]:
    """Return the routes of the archives in a directory.

    Parameters
    ----------
    context : Context
        The served directory; alone, it is the archive.

    Returns
    -------
    list of Route
        The routes.
    """
    archives = Archives(context.directory, alone=context.alone)
    context.closing.append(archives.close)
    return routes(archives)


class Archives:
    """The archives that are served, opened when they are first asked for.

    Parameters
    ----------
    directory : Path
        The archive, or a directory of archives.
    alone : bool
        Which of the two it is.

    Raises
    ------
    NotAStoreError
        It shall be the archive and is none.
    """

    def __init__(self, directory: Path, *, alone: bool) -> None:
        self._directory, self.alone = Path(directory), alone
        self._open: dict[str, LocalArchive] = {}
        if alone:
            self._open[""] = LocalArchive(directory)

    def names(self) -> list[str]:
        """Return the names of the archives: of the directory itself if it is one, and of those in it."""
        own = [self._directory.resolve().name] if (self._directory / FOLDER).is_dir() else []
        return own + sorted(path.parent.name for path in self._directory.glob(f"*/{FOLDER}") if path.is_dir())

    def of(self, request: Request) -> LocalArchive:
        """Return the archive that a request is about; `NotFoundError` if there is none of that name."""
        name = str(request.args.get("archive", ""))
        if name not in self._open:
            if self.alone or name not in self.names():
                raise NotFoundError(f"there is no archive {name!r} here; see the list at {request.root}/")
            path = self._directory / name
            self._open[name] = LocalArchive(path if (path / FOLDER).is_dir() else self._directory)
        return self._open[name]

    def close(self) -> None:
        """Close all of them."""
        for archive in self._open.values():
            archive.close()


def routes(archives: Archives) -> list[Route]:
    """Return the routes over archives.

    Parameters
    ----------
    archives : Archives
        What is served.

    Returns
    -------
    list of Route
        To be mounted at ``/`` or ``/archive``.
    """
    read, write = _Reading(archives), _Writing(archives)
    top = "" if archives.alone else "/{archive}"

    def get(path: str, call: Callable[[Request], Reply], summary: str, **facts: Any) -> Route:
        """Declare what reads."""
        facts = {"query": NoParams, "errors": _READ_ERRORS, **facts}
        return Route("GET", top + path, call, summary=summary, **facts)

    def send(method: str, path: str, call: Callable[[Request], Any], summary: str, **facts: Any) -> Route:
        """Declare what writes."""
        return Route(method, top + path, call, scope="write", summary=summary, errors=_ADD_ERRORS, **facts)

    listing = [] if archives.alone else [Route("GET", "/", read.names, summary="The archives served here")]
    return [
        *listing,
        get("/", read.about, "The archive: name, uid, number of entries, head of its log"),
        get(
            "/entries",
            read.entries,
            "Its entries, all or those for which a condition holds",
            query=EntriesParams,
        ),
        get("/entries" + _FILE, read.entry, "One entry"),
        get("/uuids/{uuid}", read.by_uuid, "The entry with a uuid"),
        get("/files" + _FILE, read.file, "A file, verified", query=FileParams, lane="heavy", media=_OCTETS),
        get("/log", read.log, "The log, oldest row first"),
        get("/check", read.check, "Verify the archive", query=CheckParams, lane="heavy"),
        get("/uploads/{upload}", write.offset, "How much of an upload is there"),
        send(
            "PUT", "/uploads/{upload}", write.receive, "Go on with an upload", query=OffsetParams, body=Upload
        ),
        send("PUT", "/files" + _FILE, write.put, "Add one file", query=AddParams, body=Upload, lane="heavy"),
        send("POST", "/entries", write.add, "Add uploads", body=NewEntries, query=NoParams, lane="heavy"),
    ]


_OCTETS = ("application/octet-stream",)


class _Reading:
    """Answers what changes nothing."""

    def __init__(self, archives: Archives) -> None:
        self._archives = archives

    def names(self, request: Request) -> Reply:
        return json_reply({"archives": self._archives.names()})

    def about(self, request: Request) -> Reply:
        archive = self._archives.of(request)
        head = archive.head() if archive.manifest.has_log else None
        facts = {"format": "holdfast-archive", "version": 1, "name": archive.name, "uid": archive.uid}
        return json_reply({**facts, "entries": len(archive.entries()), "head": head})

    def entries(self, request: Request) -> Reply:
        params = request.params(EntriesParams)
        found = self._archives.of(request).entries(params.event, params.production)
        if params.where is not None:
            wanted = {entry.uuid for entry in self._archives.of(request).find(_condition(params.where))}
            found = [entry for entry in found if entry.uuid in wanted]
        return json_reply({"entries": [entry.to_dict() for entry in found]})

    def entry(self, request: Request) -> Reply:
        return json_reply(self._entry(request).to_dict())

    def _entry(self, request: Request) -> Entry:
        args = request.args
        return self._archives.of(request).entry(args["event"], args["production"], args["name"])

    def by_uuid(self, request: Request) -> Reply:
        return json_reply(self._archives.of(request).by_uuid(request.args["uuid"]).to_dict())

    def file(self, request: Request) -> Reply:
        archive, entry = self._archives.of(request), self._entry(request)
        place = entry.place
        expected = request.params(FileParams).hash
        path = archive.fetch_file(place.event, place.production, place.name, expected, verify="cached")
        digest = entry.digests.get("blake3") or entry.main_digest
        name = place.name.rpartition("/")[2]
        digests = [each for each in entry.digests.values() if each.algorithm != "md5"]
        return file_reply(request, path, etag=etag_of(digest), filename=name, digests=digests)

    def log(self, request: Request) -> Reply:
        return json_reply({"rows": [row._asdict() for row in self._archives.of(request).log()]})

    def check(self, request: Request) -> Reply:
        params = request.params(CheckParams)
        report = self._archives.of(request).check(params.fast, params.subset, params.head)
        return json_reply(report.to_dict())


def _condition(text: str) -> queries.Query:
    """Read a condition: the command line's language, or the JSON form of a query."""
    if not text.lstrip().startswith("{"):
        return queries.parse(text)
    try:
        return queries.from_json(msgspec.json.decode(text))
    except msgspec.DecodeError as error:
        raise InvalidInputError(f"where is not JSON: {error}") from error


class _Writing:
    """Takes uploads and adds them."""

    def __init__(self, archives: Archives) -> None:
        self._archives = archives

    def _uploads(self, request: Request) -> Uploads:
        return Uploads(os.path.join(self._archives.of(request).root, FOLDER))

    def offset(self, request: Request) -> Reply:
        return json_reply({"offset": self._uploads(request).offset(request.args["upload"])})

    def receive(self, request: Request) -> _Part:
        offset = request.params(OffsetParams).offset
        return _Part(self._uploads(request).receive(request.args["upload"], offset))

    def put(self, request: Request) -> _Whole:
        params, args = request.params(AddParams), request.args
        archive = self._archives.of(request)
        place = Place.of(args["event"], args["production"], args["name"])
        if archive.manifest.find(place) is not None:
            raise AlreadyPresentException(f"{place.path} is in the archive already and is never changed")
        return _Whole(archive, place, params, request.principal.name)

    def add(self, request: Request) -> Reply:
        asked = request.json(NewEntries)
        archive, uploads = self._archives.of(request), self._uploads(request)
        wanted = [_wanted(uploads, entry) for entry in asked.entries]
        added = archive.add_all(wanted, md5=asked.md5, who=request.principal.name)
        for entry in asked.entries:
            uploads.forget(entry.upload)
        return json_reply(added, _CREATED)


def _wanted(uploads: Uploads, entry: NewEntry) -> Wanted:
    expected = (Digest("blake3", entry.upload),)
    place = Place.of(entry.event, entry.production, entry.name)
    return Wanted(place, uploads.require(entry.upload), origin=entry.origin or "http", expected=expected)


class _Part:
    """Receives a part of an upload; what arrived stays, so that the sender can go on."""

    def __init__(self, staged: Staged) -> None:
        self._staged, self._begin = staged, staged.offset

    def write(self, block: memoryview) -> None:
        self._staged.write(block)

    def finish(self, received: Received) -> Reply:
        offset = self._staged.offset
        self._staged.close()
        return json_reply({"offset": offset})

    def abort(self, error: BaseException) -> None:
        if isinstance(error, HashError):
            self._staged.cut(self._begin)
        self._staged.close()


class _Whole:
    """Receives one file in one request and adds it."""

    def __init__(self, archive: LocalArchive, place: Place, params: AddParams, who: str) -> None:
        self._archive, self._place, self._params, self._who = archive, place, params, who
        self._uploads = Uploads(os.path.join(archive.root, FOLDER))
        self._name = os.urandom(32).hex()
        self._staged = self._uploads.receive(self._name, 0)

    def write(self, block: memoryview) -> None:
        self._staged.write(block)

    def finish(self, received: Received) -> Reply:
        self._staged.close()
        path = self._uploads.path(self._name)
        expected = tuple(received.digests.values())
        wanted = Wanted(self._place, path, origin=self._params.origin or "http", expected=expected)
        try:
            [added] = self._archive.add_all([wanted], md5=self._params.md5, who=self._who)
        finally:
            self._uploads.forget(self._name)
        return json_reply(added, _CREATED)

    def abort(self, error: BaseException) -> None:
        self._staged.close()
        self._uploads.forget(self._name)
