"""Own the answers to our own client: values, ranges, batches, queries and changes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from holdfast.errors import ChangedError, HoldfastError
from holdfast.http.errors import error_json
from holdfast.http.ranges import Validators
from holdfast.http.receive import Received, Receiver
from holdfast.http.reply import Reply, json_reply, ranged_reply
from holdfast.http.request import Request
from holdfast.queries import from_json
from holdfast.store.base import Store
from holdfast.store.changes import Change, Incoming
from holdfast.store.inputs import encode_metadata
from holdfast.store.matching import Condition
from holdfast.store.names import check_key
from holdfast.store.routes.places import Find, gathered, parts_of, pieces_of
from holdfast.store.value import Value
from holdfast.store.wire import INLINE_BYTES, RECORDS_MEDIA_TYPE, RecordReader, change_of, record, value_facts
from holdfast.types import Json

__all__ = ["DataParams", "KeyParams", "Keys", "PatternParams", "Search", "StoreRoutes", "ValueParams"]

_LINES = "application/x-ndjson"
_OCTETS = "application/octet-stream"
_WINDOW_BYTES = 4 << 20


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
        return self._find(parts_of(request))[0]

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
        return Reply(gathered(msgspec.json.encode(key) + b"\n" for key in found), media_type=_LINES)

    def search(self, request: Request) -> Reply:
        """Send key and metadata of all matches, one JSON list a line."""
        asked = request.json(Search)
        where = None if asked.where is None else from_json(asked.where)
        found = self._store(request)._search_seen(Condition(where, asked.equal))
        lines = (msgspec.json.encode(pair) + b"\n" for pair in found)
        return Reply(gathered(lines), media_type=_LINES)

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

    return Reply(gathered(pieces()), media_type=RECORDS_MEDIA_TYPE)


def _part(value: Value, start: int, stop: int) -> bytes | Iterator[bytes]:
    """Read a part of moderate size before the head is sent, so that damage can be told as such."""
    pieces = pieces_of(value, start, stop)
    return b"".join(pieces) if stop - start <= _WINDOW_BYTES else pieces


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
            self._incoming = self._store._incoming(facts["key"], facts["size"])

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
            outcomes = [transaction.add(change, asks_if_new=True) for change in changes]
    for outcome in outcomes:
        action = "delete" if outcome.is_removal else "set" if outcome.is_new else "update"
        told.append({"key": outcome.key, "action": action, "metadata": msgspec.Raw(outcome.text.encode())})
    return told
