"""The lines for the operator: all of them, with the right times, warnings at once."""

from __future__ import annotations

import io
import logging

from holdfast.http.logbook import LineFormatter, Logbook, Writes
from holdfast.http.principal import Principal
from holdfast.http.request import Request


def record(message, level=logging.INFO):
    return logging.makeLogRecord({"msg": message, "levelno": level})


def test_lines_are_written_together_and_a_warning_with_all_before_it():
    stream = io.StringIO()
    logbook = Logbook(stream)
    logbook.handle(record("one"))
    logbook.handle(record("two"))
    assert stream.getvalue() == ""
    logbook.handle(record("broken", logging.WARNING))
    assert stream.getvalue() == "one\ntwo\nbroken\n"
    logbook.handle(record("three"))
    logbook.flush()
    logbook.flush()
    assert stream.getvalue() == "one\ntwo\nbroken\nthree\n"


def test_lines_that_nobody_flushes_do_not_pile_up():
    stream = io.StringIO()
    logbook = Logbook(stream)
    for number in range(2500):
        logbook.handle(record(str(number)))
    assert stream.getvalue().count("\n") == 2000


def write(path, *, direct=False):
    scope = {"method": "PUT", "path": path, "headers": [], "client": ("127.0.0.1", 1)}
    request = Request({**scope, "holdfast.direct": True} if direct else scope)
    request.principal = Principal("key 1", "write")
    return request


def test_writes_are_logged_later_with_the_time_at_which_they_were(caplog):
    caplog.set_level(logging.INFO, "holdfast.access")
    writes = Writes()
    kept = [writes.note(write(f"/{number}"), 200) for number in range(150)]
    assert not any(kept)
    assert caplog.records == []
    assert writes.log() is True
    assert writes.log() is False
    assert [each.getMessage() for each in caplog.records][149] == "PUT /149 200 by key 1 from 127.0.0.1"
    times = [each.created for each in caplog.records]
    assert times == sorted(times)
    assert 0 <= caplog.records[0].msecs < 1000


def test_lines_have_the_times_that_the_standard_library_writes():
    plain, ours = logging.Formatter("%(asctime)s %(message)s"), LineFormatter()
    for created in (0.0, 1.25, 1.999, 2.0, 1.5, 1764477095.0625, 1764477095.998, 1774747800.5):
        each = logging.makeLogRecord({"msg": "%s", "args": ("x",), "created": created})
        each.msecs = created % 1 * 1000
        assert ours.format(each) == plain.format(each)


def test_records_of_writes_are_whole_and_apart(caplog):
    caplog.set_level(logging.INFO, "holdfast.access")
    writes = Writes()
    writes.note(write("/a"), 200)
    writes.note(write("/b"), 409)
    writes.log()
    first, second = caplog.records
    usual = logging.makeLogRecord({})
    assert first.__dict__.keys() >= usual.__dict__.keys()
    first.extra = 1
    assert not hasattr(second, "extra")
    assert (first.args[1:3], second.args[1:3]) == (("/a", 200), ("/b", 409))


def test_what_cannot_wait_is_said_now(caplog):
    caplog.set_level(logging.INFO, "holdfast.access")
    assert Writes().note(write("/x", direct=True), 200) is True
    writes = Writes()
    assert [writes.note(write("/x"), 200) for _ in range(1000)][-1] is True


def test_nothing_is_kept_that_nobody_wants(caplog):
    caplog.set_level(logging.ERROR, "holdfast.access")
    writes = Writes()
    assert writes.note(write("/x", direct=True), 200) is False
    assert writes.log() is False
