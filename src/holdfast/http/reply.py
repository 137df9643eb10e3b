"""Own the answer as routes give it: a status, fields and a body that is bytes, a file or pieces.

It does not send: the edge does.

>>> from holdfast.http.reply import json_reply
>>> json_reply({"n": 1}).body
b'{"n":1}'
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import PurePath
from urllib.parse import quote

import msgspec
from blake3 import blake3

from holdfast.errors import HoldfastError, InvalidTypeError
from holdfast.hashing import Digest
from holdfast.http.body import Body, FileRange, Live, LiveSource, ServerEvent
from holdfast.http.errors import error_json, status_of
from holdfast.http.frames import FRAMES_MEDIA_TYPE, frames
from holdfast.http.limits import MEBIBYTE
from holdfast.http.ranges import NOT_MODIFIED, PART, WHOLE, Selected, Validators, http_date, select
from holdfast.http.request import Request
from holdfast.paths import attachment_name
from holdfast.types import Buffer, Json, PathLike

__all__ = [
    "JSON",
    "Body",
    "FileRange",
    "Live",
    "LiveSource",
    "Reply",
    "ServerEvent",
    "accepts_frames",
    "bytes_reply",
    "empty_reply",
    "encode_json",
    "error_reply",
    "file_reply",
    "json_reply",
    "live_reply",
    "ranged_reply",
    "repr_digest",
    "stream_reply",
    "text_reply",
]

JSON = "application/json"
OCTETS = "application/octet-stream"
_CONDITIONS = ("range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")


@dataclass(slots=True)
class Reply:
    """Be one answer.

    Parameters
    ----------
    body : bytes-like, FileRange, Live or iterable of bytes-like
        The body.
    status : int, default 200
        The status.
    headers : list of (str, str), optional
        Fields, names in lower case; ``content-length`` is added by the edge.
    media_type : str, optional
        The ``content-type``.
    size : int, optional
        The exact size of an iterable body, bytes; without it the body travels in chunks.
    on_close : callable, optional
        Called once when the body was sent or given up.
    begun : tuple, optional
        The first pieces of an iterable body and the iterator of the others: set by the edge, so that an
        error before the first byte is an answer of its own.
    """

    body: Body = b""
    status: int = WHOLE
    headers: list[tuple[str, str]] = field(default_factory=list)
    media_type: str | None = None
    size: int | None = None
    on_close: Callable[[], None] | None = None
    begun: tuple[list[Buffer], Iterator[Buffer]] | None = field(default=None, repr=False)

    def also_close(self, done: Callable[[], None]) -> None:
        """Call something more when the body was sent or given up, after what is called already.

        Parameters
        ----------
        done : callable
            Takes nothing.
        """
        earlier = self.on_close
        if earlier is None:
            self.on_close = done
            return
        with ExitStack() as stack:
            stack.callback(done)
            stack.callback(earlier)
            self.on_close = stack.pop_all().close

    def close(self) -> None:
        """Let go of what the body holds."""
        done, self.on_close = self.on_close, None
        if done is not None:
            done()
        if not isinstance(self.body, bytes | bytearray | memoryview):
            close = getattr(self.body, "close", None)
            if close is not None:
                close()


def _plain(value: object) -> Json:
    """Turn what JSON lacks into what it has: numpy scalars and arrays, times, digests, paths."""
    if isinstance(value, Digest | PurePath):
        return str(value)
    for method in ("tolist", "isoformat"):
        convert = getattr(value, method, None)
        if convert is not None:
            return convert()
    raise InvalidTypeError(f"a {type(value).__name__} cannot be written as JSON")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


def encode_json(value: Json) -> bytes:
    """Return a value as JSON; numbers that are not finite become null."""
    return _ENCODER.encode(value)


def json_reply(value: Json, status: int = WHOLE, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON answer.

    Parameters
    ----------
    value : object
        JSON values, `msgspec.Struct`, numpy scalars, times and digests in any nesting.
    status : int, default 200
        The status.
    headers : mapping, optional
        Further fields.

    Returns
    -------
    Reply
        The answer.
    """
    return Reply(_ENCODER.encode(value), status, list((headers or {}).items()), JSON)


def text_reply(text: str, status: int = WHOLE, media_type: str = "text/plain; charset=utf-8") -> Reply:
    """Return an answer in text."""
    return Reply(text.encode(), status, [], media_type)


def empty_reply(status: int = 204, headers: Mapping[str, str] | None = None) -> Reply:
    """Return an answer without a body."""
    return Reply(b"", status, list((headers or {}).items()))


def error_reply(error: HoldfastError) -> Reply:
    """Return an error in the form that all our own routes have."""
    return Reply(msgspec.json.encode(error_json(error), enc_hook=str), status_of(error), [], JSON)


def accepts_frames(request: Request) -> bool:
    """Tell whether the client takes digest frames."""
    return FRAMES_MEDIA_TYPE in (request.headers.get("accept") or "")


def ranged_reply(
    request: Request,
    size: int,
    part: Callable[[int, int], Body],
    *,
    validators: Validators,
    media_type: str = OCTETS,
    filename: str | None = None,
) -> Reply:
    """Return a body of known size, or the part of it that the request asks for.

    Parameters
    ----------
    request : Request
        Its ``Range`` and conditional fields count.
    size : int
        The size of the whole body, bytes.
    part : callable
        Takes a start and a stop and gives that part of the body; called at most once, last.
    validators : Validators
        Of the body as it is now.
    media_type : str
        The media type.
    filename : str, optional
        The name a browser saves it under.

    Returns
    -------
    Reply
        200, 206 or 304.

    Raises
    ------
    PreconditionFailedError, RangeNotSatisfiableError
        As `holdfast.http.ranges.select`.
    """
    conditions = {name: value for name, value in request.headers.items() if name in _CONDITIONS}
    selected = select(conditions, size, validators) if conditions else Selected(WHOLE, 0, size)
    headers = [("accept-ranges", "bytes"), *_validator_fields(validators)]
    if selected.status == NOT_MODIFIED:
        return Reply(b"", NOT_MODIFIED, headers)
    if selected.status == PART:
        headers.append(("content-range", f"bytes {selected.start}-{selected.stop - 1}/{size}"))
    if filename is not None:
        headers.append(("content-disposition", _disposition(filename)))
    body = part(selected.start, selected.stop)
    return Reply(body, selected.status, headers, media_type, selected.stop - selected.start)


