"""A user opens a Tiled server by password: tokens are asked for once, renewed in time, kept from sight."""

from __future__ import annotations

import json
import pickle
from urllib.parse import parse_qs

import pytest

from catalog.canned import Canned, item, serving
from holdfast.catalog import from_uri
from holdfast.errors import AuthenticationError, InvalidInputError, TransportError
from served import KEY, served


class Tiled(Canned):
    """A server that wants `Bearer` tokens, and gives them to one user."""

    def __init__(self, *, expires_in=900, mode="internal", elsewhere=False):
        super().__init__({"a": item("a", "container")})
        self.given, self.refreshed, self.is_over = 0, 0, False
        self.expires_in, self.mode, self.elsewhere = expires_in, mode, elsewhere

    def answer(self, handler):
        path, host = handler.path, handler.headers["host"]
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        if path == "/api/v1/":
            return self.describe("other.example" if self.elsewhere else host)
        if path.endswith("/token"):
            assert "authorization" not in handler.headers
            asked = parse_qs(body.decode())
            right = {"grant_type": ["password"], "username": ["alice"], "password": ["s&cret ü"]}
            return self.tokens() if asked == right else 401
        if path.endswith("/refresh"):
            self.refreshed += 1
            right = {"refresh_token": f"refresh{self.given}"}
            return self.tokens() if json.loads(body) == right and not self.is_over else 401
        if handler.headers.get("authorization") != f"Bearer access{self.given}":
            return 401
        return super().answer(handler)

    def describe(self, host):
        links = {"auth_endpoint": f"http://{host}/api/v1/auth/provider/toy/token"}
        provider = {"provider": "toy", "mode": self.mode, "links": links, "confirmation_message": ""}
        session = {"refresh_session": f"http://{host}/api/v1/auth/session/refresh"}
        return {"authentication": {"required": True, "providers": [provider], "links": session}, "meta": {}}

    def tokens(self):
        self.given += 1
        return {
            "access_token": f"access{self.given}",
            "refresh_token": f"refresh{self.given}",
            "expires_in": self.expires_in,
            "token_type": "bearer",
        }


def opened(url, password="s&cret ü"):
    return from_uri(url, username="alice", password=password)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.setenv("HOLDFAST_API_KEY", "a key of another server")


def test_a_password_opens_and_is_sent_once():
    tiled = Tiled()
    with serving(tiled) as url, opened(url) as client:
        assert list(client) == ["a"]
        assert client["a"].key == "a"
    assert (tiled.given, tiled.refreshed) == (1, 0)


def test_another_password_is_an_authentication_error():
    with serving(Tiled()) as url, pytest.raises(AuthenticationError):
        opened(url, "guess")


def test_tokens_that_end_are_renewed_before():
    tiled = Tiled(expires_in=0)
    with serving(tiled) as url, opened(url) as client:
        assert list(client) == ["a"]
        assert tiled.refreshed >= 2
        tiled.is_over = True
        with pytest.raises(AuthenticationError, match="open the catalog again"):
            list(client)


def test_a_server_without_passwords_says_so(tmp_path):
    with serving(Tiled(mode="external")) as url, pytest.raises(InvalidInputError, match=r"toy \(external\)"):
        opened(url)
    with served(tmp_path) as server, pytest.raises(InvalidInputError, match="keys only"):
        from_uri(server.url, KEY, username="alice", password="x")


def test_a_password_never_goes_to_another_server():
    with serving(Tiled(elsewhere=True)) as url, pytest.raises(TransportError, match="another server"):
        opened(url)


def test_neither_password_nor_token_is_shown_or_pickled():
    with serving(Tiled()) as url, opened(url) as client:
        for text in (repr(client), repr(client.session), repr(vars(client)), str(pickle.dumps(client))):
            assert "s&cret" not in text
            assert "access1" not in text
