"""Own the event bus and progress; an emit costs one ``if`` when nobody listens.

It does not know the events of the faces: each face derives its own classes from `Event`.

>>> from holdfast.events import Event, EventBus
>>> bus, seen = EventBus(), []
>>> _ = bus.connect(Event, seen.append, keep=True)
>>> bus.emit(Event(source="a"))
>>> seen
[Event(source='a')]
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = [
    "Connection",
    "Event",
    "EventBus",
    "ProgressEnd",
    "ProgressEvent",
    "ProgressStart",
    "ProgressStep",
    "bus",
]

Listener = Callable[[Any], object]
E = TypeVar("E", bound="Event")


@dataclass(eq=False)
class Event:
    """Be the base of all events.

    Parameters
    ----------
    source : object
        What the event is about or comes from.
    """

    source: object = None

    def __post_init__(self) -> None:
        self._handled = False

    def mark_as_handled(self) -> None:
        """Keep the event from listeners of lower priority."""
        self._handled = True


@dataclass(eq=False)
class ProgressEvent(Event):
    """Be the base of the events of a long operation.

    Parameters
    ----------
    operation : str
        A name that is the same for all events of one run, such as ``"index"``.
    """

    operation: str = ""


@dataclass(eq=False)
class ProgressStart(ProgressEvent):
    """Say that an operation begins; ``steps`` is its size, -1 where unknown."""

    message: str = ""
    steps: int = -1


@dataclass(eq=False)
class ProgressStep(ProgressEvent):
    """Say how far an operation is; ``step`` counts towards ``steps``."""

    message: str = ""
    step: int = 0
    steps: int = -1


@dataclass(eq=False)
class ProgressEnd(ProgressEvent):
    """Say that an operation ended; ``exit_state`` is ``normal``, ``warning``, ``error`` or ``exception``."""

    message: str = ""
    exit_state: str = "normal"


@dataclass(frozen=True, slots=True)
class Connection:
    """Hold one listener with its conditions."""

    kind: type[Event]
    listener: Callable[[], Listener | None]
    filter: Mapping[str, object] = field(default_factory=dict)
    priority: int = 0
    number: int = 0

    def accepts(self, event: Event) -> bool:
        """Tell whether the event has the class and the attributes that were asked for."""
        return isinstance(event, self.kind) and all(
            _attribute(event, name) == value for name, value in self.filter.items()
        )


_MISSING = object()


def _attribute(event: object, dotted: str) -> object:
    value = event
    for name in dotted.split("."):
        value = getattr(value, name, _MISSING)
    return value


class EventBus:
    """Bring events to listeners, in order of priority, in the thread that emits.

    Listeners are held weakly unless ``keep`` is given: a method's listener ends with its object. A
    listener that raises does not keep others from hearing: its error is raised after all have heard.
    Safe across threads.
    """

    def __init__(self) -> None:
        self._connections: tuple[Connection, ...] = ()
        self._lock = threading.RLock()
        self._count = 0
        self._disabled: list[type[Event]] = []

    def connect(
        self,
        kind: type[E],
        listener: Callable[[E], object],
        *,
        filter: Mapping[str, object] | None = None,
        priority: int = 0,
        keep: bool = False,
    ) -> Connection:
        """Let a listener hear events of a class and of its subclasses.

        Parameters
        ----------
        kind : type
            A class of events.
        listener : callable
            Takes the event.
        filter : mapping, optional
            Dotted attribute names and the values they must have.
        priority : int, default 0
            Higher hears earlier; equals hear in order of connection.
        keep : bool, default False
            Hold the listener strongly.

        Returns
        -------
        Connection
            What `disconnect` takes.
        """
        with self._lock:
            self._count += 1
            link = Connection(
                kind, _reference(listener, keep=keep), dict(filter or {}), priority, self._count
            )
            rest = [old for old in self._connections if old.listener() is not None]
            self._connections = tuple(sorted([*rest, link], key=lambda each: (-each.priority, each.number)))
        return link

    def disconnect(self, connection: Connection) -> None:
        """End a connection; one that has ended already is no error."""
        with self._lock:
            self._connections = tuple(link for link in self._connections if link is not connection)

    def has_listeners(self, kind: type[Event]) -> bool:
        """Tell whether anybody would hear events of a class."""
        return any(issubclass(kind, link.kind) or issubclass(link.kind, kind) for link in self._connections)

    def emit(self, event: Event) -> None:
        """Bring an event to its listeners.

        Parameters
        ----------
        event : Event
            The event.

        Raises
        ------
        Exception
            The first error of a listener, after all listeners have heard.
        """
        if not self._connections or isinstance(event, tuple(self._disabled)):
            return
        failures: list[Exception] = []
        for link in self._connections:
            listener = link.listener()
            if listener is None or not link.accepts(event):
                continue
            try:
                listener(event)
            except Exception as error:  # a listener is outside code: all others must still hear
                failures.append(error)
            if event._handled:
                break
        if failures:
            raise failures[0]

    @contextmanager
    def disabled(self, kind: type[Event] = Event) -> Iterator[None]:
        """Drop all events of a class inside a ``with`` block."""
        with self._lock:
            self._disabled.append(kind)
        try:
            yield
        finally:
            with self._lock:
                self._disabled.remove(kind)


def _reference(listener: Listener, *, keep: bool) -> Callable[[], Listener | None]:
    if keep:
        return lambda: listener
    if hasattr(listener, "__self__") and hasattr(listener, "__func__"):
        return weakref.WeakMethod(listener)
    return weakref.ref(listener)


bus = EventBus()
"""The bus of this process, on which every face emits unless it is given another."""
