"""Own what every face's client stands on: requests with keys, errors, retries, verified bodies.

It does not know how bytes travel: a transport does.

>>> from holdfast.http.client import Connection
>>> from holdfast.http.edge import Site
>>> from holdfast.http.reply import json_reply
>>> from holdfast.http.routing import Mount, Route
>>> site = Site([Mount("", [Route("GET", "/n", lambda request: json_reply({"n": 1}))])])
>>> Connection.to_site(site).get_json("/n")
{'n': 1}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import msgspec

from holdfast.config import settings
from holdfast.errors import InvalidTypeError, TransportError
from holdfast.hashing import BlockDigests, Digest
from holdfast.http.client import sse
from holdfast.http.client.address import Params, split_address, target
from holdfast.http.client.inprocess import Application, InProcess
from holdfast.http.client.patience import send_patiently
from holdfast.http.client.resume import Progress, fetch_file
from holdfast.http.client.sending import Sending
from holdfast.http.client.transport import Answer, Outgoing, Transport
from holdfast.http.client.verify import (
    Arrival,
    BlockCache,
    block_list,
    check_body,
    checked_pieces,
    fill_checked,
    fill_framed,
    fill_verified,
    parse_source,
)
from holdfast.http.errors import error_from
from holdfast.http.frames import FRAMES_MEDIA_TYPE
from holdfast.http.reply import ServerEvent, encode_json
from holdfast.types import Buffer, Durability, Json, PathLike

__all__ = ["Arrival", "Connection"]

_MAX_ERROR_BYTES = 1024 * 1024
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSED = 400


class Connection:
    """Be a client's way to one server, over TCP or in one process.

    Parameters
    ----------
    transport : Transport
        How bytes travel.
    prefix : str, optional
        A quoted path that all paths are below.
    api_key : str, optional
        The key; it never appears in `repr`, in pickles or in messages.

    Notes
    -----
    Safe across threads and fork. A pickled connection carries its address; the key is read again from
    ``HOLDFAST_API_KEY`` where it is opened.
    """

    def __init__(self, transport: Transport, prefix: str = "", api_key: str | None = None) -> None:
        self._transport = transport
        self._prefix = prefix
        self._credential: Callable[[], str] | None = None
        if api_key is not None:
            authorization = f"Apikey {api_key}"
            self._credential = lambda: authorization
        self._blocks = BlockCache()

    @classmethod
    def to_url(cls, url: str, api_key: str | None = None, timeout_s: float | None = None) -> Connection:
        """Prepare a connection over TCP; nothing is sent yet.

        Parameters
        ----------
        url : str
            The address of a server or of a mount of it; a key in it is taken out.
        api_key : str, optional
            The key; default the one in the URL, else ``HOLDFAST_API_KEY``.
        timeout_s : float, optional
            How long to wait for the server, seconds; default ``HOLDFAST_TIMEOUT_S``.

        Returns
        -------
        Connection
            The connection.

        Raises
        ------
        InvalidInputError
            For a URL that is none.
        """
        # The HTTP library is loaded by who talks to a server, not by who reads a directory.
        from holdfast.http.client.tcp import Tcp

        server, prefix, key_in_url = split_address(url)
        chosen = settings()
        key = api_key or key_in_url or chosen.api_key or None
        return cls(Tcp(server, chosen.timeout_s if timeout_s is None else timeout_s), prefix, key)

    @classmethod
    def to_site(cls, site: Application, address: str = "http://localhost", prefix: str = "") -> Connection:
        """Return a connection to an application of this process."""
        return cls(InProcess(site, address), prefix)

    @property
    def address(self) -> str:
        """The address, without key and without a slash at its end."""
        return self._transport.address + self._prefix

    @property
    def is_local(self) -> bool:
        """True when the application is in this process."""
        return isinstance(self._transport, InProcess)

    def anonymous(self) -> Connection:
        """Return a connection over the same transport that sends no key."""
        return Connection(self._transport, self._prefix)

    def authorize(self, credential: Callable[[], str]) -> None:
        """Send what `credential` gives as ``Authorization`` from now on; any thread asks it, each time."""
        self._credential = credential

    def uri_of(self, path: str, params: Params = None) -> str:
        """Return the full address of a path, quoted, without the key."""
        return self._transport.address + self._target(path, params)

    def open(
        self,
        method: str,
        path: str,
        params: Params = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: Outgoing = None,
    ) -> Answer:
        """Send a request and return its answer with the body still to be read.

        Parameters
        ----------
        method : str
            In capitals.
        path : str
            Decoded, with a slash at its beginning; or a whole address that this server gave in a link.
        params : mapping or iterable of pairs, optional
            Parameters.
        headers : mapping, optional
            Fields.
        body : bytes-like or Stream, optional
            The body.

        Returns
        -------
        Answer
            Close it, best in a ``with`` block.

        Raises
        ------
        HoldfastError
            Of the class that the server raised.
        TransportError
            When the server cannot be reached.
        """
        fields = self._fields(headers or {})
        where = self._target(path, params)
        for _ in range(_MAX_REDIRECTS + 1):
            answer = send_patiently(self._transport, method, where, fields, body)
            if answer.status not in _REDIRECTS or "location" not in answer.headers:
                break
            where = self._redirected(where, answer)
        else:
            raise TransportError(f"{self.address} redirects in circles; check its address")
        if answer.status >= _REFUSED:
            with answer:
                raise error_from(answer.status, answer.read(_MAX_ERROR_BYTES), answer.reason)
        return answer

    def get_bytes(
        self, path: str, params: Params = None, *, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Return a whole body, compared with the digests that the server sent.

        Parameters
        ----------
        path, params, headers
            As `open`.

        Returns
        -------
        bytes
            The body.

        Raises
        ------
        HashError
            For damage on the way.
        """
        with self.open("GET", path, params, headers=headers) as answer:
            data = answer.read()
            check_body(answer, data, path)
        return data

    def get_json(self, path: str, params: Params = None, kind: Any = Any) -> Json:
        """Return a JSON answer.

        Parameters
        ----------
        path, params
            As `open`.
        kind : type, default Any
            What the answer is, for `msgspec`.

        Returns
        -------
        object
            The value.

        Raises
        ------
        HoldfastError
            Of the class that the server raised.
        """
        with self.open("GET", path, params, headers={"accept": "application/json"}) as answer:
            return _decoded(answer.read(), kind)

    def send_json(
        self,
        method: str,
        path: str,
        value: Json = None,
        params: Params = None,
        *,
        idempotency_key: str | None = None,
        kind: Any = Any,
    ) -> Json:
        """Send a JSON body and return the JSON answer (None for an empty one)."""
        headers = {"content-type": "application/json", "accept": "application/json"}
        if idempotency_key is not None:
            headers["idempotency-key"] = idempotency_key
        with self.open(method, path, params, headers=headers, body=encode_json(value)) as answer:
            data = answer.read()
        return _decoded(data, kind) if data else None

    def upload(
        self,
        method: str,
        path: str,
        source: Buffer | PathLike | Iterable[Buffer],
        params: Params = None,
        *,
        headers: Mapping[str, str] | None = None,
        size: int | None = None,
        digest: Digest | None = None,
    ) -> Json:
        """Send bytes, a file or pieces so that the server can verify them before it publishes.

        Parameters
        ----------
        method, path
            As `open`.
        source : bytes-like, path-like or iterable of bytes-like
            What is sent; pieces travel in digest frames whose end is the mark to publish.
        params, headers
            As `open`.
        size : int, optional
            The exact size of pieces, bytes.
        digest : Digest, optional
            Of the whole, where it is known already.

        Returns
        -------
        object
            The JSON answer (None for an empty one).
        """
        with Sending.of(source, size, digest) as sending:
            fields = {"content-type": "application/octet-stream", **(headers or {}), **sending.headers}
            with self.open(method, path, params, headers=fields, body=sending.body) as answer:
                data = answer.read()
        return _decoded(data, Any) if data else None

    def read_into(
        self, path: str, view: memoryview, params: Params = None, *, headers: Mapping[str, str] | None = None
    ) -> Arrival:
        """Read a body of known size straight into a buffer, verified as far as the server can.

        Parameters
        ----------
        path
            As `open`.
        view : memoryview
            Contiguous; exactly as long as the body.
        params, headers
            As `open`.

        Returns
        -------
        Arrival
            What it was checked against.

        Raises
        ------
        HashError
            For damage in the store or on the way.
        TransportError
            For a body of another size.
        """
        target_view = view.cast("B")
        fields = {
            "accept": f"{FRAMES_MEDIA_TYPE}, application/octet-stream;q=0.9",
            "holdfast-verify": "blocks",
        }
        with self.open("GET", path, params, headers={**fields, **(headers or {})}) as answer:
            source = parse_source(answer.headers.get("holdfast-source"))
            if source is not None:
                list_path, start, skip = source
                blocks = self.block_list(self._transport.address + list_path, answer.headers.get("etag"))
                fill_verified(answer, target_view, blocks, (start, skip), path)
                return Arrival(len(target_view), "stored")
            if answer.headers.get("content-type") == FRAMES_MEDIA_TYPE:
                fill_framed(answer, target_view, path)
                return Arrival(len(target_view), _checked_as(answer, "sent"))
            checked = fill_checked(answer, target_view, path)
            return Arrival(len(target_view), _checked_as(answer, "sent") if checked else "no")

    def pieces(
        self, path: str, params: Params = None, *, headers: Mapping[str, str] | None = None
    ) -> Iterator[Buffer]:
        """Give a body of unknown size piece by piece, verified as far as the server can.

        Parameters
        ----------
        path, params, headers
            As `open`.

        Yields
        ------
        bytes-like
            Keep none of it before the last one has come: only then the whole is verified.

        Raises
        ------
        HashError
            For damage in the store or on the way.
        """
        fields = {"accept": f"{FRAMES_MEDIA_TYPE}, */*;q=0.9", **(headers or {})}
        with self.open("GET", path, params, headers=fields) as answer:
            yield from checked_pieces(answer, path)

    def block_list(self, path: str, etag: str | None = None) -> BlockDigests:
        """Return the block digests of a stored file; each list is fetched once.

        Parameters
        ----------
        path : str
            Of the list.
        etag : str, optional
            The entity tag of the file, under which the list is kept.

        Returns
        -------
        BlockDigests
            The list.
        """
        kept = self._blocks.get(etag) if etag else None
        if kept is not None:
            return kept
        with self.open("GET", path) as answer:
            digest = answer.headers.get("holdfast-digest") or ""
            blocks = block_list(answer.read(), digest, answer.headers.get("holdfast-size"))
        self._blocks.put(etag or digest, blocks)
        return blocks

    def fetch_file(
        self,
        path: str,
        target: PathLike,
        params: Params = None,
        *,
        digest: Digest | None = None,
        size: int | None = None,
        progress: Progress | None = None,
        durability: Durability = "sync",
    ) -> Digest:
        """Download a file: resumed where an earlier attempt stopped, verified, published in one step.

        Parameters
        ----------
        path
            As `open`.
        target : path-like
            Where it goes; ``TARGET.part`` lies beside it meanwhile and stays when the network fails.
        params
            As `open`.
        digest : Digest, optional
            What it must be; without one nothing is resumed.
        size : int, optional
            Its size, bytes; not more than that is taken.
        progress : callable, optional
            Called with the number of new bytes.
        durability : {"sync", "group", "os"}
            When the file is on the disk; "os" leaves that to the caller.

        Returns
        -------
        Digest
            The blake3 digest of what arrived, or the one that was given.

        Raises
        ------
        HashError
            For other bytes than the digest says; nothing is kept.
        TransportError
            When the server cannot be reached or breaks off again and again.
        """

        def open_from(headers: dict[str, str]) -> Answer:
            """Ask for the body, or the rest of it."""
            # Without a digest nobody here verifies: the server has to.
            verify = {} if digest is None else {"holdfast-verify": "blocks"}
            return self.open("GET", path, params, headers={**verify, **headers})

        return fetch_file(
            open_from, Path(target), digest=digest, size=size, progress=progress, durability=durability
        )

    def events(
        self, path: str, params: Params = None, *, last_id: str | None = None
    ) -> Iterator[ServerEvent]:
        """Follow Server-Sent Events until the server ends them or the iterator is closed."""
        headers = {"accept": "text/event-stream"} | ({} if last_id is None else {"last-event-id": last_id})
        with self.open("GET", path, params, headers=headers) as answer:
            yield from sse.parse(answer.arrivals())

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Connection {self.address}>"

    def __reduce__(self) -> tuple[Callable[..., Connection], tuple[str]]:
        if self.is_local:
            raise InvalidTypeError(
                "a connection within this process cannot be pickled; pickle what opened it"
            )
        return Connection.to_url, (self.address,)

    def _target(self, path: str, params: Params) -> str:
        if path.startswith(("http://", "https://")):
            return self._linked(path)
        return self._prefix + target(path, params)

    def _linked(self, url: str) -> str:
        """Return the request target of a link, which must lead to this server: the key goes with it."""
        if not url.startswith(self._transport.address + "/"):
            raise TransportError("the server's link leads to another server; it was not followed")
        return url[len(self._transport.address) :]

    def _redirected(self, where: str, answer: Answer) -> str:
        with answer:
            location = answer.headers.get("location") or ""
        return self._linked(urljoin(self._transport.address + where, location))

    def _fields(self, headers: Mapping[str, str]) -> list[tuple[str, str]]:
        fields = [("user-agent", "holdfast"), *headers.items()]
        if self._credential is not None:
            fields.append(("authorization", self._credential()))
        return fields


def _checked_as(answer: Answer, default: Any) -> Any:
    return "stored" if answer.headers.get("holdfast-verified") == "stored" else default


def _decoded(data: bytes, kind: Any) -> Json:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TransportError(f"the server's answer is not the JSON that was expected: {error}") from error
