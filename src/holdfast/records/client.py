"""Own the record that is on a server: the same words as a local one, over HTTP, verified on arrival.

It does not open sockets: `holdfast.http.client` does. Transactions are for local records.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from holdfast.errors import InvalidInputError, NotFoundError, PreconditionFailedError, TransportError
from holdfast.formats.sealed import ArrayView
from holdfast.formats.sealed.datatypes import dtype_of
from holdfast.formats.sealed.selection import bytes_of
from holdfast.formats.sealed.values import give_back, give_strings
from holdfast.formats.slicing import format_slice
from holdfast.hashing import Digest
from holdfast.http.client import Connection
from holdfast.paths import quote_key
from holdfast.records import wire
from holdfast.records.handle import Record
from holdfast.records.listening import row_of
from holdfast.records.names import split, writable
from holdfast.records.sending import sendable
from holdfast.records.sidecars import VerifiedFile
from holdfast.reports import Finding, Report
from holdfast.types import Buffer, Durability, Json

__all__ = ["RemoteRecord", "RemoteView"]

_TRIES = 20


class RemoteRecord(Record):
    """View a record on a server; made by `holdfast.Record`.

    Parameters
    ----------
    path : str
        The URL of the record.
    durability : {"sync", "group", "os"}, default "sync"
        When a write is on the server's disk.
    api_key : str, optional
        The key; default ``HOLDFAST_API_KEY``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = ".",
        durability: Durability = "sync",
        *,
        api_key: str | None = None,
    ) -> None:
        super().__init__(path, durability)
        self._connection = Connection.to_url(str(path), api_key)
        self._parts: tuple[str, ...] = ()

    @classmethod
    def on(cls, connection: Connection, durability: Durability = "sync") -> RemoteRecord:
        """Return the record at the other end of a connection, in this process or another.

        Parameters
        ----------
        connection : Connection
            Its address is the record's.
        durability : {"sync", "group", "os"}, default "sync"
            When a write is on the server's disk.

        Returns
        -------
        RemoteRecord
            The record.
        """
        record = object.__new__(cls)
        record._durability, record._connection = durability, connection
        record._parts = ()
        return record

    def _below(self, parts: tuple[str, ...]) -> RemoteRecord:
        record = self.on(self._connection, self._durability)
        record._parts = self._parts + parts
        return record

    @property
    def path(self) -> str:
        """The URL, without the key."""
        quoted = quote_key(self._parts)
        return f"{self._connection.address.rstrip('/')}/{quoted}" if quoted else self._connection.address

    def _at(self, parts: tuple[str, ...]) -> str:
        return "/" + "/".join(self._parts + parts)

    def _facts(self, parts: tuple[str, ...]) -> dict[str, Json]:
        facts: dict[str, Json] = self._connection.get_json(self._at(parts), {"format": "facts"})
        return facts

    def __getitem__(self, key: str) -> Any:
        parts = split(key)
        facts = self._facts(parts)
        if facts["kind"] == "record":
            return self._below(parts)
        if facts["kind"] == "file":
            return self._fetch(parts, facts)
        return RemoteView(self._connection, self._at(parts), facts).read()

    def open(self, key: str) -> Any:
        """Open an entry lazily; see `Record.open`."""
        parts = split(key)
        facts = self._facts(parts)
        if facts["kind"] == "record":
            raise InvalidInputError(f"{key!r} is a directory of entries; subscript it instead of opening it")
        if facts["kind"] == "file":
            file = VerifiedFile(open(self._fetch(parts, facts), "rb"), None, key)  # noqa: SIM115  # closed by its user
            file.sealed = bool(facts["sealed"])
            return file
        return RemoteView(self._connection, self._at(parts), facts)

    def _fetch(self, parts: tuple[str, ...], facts: dict[str, Json]) -> Path:
        """Download a file, verified; it stays until this program ends."""
        digest = None if facts["digest"] is None else Digest.parse(facts["digest"])
        folder = Path(_downloads(os.getpid()), digest.hex if digest is not None else uuid.uuid4().hex)
        target = folder / parts[-1]
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self._connection.fetch_file(
                self._at(parts), target, digest=digest, size=facts["size"], durability="os"
            )
        return target

    def __setitem__(self, key: str, value: Any) -> None:
        parts = writable(split(key))
        self._send("PUT", parts, value, {})

    def append(self, key: str, item: Any, *, idempotency_key: str | None = None) -> Any:
        """Append one item on a new leading axis; see `Record.append`."""
        return self._grow("append", key, item, idempotency_key)

    def extend(self, key: str, items: Any, *, idempotency_key: str | None = None) -> Any:
        """Concatenate items along the first axis; see `Record.extend`."""
        return self._grow("extend", key, items, idempotency_key)

    def _grow(self, action: str, key: str, value: Any, idempotency_key: str | None) -> Any:
        # Without a key of the user's one is made, so that a lost answer can be asked for again.
        token = uuid.uuid4().hex if idempotency_key is None else idempotency_key
        return self._send("POST", writable(split(key)), value, {"action": action}, token)["row"]

    def _send(
        self,
        method: str,
        parts: tuple[str, ...],
        value: Any,
        params: dict[str, str],
        token: str | None = None,
    ) -> Json:
        with sendable(value) as leaves:
            head, bodies = wire.compose(leaves)
            headers = {"content-type": wire.MEDIA_TYPE}
            if token is not None:
                headers["idempotency-key"] = token
            digest, size = _digest(head, bodies), wire.size_of(head)

            def pieces() -> Iterator[Buffer]:
                yield head
                for body in bodies:
                    yield from body()

            return self._connection.upload(
                method,
                self._at(parts),
                pieces(),
                {**params, "durability": self._durability},
                headers=headers,
                size=size,
                digest=digest,
            )

    def __delitem__(self, key: str) -> None:
        with self._connection.open("DELETE", self._at(split(key))):
            return

    def __iter__(self) -> Iterator[str]:
        try:
            names: list[str] = self._connection.get_json(self._at(("_entry-names",)))
        except NotFoundError:
            return iter(())
        return iter(names)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str | os.PathLike):
            return False
        try:
            self._facts(split(os.fspath(key)))
        except (NotFoundError, InvalidInputError):
            return False
        return True

    def follow(self, key: str, start: int = 0, timeout: float | None = None) -> Iterator[Any]:
        """Yield rows as they arrive; see `Record.follow`. A broken connection is taken up again."""
        params = {"format": "events", "mode": "exact"}
        if timeout is not None:
            params["timeout"] = repr(timeout)
        path, row, failures = self._at(split(key)), start, 0
        while True:
            try:
                for event in self._connection.events(path, {**params, "start": str(row)}):
                    number, value = row_of(event.data, dtype_of)
                    row, failures = number + 1, 0
                    yield value
            except TransportError:
                failures += 1
                if failures == _TRIES:
                    raise
            else:
                return

    def transaction(self) -> AbstractContextManager[None]:
        """Refuse: transactions are for local records."""
        raise InvalidInputError(
            f"{self!r} is on a server and has no transaction(); "
            "assign a dict to write several entries at once"
        )

    def compact(self, key: str | None = None) -> None:
        """Fold appended rows into one plain file per entry; see `Record.compact`."""
        self._ask("compact", () if key is None else split(key))

    def adopt(self, key: str) -> None:
        """Accept an entry as it is and give it digests; see `Record.adopt`."""
        self._ask("adopt", split(key))

    def _ask(self, action: str, parts: tuple[str, ...]) -> None:
        self._connection.upload(
            "POST", self._at(parts), b"", {"action": action, "durability": self._durability}
        )

    def check(self, key: str | None = None) -> Report:
        """Have the server read and verify every byte; see `Record.check`."""
        parts = () if key is None else split(key)
        found = self._connection.get_json(self._at(parts), {"format": "check"})
        return Report(found["checked"], [Finding(**each) for each in found["findings"]], found["notes"])

    @property
    def cmd_spec(self) -> dict[str, Any] | None:
        """The type and configuration of the command that made this record."""
        spec: dict[str, Any] | None = self._command_info()["spec"]
        return spec

    @property
    def cmd_status(self) -> str:
        """``unbegun``, ``running``, ``done`` or ``stopped``."""
        return str(self._command_info()["status"])

    def _command_info(self) -> Json:
        try:
            return self._connection.get_json(self._at(("_cmd-info",)))
        except NotFoundError:
            return {"spec": None, "status": "unbegun"}

    def close(self) -> None:
        """Close connections; files that were fetched stay until this program ends."""
        self._connection.close()


