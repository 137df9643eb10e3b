"""Own the addresses of records: the original's three, and ours beside them.

It does not know files: it asks a `Record`. Hidden names are not served, and nothing that a symbolic link
leads to outside of the served directory.

References
----------
The original: cmdgraph's ``serve`` (commit a795530): ``_entry-names``, ``_cmd-info``, entries.
"""

from __future__ import annotations

import mimetypes
import os
import sys
from inspect import getdoc
from typing import Any

import msgspec
import numpy as np

from holdfast.errors import (
    HashError,
    InvalidInputError,
    NotAcceptableError,
    NotFoundError,
    PreconditionFailedError,
)
from holdfast.formats.sealed import SUFFIX, ArrayView, SealedView
from holdfast.formats.slicing import parse_slice
from holdfast.http.negotiation import negotiate
from holdfast.http.reply import Reply, empty_reply, file_reply, json_reply, live_reply
from holdfast.http.request import Request
from holdfast.http.routing import Context, Route, Upload
from holdfast.paths import resolve_below, split_key
from holdfast.records import sidecars
from holdfast.records.answers import (
    CBOR,
    JSON,
    NPY,
    RAW,
    cbor_value,
    facts_of,
    json_value,
    npy_reply,
    raw_reply,
)
from holdfast.records.cbor import encode
from holdfast.records.listening import EntryListener
from holdfast.records.names import is_hidden, kind_of
from holdfast.records.record import LocalRecord
from holdfast.records.uploads import EntryUpload
from holdfast.records.watching import Watcher
from holdfast.types import Durability, Json

__all__ = ["ReadParams", "RecordRoutes", "WriteParams", "mount", "routes"]

_FACTS, _EVENTS, _CHECK = (
    "application/vnd.holdfast.facts+json",
    "text/event-stream",
    "application/vnd.holdfast.report+json",
)
_FORMS = (CBOR, NPY, JSON, RAW, _FACTS, _EVENTS, _CHECK)
_ALIASES = {
    "cbor": CBOR,
    "npy": NPY,
    "json": JSON,
    "raw": RAW,
    "facts": _FACTS,
    "events": _EVENTS,
    "check": _CHECK,
}
_ERRORS = (NotFoundError, HashError, NotAcceptableError, InvalidInputError)


class ReadParams(msgspec.Struct):
    """Say how an entry is read."""

    format: str | None = None
    slice: str | None = None
    origin: str | None = None
    start: int = 0
    timeout: float | None = None
    mode: str | None = None


class WriteParams(msgspec.Struct):
    """Say how an entry is written."""

    action: str = "append"
    durability: Durability = "sync"


