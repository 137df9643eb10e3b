"""Own what is sent again: after a connection that broke, and when a server asks to come back later.

It does not read bodies of answers that are given back.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from holdfast.errors import BusyError, TransportError
from holdfast.http.client.transport import Answer, Outgoing, Transport

__all__ = ["send_patiently"]

_MAX_TRIES = 3
_MAX_WAIT_S = 10.0
_MAX_DRAINED_BYTES = 1024 * 1024
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
_TOO_MANY = 429


def send_patiently(
    transport: Transport, method: str, target: str, fields: Sequence[tuple[str, str]], body: Outgoing
) -> Answer:
    """Send a request; up to three times where that can do no harm.

    Parameters
    ----------
    transport, method, target, fields, body
        As `Transport.open`. Reads, and requests with an ``Idempotency-Key``, may be sent again, unless
        their body is a stream.

    Returns
    -------
    Answer
        Of any status.

    Raises
    ------
    TransportError
        When the server cannot be reached.
    """
    for attempt in range(1, _MAX_TRIES + 1):
        try:
            answer = transport.open(method, target, fields, body)
        except TransportError as error:
            is_last = attempt == _MAX_TRIES or not _is_repeatable(method, fields, body)
            if error.code != "stale-connection" or is_last:
                raise
            continue
        wait_s = _retry_after(answer)
        if wait_s is None or attempt == _MAX_TRIES or not _is_repeatable(method, fields, body):
            break
        with answer, contextlib.suppress(TransportError):
            answer.read(_MAX_DRAINED_BYTES)
        time.sleep(wait_s)
    return answer


def _is_repeatable(method: str, fields: Sequence[tuple[str, str]], body: Outgoing) -> bool:
    if body is not None and not isinstance(body, bytes | bytearray | memoryview):
        return False
    return method in _REPEATABLE or any(name.lower() == "idempotency-key" for name, _ in fields)


def _retry_after(answer: Answer) -> float | None:
    if answer.status not in {_TOO_MANY, BusyError.status}:
        return None
    text = answer.headers.get("retry-after") or ""
    return min(float(text), _MAX_WAIT_S) if text.isdigit() else None
