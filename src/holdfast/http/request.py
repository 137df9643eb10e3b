"""Own the request as routes see it: a plain value, without sockets and without awaiting.

It does not read bodies from the wire; the edge does and puts small ones here.

>>> from holdfast.http.request import Query
>>> query = Query.parse(b"fields=&page%5Blimit%5D=5")
>>> query.get("page[limit]"), query.all("fields")
('5', [''])
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from holdfast.errors import InvalidInputError
from holdfast.http.params import decode_params
from holdfast.http.principal import ANONYMOUS, Principal
from holdfast.types import Json

__all__ = ["Headers", "Pairs", "Query", "Request"]

T = TypeVar("T")

MAX_FIELDS = 20_000
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_SLASHES = re.compile("//+")


class Pairs:
    """Hold names and values in order; a name may occur more than once.

    Parameters
    ----------
    pairs : sequence of (str, str)
        The names and values.
    """

    __slots__ = ("_last", "_pairs")

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        self._pairs = tuple(pairs)
        self._last = dict(self._pairs)

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return the last value of a name, or the default."""
        return self._last.get(name, default)

    def all(self, name: str) -> list[str]:
        """Return every value of a name, in order."""
        return [value for key, value in self._pairs if key == name]

    def items(self) -> tuple[tuple[str, str], ...]:
        """Return all names with their values, in order."""
        return self._pairs

    def __contains__(self, name: object) -> bool:
        return name in self._last

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._pairs)

    def __repr__(self) -> str:
        # Values stay out: one of them may be a key.
        return f"{type(self).__name__}({', '.join(self._last)})"


class Query(Pairs):
    """Hold the parameters of an address, decoded."""

    __slots__ = ()

    @classmethod
    def parse(cls, raw: bytes) -> Query:
        """Read the query of an address.

        Parameters
        ----------
        raw : bytes
            As it stands in the request line.

        Returns
        -------
        Query
            Its parameters; blank values are kept.

        Raises
        ------
        InvalidInputError
            For bytes that are not UTF-8 and for more than 20,000 parameters.
        """
        if not raw:
            return cls()
        try:
            text = raw.decode("utf-8")
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
        except UnicodeDecodeError as error:
            raise InvalidInputError("the query of the address is not UTF-8; percent-encode it") from error
        except ValueError as error:
            raise InvalidInputError(
                f"the address has more than {MAX_FIELDS} parameters; send fewer at once"
            ) from error
        return cls(pairs)


class Headers(Pairs):
    """Hold the fields of a head; names are given in lower case."""

    __slots__ = ()

    @classmethod
    def decode(cls, raw: Sequence[tuple[bytes, bytes]]) -> Headers:
        """Read ASGI header pairs."""
        return cls([(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw])


class Request:
    """Be one request.

    Parameters
    ----------
    scope : mapping
        The ASGI scope.

    Attributes
    ----------
    method : str
        The method in capitals.
    body : bytes
        The whole body where the route asked for one, else empty.
    principal : Principal
        Who asks, and what the key allows.
    may_wait : bool
        False while a route of the lane ``brief`` runs on the loop: it must raise a `BusyError` before it does
        anything where it would have to wait for others.
    """

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.body: bytes = b""
        self.principal: Principal = ANONYMOUS
        self._headers: Headers | None = None
        self.may_wait = True

    @property
    def headers(self) -> Headers:
        """The fields of the head, by lower-case name."""
        if self._headers is None:
            self._headers = Headers.decode(self.scope["headers"])
        return self._headers

    @cached_property
    def path(self) -> str:
        """The decoded path below the mount, with doubled slashes collapsed."""
        path = self.scope["path"][len(self.scope.get("root_path", "")) :]
        return _SLASHES.sub("/", path) or "/"

    @property
    def raw_path(self) -> bytes:
        """The path as it stands in the request line, without the query."""
        raw: bytes = self.scope.get("raw_path") or self.scope["path"].encode()
        return raw

    @property
    def raw_query(self) -> bytes:
        """The query as it stands in the request line."""
        raw: bytes = self.scope.get("query_string", b"")
        return raw

    @cached_property
    def query(self) -> Query:
        """The parameters of the address."""
        return Query.parse(self.raw_query)

    @property
    def args(self) -> Mapping[str, Any]:
        """The variable parts of the path by their names in the route."""
        args: Mapping[str, Any] = self.scope.get("path_params", {})
        return args

    @cached_property
    def base(self) -> str:
        """The address of the site, without a slash at its end."""
        return f"{self.scope.get('scheme', 'http')}://{self.headers.get('host') or _server(self.scope)}"

    @cached_property
    def root(self) -> str:
        """The address of the mount that the route belongs to, without a slash at its end."""
        return self.base + str(self.scope.get("root_path", "")).rstrip("/")

    @property
    def client(self) -> str:
        """The address of the peer, for logs."""
        peer = self.scope.get("client")
        return str(peer[0]) if peer else "local"

    @property
    def direct(self) -> bool:
        """True for a request of this process, without a socket."""
        return "holdfast.direct" in self.scope

    @property
    def idempotency_key(self) -> str | None:
        """The checked ``Idempotency-Key``, or None.

        Raises
        ------
        InvalidInputError
            For a key that is not 1 to 255 printable ASCII characters.
        """
        key = self.headers.get("idempotency-key")
        if key is not None and not _IDEMPOTENCY_KEY.match(key):
            raise InvalidInputError("Idempotency-Key must be 1 to 255 printable ASCII characters, no blanks")
        return key

    def params(self, kind: type[T], besides: tuple[str, ...] = ()) -> T:
        """Read the parameters of the address into a struct.

        Parameters
        ----------
        kind : type
            A `msgspec.Struct` with a field for each parameter; list fields may be repeated.
        besides : tuple of str, optional
            Beginnings of names that the route reads itself, such as ``filter[``.

        Returns
        -------
        msgspec.Struct
            The values.

        Raises
        ------
        InvalidInputError
            For a parameter that is unknown or malformed; it is named.
        """
        return decode_params(self.query.items(), kind, besides)

    def json(self, kind: Any = Any) -> Json:
        """Read the body as JSON.

        Parameters
        ----------
        kind : type, default Any
            What it must be.

        Returns
        -------
        object
            A value of that type.

        Raises
        ------
        InvalidInputError
            For a body that is not JSON or not of that type; the place is named.
        """
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.ValidationError as error:
            raise InvalidInputError(f"the body is not as it must be: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInputError(f"the body is not JSON: {error}") from error

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path}>"


def _server(scope: Mapping[str, Any]) -> str:
    host, port = scope.get("server") or ("localhost", None)
    return f"{host}:{port}" if port else str(host)
