"""Errors on the wire, there and back."""

from __future__ import annotations

import msgspec
import pytest

from holdfast import errors
from holdfast.http.errors import BY_STATUS, error_from, error_json, status_of


def there_and_back(error):
    return error_from(status_of(error), msgspec.json.encode(error_json(error)))


@pytest.mark.parametrize("cls", sorted(set(errors.classes().values()), key=lambda cls: cls.code))
def test_every_class_comes_back_as_itself(cls):
    if issubclass(cls, errors.BulkError):
        pytest.skip("has its own test")
    found = there_and_back(cls("what, where, what to do", key="x", n=1))
    assert type(found) is cls
    assert (found.message, found.details) == ("what, where, what to do", {"key": "x", "n": 1})


def test_several_failures_come_back_together():
    bulk = errors.BulkError("2 of 3 failed", [errors.NotFoundError("a"), errors.HashError("b", block=2)])
    found = there_and_back(bulk)
    assert isinstance(found, errors.BulkError)
    assert [(type(each), str(each)) for each in found.exceptions] == [
        (errors.NotFoundError, "a"),
        (errors.HashError, "b"),
    ]
    assert status_of(bulk) == 500
    assert status_of(errors.BulkError("x", [errors.NotFoundError("a"), errors.NotFoundError("b")])) == 404
    assert status_of(errors.BulkError("x", [ValueError("a")])) == 500


@pytest.mark.parametrize(
    ("status", "body", "cls", "words"),
    [
        (404, b'{"detail": "No such entry."}', errors.NotFoundError, "No such entry."),
        (500, b"", errors.ServerError, "Reason"),
        (418, b"short and stout", errors.ServerError, "short and stout"),
        (502, b"<html>x</html>", errors.TransportError, "Reason"),
        (400, b'{"code": "from-the-future", "detail": "x"}', errors.ServerError, "x"),
        (400, b'{"code": "bulk", "detail": "x"}', errors.ServerError, "x"),
        (400, b'{"code": 5}', errors.InvalidInputError, "5"),
        (400, b"[1]", errors.InvalidInputError, "[1]"),
        (400, b"\xff\xfe", errors.InvalidInputError, "answered 400"),
        (404, b'{"code": "not-found", "detail": "x", "details": [1]}', errors.NotFoundError, "x"),
    ],
)
def test_other_servers_errors_have_a_class_too(status, body, cls, words):
    found = error_from(status, body, "Reason")
    assert type(found) is cls
    assert words in str(found)


def test_the_table_of_statuses_agrees_with_the_classes():
    agreed = {429, 409, 502}
    assert {status for status, cls in BY_STATUS.items() if cls.status != status} <= agreed
