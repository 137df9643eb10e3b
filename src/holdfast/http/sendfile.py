"""Own the way of a file onto a connection that does not lead through this process: ``sendfile``.

It does not decide what goes this way, and it does not wait for slow readers: the edge does both.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from collections.abc import Awaitable
from typing import Any, Final

from holdfast.errors import ChangedError, StorageError
from holdfast.http.limits import MEBIBYTE
from holdfast.http.reply import FileRange

__all__ = ["LEAST_BYTES", "SLICE_BYTES", "SendFile", "push"]

LEAST_BYTES = 2 * MEBIBYTE
"""Below this a thread is not worth its hop."""

SLICE_BYTES = 16 * MEBIBYTE
"""The most that is pushed before the edge looks again who else is there."""

# A reader that takes nothing for so long is slow: no thread waits for it.
_PATIENCE_MS: Final = 20
_CAN: Final = sys.platform == "linux"
# A file system or a socket that cannot do it.
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF})


class SendFile:
    """Be the part of one answer's connection that takes files without a copy.

    Parameters
    ----------
    cycle : uvicorn RequestResponseCycle
        Whose answer it is; it counts the bytes of the body.
    transport : asyncio.Transport
        The connection.
    """

    __slots__ = ("_cycle", "_transport")

    def __init__(self, cycle: Any, transport: Any) -> None:
        self._cycle, self._transport = cycle, transport

    @classmethod
    def of(cls, cycle: Any, transport: Any) -> SendFile | None:
        """Return it, or None where bytes must pass through this process: other systems, TLS."""
        if not _CAN or transport.get_extra_info("sslcontext") is not None:
            return None
        return cls(cycle, transport)

    @property
    def is_clear(self) -> bool:
        """Whether all that was written before is on its way, and the connection stands."""
        return not (self._transport.is_closing() or self._transport.get_write_buffer_size())

    def drain(self) -> Awaitable[None]:
        """Return what to await until all is on its way, or the connection has ended; then call `resume`."""
        # Else the server would be told as soon as the buffer is nearly empty.
        self._transport.set_write_buffer_limits(high=0)
        return self._cycle.flow.drain()  # type: ignore[no-any-return]

    def resume(self) -> None:
        """Let the server write ahead again."""
        self._transport.set_write_buffer_limits()

    def link(self) -> socket.socket:
        """Return the socket once more: a thread may go on with it when the server has closed its own."""
        return socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))

    def count(self, size: int) -> None:
        """Have the server know that so much of the body is out."""
        self._cycle.expected_content_length -= size


def push(link: socket.socket, span: FileRange, at: int, stop: int) -> int:
    """Send a part of a file for as long as the reader takes it at once, more or less.

    Parameters
    ----------
    link : socket
        Does not block; it is closed here.
    span : FileRange
        The file.
    at, stop : int
        The part of it.

    Returns
    -------
    int
        The position that was reached; less than `stop` when the reader is slow or gone, or when the system
        cannot send this file so.

    Raises
    ------
    ChangedError
        When the file has become shorter.
    StorageError
        When the disk fails.
    """
    with link:
        writable = select.poll()
        writable.register(link, select.POLLOUT)
        while at < stop:
            try:
                sent = os.sendfile(link.fileno(), span.fd, at, stop - at)
            except BlockingIOError:
                if not writable.poll(_PATIENCE_MS):
                    break
                continue
            except ConnectionError:
                break
            except OSError as error:
                if error.errno in _CANNOT:
                    break
                raise StorageError(f"the file cannot be read: {error.strerror}; check the disk") from error
            if sent == 0:
                raise ChangedError(
                    f"the file ended at byte {at}, before {span.stop}: it was changed meanwhile"
                )
            at += sent
    return at
