"""Own the addresses of stores: the protocol of encore's DynamicURLStore, and our own for whole interfaces.

encore: ``KEY/data``, ``KEY/metadata``, ``KEY/auth``, ``KEY`` (DELETE) and ``query``, answered whole, whatever
``Range`` says, as its client needs. Ours: ``_holdfast/…``, with ranges, batches, queries and transactions.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from holdfast.errors import (
    ChangedError,
    ForbiddenError,
    HashError,
    HoldfastError,
    InvalidInputError,
    NotFoundError,
    UnreadableError,
)
from holdfast.http.errors import error_json
from holdfast.http.ranges import Validators, http_date
from holdfast.http.receive import Received, Receiver
from holdfast.http.reply import Reply, empty_reply, json_reply, ranged_reply
from holdfast.http.request import Request
from holdfast.http.routing import Call, Context, Route, Upload
from holdfast.paths import resolve_below, split_key
from holdfast.queries import from_json
from holdfast.store.base import Store
from holdfast.store.changes import Change, Incoming
from holdfast.store.file_system import MAGIC, FileSystemStore
from holdfast.store.inputs import encode_metadata
from holdfast.store.matching import Condition
from holdfast.store.names import check_key
from holdfast.store.value import Value
from holdfast.store.wire import INLINE_BYTES, RECORDS_MEDIA_TYPE, RecordReader, change_of, record, value_facts
from holdfast.types import Json

__all__ = ["StoreRoutes", "mount", "routes"]

OURS = "_holdfast"
_PIECE_BYTES = 1 << 20
_WINDOW_BYTES = 4 << 20
_LINES = "application/x-ndjson"
_OCTETS = "application/octet-stream"
_ERRORS = (NotFoundError, InvalidInputError, HashError, UnreadableError)

Find = Callable[[Sequence[bytes]], tuple[Store, Sequence[bytes]]]
"""Takes the raw parts of a path; gives the store that they lead to, and the parts below it."""


class KeyParams(msgspec.Struct):
    """Name a key."""

    key: str


class ValueParams(msgspec.Struct):
    """Name a key, and how large its data may be to travel with its facts."""

    key: str
    inline: int = INLINE_BYTES


class DataParams(msgspec.Struct):
    """Name a key, and the digest that its data must have."""

    key: str
    digest: str = ""


class PatternParams(msgspec.Struct):
    """Give a glob pattern of keys."""

    pattern: str = "*"


class Keys(msgspec.Struct):
    """Name keys, and how large data may be to travel with their facts."""

    keys: list[str]
    inline: int = INLINE_BYTES


class Search(msgspec.Struct):
    """Ask for keys by their metadata."""

    where: Any = None
    equal: dict[str, Any] = {}


def mount(context: Context) -> list[Route]:
    """Serve the directory itself, when this face is served alone, else every store below it.

    Parameters
    ----------
    context : Context
        From the roof.

    Returns
    -------
    list of Route
        The routes.

    Raises
    ------
    NotAStoreError
        The face is served alone and the directory is no store.
    """
    stores = _Stores(context.directory)
    context.closing.append(stores.close)
    if not context.alone:
        return routes(stores.below, "/{name:path}")
    store = stores.open(context.directory)
    return routes(lambda parts: (store, parts))


def routes(find: Find, prefix: str = "") -> list[Route]:
    """Return the routes of stores.

    Parameters
    ----------
    find : callable
        Takes the raw parts of a path; gives the store that they lead to, and the parts below it.
    prefix : str, optional
        The template of what comes before the store's own addresses.

    Returns
    -------
    list of Route
        The specific before the general.
    """
    return [*_own_routes(StoreRoutes(find), f"{prefix}/{OURS}"), *_encore_routes(EncoreRoutes(find), prefix)]


def _own_routes(at: StoreRoutes, top: str) -> Iterable[Route]:
    records, octets, lines = (RECORDS_MEDIA_TYPE,), (_OCTETS,), (_LINES,)
    changes = _route(
        "POST", f"{top}/changes", at.changes, "Change keys, all or none", body=Upload, scope="write"
    )
    return [
        _route("GET", f"{top}/info", at.info, "Describe the store"),
        _route("GET", f"{top}/value", at.value, "A whole value, if small", query=ValueParams, media=records),
        _route("POST", f"{top}/values", at.values, "The values of many keys", body=Keys, media=records),
        _route("GET", f"{top}/bytes", at.data, "Data, with ranges", query=DataParams, media=octets),
        _route("GET", f"{top}/blocks", at.blocks, "Block digests of data", query=DataParams, media=octets),
        _route("GET", f"{top}/facts", at.facts, "Metadata, or null", query=KeyParams),
        _route("GET", f"{top}/keys", at.keys, "Keys by pattern", query=PatternParams, media=lines),
        _route("POST", f"{top}/search", at.search, "Keys by metadata", body=Search, media=lines),
        changes,
        _route("GET", f"{top}/check", at.check, "Verify everything", lane="heavy"),
    ]


def _route(method: str, path: str, call: Call, summary: str, **facts: Any) -> Route:
    return Route(method, path, call, summary=summary, errors=_ERRORS, **facts)


def _encore_routes(at: EncoreRoutes, top: str) -> Iterable[Route]:
    key = top or "/{key:path}"
    yield _route("GET", f"{top}/query", at.query, "Keys by metadata", media=("text/plain",))
    # A key may be named like one of these addresses.
    for path in (f"{top}/query", f"{key}/data", f"{key}/metadata", f"{key}/auth"):
        yield _route("DELETE", path, at.delete, "Delete a key of this name", scope="write")
    yield _route("GET", f"{key}/data", at.data, "Data of a key", media=(_OCTETS,))
    yield _route("PUT", f"{key}/data", at.set_data, "Set the data of a key", body=Upload, scope="write")
    yield _route("GET", f"{key}/metadata", at.metadata, "Metadata of a key")
    for method, call in (("PUT", at.set_metadata), ("POST", at.update_metadata)):
        yield _route(method, f"{key}/metadata", call, "Replace or merge metadata", body=bytes, scope="write")
    yield _route("GET", f"{key}/auth", at.permissions, "Who owns a key")
    for method in ("PUT", "POST"):
        yield _route(method, f"{key}/auth", at.refuse_permissions, "Always refused", scope="write")
    yield _route("DELETE", key, at.delete, "Delete a key", scope="write")


class _Stores:
    """Open each store below a directory once.

    Parameters
    ----------
    top : Path
        The served directory.
    """

    def __init__(self, top: Path) -> None:
        self._top = top
        self._open: dict[Path, FileSystemStore] = {}
        self._lock = threading.Lock()

    def below(self, parts: Sequence[bytes]) -> tuple[Store, Sequence[bytes]]:
        """Return the store that the first parts name, and the other parts.

        Raises
        ------
        NotFoundError
            No beginning of the path is a store.
        """
        path = self._top
        for count, part in enumerate(parts, 1):
            names = split_key(_text(part), "the name of a store")
            if len(names) != 1:
                break
            path = path / names[0]
            if (path / MAGIC).is_file():
                return self.open(resolve_below(path, self._top)), parts[count:]
        raise NotFoundError("no store of this name is served here; ask for /store/NAME/…")

    def open(self, path: Path) -> FileSystemStore:
        """Return the store in a directory."""
        with self._lock:
            if path not in self._open:
                self._open[path] = FileSystemStore(path)
            return self._open[path]

    def close(self) -> None:
        """Disconnect all stores."""
        for store in self._open.values():
            store.disconnect()


def _parts(request: Request) -> list[bytes]:
    """Return the parts of the path below the mount as they were sent: slashes of keys are not collapsed."""
    above = len(str(request.scope.get("root_path", "")).encode())
    return request.raw_path[above:].removeprefix(b"/").split(b"/")


def _text(raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise InvalidInputError(f"{raw[:80]!r} in the address is not UTF-8; encode it as UTF-8") from None


class StoreRoutes:
    """Answer our own client.

    Parameters
    ----------
    find : callable
        Gives the store that a path leads to.
    """

    def __init__(self, find: Find) -> None:
        self._find = find

    def _store(self, request: Request) -> Store:
        return self._find(_parts(request))[0]

    def info(self, request: Request) -> Reply:
        """Describe the store."""
        return json_reply(self._store(request).info())

    def value(self, request: Request) -> Reply:
        """Send facts, metadata and small data of a key."""
        params = request.params(ValueParams)
        return _records([self._store(request).get(params.key)], params.inline)

    def values(self, request: Request) -> Reply:
        """Send the values of many keys, up to the first that does not exist."""
        wanted = request.json(Keys)
        return _records(self._store(request).multiget(wanted.keys), wanted.inline)

    def data(self, request: Request) -> Reply:
        """Send data, or the part of them that ``Range`` asks for, verified on the way out."""
        value = self._as_asked(request)
        tag = None if value.digest is None else f'"{value.digest}"'
        return ranged_reply(
            request,
            value.size,
            lambda start, stop: _part(value, start, stop),
            validators=Validators(tag, value.modified),
        )

    def blocks(self, request: Request) -> Reply:
        """Send the digest of each block of data; empty where they are not recorded."""
        value = self._as_asked(request)
        return Reply(b"" if value.digests is None else value.digests.blocks, media_type=_OCTETS)

    def _as_asked(self, request: Request) -> Value:
        params = request.params(DataParams)
        value = self._store(request).get(params.key)
        if params.digest and params.digest != str(value.digest):
            raise ChangedError(f"the data of key {params.key!r:.200} were changed; get the value again")
        return value

    def facts(self, request: Request) -> Reply:
        """Send the metadata of a key, or null."""
        store, key = self._store(request), check_key(request.params(KeyParams).key)
        text = store._text_seen(key)
        return Reply(b"null" if text is None else text.encode(), media_type="application/json")

    def keys(self, request: Request) -> Reply:
        """Send the keys that match a pattern, one JSON text a line."""
        found = self._store(request).glob(request.params(PatternParams).pattern)
        return Reply(_gathered(msgspec.json.encode(key) + b"\n" for key in found), media_type=_LINES)

    def search(self, request: Request) -> Reply:
        """Send key and metadata of all matches, one JSON list a line."""
        asked = request.json(Search)
        where = None if asked.where is None else from_json(asked.where)
        found = self._store(request)._search_seen(Condition(where, asked.equal))
        lines = (b"[%s,%s]\n" % (msgspec.json.encode(key), text.encode()) for key, text in found)
        return Reply(_gathered(lines), media_type=_LINES)

    def changes(self, request: Request) -> Receiver:
        """Receive changes and make them all, or none."""
        return _ChangesReceiver(self._store(request))

    def check(self, request: Request) -> Reply:
        """Verify everything and send the report."""
        return json_reply(self._store(request).check().to_dict())


def _records(values: Iterable[Value], inline: int) -> Reply:
    # The first is found before the head is sent, so that what is wrong with it can be said.
    found = iter(values)
    first = next(found, None)

    def pieces() -> Iterator[bytes]:
        try:
            for value in () if first is None else itertools.chain([first], found):
                is_small = value.size <= min(inline, INLINE_BYTES)
                data = value.range().read() if is_small else b""
                yield record(value_facts(value, inline=is_small))
                yield data
        except HoldfastError as error:
            yield record({"error": error_json(error)})

    return Reply(_gathered(pieces()), media_type=RECORDS_MEDIA_TYPE)


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces to large ones."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= _PIECE_BYTES:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _part(value: Value, start: int, stop: int) -> bytes | Iterator[bytes]:
    """Read a part of moderate size before the head is sent, so that damage can be told as such."""
    pieces = _pieces(value, start, stop)
    return b"".join(pieces) if stop - start <= _WINDOW_BYTES else pieces


def _pieces(value: Value, start: int, stop: int) -> Iterator[bytes]:
    stream = value.range(start, stop)
    while piece := stream.read(_PIECE_BYTES):
        yield piece


class _ChangesReceiver:
    """Receive the records of changes; their data wait in the store until all have come."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reader = RecordReader()
        self._changes: list[Change] = []
        self._incoming: Incoming | None = None

    def write(self, block: memoryview) -> None:
        """Take the next bytes."""
        for part in self._reader.feed(block):
            if isinstance(part, memoryview):
                assert self._incoming is not None
                self._incoming.write(part)
            else:
                self._begin(part)

    def _begin(self, facts: dict[str, Any]) -> None:
        self._end()
        check_key(facts.get("key"))  # type: ignore[arg-type]  # that is what is checked
        metadata = facts.get("metadata")
        self._changes.append(change_of(facts, None if metadata is None else encode_metadata(metadata)))
        if facts.get("inline"):
            self._incoming = self._store._incoming(facts["key"])

    def _end(self) -> None:
        if self._incoming is not None:
            incoming, self._incoming = self._incoming, None
            self._changes[-1].content = incoming.finish()

    def finish(self, received: Received) -> Reply:
        """Make the changes and tell what became of each."""
        try:
            self._reader.end()
            self._end()
            return json_reply({"changes": _changed(self._store, self._changes)})
        except HoldfastError as error:
            self.abort(error)
            raise

    def abort(self, error: BaseException) -> None:
        """Leave no trace."""
        if self._incoming is not None:
            self._incoming.abort()
        for change in self._changes:
            if change.content is not None:
                change.content.discard()


