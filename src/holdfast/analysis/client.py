"""Own the client of an analysis server.

>>> AnalysisClient({"host": "127.0.0.1", "port": "8000/analysis"}).aheader_url
'http://127.0.0.1:8000/analysis/analysis_header'
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from holdfast.analysis.kinds import HEADER, REFERENCE, STREAM, TAIL, kind_of
from holdfast.analysis.lineage import Lineage
from holdfast.analysis.plain import plain
from holdfast.analysis.projecting import projected
from holdfast.analysis.verbs import ClientVerbs
from holdfast.errors import InvalidInputError, MethodNotAllowedError, NotFoundError, TransportError
from holdfast.http.client import Connection
from holdfast.types import Json

__all__ = ["AnalysisClient"]

_SIGNATURES = {
    HEADER.name: "insert_analysis_header",
    TAIL.name: "insert_analysis_tail",
    STREAM.name: "insert_data_reference_header",
    REFERENCE.name: "insert_data_reference",
}
_encode = msgspec.json.Encoder().encode
_TRIES = 2


class AnalysisClient(ClientVerbs):
    """Insert and find analysis documents through a server, ours or the original.

    Parameters
    ----------
    config : mapping, optional
        ``host`` and ``port``; the host may hold a key (``key:KEY@127.0.0.1``), the port a prefix
        (``8000/analysis``).
    url : str, optional
        The address of the server instead.
    api_key : str, optional
        The key; default the one in the address, else ``HOLDFAST_API_KEY``.
    timeout_s : float, optional
        How long to wait for an answer, seconds.

    Notes
    -----
    One connection is kept open. Inserts carry their uid, so a lost answer is asked for again without harm.
    Pickles by address, never with its key.

    References
    ----------
    Seed 3; the original's protocol is the same.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        url: str | None = None,
        api_key: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        if (config is None) == (url is None):
            raise InvalidInputError("give either a config with host and port, or url=")
        if config is not None:
            missing = [name for name in ("host", "port") if name not in config]
            if missing:
                raise InvalidInputError(f"the config lacks {' and '.join(missing)}; give host and port")
            url = f"http://{config['host']}:{config['port']}"
        self._connection = Connection.to_url(str(url).rstrip("/"), api_key, timeout_s)

    # -- addresses -------------------------------------------------------------------------------------

    @property
    def aheader_url(self) -> str:
        """The address of analysis headers."""
        return f"{self._connection.address}/{HEADER.name}"

    @property
    def atail_url(self) -> str:
        """The address of analysis tails."""
        return f"{self._connection.address}/{TAIL.name}"

    @property
    def dref_header_url(self) -> str:
        """The address of data reference headers."""
        return f"{self._connection.address}/{STREAM.name}"

    @property
    def dref_url(self) -> str:
        """The address of data references."""
        return f"{self._connection.address}/{REFERENCE.name}"

    def connection_status(self) -> bool:
        """Tell whether the server answers.

        Returns
        -------
        bool
            False when no server can be reached.

        Raises
        ------
        NotFoundError
            When something else than an analysis server answers there.
        """
        try:
            self._connection.get_bytes("/is_connected")
        except TransportError:
            return False
        return True

    def get(self, url: str, query: Mapping[str, Any]) -> list[dict[str, Json]]:
        """Send a query in the original's form.

        Parameters
        ----------
        url : str
            One of the addresses above.
        query : mapping
            ``payload`` and ``signature``.

        Returns
        -------
        list of dict
            The documents.

        Raises
        ------
        HoldfastError
            Of the class that the server raised.
        """
        with self._connection.open("GET", self._path(url), [(json.dumps(plain(dict(query))), "")]) as answer:
            return _documents(answer.read())

    def post(self, url: str, params: Mapping[str, Any]) -> Json:
        """Send a document in the original's form.

        Parameters
        ----------
        url : str
            One of the addresses above.
        params : mapping
            ``payload`` and ``signature``.

        Returns
        -------
        JSON
            The server's answer.

        Raises
        ------
        HoldfastError
            Of the class that the server raised.
        """
        return self._post(self._path(url), _encode(plain(dict(params))))

    def _path(self, url: str) -> str:
        if not url.startswith(self._connection.address + "/"):
            raise InvalidInputError(f"{url!r:.200} is not an address of this client's server")
        return url[len(self._connection.address) :]

    def _post(self, path: str, body: bytes) -> Json:
        headers = {"content-type": "application/json", "accept": "application/json"}
        for left in reversed(range(_TRIES)):
            try:
                with self._connection.open("POST", path, headers=headers, body=body) as answer:
                    return msgspec.json.decode(answer.read() or b"null")
            except TransportError:
                # The document carries its uid: a second try changes nothing if the first arrived.
                if not left:
                    raise
        return None

    # -- what the verbs rest on ------------------------------------------------------------------------

    def _insert(self, kind: str, documents: list[dict[str, Json]]) -> list[str]:
        uids = [str(document["uid"]) for document in documents]
        if not documents:
            return uids
        payload: Json = documents[0]
        signature = _SIGNATURES[kind]
        if len(documents) > 1:
            signature = "bulk_data_reference_insert"
            payload = {"data_header": documents[0].get(STREAM.name), "data_references": documents}
            if kind != REFERENCE.name:
                return [self._insert(kind, [document])[0] for document in documents]
        self._post(f"/{kind}", _encode({"payload": payload, "signature": signature}))
        return uids

    def _find(self, kind: str, query: dict[str, Json], options: dict[str, Json]) -> list[dict[str, Json]]:
        body = _encode({"query": query, **options})
        try:
            with self._connection.open("POST", f"/{kind}/search", headers=_JSON, body=body) as answer:
                return _documents(answer.read())
        except (NotFoundError, MethodNotAllowedError):
            return self._find_as_the_original(kind, query, options)

    def _find_as_the_original(
        self, kind: str, query: dict[str, Json], options: dict[str, Json]
    ) -> list[dict[str, Json]]:
        if [list(key) for key in options["sort"]] != [["time", -1]]:
            raise InvalidInputError("the server can only give the newest first; sort the documents here")
        found = self.get(
            f"{self._connection.address}/{kind}", {"payload": query, "signature": f"find_{kind}"}
        )
        start, limit = options["skip"], options["limit"]
        return projected(found[start : None if limit is None else start + limit], options["projection"])

    def count(self, doc_type: str, query: Mapping[str, Json] = {}) -> int:  # never changed
        """Return the exact number of documents that a filter finds; see `find`."""
        kind = kind_of(doc_type).name
        body = _encode({"query": plain(dict(query), "query"), "count": True})
        with self._connection.open("POST", f"/{kind}/search", headers=_JSON, body=body) as answer:
            return int(msgspec.json.decode(answer.read())["count"])

    def lineage(self, uid: str, direction: str = "upstream") -> Lineage:
        """Return what a document or an object came from, or what came of it.

        Parameters
        ----------
        uid : str
            The uid of a document, or the uri of anything that an analysis links.
        direction : {"upstream", "downstream"}
            Where to go.

        Returns
        -------
        Lineage
            See `ClientVerbs.lineage`.
        """
        return Lineage.from_dict(self._connection.get_json("/lineage", {"of": uid, "direction": direction}))

    def close(self) -> None:
        """Close the connection; it opens again when it is used."""
        self._connection.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._connection.address,)

    def __repr__(self) -> str:
        return f"AnalysisClient(url={self._connection.address!r})"


_JSON = {"content-type": "application/json", "accept": "application/json"}


def _documents(body: bytes) -> list[dict[str, Json]]:
    return msgspec.json.decode(body, type=list[dict[str, Any]])


def _reopened(url: str) -> AnalysisClient:
    return AnalysisClient(url=url)
