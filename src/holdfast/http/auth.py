"""Own who may do what: keys in every form a client can send them, and their scopes.

It does not keep keys: the roof gives a function that finds one by its hash.

>>> from holdfast.http.auth import Access, key_hash, new_key
>>> from holdfast.http.principal import Principal
>>> key = new_key()
>>> access = Access(lambda digest: Principal("tom", "read") if digest == key_hash(key) else None)
>>> access.principal_of(key).name
'tom'
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from typing import Literal

from holdfast.errors import AuthenticationError, ForbiddenError
from holdfast.http.principal import ANONYMOUS, LOCAL, Principal
from holdfast.http.request import Request
from holdfast.types import Scope

__all__ = ["Access", "Need", "key_hash", "key_of", "new_key"]

Need = Literal["open", "read", "write"]
"""What a route asks for: nothing at all, or a key of that scope."""

_REMEMBER_S = 1.0
_MAX_REMEMBERED = 1_000


def new_key() -> str:
    """Return a fresh key: 64 hexadecimal digits."""
    return secrets.token_hex(32)


def key_hash(key: str) -> str:
    """Return what is kept of a key: the hexadecimal sha256 of its text."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def key_of(request: Request) -> str | None:
    """Return the key that a request carries, or None.

    Parameters
    ----------
    request : Request
        ``Authorization: Apikey``, ``Bearer`` or ``Basic`` (the password), ``X-API-Key`` and
        ``?api_key=`` are looked at, in this order.

    Returns
    -------
    str or None
        The key, unchecked.
    """
    authorization = request.headers.get("authorization")
    if authorization is not None:
        kind, _, value = authorization.strip().partition(" ")
        if kind.lower() in {"apikey", "bearer"}:
            return value.strip()
        if kind.lower() == "basic":
            return _password(value.strip())
    header = request.headers.get("x-api-key")
    if header is not None:
        return header.strip()
    return request.query.get("api_key") if b"api_key=" in request.raw_query else None


def _password(encoded: str) -> str:
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
    return text.partition(":")[2]


class Access:
    """Decide about requests.

    Parameters
    ----------
    find_key : callable
        Takes the sha256 of a key as hexadecimal text and gives its `Principal`, or None for a key
        that is unknown, revoked or expired.
    public : bool, default False
        Let anyone read.
    public_write : bool, default False
        Let anyone write, too.

    Notes
    -----
    What a key allows is remembered for one second, so that a revoked key ends within that time.
    """

    def __init__(
        self,
        find_key: Callable[[str], Principal | None],
        *,
        public: bool = False,
        public_write: bool = False,
    ) -> None:
        self._find_key = find_key
        self.public = public or public_write
        self.public_write = public_write
        self._known: dict[str, tuple[float, Principal]] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls) -> Access:
        """Return an access that allows everything to everyone: for one process alone."""
        return cls(lambda digest: None, public_write=True)

    @classmethod
    def with_key(cls, key: str, scope: Scope = "write", **options: bool) -> Access:
        """Return an access that knows one key."""
        expected, principal = key_hash(key), Principal("key", scope)
        return cls(lambda found: principal if hmac.compare_digest(found, expected) else None, **options)

    def principal_of(self, key: str) -> Principal:
        """Return who holds a key.

        Parameters
        ----------
        key : str
            The key.

        Returns
        -------
        Principal
            Its holder.

        Raises
        ------
        AuthenticationError
            For a key that is unknown, revoked or expired.
        """
        return self._holder(key_hash(key))

    def _holder(self, digest: str) -> Principal:
        now = time.monotonic()
        at, known = self._known.get(digest, (-_REMEMBER_S, ANONYMOUS))
        if now - at < _REMEMBER_S:
            return known
        found = self._find_key(digest)
        if found is None:
            raise AuthenticationError("this key is not known, was revoked or has expired; ask for a new one")
        with self._lock:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[digest] = (now, found)
        return found

    def admit(self, request: Request, need: Need) -> Principal:
        """Return who asks, if that may be done.

        Parameters
        ----------
        request : Request
            The request.
        need : {"open", "read", "write"}
            What the route asks for.

        Returns
        -------
        Principal
            The holder of the key, or `ANONYMOUS`.

        Raises
        ------
        AuthenticationError
            Without a key where one is needed, and for a wrong key.
        ForbiddenError
            For a key that only reads.
        """
        if request.direct:
            return LOCAL
        if need == "open":
            return ANONYMOUS
        key = key_of(request)
        return self.admit_holder(None if key is None else key_hash(key), need)

    def admit_holder(self, digest: str | None, need: Need) -> Principal:
        """Return who asks over the wire, if that may be done.

        Parameters
        ----------
        digest : str or None
            What `key_hash` says of the key of the request; None without one.
        need : {"open", "read", "write"}
            What the route asks for.

        Returns
        -------
        Principal
            As `admit`.

        Raises
        ------
        AuthenticationError, ForbiddenError
            As `admit`.
        """
        if need == "open":
            return ANONYMOUS
        if digest is None:
            return self._admit_anonymous(need)
        principal = self._holder(digest)
        if need == "write" and principal.scope != "write":
            raise ForbiddenError("this key only reads; use one with the scope 'write'")
        return principal

    def _admit_anonymous(self, need: Need) -> Principal:
        if self.public_write or (self.public and need == "read"):
            return ANONYMOUS
        verb = "writing" if need == "write" else "reading"
        raise AuthenticationError(
            f"{verb} needs a key; send it as 'Authorization: Apikey KEY' or in HOLDFAST_API_KEY"
        )
