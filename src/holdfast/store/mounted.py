"""Own the store that lays one store over a part of another: changes go to the upper one only.

>>> from holdfast.store import MemoryStore
>>> store = MountedStore("site/", MemoryStore(), MemoryStore())
>>> store.from_bytes("site/k", b"data")
>>> list(store.mount_store.query_keys())
['k']
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from holdfast.errors import ForbiddenError
from holdfast.reports import Finding, Report
from holdfast.store.base import Store
from holdfast.store.changes import Content, Incoming, Outcome, missing, received
from holdfast.store.events import StoreProgress
from holdfast.store.inputs import pieces_of
from holdfast.store.matching import Condition, Found
from holdfast.store.reading import BUFFER_BYTES
from holdfast.store.value import Value
from holdfast.types import Json

__all__ = ["MountedStore"]


class MountedStore(Store):
    """Show one store under a prefix of the keys of another, which is only read.

    A changed key of the backing store is first copied to the mounted one, where it then hides the original.

    Parameters
    ----------
    mount_point : str
        The prefix.
    mount_store : Store
        Takes all changes, under keys without the prefix.
    backing_store : Store
        What is below; never changed, except by `push`.
    """

    def __init__(self, mount_point: str, mount_store: Store, backing_store: Store) -> None:
        super().__init__()
        self.mount_point = mount_point
        self.mount_store, self.backing_store = mount_store, backing_store

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.mount_point, self.mount_store, self.backing_store)

    def info(self) -> dict[str, Json]:
        """Describe the store; see `Store.info`."""
        return super().info() | {
            "readonly": self.mount_store.info()["readonly"],
            "mount_point": self.mount_point,
            "stores": [self.mount_store.info(), self.backing_store.info()],
        }

    def connect(self, credentials: object = None) -> None:
        """Connect both stores; see `Store.connect`."""
        for store in (self.mount_store, self.backing_store):
            if not store.is_connected():
                store.connect(credentials)
        super().connect(credentials)

    def push(self, key: str) -> None:
        """Move a key from the mounted store to the backing store.

        Parameters
        ----------
        key : str
            The key, with the prefix.

        Raises
        ------
        NotFoundError
            The mounted store has no such key.
        """
        short = self._short(key)
        if short is None or not self.mount_store.exists(short):
            raise missing(key)
        self.backing_store.set(key, self.mount_store.get(short))
        self.mount_store.delete(short)

    def _short(self, key: str) -> str | None:
        """Return a key as the mounted store knows it; None outside the mount."""
        if key.startswith(self.mount_point) and len(key) > len(self.mount_point):
            return key[len(self.mount_point) :]
        return None

    # Reading -------------------------------------------------------------------------------------------

    def _home(self, key: str) -> tuple[Store, str] | None:
        short = self._short(key)
        if short is not None and self.mount_store.exists(short):
            return self.mount_store, short
        return (self.backing_store, key) if self.backing_store.exists(key) else None

    def _find(self, key: str) -> Value:
        home = self._home(key)
        if home is None:
            raise missing(key)
        return home[0].get(home[1])

    def _text(self, key: str) -> str | None:
        home = self._home(key)
        return None if home is None else home[0]._text_seen(home[1])

    def _has(self, key: str) -> bool:
        return self._home(key) is not None

    def _search(self, condition: Condition) -> Iterator[Found]:
        for short, metadata in self.mount_store._search_seen(condition.below(self.mount_point)):
            yield self.mount_point + short, metadata
        for key, metadata in self.backing_store._search_seen(condition):
            if not self._is_hidden(key):
                yield key, metadata

    def _keys(self, pattern: str) -> Iterator[str]:
        for short in self.mount_store.query_keys():
            yield self.mount_point + short
        for key in self.backing_store.query_keys():
            if not self._is_hidden(key):
                yield key

    def _is_hidden(self, key: str) -> bool:
        short = self._short(key)
        return short is not None and self.mount_store.exists(short)

    # Writing -------------------------------------------------------------------------------------------

    def _incoming(self, key: str, size: int = -1) -> Incoming:
        return self.mount_store._incoming(self._require_mounted(key), size)

    def _require_mounted(self, key: str) -> str:
        short = self._short(key)
        if short is None:
            raise ForbiddenError(
                f"key {key!r:.200} lies outside the mount point {self.mount_point!r}, where this store is "
                "only read; change the backing store itself"
            )
        return short

    def _exclusive(self) -> AbstractContextManager[object]:
        return self.mount_store._exclusive()

    def _apply(self, outcomes: Sequence[Outcome]) -> None:
        below = []
        for outcome in outcomes:
            short = self._require_mounted(outcome.key)
            content = outcome.content
            if outcome.is_removal and self._home(outcome.key) == (self.backing_store, outcome.key):
                raise ForbiddenError(
                    f"key {outcome.key!r:.200} is in the backing store, which is only read; delete it there"
                )
            is_below = not self.mount_store.exists(short) and self.backing_store.exists(outcome.key)
            if content is None and is_below:
                content = self._copied(outcome.key, short)
            below.append(Outcome(short, outcome.text, content, outcome.is_new, outcome.is_removal))
        self.mount_store._apply(below)

    def _copied(self, key: str, short: str) -> Content:
        value = self.backing_store.get(key)
        progress = StoreProgress(self, key, value.metadata, f"Copying key {key!r}", value.size)
        with value as stream, progress as step:
            return received(
                self.mount_store._incoming(short, value.size), pieces_of(stream, BUFFER_BYTES, key), step
            )

    def check(self) -> Report:
        """Verify both stores; see `Store.check`."""
        upper = self.mount_store.check()
        named = [
            Finding(each.kind, self.mount_point + each.uri, each.expected, each.found)
            for each in upper.findings
        ]
        return Report.merged([Report(upper.checked, named, upper.notes), self.backing_store.check()])