class RecordRoutes:
    """Answer for the records in one directory.

    Parameters
    ----------
    directory : str
        What is served.
    """

    def __init__(self, directory: str) -> None:
        self._root = LocalRecord(directory)
        self._records: dict[Durability, LocalRecord] = {"sync": self._root}
        self._watcher = Watcher()

    def record(self, durability: Durability) -> LocalRecord:
        """Return the record that writes with a durability."""
        if durability not in self._records:
            self._records.setdefault(durability, LocalRecord(self._root.path, durability))
        return self._records[durability]

    def close(self) -> None:
        """Commit what waits and close what is open."""
        for record in self._records.values():
            record.close()

    def _parts(self, request: Request) -> tuple[str, ...]:
        parts = split_key(str(request.args.get("path", "")), "key")
        if any(is_hidden(part) for part in parts):
            raise NotFoundError(f"no entry {'/'.join(parts)!r}: names that begin with '_' are not served")
        if parts:
            resolve_below(self._path(parts), self._root.path, "entry")
        return parts

    def _path(self, parts: tuple[str, ...]) -> str:
        return os.path.join(str(self._root.path), *parts)

    def _directory(self, request: Request) -> LocalRecord:
        parts = self._parts(request)
        if not os.path.isdir(self._path(parts)):
            raise NotFoundError(f"no record {'/'.join(parts)!r}; list what is there with _entry-names")
        return self._root.below(parts) if parts else self._root

    def names(self, request: Request) -> Reply:
        """Answer ``_entry-names``: the keys of a record, in CBOR or JSON."""
        names = list(self._directory(request))
        return json_reply(names) if _wants_json(request) else Reply(encode(names), media_type=CBOR)

    def command_info(self, request: Request) -> Reply:
        """Answer ``_cmd-info``: how a record was made, or null."""
        record = self._directory(request)
        spec = record.cmd_spec
        info = None if spec is None else _described(spec, record.cmd_status)
        if _wants_json(request):
            return json_reply({"spec": spec, "status": record.cmd_status, "info": info})
        return Reply(encode(info), media_type=CBOR)

    def get(self, request: Request) -> Reply:
        """Answer an entry in the form that is asked for; the original's form by default."""
        params = _read_params(request)
        parts = self._parts(request)
        form = negotiate(request, _FORMS, _ALIASES)
        if form == _EVENTS:
            return self._events(request, parts, params)
        if form == _CHECK:
            return json_reply(self._root.check("/".join(parts) or None).to_dict())
        kind = kind_of(self._path(parts)) if parts else "directory"
        if kind == "directory":
            record = self._directory(request)
            return json_reply({"kind": "record", "keys": list(record)})
        if kind == "file":
            return self._file(request, parts, form)
        if kind is None:
            raise NotFoundError(f"no entry {'/'.join(parts)!r}; list what is there with _entry-names")
        return self._array(request, parts, form, params)

    def _array(self, request: Request, parts: tuple[str, ...], form: str, params: ReadParams) -> Reply:
        view: ArrayView = self._root.open("/".join(parts))
        index = parse_slice(params.slice) if params.slice else None
        try:
            if params.origin and getattr(view, "origin", "") != params.origin:
                raise PreconditionFailedError("the entry was written anew since; read its facts again")
            if form == RAW and view.dtype != object:
                return raw_reply(request, view, index)
            if form == _FACTS:
                return json_reply(facts_of(view, self._path(parts) + SUFFIX))
            array = np.asarray(view if index is None else view[index])
        except BaseException:
            view.close()
            raise
        view.close()
        if form == NPY:
            return npy_reply(request, array)
        if form in {JSON, RAW}:
            return json_reply(json_value(array))
        return Reply(cbor_value(array), media_type=CBOR)

    def _file(self, request: Request, parts: tuple[str, ...], form: str) -> Reply:
        path, what = self._path(parts), f"entry {'/'.join(parts)!r}"
        self._verify_file(path, what)
        digests = sidecars.verify(path, what)
        if form == _FACTS:
            size = os.path.getsize(path)
            digest = None if digests is None else str(digests.whole)
            return json_reply({"kind": "file", "size": size, "digest": digest, "sealed": digest is not None})
        media_type = mimetypes.guess_type(path)[0] or RAW
        if digests is None:
            return file_reply(request, path, media_type=media_type, filename=parts[-1])
        etag = f'"{digests.whole.hex}"'
        return file_reply(
            request, path, etag=etag, media_type=media_type, filename=parts[-1], digests=[digests.whole]
        )

    def _verify_file(self, path: str, what: str) -> None:
        """Verify an array's own file, when it is asked for by its name with suffix."""
        if path.endswith(SUFFIX):
            view = self._root.open(path.removesuffix(SUFFIX)[len(str(self._root.path)) + 1 :])
            with view:
                if isinstance(view, SealedView):
                    view.verify()

    def _events(self, request: Request, parts: tuple[str, ...], params: ReadParams) -> Reply:
        path = self._path(parts) + SUFFIX
        last = request.headers.get("last-event-id")
        start = int(last) + 1 if last is not None and last.isdigit() else params.start
        listener = EntryListener(self._watcher, path, "/".join(parts), start, exact=params.mode == "exact")
        listener.timeout_s = params.timeout
        return live_reply(
            listener, poll_s=5.0 if params.timeout is None else min(5.0, max(0.05, params.timeout / 4))
        )

    def put(self, request: Request) -> EntryUpload:
        """Take a new value of an entry: npy, JSON, a tree of ours, or the bytes of a file."""
        params, parts = request.params(WriteParams), self._parts(request)
        if not parts:
            raise InvalidInputError("the served directory itself cannot be replaced; name an entry")
        return EntryUpload(self.record(params.durability), parts, request, "put")

    def post(self, request: Request) -> EntryUpload:
        """Append, extend, compact or adopt."""
        params, parts = request.params(WriteParams), self._parts(request)
        if params.action not in {"append", "extend", "compact", "adopt"}:
            raise InvalidInputError(
                f"action {params.action!r} is not known; use append, extend, compact or adopt"
            )
        if params.action in {"append", "extend", "adopt"} and not parts:
            raise InvalidInputError(f"name an entry to {params.action}")
        return EntryUpload(self.record(params.durability), parts, request, params.action)

    def delete(self, request: Request) -> Reply:
        """Delete an entry."""
        parts = self._parts(request)
        if not parts:
            raise InvalidInputError("the served directory itself cannot be deleted; name an entry")
        del self._root["/".join(parts)]
        return empty_reply()


