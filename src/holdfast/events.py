"""Own the event bus and progress; an emit costs one ``if`` when nobody listens.

It does not know the events of the faces: each face derives its own classes from `Event`.

>>> from holdfast.events import Event, EventBus
>>> bus, seen = EventBus(), []
>>> _ = bus.connect(Event, seen.append)
>>> bus.emit(Event(source="a"))
>>> seen
[Event(source='a')]
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from holdfast.errors import AlreadyExistsError, NotFoundError

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
Trace = Callable[[str, Callable[..., object], tuple[Any, ...]], object]
E = TypeVar("E", bound="Event")

_log = logging.getLogger(__name__)


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

    def pre_emit(self) -> None:
        """Prepare the event, before the first listener hears it; for subclasses."""

    def post_emit(self) -> None:
        """Complete the event, after the last listener heard it; for subclasses."""


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

    def joins(self, kind: type[Event], listener: Listener | None) -> bool:
        """Tell whether this connects a listener to exactly a class."""
        return self.kind is kind and self.listener() == listener

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

    Methods are held weakly, so that a method's listener ends with its object; other callables are held
    strongly unless ``keep=False``. A listener that raises does not keep others from hearing and does not
    undo what it was told of: its error is logged, with its traceback. Safe across threads; a listener that
    is disconnected while an event goes round still hears that event.

    References
    ----------
    ``encore.events.event_manager.EventManager`` of encore 0.8, whose interface and meaning this has.
    """

    def __init__(self) -> None:
        self._connections: tuple[Connection, ...] = ()
        self._lock = threading.RLock()
        self._count = 0
        self._disabled: list[type[Event]] = []
        self._known: dict[type[Event], None] = {}
        self._trace: Trace | None = None

    def connect(
        self,
        kind: type[E],
        listener: Callable[[E], object],
        filter: Mapping[str, object] | None = None,
        priority: int = 0,
        *,
        keep: bool | None = None,
    ) -> Connection | None:
        """Let a listener hear events of a class and of its subclasses.

        Connecting a listener again replaces its earlier connection to that class.

        Parameters
        ----------
        kind : type
            A class of events.
        listener : callable
            Takes the event.
        filter : mapping, optional
            Dotted attribute names and the values they must have; a missing attribute has none.
        priority : int, default 0
            Higher hears earlier; equals hear in order of connection.
        keep : bool, optional
            Hold the listener strongly; by default methods are held weakly, other callables strongly.

        Returns
        -------
        Connection or None
            What `disconnect` takes; None when the trace function vetoed it.
        """
        if self._vetoed("connect", self.connect, (kind, listener, filter, priority)):
            return None
        with self._lock:
            self._count += 1
            link = Connection(
                kind, _reference(listener, keep=keep), dict(filter or {}), priority, self._count
            )
            rest = [
                old
                for old in self._connections
                if old.listener() is not None and not old.joins(kind, listener)
            ]
            self._connections = tuple(sorted([*rest, link], key=lambda each: (-each.priority, each.number)))
            self._known.setdefault(kind)
        return link

    def disconnect(
        self, connection: Connection | type[Event] | None, listener: Listener | None = None
    ) -> None:
        """End a connection.

        Parameters
        ----------
        connection : Connection or type
            What `connect` returned (one that has ended already is no error), or the class of events.
        listener : callable, optional
            With a class: the listener.

        Raises
        ------
        NotFoundError
            The listener is not connected to that class.
        """
        if self._vetoed("disconnect", self.disconnect, (connection, listener)):
            return
        with self._lock:
            ended = [
                link
                for link in self._connections
                if link is connection or (isinstance(connection, type) and link.joins(connection, listener))
            ]
            if isinstance(connection, type) and not ended:
                raise NotFoundError(
                    f"{listener!r} is not connected to {connection.__name__}; nothing to disconnect"
                )
            self._connections = tuple(link for link in self._connections if link not in ended)

    def has_listeners(self, kind: type[Event]) -> bool:
        """Tell whether anybody would hear events of a class."""
        if not self._connections and self._trace is None:
            return False
        return self._trace is not None or any(
            issubclass(kind, link.kind) or issubclass(link.kind, kind) for link in self._connections
        )

    def emit(self, event: Event, block: bool = True) -> threading.Thread | None:
        """Bring an event to its listeners.

        Parameters
        ----------
        event : Event
            The event.
        block : bool, default True
            Return when all have heard; else they hear in a thread of their own.

        Returns
        -------
        threading.Thread or None
            The thread, without `block`.
        """
        if not self._connections and self._trace is None:
            return None
        if not block:
            thread = threading.Thread(target=self.emit, args=(event,), name=f"emit {type(event).__name__}")
            thread.start()
            return thread
        if not self._vetoed("emit", self.emit, (event,)) and self.is_enabled(type(event)):
            self._bring(event)
        return None

    def _bring(self, event: Event) -> None:
        links = [link for link in self._connections if link.accepts(event)]
        event.pre_emit()
        for link in links:
            listener = link.listener()
            if listener is None or self._vetoed("listen", listener, (event,)):
                continue
            try:
                listener(event)
            except Exception:  # a listener is outside code: all others must still hear
                _log.warning("listener %r failed for %r", listener, event, exc_info=True)
            if event._handled:
                break
        event.post_emit()

    def get_listeners(self, event: Event | type[Event]) -> list[Listener]:
        """Return who would hear an event, or any event of a class, in their order.

        Parameters
        ----------
        event : Event or type
            An event (filters are asked), or a class (they are not).
        """
        if isinstance(event, type):
            links = [link for link in self._connections if issubclass(event, link.kind)]
        else:
            links = [link for link in self._connections if link.accepts(event)]
        return [listener for link in links if (listener := link.listener()) is not None]

    def register(self, kind: type[Event]) -> None:
        """Make a class of events known; `connect`, `disable` and `enable` do that by themselves.

        Raises
        ------
        AlreadyExistsError
            It is known.
        """
        with self._lock:
            if kind in self._known:
                raise AlreadyExistsError(f"the event {kind.__name__} is registered already; connect to it")
            self._known[kind] = None

    def get_event(self) -> list[type[Event]]:
        """Return the classes of events that are known."""
        return list(self._known)

    @staticmethod
    def get_event_hierarchy(kind: type[Event]) -> tuple[type[Event], ...]:
        """Return the classes whose listeners hear events of a class, the class itself first."""
        return tuple(each for each in kind.__mro__ if issubclass(each, Event))

    def disable(self, kind: type[Event]) -> None:
        """Drop all events of a class and of its subclasses until `enable`."""
        with self._lock:
            self._known.setdefault(kind)
            self._disabled.append(kind)

    def enable(self, kind: type[Event]) -> None:
        """End `disable` of the same class, however often that was called."""
        with self._lock:
            self._known.setdefault(kind)
            self._disabled = [each for each in self._disabled if each is not kind]

    def is_enabled(self, kind: type[Event]) -> bool:
        """Tell whether neither a class nor one that it derives from is disabled."""
        return not self._disabled or not issubclass(kind, tuple(self._disabled))

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

    def set_trace(self, trace: Trace | None) -> None:
        """Let a function see every action first.

        Parameters
        ----------
        trace : callable or None
            Takes the name of the action (``connect``, ``disconnect``, ``emit``, ``listen``), the callable
            that will be called and its arguments; a true answer prevents the action. None ends tracing.
        """
        self._trace = trace

    def _vetoed(self, name: str, method: Callable[..., object], args: tuple[Any, ...]) -> bool:
        return self._trace is not None and bool(self._trace(name, method, args))


def _reference(listener: Listener, *, keep: bool | None) -> Callable[[], Listener | None]:
    is_method = hasattr(listener, "__self__") and hasattr(listener, "__func__")
    if keep or (keep is None and not is_method):
        return lambda: listener
    return weakref.WeakMethod(listener) if is_method else weakref.ref(listener)


bus = EventBus()
"""The bus of this process, on which every face emits unless it is given another."""