@lru_cache(maxsize=1)
def _downloads(pid: int) -> str:
    """Return where this process keeps the files it fetched; deleted when it ends."""
    directory = tempfile.mkdtemp(prefix=f"holdfast-{pid}-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def _digest(head: bytes, bodies: list[Callable[[], Iterable[Buffer]]]) -> Digest:
    hasher = blake3(head)
    for body in bodies:
        for piece in body():
            hasher.update(piece)
    return Digest("blake3", hasher.hexdigest())


class RemoteView(ArrayView):
    """Be the lazy view of an array on a server.

    Parameters
    ----------
    connection : Connection
        Where it is.
    path : str
        Its path there.
    facts : dict
        What the server said about it.
    """

    def __init__(self, connection: Connection, path: str, facts: dict[str, Json]) -> None:
        self._connection, self._path = connection, path
        self._take_facts(facts)

    def _take_facts(self, facts: dict[str, Json]) -> None:
        self._facts = facts
        self._is_text = facts["dtype"] == "str"
        self.shape = tuple(facts["shape"])
        self.dtype = np.dtype(object) if self._is_text else dtype_of(facts["dtype"])
        self.sealed = bool(facts["sealed"])

    def read(self) -> Any:
        """Return all values as they were given when they were written; see `ArrayView.read`."""
        for _ in range(_TRIES):
            try:
                array = np.asarray(self)
            except (PreconditionFailedError, TransportError):
                # Written anew between the facts and the bytes: ask again.
                self._take_facts(self._connection.get_json(self._path, {"format": "facts"}))
                continue
            give = str(self._facts["give"])
            if self._is_text:
                return give_strings(array.ravel().tolist(), self.shape, give)
            return give_back(array, give)
        raise TransportError(f"{self._path} changes faster than it can be read; try again")

    def _take(self, ranges: list[range]) -> np.ndarray[Any, Any]:
        index = tuple(slice(each.start, each.stop, each.step) for each in ranges)
        params = {"format": "json" if self._is_text else "raw"}
        if ranges:
            params["slice"] = format_slice(index)
        if self._facts["origin"]:
            params["origin"] = str(self._facts["origin"])
        if self._is_text:
            return self._texts(ranges, params)
        out = np.empty([len(each) for each in ranges], self.dtype)
        if out.size:
            self._connection.read_into(self._path, bytes_of(out), params)
        return out

    def _texts(self, ranges: list[range], params: dict[str, str]) -> np.ndarray[Any, Any]:
        out = np.empty([len(each) for each in ranges], object)
        if out.size:
            out[...] = self._connection.get_json(self._path, params)
        return out

    def close(self) -> None:
        """Nothing is open."""