def _changed(store: Store, changes: Sequence[Change]) -> list[Json]:
    told: list[Json] = []
    if len(changes) == 1:
        outcomes = [store._commit(changes[0], asks_if_new=True)]
    else:
        with store.transaction("Changes of a client") as transaction:
            outcomes = [transaction.add(change) for change in changes]
    for outcome in outcomes:
        action = "delete" if outcome.is_removal else "set" if outcome.is_new else "update"
        told.append({"key": outcome.key, "action": action, "metadata": msgspec.Raw(outcome.text.encode())})
    return told


class EncoreRoutes:
    """Answer encore's client.

    Parameters
    ----------
    find : callable
        Gives the store that a path leads to.

    References
    ----------
    ``encore.storage.dynamic_url_store.DynamicURLStore`` of encore 0.8.
    """

    def __init__(self, find: Find) -> None:
        self._find = find

    def _store_and_key(self, request: Request, *, has_part: bool = True) -> tuple[Store, str]:
        store, parts = self._find(_parts(request))
        return store, check_key(_text(b"/".join(parts[:-1] if has_part else parts)))

    def data(self, request: Request) -> Reply:
        """Send all data of a key."""
        store, key = self._store_and_key(request)
        value = store.get(key)
        headers = [("last-modified", http_date(value.modified))]
        return Reply(_pieces(value, 0, value.size), headers=headers, media_type=_OCTETS, size=value.size)

    def set_data(self, request: Request) -> Receiver:
        """Receive the data of a key."""
        store, key = self._store_and_key(request)
        return _DataReceiver(store, key)

    def metadata(self, request: Request) -> Reply:
        """Send the metadata of a key."""
        store, key = self._store_and_key(request)
        return json_reply(store.get_metadata(key))

    def set_metadata(self, request: Request) -> Reply:
        """Replace the metadata of a key."""
        store, key = self._store_and_key(request)
        store.set_metadata(key, _body(request))
        return empty_reply()

    def update_metadata(self, request: Request) -> Reply:
        """Merge fields into the metadata of a key."""
        store, key = self._store_and_key(request)
        store.update_metadata(key, _body(request))
        return empty_reply()

    def delete(self, request: Request) -> Reply:
        """Delete a key."""
        store, key = self._store_and_key(request, has_part=False)
        store.delete(key)
        return empty_reply()

    def permissions(self, request: Request) -> Reply:
        """Send who owns a key: whoever has the API key that asks."""
        store, key = self._store_and_key(request)
        if not store.exists(key):
            raise NotFoundError(f"no key {key!r:.200} in this store")
        return json_reply({"owned": [request.principal.name]})

    def refuse_permissions(self, request: Request) -> Reply:
        """Refuse to keep what would not be heeded."""
        raise ForbiddenError("keys of this store have no permissions of their own; access is by API key")

    def query(self, request: Request) -> Reply:
        """Send the keys whose fields equal JSON values, one a line."""
        store, _ = self._find(_parts(request))
        equal = {name: _json(value, name) for name, value in request.query.items() if name != "api_key"}
        found = (key for key, _ in store._search_seen(Condition(None, equal)))
        lines = (key.replace("\r", "%0D").replace("\n", "%0A").encode() + b"\n" for key in found)
        return Reply(_gathered(lines), media_type="text/plain; charset=utf-8")


def _json(text: str, name: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidInputError(f"the value of {name!r:.80} is not JSON; write texts in quotes") from None


def _body(request: Request) -> dict[str, Json]:
    value: dict[str, Json] = _json(request.body.decode("utf-8", "replace"), "metadata")
    return value


class _DataReceiver:
    """Receive the data of one key."""

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key
        self._incoming = store._incoming(key)
        self.write = self._incoming.write

    def finish(self, received: Received) -> Reply:
        """Set the data."""
        self._store._commit(Change(self._key, self._incoming.finish()))
        return empty_reply()

    def abort(self, error: BaseException) -> None:
        """Leave no trace."""
        self._incoming.abort()
