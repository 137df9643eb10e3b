"""Own the answers to encore's client."""

from __future__ import annotations

import msgspec

from holdfast.errors import ForbiddenError, InvalidInputError, NotFoundError
from holdfast.http.ranges import http_date
from holdfast.http.receive import Received, Receiver
from holdfast.http.reply import Reply, empty_reply, json_reply
from holdfast.http.request import Request
from holdfast.store.base import Store
from holdfast.store.changes import Change
from holdfast.store.matching import Condition
from holdfast.store.names import check_key
from holdfast.store.routes.places import Find, gathered, parts_of, pieces_of, text_of
from holdfast.types import Json

__all__ = ["EncoreRoutes"]

_OCTETS = "application/octet-stream"


class EncoreRoutes:
    """Answer encore's client.

    Parameters
    ----------
    find : callable
        Gives the store that a path leads to.

    References
    ----------
    ``encore.storage.dynamic_url_store.DynamicURLStore`` of encore 0.8.
    """

    def __init__(self, find: Find) -> None:
        self._find = find

    def _store_and_key(self, request: Request, *, has_part: bool = True) -> tuple[Store, str]:
        store, parts = self._find(parts_of(request))
        return store, check_key(text_of(b"/".join(parts[:-1] if has_part else parts)))

    def data(self, request: Request) -> Reply:
        """Send all data of a key."""
        store, key = self._store_and_key(request)
        value = store.get(key)
        headers = [("last-modified", http_date(value.modified))]
        return Reply(pieces_of(value, 0, value.size), headers=headers, media_type=_OCTETS, size=value.size)

    def set_data(self, request: Request) -> Receiver:
        """Receive the data of a key."""
        store, key = self._store_and_key(request)
        return _DataReceiver(store, key)

    def metadata(self, request: Request) -> Reply:
        """Send the metadata of a key."""
        store, key = self._store_and_key(request)
        return json_reply(store.get_metadata(key))

    def set_metadata(self, request: Request) -> Reply:
        """Replace the metadata of a key."""
        store, key = self._store_and_key(request)
        store.set_metadata(key, _body(request))
        return empty_reply()

    def update_metadata(self, request: Request) -> Reply:
        """Merge fields into the metadata of a key."""
        store, key = self._store_and_key(request)
        store.update_metadata(key, _body(request))
        return empty_reply()

    def delete(self, request: Request) -> Reply:
        """Delete a key."""
        store, key = self._store_and_key(request, has_part=False)
        store.delete(key)
        return empty_reply()

    def permissions(self, request: Request) -> Reply:
        """Send who owns a key: whoever has the API key that asks."""
        store, key = self._store_and_key(request)
        if not store.exists(key):
            raise NotFoundError(f"no key {key!r:.200} in this store")
        return json_reply({"owned": [request.principal.name]})

    def refuse_permissions(self, request: Request) -> Reply:
        """Refuse to keep what would not be heeded."""
        raise ForbiddenError("keys of this store have no permissions of their own; access is by API key")

    def query(self, request: Request) -> Reply:
        """Send the keys whose fields equal JSON values, one a line."""
        store, _ = self._find(parts_of(request))
        equal = {name: _json(value, name) for name, value in request.query.items() if name != "api_key"}
        found = (key for key, _ in store._search_seen(Condition(None, equal)))
        lines = (key.replace("\r", "%0D").replace("\n", "%0A").encode() + b"\n" for key in found)
        return Reply(gathered(lines), media_type="text/plain; charset=utf-8")


def _json(text: str, name: str) -> Json:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidInputError(f"the value of {name!r:.80} is not JSON; write texts in quotes") from None


def _body(request: Request) -> dict[str, Json]:
    value: dict[str, Json] = _json(request.body.decode("utf-8", "replace"), "metadata")
    return value


class _DataReceiver:
    """Receive the data of one key."""

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key
        self._incoming = store._incoming(key)
        self.write = self._incoming.write

    def finish(self, received: Received) -> Reply:
        """Set the data."""
        self._store._commit(Change(self._key, self._incoming.finish()))
        return empty_reply()

    def abort(self, error: BaseException) -> None:
        """Leave no trace."""
        self._incoming.abort()
