import gc
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


def test_a_failing_listener_does_not_silence_the_others():
    bus, heard = EventBus(), []

    def fail(event):
        raise RuntimeError("broken listener")

    bus.connect(Event, fail, priority=1, keep=True)
    bus.connect(Event, heard.append, keep=True)
    with pytest.raises(RuntimeError, match="broken listener"):
        bus.emit(Event())
    assert len(heard) == 1


def test_a_connection_can_be_ended():
    bus, heard = EventBus(), []
    link = bus.connect(Event, heard.append, keep=True)
    assert bus.has_listeners(Made)
    bus.disconnect(link)
    bus.disconnect(link)
    bus.emit(Event())
    assert heard == []
    assert not bus.has_listeners(Made)
