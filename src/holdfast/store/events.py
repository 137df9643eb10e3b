"""Own the events of key-value stores, and which event manager stores use.

How events reach listeners is the business of `holdfast.events`.

>>> from holdfast.store import StoreSetEvent
>>> StoreSetEvent("a store", key="k", metadata={"n": 1}).action
'set'
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

from holdfast.errors import ConflictError
from holdfast.events import Event, EventBus, ProgressEnd, ProgressEvent, ProgressStart, ProgressStep, bus
from holdfast.types import Json

__all__ = [
    "EventManager",
    "StoreDeleteEvent",
    "StoreEvent",
    "StoreKeyEvent",
    "StoreModificationEvent",
    "StoreProgress",
    "StoreProgressEndEvent",
    "StoreProgressEvent",
    "StoreProgressStartEvent",
    "StoreProgressStepEvent",
    "StoreSetEvent",
    "StoreTransactionEndEvent",
    "StoreTransactionEvent",
    "StoreTransactionStartEvent",
    "StoreUpdateEvent",
    "get_event_manager",
    "set_event_manager",
]

EventManager = EventBus
"""The name that the original gives the event bus."""


class StoreEvent(Event):
    """Be the base of everything a store tells.

    Parameters
    ----------
    source : Store
        The store.
    **facts : object
        Become attributes of the event.
    """

    def __init__(self, source: object = None, **facts: Any) -> None:
        super().__init__(source)
        self.__dict__.update(facts)

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if name[0] != "_")
        return f"{type(self).__name__}({facts})"


class StoreTransactionEvent(StoreEvent):
    """Tell of a transaction; nested ones, which join the outer one, tell nothing."""


class StoreTransactionStartEvent(StoreTransactionEvent):
    """Tell that a transaction begins; ``notes`` is what it was opened with."""

    notes: str = ""


class StoreTransactionEndEvent(StoreTransactionEvent):
    """Tell that a transaction ended: ``state`` is ``done`` or ``failed``. The changes are told after it."""

    notes: str = ""
    state: str = "done"


class StoreKeyEvent(StoreEvent):
    """Tell of one key.

    Attributes
    ----------
    key : str
        The key.
    metadata : dict
        All its metadata after the change; for a deletion, what it was.
    """

    key: str = ""
    metadata: dict[str, Json]


class StoreModificationEvent(StoreKeyEvent):
    """Tell that a key was changed; ``action`` is ``set``, ``update`` or ``delete``."""

    action: ClassVar[str] = ""


class StoreSetEvent(StoreModificationEvent):
    """Tell that a key is new."""

    action = "set"


class StoreUpdateEvent(StoreModificationEvent):
    """Tell that the data or metadata of an existing key were changed."""

    action = "update"


class StoreDeleteEvent(StoreModificationEvent):
    """Tell that a key is gone."""

    action = "delete"


class StoreProgressEvent(StoreKeyEvent, ProgressEvent):
    """Tell of a long operation on one key; ``operation_id`` is the same in all its events."""

    operation_id: object = None


class StoreProgressStartEvent(StoreProgressEvent, ProgressStart):
    """Tell that bytes begin to move; ``steps`` is how many, -1 where unknown."""


class StoreProgressStepEvent(StoreProgressEvent, ProgressStep):
    """Tell how many bytes have moved: ``step``."""


class StoreProgressEndEvent(StoreProgressEvent, ProgressEnd):
    """Tell that no more bytes move; ``exit_state`` is ``normal`` or ``exception``."""


class StoreProgress:
    """Emit the progress events of one operation, or nothing when nobody listens.

    Parameters
    ----------
    source : Store
        Anything with an ``event_manager``.
    key : str
        The key.
    metadata : dict
        Its metadata.
    message : str
        What is being done, for people.
    steps : int, default -1
        The bytes in all, -1 where unknown.
    """

    __slots__ = ("_emit", "_facts", "_listening", "_message", "_steps")

    def __init__(
        self, source: Any, key: str, metadata: Mapping[str, Json], message: str, steps: int = -1
    ) -> None:
        manager = source.event_manager
        self._listening: bool = manager.has_listeners(StoreProgressEvent)
        if self._listening:
            self._emit = manager.emit
            self._message, self._steps = message, steps
            self._facts: dict[str, Any] = {
                "source": source,
                "key": key,
                "metadata": dict(metadata),
                "operation_id": uuid.uuid4(),
                "operation": "store",
            }

    def __enter__(self) -> Self:
        if self._listening:
            self._emit(StoreProgressStartEvent(message=self._message, steps=self._steps, **self._facts))
        return self

    def __call__(self, done: int) -> None:
        """Say how many bytes have moved so far."""
        if self._listening:
            message = f"{self._message} ({done} bytes)"
            self._emit(StoreProgressStepEvent(message=message, step=done, steps=self._steps, **self._facts))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listening:
            state, message = ("normal", self._message) if error is None else ("exception", str(error))
            self._emit(StoreProgressEndEvent(message=message, exit_state=state, **self._facts))


_manager: EventBus | None = None


def get_event_manager() -> EventBus:
    """Return the event manager that new stores emit on.

    Returns
    -------
    EventManager
        What `set_event_manager` was given, else the bus of the whole process, which is then settled.
    """
    global _manager
    if _manager is None:
        _manager = bus
    return _manager


def set_event_manager(event_manager: EventBus) -> None:
    """Choose the event manager of this process, before anything has used one.

    Parameters
    ----------
    event_manager : EventManager
        The manager.

    Raises
    ------
    ConflictError
        One is settled already: listeners that are connected to it would be lost.
    """
    global _manager
    if _manager is not None:
        raise ConflictError(
            "an event manager is in use already; set yours before the first store is opened, "
            "or connect to get_event_manager()"
        )
    _manager = event_manager
