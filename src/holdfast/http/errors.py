"""Own the one table between errors and JSON bodies, both ways.

It does not define errors: ``holdfast.errors`` does.

>>> from holdfast.errors import NotFoundError
>>> from holdfast.http.errors import error_from, error_json
>>> error_json(NotFoundError("no entry 'x'"))
{'detail': "no entry 'x'", 'code': 'not-found', 'details': {}}
>>> error_from(404, b'{"detail": "no entry", "code": "not-found"}')
NotFoundError('no entry')
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.errors import (
    AlreadyExistsError,
    AuthenticationError,
    BulkError,
    BusyError,
    ForbiddenError,
    HoldfastError,
    InvalidInputError,
    MethodNotAllowedError,
    MissingDependencyError,
    MissingFileError,
    NotAcceptableError,
    NotFoundError,
    PreconditionFailedError,
    RangeNotSatisfiableError,
    ServerError,
    StorageFullError,
    TooLargeError,
    TransportError,
    UnreadableError,
    UnsupportedMediaError,
    from_code,
)

__all__ = [
    "BY_STATUS",
    "INTERNAL",
    "AddressTooLongError",
    "HeadTooLongError",
    "MisdirectedError",
    "error_from",
    "error_json",
    "status_of",
]

INTERNAL = 500
_MESSAGE_BYTES = 64 * 1024


class AddressTooLongError(TooLargeError):
    """Say that the address of a request is over its limit; POST takes more."""

    code = "address-too-long"
    status = 414


class HeadTooLongError(TooLargeError):
    """Say that the head of a request is over its limit; a body takes more."""

    code = "head-too-long"
    status = 431


class MisdirectedError(ForbiddenError):
    """Say that a request names a host that this server is not (DNS rebinding)."""

    code = "misdirected"
    status = 421


BY_STATUS: dict[int, type[HoldfastError]] = {
    400: InvalidInputError,
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    406: NotAcceptableError,
    409: AlreadyExistsError,
    410: MissingFileError,
    412: PreconditionFailedError,
    413: TooLargeError,
    414: AddressTooLongError,
    415: UnsupportedMediaError,
    416: RangeNotSatisfiableError,
    421: MisdirectedError,
    422: UnreadableError,
    429: BusyError,
    431: HeadTooLongError,
    501: MissingDependencyError,
    502: TransportError,
    503: BusyError,
    507: StorageFullError,
}
"""What a client raises for a status whose body carries no code (another program's server)."""


def status_of(error: HoldfastError) -> int:
    """Return the status an error is answered with.

    Parameters
    ----------
    error : HoldfastError
        The error.

    Returns
    -------
    int
        The class's status; of several failures together that of the first, where all agree.
    """
    if isinstance(error, BulkError):
        statuses = {
            status_of(each) if isinstance(each, HoldfastError) else INTERNAL for each in error.exceptions
        }
        return statuses.pop() if len(statuses) == 1 else max(statuses)
    return error.status


def error_json(error: HoldfastError) -> dict[str, Any]:
    """Return the JSON body of an error.

    Parameters
    ----------
    error : HoldfastError
        The error.

    Returns
    -------
    dict
        ``detail`` (the message, which Tiled's client shows), ``code``, ``details`` and, for several
        failures together, ``errors``.

    References
    ----------
    Tiled 0.2.20 answers ``{"detail": …}``; its client ignores other members.
    """
    body: dict[str, Any] = {"detail": str(error.message), "code": error.code, "details": error.details}
    if isinstance(error, BulkError):
        body["errors"] = [error_json(each) for each in error.exceptions if isinstance(each, HoldfastError)]
    return body


def error_from(status: int, body: bytes, reason: str = "") -> HoldfastError:
    """Return the error that an answer stands for.

    Parameters
    ----------
    status : int
        The status of the answer.
    body : bytes
        Its body.
    reason : str, optional
        The reason phrase, for servers that explain themselves there.

    Returns
    -------
    HoldfastError
        Of the class that the server raised, by its code; by the status where there is none.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = None
    if isinstance(value, dict) and isinstance(value.get("code"), str):
        return _rebuilt(value)
    cls = BY_STATUS.get(status, ServerError)
    detail = value.get("detail") if isinstance(value, dict) else None
    text = detail if isinstance(detail, str) else _plain(body) or reason
    return cls(f"the server answered {status}: {text or 'without saying why'}", status=status)


def _rebuilt(value: dict[str, Any]) -> HoldfastError:
    message, details = str(value.get("detail", "")), value.get("details")
    parts = value.get("errors")
    if isinstance(parts, list) and parts:
        return BulkError(message, [_rebuilt(part) for part in parts if isinstance(part, dict)])
    cls = from_code(value["code"])
    if issubclass(cls, BulkError):
        cls = ServerError
    return cls(message, **{str(k): v for k, v in details.items()} if isinstance(details, dict) else {})


def _plain(body: bytes) -> str:
    text = body[:_MESSAGE_BYTES].decode("utf-8", "replace").strip()
    return "" if text.startswith("<") else text[:500]
