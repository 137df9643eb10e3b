"""Own the store in one SQLite file: quick for many small values, and one file to take along.

>>> import tempfile
>>> with SQLiteStore(tempfile.mkdtemp() + "/values.db") as store:
...     store.from_bytes("k", b"data")
...     store.to_bytes("k")
b'data'
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from blake3 import blake3

from holdfast import files
from holdfast.database.store_values import PIECE_BYTES, NewValue, StoreValues, ValueRow
from holdfast.errors import HashError, InvalidInputError, ReadOnlyError
from holdfast.hashing import BlockDigests, Digest, hash_bytes
from holdfast.paths import local_path
from holdfast.reports import Finding, Report
from holdfast.store.base import Store
from holdfast.store.changes import Content, HeldContent, Incoming, Outcome, missing
from holdfast.store.matching import Condition, Found
from holdfast.store.outgoing import bytes_of
from holdfast.store.spooling import HELD_BYTES, SpooledContent, SpooledIncoming
from holdfast.store.staging import blocks_of
from holdfast.store.value import HeldReader, Value
from holdfast.types import DURABILITIES, Durability, Json, PathLike

__all__ = ["SQLiteStore"]

_LOCK_TIMEOUT_S = 60.0


class SQLiteStore(Store):
    """Keep values in one SQLite file.

    Parameters
    ----------
    path : path-like
        The file, made when absent; or ``":memory:"``.
    durability : {"sync", "group", "os"}
        What a change waits for: the disk; the disk within 50 ms; or the system.

    Raises
    ------
    UnreadableError
        The file is damaged or something else.
    """

    def __init__(self, path: PathLike, durability: Durability = "sync") -> None:
        super().__init__()
        if durability not in DURABILITIES:
            raise InvalidInputError(f"durability {durability!r} is none of {', '.join(DURABILITIES)}")
        self.path = ":memory:" if path == ":memory:" else os.path.abspath(local_path(path))
        self.durability = durability
        self._in_memory = self.path == ":memory:"
        there = os.path.exists(self.path)
        where = self.path if there else os.path.dirname(self.path)
        self._is_read_only = not self._in_memory and there and not os.access(where, os.W_OK)
        self._values = StoreValues(self.path, durability, read_only=self._is_read_only)
        self._writing: AbstractContextManager[object] = (
            threading.Lock() if self._in_memory else files.KeptLock(self.path + "-lock", _LOCK_TIMEOUT_S)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self._in_memory:
            raise InvalidInputError("a store in memory cannot be pickled; keep it in a file")
        return type(self), (self.path, self.durability)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def info(self) -> dict[str, Json]:
        """Describe the store; see `Store.info`."""
        return super().info() | {"readonly": self._is_read_only, "durability": self.durability}

    def disconnect(self) -> None:
        """Lay the file to rest; see `Store.disconnect`."""
        self._values.close()
        super().disconnect()

    # Reading -------------------------------------------------------------------------------------------

    def _find(self, key: str) -> Value:
        row = self._values.find(key)
        if row is None:
            raise missing(key)
        text, digest, _, created, modified, data = row
        if data is None:
            return self._large(key)
        if blake3(data).digest() != digest:
            _tell_damage(key, digest, data)
        times = modified / 1e9, created / 1e9
        return Value(key, text, len(data), *times, True, digest, HeldReader(data), None, io.BytesIO(data))

    def _large(self, key: str) -> Value:
        reader = _PieceReader(self._values)
        row = reader.find(key)
        if row is None:
            raise missing(key)
        if row.data is not None:
            return self._find(key)
        digests = BlockDigests(Digest("blake3", row.digest.hex()), row.size, row.blocks or row.digest)
        times = row.modified / 1e9, row.created / 1e9
        value = Value(key, row.text, row.size, *times, True, row.digest, reader, digests)
        if not self._in_memory:
            return value
        # One connection is all there is: it must not stay with a reader.
        held = HeldReader(bytes_of(value, value.size or 1, lambda done: None))
        reader.close()
        return Value(key, row.text, row.size, *times, True, row.digest, held)

    def _text(self, key: str) -> str | None:
        return self._values.text(key)

    def _search(self, condition: Condition) -> Iterator[Found]:
        return condition.matching(self._values.search(condition.where, condition.equal))

    def _keys(self, pattern: str) -> Iterator[str]:
        return self._values.keys(pattern)

    # Writing -------------------------------------------------------------------------------------------

    def _incoming(self, key: str, size: int = -1) -> Incoming:
        self._require_writable()
        return SpooledIncoming(None if self._in_memory else os.path.dirname(self.path))

    def _hold(self, key: str, data: bytes) -> Content:
        if len(data) > HELD_BYTES or self._is_read_only:
            return super()._hold(key, data)
        return HeldContent(data)

    def _require_writable(self) -> None:
        if self._is_read_only:
            raise ReadOnlyError(f"the store {self.path} cannot be written; change its mode or copy it")

    def _exclusive(self) -> AbstractContextManager[object]:
        self._require_writable()
        return self._writing

    def _apply(self, outcomes: Sequence[Outcome]) -> None:
        small = [
            (each.key, each.text, each.content.data, blake3(each.content.data).digest())
            for each in outcomes
            if type(each.content) is HeldContent and not each.is_removal
        ]
        if len(small) == len(outcomes):
            self._values.put(small, time.time_ns())
            return
        self._values.apply([self._new(outcome) for outcome in outcomes], time.time_ns())
        for outcome in outcomes:
            if isinstance(outcome.content, SpooledContent):
                outcome.content.discard()

    def _new(self, outcome: Outcome) -> NewValue:
        content = outcome.content
        if type(content) is HeldContent and not outcome.is_removal:
            data = content.data
            return NewValue(outcome.key, outcome.text, data, None, len(data), blake3(data).digest())
        if outcome.is_removal:
            return NewValue(outcome.key, None)
        if isinstance(content, SpooledContent):
            found = content.digests
            return NewValue(
                outcome.key,
                outcome.text,
                None,
                content.pieces(PIECE_BYTES),
                found.size_bytes,
                found.whole.raw,
                blocks_of(found),
            )
        if content is None and self._values.text(outcome.key) is not None:
            return NewValue(outcome.key, outcome.text)
        return NewValue(outcome.key, outcome.text, b"", None, 0, blake3(b"").digest())

    def check(self) -> Report:
        """Verify the file, every entry and all data against their digests.

        Returns
        -------
        Report
            Findings are ``changed`` (data or an entry), and ``unreadable`` (the file itself).
        """
        faults = self._values.faults()
        findings = [Finding("unreadable", self.path, "a sound SQLite file", fault) for fault in faults]
        keys = list(self._values.keys("*"))
        for key in keys:
            try:
                for _ in self._find(key).iterdata():
                    pass
            except HashError as error:
                findings.append(
                    Finding("changed", key, error.details.get("expected"), error.details.get("found"))
                )
        return Report(len(keys), findings)


def _tell_damage(key: str, digest: bytes, data: bytes) -> None:
    Digest("blake3", digest.hex()).check(hash_bytes(data), f"the data of key {key!r:.200}")


class _PieceReader:
    """Read large data from one state of the file, which stays while others write."""

    def __init__(self, values: StoreValues) -> None:
        self._held = ExitStack()
        self._values = values
        self._connection = self._held.enter_context(values.snapshot())
        self._key = ""
        self._piece, self._number = b"", -1
        self._lock = threading.Lock()

    def find(self, key: str) -> ValueRow | None:
        """Choose the value to read and return its row."""
        row = self._values.find_in(self._connection, key)
        if row is None or row.data is not None:
            self.close()
        elif row is not None:
            self._key = row.key
        return row

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill a view from an offset; less than its length only at the end."""
        done = 0
        with self._lock:
            while done < len(view):
                number, inside = divmod(offset + done, PIECE_BYTES)
                if number != self._number:
                    self._piece = self._values.piece(self._connection, self._key, number)
                    self._number = number
                part = self._piece[inside : inside + len(view) - done]
                if not part:
                    break
                view[done : done + len(part)] = part
                done += len(part)
        return done

    def close(self) -> None:
        """Let go of the state."""
        self._held.close()

    def __del__(self) -> None:
        self.close()
