"""Own the errors of the wire: what went wrong between a client and a server, in our words.

>>> explained(TimeoutError(), "http://127.0.0.1:8000").message
'http://127.0.0.1:8000 did not answer in time; try again or raise HOLDFAST_TIMEOUT_S'
"""

from __future__ import annotations

from http.client import HTTPException

from urllib3.exceptions import NewConnectionError, ProtocolError
from urllib3.exceptions import TimeoutError as WireTimeoutError

from holdfast.errors import TransportError

__all__ = ["StaleConnectionError", "explained"]


class StaleConnectionError(TransportError):
    """Say that a connection broke before its answer was there; reads may be asked again."""

    code = "stale-connection"


def explained(error: Exception, address: str) -> TransportError:
    """Return our error for one of the system's or of a library.

    Parameters
    ----------
    error : Exception
        What was caught.
    address : str
        Of the server.

    Returns
    -------
    TransportError
        A `StaleConnectionError` where the server ended the connection.
    """
    if isinstance(error, NewConnectionError):
        return TransportError(f"no server answers at {address}; is it running? ({error.__cause__ or error})")
    if isinstance(error, WireTimeoutError | TimeoutError):
        return TransportError(f"{address} did not answer in time; try again or raise HOLDFAST_TIMEOUT_S")
    if isinstance(error, ProtocolError | HTTPException | ConnectionError):
        return StaleConnectionError(f"the connection to {address} broke: {error}")
    return TransportError(f"the connection to {address} failed: {error}")