def _read_params(request: Request) -> ReadParams:
    """Return the parameters that are known: the original's clients may send others, which mean nothing."""
    known = {name: value for name, value in request.query.items() if name in ReadParams.__struct_fields__}
    try:
        return msgspec.convert(known, ReadParams, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInputError(f"the parameters of {request.path} are not acceptable: {error}") from error


def _wants_json(request: Request) -> bool:
    return negotiate(request, (CBOR, JSON), {"cbor": CBOR, "json": JSON}) == JSON


def _described(spec: dict[str, Any], status: str) -> Json:
    kind = str(spec.get("type", ""))
    conf = {key: value for key, value in spec.items() if key != "type"}
    return {"type": kind, "desc": _description(kind), "conf": conf, "status": status}


def _description(kind: str) -> str:
    """Return the documentation of a command that is loaded; a name in a file never loads code."""
    module, _, name = kind.replace("/", "|").partition("|")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return (getdoc(found) or "") if isinstance(found, type) else ""


def routes(directory: str) -> tuple[RecordRoutes, list[Route]]:
    """Return the routes over a directory.

    Parameters
    ----------
    directory : str
        What is served.

    Returns
    -------
    tuple of RecordRoutes, list of Route
        What answers, to be closed at the end, and the table.
    """
    own = RecordRoutes(directory)
    read: dict[str, Any] = {"query": ReadParams, "errors": _ERRORS, "media": _FORMS}
    write: dict[str, Any] = {"query": WriteParams, "scope": "write", "errors": _ERRORS}
    table: list[Route] = []
    for prefix in ("", "/{path:path}"):
        table += [
            Route("GET", f"{prefix}/_entry-names", own.names, summary="List a record", media=(CBOR,)),
            Route(
                "GET",
                f"{prefix}/_cmd-info",
                own.command_info,
                summary="Tell how a record was made",
                media=(CBOR,),
            ),
        ]
    table += [
        Route("GET", "/{path:path}", own.get, summary="Read an entry", **read),
        Route("PUT", "/{path:path}", own.put, summary="Write an entry", body=Upload, **write),
        Route("POST", "/{path:path}", own.post, summary="Append to an entry", body=Upload, **write),
        Route("DELETE", "/{path:path}", own.delete, summary="Delete an entry", scope="write", errors=_ERRORS),
    ]
    return own, table


def mount(context: Context) -> list[Route]:
    """Return the routes of records for the whole server.

    Parameters
    ----------
    context : Context
        The served directory.

    Returns
    -------
    list of Route
        The routes.
    """
    own, table = routes(str(context.directory))
    context.closing.append(own.close)
    return table
