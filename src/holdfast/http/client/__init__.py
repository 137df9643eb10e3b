"""Own the client's end of the wire: connections over TCP or in one process, verified and resumed.

It does not know any face: each face's client is written on a `Connection`.
"""

from holdfast.http.client.connection import Arrival, Connection

__all__ = ["Arrival", "Connection"]
