"""Keys in every form, their scopes, and nothing of them in sight."""

from __future__ import annotations

import base64
import time

import pytest

from holdfast.errors import AuthenticationError, ForbiddenError
from holdfast.http.auth import Access, key_hash, key_of, new_key
from holdfast.http.principal import ANONYMOUS, LOCAL, Principal
from holdfast.http.request import Request

KEY = new_key()


def request(headers=(), query=b"", **more):
    fields = [(name.encode(), value.encode()) for name, value in headers]
    return Request({"method": "GET", "path": "/", "query_string": query, "headers": fields, **more})


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


FORMS = {
    "apikey": request([("authorization", f"Apikey {KEY}")]),
    "lower": request([("authorization", f"apikey {KEY}")]),
    "bearer": request([("authorization", f"Bearer {KEY}")]),
    "basic": request([("authorization", basic("key", KEY))]),
    "header": request([("x-api-key", KEY)]),
    "query": request(query=b"a=1&api_key=" + KEY.encode()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_key_is_equal(form):
    access = Access.with_key(KEY)
    assert key_of(FORMS[form]) == KEY
    assert access.admit(FORMS[form], "write").scope == "write"


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Apikey wrong")],
        [("authorization", "Basic !!!")],
        [("authorization", "Basic " + base64.b64encode(b"nocolon").decode())],
        [("authorization", "Bearer")],
        [("x-api-key", "")],
        [("authorization", "Apikey \xe4")],
    ],
)
def test_a_wrong_key_is_refused_even_where_none_is_needed(headers):
    for access in (Access.with_key(KEY), Access.with_key(KEY, public=True)):
        with pytest.raises(AuthenticationError, match="not known"):
            access.admit(request(headers), "read")


def test_without_a_key_public_servers_are_read_and_never_written():
    assert Access.with_key(KEY, public=True).admit(request(), "read") == ANONYMOUS
    with pytest.raises(AuthenticationError, match="writing needs a key"):
        Access.with_key(KEY, public=True).admit(request(), "write")
    with pytest.raises(AuthenticationError, match="reading needs a key"):
        Access.with_key(KEY).admit(request(), "read")
    assert Access.with_key(KEY, public_write=True).admit(request(), "write") == ANONYMOUS


def test_open_routes_never_ask():
    assert Access.with_key(KEY).admit(request([("authorization", "Apikey wrong")]), "open") == ANONYMOUS


def test_a_key_that_reads_does_not_write():
    access = Access.with_key(KEY, "read")
    assert access.admit(FORMS["bearer"], "read").scope == "read"
    with pytest.raises(ForbiddenError, match="only reads"):
        access.admit(FORMS["bearer"], "write")


def test_one_process_needs_no_key():
    assert Access.with_key(KEY).admit(request(**{"holdfast.direct": True}), "write") == LOCAL


def test_a_revoked_key_ends_within_its_second(monkeypatch):
    keys = {key_hash(KEY): Principal("tom", "read")}
    access = Access(keys.get)
    assert access.principal_of(KEY).name == "tom"
    keys.clear()
    assert access.principal_of(KEY).name == "tom"
    later = time.monotonic() + 1.1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    with pytest.raises(AuthenticationError):
        access.principal_of(KEY)


def test_many_keys_do_not_fill_the_memory():
    access = Access(lambda digest: Principal(digest, "read"))
    for number in range(3000):
        access.principal_of(str(number))
    assert len(access._known) <= 1000


def test_a_key_is_64_hex_digits_and_only_its_hash_is_looked_up():
    seen = []
    access = Access(lambda digest: seen.append(digest) or Principal("x", "read"))
    key = new_key()
    access.principal_of(key)
    assert len(key) == 64
    assert int(key, 16) >= 0
    assert seen == [key_hash(key)]
    assert key not in seen


def test_no_key_is_in_a_repr():
    assert KEY not in repr(FORMS["query"]) + repr(FORMS["query"].query) + repr(FORMS["apikey"].headers)
