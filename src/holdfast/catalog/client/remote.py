"""Open a catalog that a server serves."""

from __future__ import annotations

from holdfast.catalog.client.login import login
from holdfast.catalog.client.node import Node, make_node
from holdfast.catalog.client.session import Session, split_address
from holdfast.errors import InvalidInputError
from holdfast.http.client import Connection
from holdfast.paths import is_url

__all__ = ["from_uri"]


def from_uri(
    uri: str, api_key: str | None = None, *, username: str | None = None, password: str | None = None
) -> Node:
    """Open a catalog, or a node of it, by its address.

    Parameters
    ----------
    uri : str
        ``http://host:port``, or the address of a node as ``node.uri`` gives it. A Tiled server's too.
    api_key : str, optional
        Default ``HOLDFAST_API_KEY``. It is never shown, kept in a file or pickled.
    username, password : str, optional
        For a Tiled server that asks for them; Holdfast's own servers take keys only. What they open is
        renewed as long as the catalog is in use, and is never pickled.

    Returns
    -------
    Node
        The root container, or the node of the address.

    Raises
    ------
    InvalidInputError
        When it is no URL, or the server takes no passwords.
    TransportError
        When no server answers there.
    AuthenticationError
        When the server wants a key, or the password is another.
    NotFoundError
        When the server has no such node, or is no catalog.
    """
    if not isinstance(uri, str) or not is_url(uri):
        raise InvalidInputError(
            f"{uri!r} is no URL; give http://HOST:PORT, or use from_catalog for a directory"
        )
    address, path = split_address(uri)
    session = _opened(address, api_key)
    if username is not None or password is not None:
        login(session.connection, username or "", password or "")
    return make_node(session, path, session.item(path))


def _reopened(address: str) -> Session:
    """Make the session of a pickle; the key is this process's own."""
    return _opened(address, None)


def _opened(address: str, api_key: str | None) -> Session:
    connection = Connection.to_url(address, api_key)
    return Session(connection, _reopened, (connection.address,))
