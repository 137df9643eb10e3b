import gc
import threading
from dataclasses import dataclass

import pytest

from holdfast.events import Event, EventBus, ProgressStep


@dataclass(eq=False)
class Made(Event):
    key: str = ""


def test_listeners_hear_subclasses_in_order_of_priority():
    bus, heard = EventBus(), []
    bus.connect(Event, lambda event: heard.append("late"), keep=True)
    bus.connect(Made, lambda event: heard.append("early"), priority=5, keep=True)
    bus.emit(Made())
    assert heard == ["early", "late"]


def test_filters_look_at_dotted_attributes():
    bus, heard = EventBus(), []
    bus.connect(Made, heard.append, filter={"key": "a", "source.real": 3}, keep=True)
    bus.emit(Made(source=3, key="a"))
    bus.emit(Made(source=4, key="a"))
    bus.emit(Made(source=3, key="b"))
    assert len(heard) == 1


def test_a_method_stops_hearing_with_its_object():
    class Ear:
        def hear(self, event):
            raise AssertionError

    bus, ear = EventBus(), Ear()
    bus.connect(Event, ear.hear)
    del ear
    gc.collect()
    bus.emit(Event())


def test_handled_events_go_no_further():
    bus, heard = EventBus(), []
    bus.connect(Event, lambda event: event.mark_as_handled(), priority=1, keep=True)
    bus.connect(Event, heard.append, keep=True)
    bus.emit(Event())
    assert heard == []


def test_disabled_classes_are_dropped_for_the_block():
    bus, heard = EventBus(), []
    bus.connect(Event, heard.append, keep=True)
    with bus.disabled(Made):
        bus.emit(Made())
        bus.emit(ProgressStep())
    bus.emit(Made())
    assert [type(event) for event in heard] == [ProgressStep, Made]


def test_a_failing_listener_is_logged_and_does_not_silence_the_others(caplog):
    bus, heard = EventBus(), []

    def fail(event):
        raise RuntimeError("broken listener")

    bus.connect(Event, fail, priority=1)
    bus.connect(Event, heard.append)
    bus.emit(Event())
    assert len(heard) == 1
    assert "broken listener" in caplog.text


def test_a_connection_can_be_ended():
    bus, heard = EventBus(), []
    link = bus.connect(Event, heard.append, keep=True)
    assert bus.has_listeners(Made)
    bus.disconnect(link)
    bus.disconnect(link)
    bus.emit(Event())
    assert heard == []
    assert not bus.has_listeners(Made)


def test_functions_are_held_strongly_and_weakly_on_request():
    bus, heard = EventBus(), []
    bus.connect(Event, lambda event: heard.append("strong"))
    bus.connect(Event, lambda event: heard.append("weak"), keep=False)
    gc.collect()
    bus.emit(Event())
    assert heard == ["strong"]


def test_connecting_again_replaces_filter_and_order():
    bus, heard = EventBus(), []

    def first(event):
        heard.append("first")

    bus.connect(Event, first, {"source": 1})
    bus.connect(Event, lambda event: heard.append("second"))
    bus.connect(Event, first)
    bus.emit(Event(source=2))
    assert heard == ["second", "first"]


def test_disconnecting_by_class_and_listener_and_not_twice():
    bus, heard = EventBus(), []
    bus.connect(Made, heard.append)
    bus.disconnect(Made, heard.append)
    bus.emit(Made())
    assert heard == []
    with pytest.raises(KeyError, match="not connected to Made"):
        bus.disconnect(Made, heard.append)


def test_disabling_a_class_disables_its_subclasses_until_enabled():
    bus, heard = EventBus(), []
    bus.connect(Event, heard.append)
    bus.disable(Event)
    assert not bus.is_enabled(Made)
    bus.emit(Made())
    bus.enable(Event)
    bus.emit(Made())
    assert len(heard) == 1


def test_an_event_can_go_round_in_a_thread_of_its_own():
    bus, heard = EventBus(), []
    bus.connect(Made, lambda event: heard.append(threading.current_thread()))
    thread = bus.emit(Made(), block=False)
    thread.join()
    assert heard == [thread]


def test_a_trace_sees_every_action_and_can_veto_it():
    bus, heard, seen = EventBus(), [], []

    def trace(name, method, args):
        seen.append(name)
        return name == "listen"

    bus.set_trace(trace)
    bus.connect(Event, heard.append)
    bus.emit(Event())
    bus.set_trace(None)
    assert seen == ["connect", "emit", "listen"]
    assert heard == []


def test_hooks_of_an_event_run_around_its_listeners():
    order = []

    class Hooked(Event):
        def pre_emit(self):
            order.append("before")

        def post_emit(self):
            order.append("after")

    bus = EventBus()
    bus.connect(Event, lambda event: order.append("heard"))
    bus.emit(Hooked())
    assert order == ["before", "heard", "after"]