def file_reply(
    request: Request,
    path: PathLike,
    *,
    etag: str | None = None,
    media_type: str = OCTETS,
    filename: str | None = None,
    digests: Iterable[Digest] = (),
) -> Reply:
    """Return a file, or the part of it that the request asks for.

    Parameters
    ----------
    request : Request
        The request.
    path : path-like
        A regular file; it is opened here and checked again while it is sent.
    etag : str, optional
        A strong entity tag; default a weak one of size and time.
    media_type : str
        The media type.
    filename : str, optional
        The name a browser saves it under.
    digests : iterable of Digest, optional
        Of the whole file; they travel in ``Repr-Digest``.

    Returns
    -------
    Reply
        The answer.
    """
    whole = FileRange.open(path)
    try:
        stat = os.fstat(whole.fd)
        tag = etag or f'W/"{stat.st_size:x}-{stat.st_mtime_ns:x}"'
        reply = ranged_reply(
            request,
            whole.size,
            lambda start, stop: FileRange(whole.fd, start, stop),
            validators=Validators(tag, stat.st_mtime),
            media_type=media_type,
            filename=filename,
        )
    except HoldfastError:
        whole.close()
        raise
    if not isinstance(reply.body, FileRange):
        whole.close()
    if fields := repr_digest(digests):
        reply.headers.append(("repr-digest", fields))
    return reply


def bytes_reply(
    request: Request,
    data: Buffer,
    *,
    etag: str | None = None,
    media_type: str = OCTETS,
    filename: str | None = None,
) -> Reply:
    """Return bytes, or the part of them that the request asks for; up to 1 MiB with their digest."""
    view = memoryview(data).cast("B")
    reply = ranged_reply(
        request,
        view.nbytes,
        lambda start, stop: view[start:stop],
        validators=Validators(etag),
        media_type=media_type,
        filename=filename,
    )
    if isinstance(reply.body, memoryview) and reply.body.nbytes <= MEBIBYTE:
        reply.headers.append(("content-digest", _structured("blake3", blake3(reply.body).digest())))
    return reply


def stream_reply(
    request: Request,
    pieces: Iterable[Buffer],
    *,
    media_type: str,
    size: int | None = None,
    headers: Iterable[tuple[str, str]] = (),
    filename: str | None = None,
) -> Reply:
    """Return computed pieces; in digest frames where the client takes them.

    Parameters
    ----------
    request : Request
        The request.
    pieces : iterable of bytes-like
        The body; one of 256 KiB to 1 MiB at a time is best. It is asked for pieces in the heavy lane.
    media_type : str
        The media type of the pieces.
    size : int, optional
        The exact sum of their sizes, bytes.
    headers : iterable of (str, str), optional
        Further fields.
    filename : str, optional
        The name a browser saves it under.

    Returns
    -------
    Reply
        The answer. An error while a piece is made ends a framed body with that error and breaks off
        a plain one.
    """
    fields = [*headers, ("vary", "Accept")]
    if filename is not None:
        fields.append(("content-disposition", _disposition(filename)))
    close = getattr(pieces, "close", None)
    if accepts_frames(request):
        fields.append(("holdfast-content-type", media_type))
        if size is not None:
            fields.append(("holdfast-size", str(size)))
        return Reply(frames(pieces), WHOLE, fields, FRAMES_MEDIA_TYPE, None, close)
    return Reply(iter(pieces), WHOLE, fields, media_type, size, close)


def live_reply(source: LiveSource, poll_s: float = 1.0) -> Reply:
    """Return what a source tells, as it comes, as Server-Sent Events.

    Parameters
    ----------
    source : LiveSource
        What is followed.
    poll_s : float, default 1.0
        How often the source is asked although nobody woke the listener, seconds.

    Returns
    -------
    Reply
        An answer without an end.
    """
    headers = [("cache-control", "no-store"), ("x-accel-buffering", "no")]
    return Reply(Live(source, poll_s), WHOLE, headers, "text/event-stream")


def _validator_fields(validators: Validators) -> Iterator[tuple[str, str]]:
    if validators.etag is not None:
        yield "etag", validators.etag
    if validators.modified is not None:
        yield "last-modified", http_date(validators.modified)


def repr_digest(digests: Iterable[Digest]) -> str:
    """Return the value of ``Repr-Digest`` (RFC 9530; ``blake3`` is ours)."""
    names = {"blake3": "blake3", "sha256": "sha-256", "sha512": "sha-512", "md5": "md5"}
    return ", ".join(
        _structured(names[each.algorithm], each.raw) for each in digests if each.algorithm in names
    )


def _structured(name: str, raw: bytes) -> str:
    return f"{name}=:{base64.b64encode(raw).decode()}:"


def _disposition(filename: str) -> str:
    plain = attachment_name(filename)
    # Tiled's client reads: ^attachment; ?filename="(.*)"$, so the second form stands only where it says more.
    second = "" if plain == filename else f"; filename*=UTF-8''{quote(filename, safe='')}"
    return f'attachment; filename="{plain}"{second}'
