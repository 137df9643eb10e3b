"""Own transactions: changes that wait, are seen by the reads of their thread, and happen together.

How they happen together is the back end's; when listeners hear of them is decided here.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from holdfast.store.changes import Change, HeldContent, Outcome, resolve
from holdfast.store.events import (
    StoreDeleteEvent,
    StoreModificationEvent,
    StoreSetEvent,
    StoreTransactionEndEvent,
    StoreTransactionStartEvent,
    StoreUpdateEvent,
)
from holdfast.store.value import decoded

if TYPE_CHECKING:
    from holdfast.store.base import Store

__all__ = ["Transaction", "event_of"]


class Transaction:
    """Collect the changes of one thread until the outermost ``with`` block ends.

    Parameters
    ----------
    store : Store
        The store.
    notes : str
        What it is for; goes into the events.

    Attributes
    ----------
    outcomes : dict of str to Outcome
        What each changed key shall be.
    changes : list of Change
        The wishes, in their order.
    started : float
        When it began, seconds since the epoch UTC.
    """

    def __init__(self, store: Store, notes: str) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.changes: list[Change] = []
        self.notes = notes
        self.started = time.time()
        self._store = store
        self._depth = 0
        self._events: list[StoreModificationEvent] = []
        self._held = ExitStack()

    def __enter__(self) -> Transaction:
        outer = self._store._local.transaction
        if outer is not None and outer is not self:
            return outer.__enter__()
        if self._depth == 0:
            self._held.enter_context(self._lock())
            self._store._local.transaction = self
            self._tell(StoreTransactionStartEvent(self._store, notes=self.notes))
        self._depth += 1
        return self

    def _lock(self) -> AbstractContextManager[object]:
        return self._store._exclusive()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = self._store._local.transaction
        if running is not None and running is not self:
            return running.__exit__(kind, error, trace)
        self._depth -= 1
        if self._depth:
            return None
        self._finish(commit=error is None)
        return None

    def _finish(self, *, commit: bool) -> None:
        state = "failed"
        try:
            with self._held:
                self._store._local.transaction = None
                if commit and self.changes:
                    self._store._conclude(self)
                state = "done" if commit else "failed"
        finally:
            self._discard(kept=state == "done")
            events, self._events, self.outcomes = self._events, [], {}
            self._tell(StoreTransactionEndEvent(self._store, notes=self.notes, state=state))
        if state == "done":
            for event in events:
                self._tell(event)

    def _discard(self, *, kept: bool) -> None:
        """Delete data that no key has in the end."""
        used = {id(outcome.content) for outcome in self.outcomes.values()} if kept else set()
        for change in self.changes:
            if change.content is not None and id(change.content) not in used:
                change.content.discard()
        self.changes = []

    def _tell(self, event: object) -> None:
        self._store.event_manager.emit(event)  # type: ignore[arg-type]  # every caller gives an Event

    def add(self, change: Change, *, asks_if_new: bool = False) -> Outcome:
        """Let a change wait for the end of the transaction.

        Parameters
        ----------
        change : Change
            The wish; it sees the changes before it.
        asks_if_new : bool
            The outcome must say whether the key is new even if nobody listens.

        Returns
        -------
        Outcome
            What the key will be.

        Raises
        ------
        NotFoundError
            For a patch or a removal of a key that does not exist.
        """
        listens = self._store.event_manager.has_listeners(StoreModificationEvent)
        if change.content is not None and change.text is not None and not (listens or asks_if_new):
            outcome = Outcome(change.key, change.text, change.content, False)  # see `Store._is_plain`
        else:
            outcome = self._resolved(change)
        self.changes.append(change)
        self.outcomes[change.key] = outcome
        if listens:
            self._events.append(event_of(self._store, outcome))
        return outcome

    def _resolved(self, change: Change) -> Outcome:
        earlier = self.outcomes.get(change.key)
        outcome = resolve(change, self._old(change, earlier))
        if outcome.content is None and not outcome.is_removal and earlier is not None:
            outcome.content = HeldContent(b"") if earlier.is_removal else earlier.content
        return outcome

    def _old(self, change: Change, earlier: Outcome | None) -> str | None:
        if earlier is None:
            return self._store._old(change)
        return None if earlier.is_removal else earlier.text


def event_of(store: Store, outcome: Outcome) -> StoreModificationEvent:
    """Return the event that tells of an outcome.

    Parameters
    ----------
    store : Store
        The source.
    outcome : Outcome
        What happened.
    """
    cls = StoreDeleteEvent if outcome.is_removal else StoreSetEvent if outcome.is_new else StoreUpdateEvent
    return cls(store, key=outcome.key, metadata=decoded(outcome.text))
