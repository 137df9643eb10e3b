"""Own ranges and conditions of GET: pure functions from header text to what is sent.

It does not open files.

>>> from holdfast.http.ranges import parse_range
>>> parse_range("bytes=0-9", 100), parse_range("bytes=-10", 100), parse_range("bytes=90-", 100)
((0, 10), (90, 100), (90, 100))
"""

from __future__ import annotations

import email.utils
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.errors import HoldfastError, PreconditionFailedError, RangeNotSatisfiableError
from holdfast.hashing import Digest

__all__ = ["Selected", "Validators", "etag_of", "http_date", "parse_range", "select"]

WHOLE, PART, NOT_MODIFIED = 200, 206, 304
_SPEC = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*\Z", re.IGNORECASE)
_MAX_DIGITS = 19


@dataclass(frozen=True, slots=True)
class Validators:
    """Hold what tells one version of a body from another.

    Parameters
    ----------
    etag : str or None
        With its quotes; strong unless it begins with ``W/``.
    modified : float or None
        Seconds since the epoch.
    """

    etag: str | None = None
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class Selected:
    """Say what to send: a status and the bytes from ``start`` up to ``stop``."""

    status: int
    start: int
    stop: int


def etag_of(digest: Digest | str) -> str:
    """Return the strong entity tag of bytes with a digest."""
    return f'"{str(digest).replace(":", "-")}"'


def http_date(seconds: float) -> str:
    """Return a time as HTTP writes it."""
    return email.utils.formatdate(seconds, usegmt=True)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Read a ``Range`` field.

    Parameters
    ----------
    header : str or None
        The field.
    size : int
        The size of the whole body, bytes.

    Returns
    -------
    (int, int) or None
        The first byte and the one after the last; None where the whole body is to be sent: no field,
        another unit, several ranges, or a field that is malformed (RFC 9110 says to ignore it).

    Raises
    ------
    RangeNotSatisfiableError
        When no byte of the range exists.

    References
    ----------
    RFC 9110, section 14.
    """
    match = _SPEC.match(header) if header is not None else None
    if match is None:
        return None
    first, last = match.group(1), match.group(2)
    if (not first and not last) or max(len(first), len(last)) > _MAX_DIGITS:
        return None
    if first and last and int(first) > int(last):
        return None
    start, stop = (int(first), int(last) + 1 if last else size) if first else (max(0, size - int(last)), size)
    if start >= size or stop <= start:
        raise RangeNotSatisfiableError(
            f"the range {header!r} lies outside the body of {size} bytes", size=size
        )
    return start, min(stop, size)


def select(headers: dict[str, str], size: int, validators: Validators) -> Selected:
    """Decide what a GET or HEAD is answered.

    Parameters
    ----------
    headers : dict of str to str
        The conditional fields of the request by lower-case name.
    size : int
        The size of the whole body, bytes.
    validators : Validators
        Of the body as it is now.

    Returns
    -------
    Selected
        200, 206 or 304 with the bytes to send.

    Raises
    ------
    PreconditionFailedError
        When ``If-Match`` or ``If-Unmodified-Since`` does not hold.
    RangeNotSatisfiableError
        When no byte of the range exists.
    """
    _check_preconditions(headers, validators)
    if _is_unchanged(headers, validators):
        return Selected(NOT_MODIFIED, 0, 0)
    span = parse_range(headers.get("range"), size) if _range_applies(headers, validators) else None
    return Selected(WHOLE, 0, size) if span is None else Selected(PART, *span)


def _check_preconditions(headers: dict[str, str], validators: Validators) -> None:
    if "if-match" in headers:
        if not _matches(headers["if-match"], validators.etag, weak=False):
            raise _changed("If-Match")
    elif "if-unmodified-since" in headers:
        since = _seconds(headers["if-unmodified-since"])
        if since is not None and validators.modified is not None and int(validators.modified) > since:
            raise _changed("If-Unmodified-Since")


def _changed(field: str) -> HoldfastError:
    return PreconditionFailedError(f"{field} does not hold: the body has changed; fetch it anew")


def _is_unchanged(headers: dict[str, str], validators: Validators) -> bool:
    if "if-none-match" in headers:
        return _matches(headers["if-none-match"], validators.etag, weak=True)
    since = _seconds(headers["if-modified-since"]) if "if-modified-since" in headers else None
    return since is not None and validators.modified is not None and int(validators.modified) <= since


def _range_applies(headers: dict[str, str], validators: Validators) -> bool:
    condition = headers.get("if-range")
    if condition is None:
        return True
    if condition.startswith(('"', "W/")):
        return _matches(condition, validators.etag, weak=False)
    since = _seconds(condition)
    return since is not None and validators.modified is not None and int(validators.modified) == since


def _matches(field: str, etag: str | None, *, weak: bool) -> bool:
    if field.strip() == "*":
        return True
    if etag is None or (not weak and etag.startswith("W/")):
        return False
    tags = [tag.strip() for tag in field.split(",")]
    return etag in tags or (weak and etag.removeprefix("W/") in {tag.removeprefix("W/") for tag in tags})


def _seconds(text: str) -> int | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    aware: datetime = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.timestamp())
