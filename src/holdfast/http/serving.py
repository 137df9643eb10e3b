"""Own the running of a site: the socket, the server process's settings, and the graceful stop.

It does not know what is served.

>>> import urllib.request
>>> from holdfast.http.edge import Site
>>> from holdfast.http.reply import text_reply
>>> from holdfast.http.routing import Mount, Route
>>> from holdfast.http.serving import running
>>> site = Site([Mount("", [Route("GET", "/", lambda request: text_reply("hello"))])])
>>> with running(site) as url, urllib.request.urlopen(url) as answer:
...     answer.read()
b'hello'
"""

from __future__ import annotations

import logging
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from holdfast.errors import BusyError, ForbiddenError, InvalidInputError, TransportError
from holdfast.http.edge import Site
from holdfast.http.logbook import LineFormatter, Logbook

__all__ = ["Serving", "listen", "running", "serve", "serve_on", "url_of"]

BACKLOG = 2048
MAX_FILES = 65_536
# Threads give way to the event loop ten times sooner than by default: small answers stay quick
# beside work in the heavy lane.
SWITCH_INTERVAL_S = 0.0005
_START_S = 30.0
_LARGEST_PORT = 65_535
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Parameters
    ----------
    host : str
        A name or an address.
    port : int
        0 for a free one.

    Returns
    -------
    socket.socket
        Connections wait in it from now on.

    Raises
    ------
    BusyError
        When the port is taken.
    ForbiddenError
        When the system does not allow the port.
    InvalidInputError
        For a host that this machine does not have.
    """
    if not 0 <= port <= _LARGEST_PORT:
        # The system would take it modulo 65,536.
        raise InvalidInputError(f"{host}:{port} is not an address: ports end at {_LARGEST_PORT}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, OverflowError) as error:
        raise InvalidInputError(f"{host}:{port} is not an address of this machine: {error}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except PermissionError as error:
        listener.close()
        raise ForbiddenError(f"port {port} needs more rights; choose one above 1023 with --port") from error
    except OSError as error:
        listener.close()
        raise BusyError(
            f"{host}:{port} cannot be used ({error.strerror}); choose another port with --port"
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the address that clients of this machine reach a listening socket at."""
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


class Serving(uvicorn.Server):
    """Be one running server of a site.

    Parameters
    ----------
    site : Site
        What is served.
    logbook : Logbook, optional
        What is written while it runs.
    """

    def __init__(self, site: Site, logbook: Logbook | None = None) -> None:
        limits, protocol = site.limits, _protocol(site)
        self._end_heads = None if isinstance(protocol, str) else protocol.end_heads
        super().__init__(
            uvicorn.Config(
                site,
                http=protocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level="critical",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=int(limits.keep_alive_s),
                timeout_graceful_shutdown=int(limits.stop_s),
                h11_max_incomplete_event_size=limits.url_bytes + limits.header_bytes,
            )
        )
        self._site, self._logbook = site, logbook
        site.is_stopping = False

    def on_tick(self, counter: int) -> Coroutine[Any, Any, bool]:
        """Write the log, and end the wait for late heads, ten times a second."""
        if self._end_heads is not None:
            self._end_heads()
        self._site.log_writes()
        if self._logbook is not None:
            self._logbook.flush()
        return super().on_tick(counter)

    def stop(self) -> None:
        """Stop when the answers on their way are out; safe in signal handlers and threads."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._site.stop()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, and go on after the server: uvicorn would raise them again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(number: int, frame: FrameType | None) -> None:
            """Stop."""
            self.stop()

        before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _protocol(site: Site) -> Any:
    try:
        from holdfast.http.at_once import AtOnce
        from holdfast.http.guard import Protocols
    except ImportError:
        # Without httptools (no wheel for this platform) h11 parses, with its own limit on heads.
        return "h11"
    return Protocols(site.limits, AtOnce(site))


def serve(
    site: Site,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serve a site until SIGINT or SIGTERM.

    Parameters
    ----------
    site : Site
        What is served.
    host : str, default "127.0.0.1"
        Where to listen.
    port : int, default 8000
        0 for a free one.
    ready : callable, optional
        Takes the address as soon as clients can connect.

    Raises
    ------
    BusyError, ForbiddenError, InvalidInputError
        As `listen`.
    """
    with listen(host, port) as listener:
        serve_on(listener, site, ready=ready)


def serve_on(listener: socket.socket, site: Site, *, ready: Callable[[str], object] | None = None) -> None:
    """Serve a site at a socket that listens already, until SIGINT or SIGTERM.

    Parameters
    ----------
    listener : socket.socket
        From `listen`; it is closed at the end.
    site : Site
        What is served.
    ready : callable, optional
        Takes the address as soon as clients can connect.
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    logbook = _log_to_stderr()
    _allow_many_connections()
    try:
        server = Serving(site, logbook)
        if ready is not None:
            ready(url_of(listener))
        server.run(sockets=[listener])
    finally:
        sys.setswitchinterval(interval)
        listener.close()
        site.close()
        if logbook is not None:
            logbook.flush()


def _allow_many_connections() -> None:
    """Use what the system grants: the usual limit of 1,024 files is soon reached by waiting listeners."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _log_to_stderr() -> Logbook | None:
    """Show writes, with their times, and faults, unless the program has its own ideas about logging."""
    logger = logging.getLogger("holdfast")
    if logger.hasHandlers():
        return None
    handler = Logbook()
    handler.setFormatter(LineFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    return handler


@contextmanager
def running(site: Site, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve a site from a thread while a ``with`` block runs.

    Parameters
    ----------
    site : Site
        What is served.
    host : str, default "127.0.0.1"
        Where to listen.
    port : int, default 0
        0 for a free one.

    Yields
    ------
    str
        The address.
    """
    listener = listen(host, port)
    server = Serving(site)
    thread = threading.Thread(target=server.run, args=([listener],), name="holdfast-server", daemon=True)
    thread.start()
    try:
        yield url_of(listener)
    finally:
        server.stop()
        thread.join(_START_S)
        listener.close()
        site.close()
        if thread.is_alive():
            raise TransportError("the server did not stop; a request may be stuck")
