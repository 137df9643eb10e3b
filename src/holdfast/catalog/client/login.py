"""Opening a Tiled server by user name and password: tokens for a session, renewed before they end.

Holdfast's own servers take keys only.

References
----------
Tiled 0.2.16 to 0.2.20: ``POST /auth/provider/{name}/token`` (OAuth 2's password grant) and
``POST /auth/session/refresh``.
"""

from __future__ import annotations

import threading
import time
from urllib.parse import urlencode

import msgspec

from holdfast.errors import AuthenticationError, InvalidInputError
from holdfast.http.client import Connection
from holdfast.types import Json

__all__ = ["login"]

_MODES = frozenset({"internal", "password"})
_FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
# Renewed this long before it ends, or at half its life: clocks and networks are not exact.
_MARGIN_S = 60.0


class _Tokens(msgspec.Struct):
    access_token: str
    refresh_token: str
    expires_in: float


class _Links(msgspec.Struct):
    auth_endpoint: str | None = None


class _Provider(msgspec.Struct):
    provider: str
    mode: str = ""
    links: _Links = msgspec.field(default_factory=_Links)


class _SessionLinks(msgspec.Struct):
    refresh_session: str | None = None


class _Authentication(msgspec.Struct):
    providers: list[_Provider] = []
    links: _SessionLinks | None = None


class _About(msgspec.Struct):
    authentication: _Authentication


def login(connection: Connection, username: str, password: str) -> None:
    """Let a connection speak for a user.

    Parameters
    ----------
    connection : Connection
        To the server.
    username, password : str
        Sent to that server once; only the tokens that it gives are kept.

    Raises
    ------
    InvalidInputError
        The server takes no passwords.
    AuthenticationError
        The user or the password is another.
    """
    asking = connection.anonymous()
    about: _About = asking.get_json("/api/v1/", kind=_About)
    offered = about.authentication.providers
    endpoint = next((each.links.auth_endpoint for each in offered if each.mode in _MODES), None)
    if endpoint is None:
        kinds = ", ".join(f"{each.provider} ({each.mode})" for each in offered) or "keys only"
        raise InvalidInputError(
            f"the server at {connection.address} takes no passwords: {kinds}; give api_key="
        )
    form = urlencode({"grant_type": "password", "username": username, "password": password}).encode()
    with asking.open("POST", endpoint, headers=_FORM, body=form) as answer:
        tokens = msgspec.json.decode(answer.read(), type=_Tokens)
    links = about.authentication.links
    connection.authorize(_Session(asking, tokens, links.refresh_session if links else None).authorization)


class _Session:
    """The tokens of one login; safe across threads."""

    def __init__(self, asking: Connection, tokens: _Tokens, refresh: str | None) -> None:
        self._asking, self._refresh = asking, refresh
        self._lock = threading.Lock()
        self._take(tokens)

    def _take(self, tokens: _Tokens) -> None:
        self._tokens = tokens
        self._until = time.monotonic() + max(tokens.expires_in - _MARGIN_S, tokens.expires_in / 2)

    def authorization(self) -> str:
        """Return the value of ``Authorization``; renew the token first when it is about to end."""
        with self._lock:
            if self._refresh is not None and time.monotonic() >= self._until:
                self._take(self._renewed(self._refresh))
            return f"Bearer {self._tokens.access_token}"

    def _renewed(self, refresh: str) -> _Tokens:
        asked: Json = {"refresh_token": self._tokens.refresh_token}
        try:
            found: _Tokens = self._asking.send_json("POST", refresh, asked, kind=_Tokens)
        except AuthenticationError as error:
            raise AuthenticationError(
                f"the login at {self._asking.address} has ended; open the catalog again with the password"
            ) from error
        return found
