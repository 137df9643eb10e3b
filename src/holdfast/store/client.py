"""Own the store on a server, with the whole interface: ranges, batches, queries and transactions.

encore's own client speaks to the same server by another protocol.

>>> HTTPStore("http://key:secret@127.0.0.1:8000/store/runs")
HTTPStore('http://127.0.0.1:8000/store/runs')
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec

from holdfast.errors import TransportError
from holdfast.http.client import Connection
from holdfast.http.errors import error_from
from holdfast.queries import to_json
from holdfast.reports import Finding, Report
from holdfast.store.base import Store
from holdfast.store.changes import Change, Content, Incoming, Outcome
from holdfast.store.events import StoreModificationEvent
from holdfast.store.inputs import wrapped
from holdfast.store.matching import Condition, Found
from holdfast.store.spooling import SpooledIncoming
from holdfast.store.transactions import Transaction, event_of
from holdfast.store.value import HeldReader, Value
from holdfast.store.wire import INLINE_BYTES, RecordReader, change_facts, record, value_of
from holdfast.types import Json

__all__ = ["HTTPStore"]

_TOP = "/_holdfast"
_BATCH = 100
_WINDOW_BYTES = 4 << 20
_PIECE_BYTES = 1 << 20
_LINE = msgspec.json.Decoder(tuple[str, dict[str, Any]])


class HTTPStore(Store):
    """Use a store that ``holdfast serve`` serves.

    Parameters
    ----------
    url : str
        The address of the store: of the server when it serves one store alone, else with ``/store/NAME``.
    api_key : str, optional
        The key; default the one in the URL, else ``HOLDFAST_API_KEY``.

    Notes
    -----
    A transaction is collected here and sent as one request; the server makes all of its changes, or none.
    Pickles by address, never with its key.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        super().__init__()
        self._connection = Connection.to_url(url, api_key)

    @classmethod
    def over(cls, connection: Connection) -> HTTPStore:
        """Return the store at the other end of a connection, such as one within this process.

        Parameters
        ----------
        connection : Connection
            To the address of the store.
        """
        store = cls(connection.address)
        store._connection = connection
        return store

    @property
    def url(self) -> str:
        """The address, without key."""
        return self._connection.address

    def __reduce__(self) -> tuple[Callable[..., HTTPStore], tuple[Any, ...]]:
        if self._connection.is_local:
            return type(self).over, (self._connection,)
        return type(self), (self.url,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def connect(self, credentials: object = None) -> None:
        """Ask the server for the store; see `Store.connect`.

        Parameters
        ----------
        credentials : str, optional
            Another API key.

        Raises
        ------
        NotFoundError, AuthenticationError, TransportError
            There is no such store, it needs a key, or the server cannot be reached.
        """
        if isinstance(credentials, str):
            self._connection = Connection.to_url(self.url, credentials)
        self._connection.get_json(f"{_TOP}/info")
        super().connect(credentials)

    def disconnect(self) -> None:
        """Close all connections; see `Store.disconnect`."""
        self._connection.close()
        super().disconnect()

    def info(self) -> dict[str, Json]:
        """Describe the store and the server's store; see `Store.info`."""
        found = self._connection.get_json(f"{_TOP}/info")
        return super().info() | {"readonly": found.get("readonly", False), "url": self.url, "server": found}

    # Reading -------------------------------------------------------------------------------------------

    def _find(self, key: str) -> Value:
        params = {"key": key, "inline": str(INLINE_BYTES)}
        with self._connection.open("GET", f"{_TOP}/value", params) as answer:
            return next(self._values([answer.read()]))

    def multiget(self, keys: Iterable[str]) -> Iterator[Value]:
        """Return the values of keys, a hundred in a request; see `Store.multiget`."""
        if self._local.transaction is not None:
            return super().multiget(keys)
        return self._batches(wrapped(keys))

    def _batches(self, keys: Iterator[str]) -> Iterator[Value]:
        while batch := list(itertools.islice(keys, _BATCH)):
            body = msgspec.json.encode({"keys": batch})
            headers = {"content-type": "application/json"}
            with self._connection.open("POST", f"{_TOP}/values", headers=headers, body=body) as answer:
                yield from self._values(answer.arrivals())

    def _values(self, pieces: Iterable[Any]) -> Iterator[Value]:
        reader = RecordReader()
        facts: dict[str, Any] | None = None
        data = bytearray()
        for piece in pieces:
            for part in reader.feed(piece):
                if isinstance(part, memoryview):
                    data += part
                    continue
                if facts is not None:
                    yield self._value(facts, data)
                facts = part
                data.clear()
        if facts is None:
            raise TransportError("the server's answer is empty; ask again")
        reader.end()
        yield self._value(facts, data)

    def _value(self, facts: dict[str, Any], data: bytearray) -> Value:
        if "error" in facts:
            raise error_from(0, msgspec.json.encode(facts["error"]))
        if facts["inline"]:
            return value_of(facts, HeldReader(bytes(data)))
        params = {"key": facts["key"], "digest": facts["digest"] or ""}
        blocks = self._connection.get_bytes(f"{_TOP}/blocks", params)
        return value_of(facts, _RemoteReader(self._connection, params, facts["size"]), blocks)

    def _text(self, key: str) -> str | None:
        text = self._connection.get_bytes(f"{_TOP}/facts", {"key": key})
        return None if text == b"null" else text.decode()

    def _search(self, condition: Condition) -> Iterator[Found]:
        asked = {
            "where": None if condition.where is None else to_json(condition.where),
            "equal": {name: value for name, value in condition.equal.items() if _is_json(value)},
        }
        headers = {"content-type": "application/json"}
        body = msgspec.json.encode(asked)
        with self._connection.open("POST", f"{_TOP}/search", headers=headers, body=body) as answer:
            for line in _lines(answer.arrivals()):
                key, metadata = _LINE.decode(line)
                # Python's equality is wider than JSON's: (1, 2) is no list, and True is 1.
                if condition.accepts(key, metadata):
                    yield key, metadata

    def _keys(self, pattern: str) -> Iterator[str]:
        with self._connection.open("GET", f"{_TOP}/keys", {"pattern": pattern}) as answer:
            for line in _lines(answer.arrivals()):
                yield msgspec.json.decode(line, type=str)

    def check(self) -> Report:
        """Let the server verify its store; see `Store.check`."""
        found = self._connection.get_json(f"{_TOP}/check")
        findings = [Finding(**finding) for finding in found["findings"]]
        return Report(found["checked"], findings, found["notes"])

    # Writing -------------------------------------------------------------------------------------------

    def _incoming(self, key: str, size: int = -1) -> Incoming:
        return SpooledIncoming()

    def _exclusive(self) -> AbstractContextManager[object]:
        # The server decides who comes first.
        return nullcontext()

    def _commit(self, change: Change, *, asks_if_new: bool = False) -> Outcome:
        transaction = self._local.transaction
        if transaction is not None:
            return super()._commit(change)
        told = self._send([change])[0]
        text = msgspec.json.encode(told["metadata"]).decode()
        outcome = Outcome(change.key, text, None, told["action"] == "set", told["action"] == "delete")
        if self.event_manager.has_listeners(StoreModificationEvent):
            self.event_manager.emit(event_of(self, outcome))
        return outcome

    def _conclude(self, transaction: Transaction) -> None:
        self._send(transaction.changes)

    def _apply(self, outcomes: Sequence[Outcome]) -> None:
        self._send(
            [
                Change(outcome.key, is_removal=True)
                if outcome.is_removal
                else Change(outcome.key, outcome.content, outcome.text)
                for outcome in outcomes
            ]
        )

    def _send(self, changes: Sequence[Change]) -> list[dict[str, Json]]:
        heads = [record(change_facts(change)) for change in changes]
        size = sum(map(len, heads)) + sum(change.content.size for change in changes if change.content)
        try:
            told = self._connection.upload("POST", f"{_TOP}/changes", _body(heads, changes), size=size)
        finally:
            for change in changes:
                if change.content is not None:
                    change.content.discard()
        answers: list[dict[str, Json]] = told["changes"]
        return answers


def _body(heads: Sequence[bytes], changes: Sequence[Change]) -> Iterator[bytes]:
    waiting = bytearray()
    for head, change in zip(heads, changes, strict=True):
        waiting += head
        for piece in _data(change.content):
            waiting += piece
            if len(waiting) >= _PIECE_BYTES:
                yield bytes(waiting)
                waiting.clear()
    yield bytes(waiting)


def _data(content: Content | None) -> Iterator[bytes]:
    if content is not None and content.size:
        yield from content.value("", "{}", 0.0).iterdata(_PIECE_BYTES)


class _RemoteReader:
    """Read large data by ranges of one version, some way ahead."""

    def __init__(self, connection: Connection, params: dict[str, str], size: int) -> None:
        self._connection, self._params, self._size = connection, params, size
        self._window, self._start = b"", -1

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill a view from an offset; less than its length only at the end."""
        done = 0
        while done < len(view) and offset + done < self._size:
            at = offset + done
            if not self._start <= at < self._start + len(self._window):
                self._fetch(at, len(view) - done)
            part = self._window[at - self._start :][: len(view) - done]
            view[done : done + len(part)] = part
            done += len(part)
        return done

    def _fetch(self, start: int, length: int) -> None:
        """Read what is needed, and further when that goes on where the last ended."""
        goes_on = start == self._start + len(self._window)
        stop = min(start + (_WINDOW_BYTES if goes_on else min(length, _WINDOW_BYTES)), self._size)
        headers = {"range": f"bytes={start}-{stop - 1}"}
        self._window = self._connection.get_bytes(f"{_TOP}/bytes", self._params, headers=headers)
        self._start = start
        if len(self._window) != stop - start:
            raise TransportError(f"the server sent {len(self._window)} of {stop - start} bytes; ask again")

    def close(self) -> None:
        """Let go of what was read ahead."""
        self._window = b""


def _lines(pieces: Iterable[Any]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + bytes(piece)).split(b"\n")
        yield from whole
    if rest:
        raise TransportError("the server's answer broke off; ask again")


def _is_json(value: object) -> bool:
    """Tell whether JSON says a value as Python means it."""
    if type(value) is list:
        return all(map(_is_json, value))
    if type(value) is dict:
        return all(type(name) is str and _is_json(inner) for name, inner in value.items())
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in (str, bool, int)
