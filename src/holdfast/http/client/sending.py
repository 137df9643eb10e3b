"""Own how a source becomes the body of an upload that the receiver can verify.

It does not send.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from holdfast.hashing import Digest, hash_bytes
from holdfast.http.client.transport import Outgoing, Stream
from holdfast.http.frames import FRAMES_MEDIA_TYPE, framed_size, frames
from holdfast.http.limits import PIECE_BYTES
from holdfast.types import Buffer, PathLike

__all__ = ["Sending"]

_NAMES = {"blake3": "blake3", "sha256": "sha-256", "sha512": "sha-512", "md5": "md5"}


@dataclass(slots=True)
class Sending:
    """Hold a body and the fields that describe it; a context manager that closes a file.

    Parameters
    ----------
    body : bytes-like or Stream
        The body.
    headers : dict of str to str
        Media type and digest.
    """

    body: Outgoing
    headers: dict[str, str] = field(default_factory=dict)
    _file: BinaryIO | None = None

    @classmethod
    def of(
        cls,
        source: Buffer | PathLike | Iterable[Buffer],
        size: int | None = None,
        digest: Digest | None = None,
    ) -> Sending:
        """Prepare a source.

        Parameters
        ----------
        source : bytes-like, path-like or iterable of bytes-like
            What is sent.
        size : int, optional
            The exact size of pieces, bytes.
        digest : Digest, optional
            Of the whole.

        Returns
        -------
        Sending
            Bytes travel as they are with their digest in the head; so do files and pieces whose
            digest is given, others travel in digest frames.
        """
        if isinstance(source, bytes | bytearray | memoryview):
            view = memoryview(source).cast("B")
            return cls(view, _digest_fields(digest or hash_bytes(view)))
        if isinstance(source, str | os.PathLike):
            opened = open(source, "rb", buffering=0)  # noqa: SIM115 -- closed by __exit__
            total = os.fstat(opened.fileno()).st_size
            return cls(*_streamed(_read_pieces(opened), total, digest), opened)
        return cls(*_streamed(source, size, digest))

    def __enter__(self) -> Sending:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._file is not None:
            self._file.close()


def _streamed(
    pieces: Iterable[Buffer], size: int | None, digest: Digest | None
) -> tuple[Stream, dict[str, str]]:
    if digest is not None:
        return Stream(pieces, size), _digest_fields(digest)
    framed = None if size is None else framed_size(size, PIECE_BYTES)
    return Stream(frames(_even(pieces)), framed), {"content-type": FRAMES_MEDIA_TYPE}


def _digest_fields(digest: Digest) -> dict[str, str]:
    encoded = base64.b64encode(digest.raw).decode()
    return {"content-digest": f"{_NAMES[digest.algorithm]}=:{encoded}:"}


def _read_pieces(source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read(PIECE_BYTES):
        yield piece


def _even(pieces: Iterable[Buffer]) -> Iterator[Buffer]:
    """Cut and join pieces so that all but the last have the same size: the framed size is then known."""
    waiting = bytearray()
    for piece in pieces:
        view = memoryview(piece).cast("B")
        if not waiting and len(view) == PIECE_BYTES:
            yield view
            continue
        waiting += view
        while len(waiting) >= PIECE_BYTES:
            yield bytes(waiting[:PIECE_BYTES])
            del waiting[:PIECE_BYTES]
    if waiting:
        yield bytes(waiting)
